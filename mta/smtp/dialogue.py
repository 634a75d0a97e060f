"""What has been said in a session, and what is to be said: state, counts, and the replies that wait to be sent.

The handlers of commands (`mta.smtp.commands`) work on this; how bytes become commands
and content is `mta.smtp.session`.
"""

import msgspec

from mta.smtp import replies
from mta.smtp.parameters import RcptParameters
from mta.smtp.replies import Reply
from mta.smtp.state import BDAT, CLOSED, CONNECTED, DATA, State
from mta.smtp.terms import Terms
from mta.smtp.transaction import NO_RCPT_PARAMETERS, Transaction


class Refusal(msgspec.Struct, gc=False):
    """What was refused, for the log: the command's verb (or DATA for content), its argument, the reply as sent.

    `sender` is that of the transaction it was refused in, empty where there was none.
    """

    verb: bytes
    argument: bytes
    reply: Reply
    sender: bytes


class Dialogue:
    """One conversation.

    `verb` and `argument` are the command in hand, `next_state` is where it leads once it is accepted (None: nowhere),
    `has_input` whether the client has sent more behind it. `proposed` and `proposed_recipient` are what MAIL and RCPT
    ask for until the driver has agreed.

    `refusals` gathers what was refused since the driver last cleared it, `penalties` counts those among them that
    should be delayed; `commands` counts lines taken as commands, `mails` accepted MAIL commands. `may_xclient`,
    `may_xforward` and `may_xfer` are the driver's to set.
    """

    __slots__ = (
        "_errors",
        "_junk",
        "_output",
        "argument",
        "commands",
        "extended",
        "has_input",
        "helo",
        "mails",
        "may_xclient",
        "may_xfer",
        "may_xforward",
        "next_state",
        "penalties",
        "proposed",
        "proposed_recipient",
        "refusals",
        "state",
        "terms",
        "tls_active",
        "transaction",
        "verb",
    )

    def __init__(self, terms: Terms) -> None:
        self.terms = terms
        self._output: list[bytes] = [terms.greeting.wire]
        self._errors = 0
        self._junk = 0  # commands since the last message that brought none
        self.may_xclient = False
        self.may_xforward = False
        self.may_xfer = False
        self.verb = b""
        self.argument = b""
        self.next_state: State | None = None
        self.has_input = False
        self.proposed: Transaction | None = None
        self.proposed_recipient: RcptParameters = NO_RCPT_PARAMETERS
        self.commands = 0
        self.mails = 0
        self.penalties = 0
        self.refusals: list[Refusal] = []
        self.state: State = CONNECTED
        self.tls_active = terms.tls == "active"
        self.transaction: Transaction | None = None
        self.helo = b""
        self.extended = False

    # --- output

    def take_output(self) -> bytes:
        """The replies to be sent, which are forgotten here."""
        output = self._output
        if len(output) == 1:
            return output.pop()
        joined = b"".join(output)
        output.clear()
        return joined

    @property
    def has_output(self) -> bool:
        """Whether replies wait to be sent."""
        return bool(self._output)

    # --- where it stands

    @property
    def has_quit(self) -> bool:
        """Whether the session was closed by the client's QUIT rather than by us."""
        return self.state is CLOSED and self.verb == b"QUIT"

    @property
    def is_lmtp(self) -> bool:
        """Whether this is LMTP (RFC 2033)."""
        return self.terms.protocol == "lmtp"

    @property
    def is_receiving(self) -> bool:
        """Whether a message is coming: content, or the next chunk of it."""
        return BDAT <= self.state <= DATA

    @property
    def is_handed_over(self) -> bool:
        """Whether the transaction is a hand-over (`mta.smtp.xfer`)."""
        return self.transaction is not None and self.transaction.parameters.arrived_wall > 0

    @property
    def must_wait(self) -> bool:
        """Whether nothing may be pipelined: HELO has opened the session, and the listener does not put up with that."""
        return bool(self.helo) and not self.extended and "helo" in self.terms.refuse_early

    def move(self) -> None:
        """The command in hand is accepted."""
        if self.next_state is not None:
            self.state = self.next_state

    # --- answers

    def say(self, reply: Reply) -> None:
        """Answer the command in hand."""
        self._output.append(reply.wire)

    def refuse(self, reply: Reply) -> None:
        """Refuse a command, which counts as an error; too many of them end the session."""
        self.decline(reply)
        self._errors += 1
        bounds = self.terms.bounds
        if self._errors >= bounds.errors:
            self.close(replies.R421_TOO_MANY_ERRORS)
        elif self._errors > bounds.soft_errors:
            self.penalties += 1

    def decline(self, reply: Reply) -> None:
        """Refuse a command that was no error."""
        self._note(self.verb, self.argument, reply)
        self._output.append(reply.wire)

    def _note(self, verb: bytes, argument: bytes, reply: Reply) -> None:
        sender = self.transaction.sender if self.transaction is not None else b""
        self.refusals.append(Refusal(verb, argument, reply, sender))

    def close(self, reply: Reply) -> None:
        """Say a last word; the next event is CLOSE. What was being received is dropped."""
        if reply.reason:
            self._note(self.verb, self.argument, reply)
        self.transaction = None
        self.state = CLOSED
        self._output.append(reply.wire)

    def turn_away(self, reply: Reply) -> None:
        """Say this in place of the greeting, and nothing more (RFC 5321 section 3.1)."""
        self._output.clear()
        self.close(reply)

    def greeted(self, name: bytes, reply: Reply, *, extended: bool) -> None:
        """The client said who it is, in HELO, EHLO or LHLO; what was under way ends (RFC 5321 section 4.1.4)."""
        refuse_early = self.terms.refuse_early
        if self.has_input and ("ehlo" if extended else "helo") in refuse_early:
            self.close(replies.R554_EARLY)
            return
        if self.helo and self.is_junk():
            return
        self.helo = name
        self.extended = extended
        self.reset(reply)

    def reset(self, reply: Reply) -> None:
        """End the transaction, if there is one."""
        self.move()
        self.transaction = None
        self._output.append(reply.wire)

    def restart(self, *, greet: bool = False) -> None:
        """Begin anew, as if nothing had been said: behind a TLS handshake (RFC 3207 section 4.2), or XCLIENT.

        `greet` says the greeting again. What counts against the client stays.
        """
        self.transaction = self.proposed = None
        self.helo = b""
        self.extended = False
        self.state = CONNECTED
        if greet:
            self._output.append(self.terms.greeting.wire)

    def is_junk(self) -> bool:
        """Count a command that brings no message; refuses it, and says so, when there were too many."""
        self._junk += 1
        if self._junk <= self.terms.bounds.junk_commands:
            return False
        self.refuse(replies.R503_TOO_MANY_JUNK)
        return True

    # --- answers about messages

    def accept_message(self, reply: Reply) -> None:
        """We are responsible for the message now."""
        self._junk = 0
        self._answer(reply)

    def refuse_message(self, reply: Reply) -> None:
        """The sender keeps the message."""
        self._note(b"DATA", b"", reply)
        self._answer(reply)

    def _answer(self, reply: Reply) -> None:
        """One reply, or several: one for each recipient with LMTP (RFC 2033 section 4.2), and with PRDR."""
        transaction = self.transaction
        assert transaction is not None
        self.transaction = None
        count = transaction.accepted
        if self.is_lmtp:
            self._output.extend([reply.wire] * count)
        elif transaction.parameters.prdr and count > 1 and reply.code < 300:  # all refused: one reply says it
            self._output.append(replies.R353_PER_RECIPIENT.wire)
            self._output.extend([reply.wire] * (count + 1))
        else:
            self._output.append(reply.wire)
