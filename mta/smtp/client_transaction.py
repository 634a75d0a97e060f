"""One mail's part of a conversation: what is said from MAIL to the last reply, and what becomes of each recipient.

With PIPELINING (RFC 2920) MAIL, every RCPT and DATA leave in one write; without, each waits for the reply to the one
before. Where content goes by BDAT (`mta.smtp.client_mail` says when) it needs nobody's leave: with PIPELINING, and up
to `mta.smtp.limits.UNASKED_BYTES`, it goes in the same write as MAIL, and the mail costs one round trip. Larger
content, and any behind a RSET, waits for all replies first, and is not sent where nobody was accepted.

Content that was sent unasked is discarded by a server that has accepted nobody, and refused (RFC 3030 section 2). One
that takes it all the same is out of step with us: everybody stays refused, and the connection ends.

Replies are told apart by their order alone. A server that gives one too many before that to the content has its next
to last taken for it where content went unasked; where DATA is said, 354 in between shows that something is wrong.

Codes are judged by their first digit (RFC 5321 section 4.2.1). What no server may say, 250 to DATA say, ends the
connection; recipients not decided by then are deferred.
"""

import enum
from collections.abc import Callable

from mta.smtp import client_mail, limits
from mta.smtp.client_mail import CHUNK, DATA, DEFERRED, DELIVERED, MAIL, RECIPIENT, Keywords, Mail, Verdict
from mta.smtp.client_reply import Reply


class Protocol(enum.Enum):
    """Which of the two is spoken; the value is the command that opens it."""

    SMTP = b"EHLO"
    LMTP = b"LHLO"


class Step(enum.Enum):
    """What is next; `mta.smtp.client` says what each asks for."""

    READ = enum.auto()
    TLS = enum.auto()
    READY = enum.auto()
    CONTENT = enum.auto()
    CLOSED = enum.auto()


# What the next reply answers, in words for people, besides what a mail's commands are called.
NOTHING = "nothing"
_RESET = "RSET"
_CONTENT = "the message"
_END = "the end of the message"
_EMPTY_END = "the end of no message"


class Transaction:
    """A mail on its way; dropped whole when the next one begins.

    `step` is READ, CONTENT or, when it is over, READY; `expect` says what the next reply answers; `output` is to be
    sent, and emptied by whoever takes it; `chunked` says that the content goes by BDAT.
    """

    __slots__ = (
        "_accepted",
        "_answered",
        "_commands",
        "_content_is_sent",
        "_mail_accepted",
        "_pipelining",
        "_protocol",
        "_sent",
        "_verdicts",
        "chunked",
        "expect",
        "output",
        "reset_due",
        "step",
    )

    def __init__(self, mail: Mail, keywords: Keywords, protocol: Protocol, *, reset_due: bool) -> None:
        """`keywords` is what the server announced; `reset_due`: it may still have a transaction open.

        It is over at once where the announcements rule it out. Raises `ValueError` for addresses that cannot stand in a
        command.
        """
        self._protocol = protocol
        self._pipelining = b"PIPELINING" in keywords
        self._mail_accepted = False
        self._accepted: list[int] = []  # recipients that were accepted and have no verdict yet
        self._verdicts: list[Verdict | None] = [None] * len(mail.recipients)
        self._answered = 0
        self._sent = 0
        self._content_is_sent = False
        self._commands: client_mail.Commands = []
        self.output = b""
        self.chunked = False
        self.reset_due = reset_due  # once it is over: for the next one
        ruled_out = client_mail.ruled_out(mail, keywords)
        if ruled_out is not None:
            self.decide(ruled_out)
            self._over(reset_due=reset_due)
            return
        commands = client_mail.commands(mail, keywords)
        self.chunked = commands[-1][0] is CHUNK
        if reset_due:
            commands.insert(0, (_RESET, b"RSET\r\n"))
        # Where a RSET goes wrong the mail is tried elsewhere at once, so it must not have been sent yet.
        may_be_unasked = self.chunked and self._pipelining and not reset_due
        is_unasked = may_be_unasked and mail.size_bytes <= limits.UNASKED_BYTES
        group = commands[:-1] if self.chunked and not is_unasked else commands
        output = b"".join([line for _, line in group])
        if not output.count(b"\n") == output.count(b"\r") == len(group):
            raise ValueError(f"an address with a line end: {output!r}")
        self._commands = commands
        self.step = Step.CONTENT if is_unasked else Step.READ
        self.expect = commands[0][0]
        if self._pipelining:
            self.output = output
            self._sent = len(group)
        else:
            self._send_next()

    @property
    def verdicts(self) -> list[Verdict]:
        """One for each recipient, in order. Complete when the transaction is over."""
        return [verdict for verdict in self._verdicts if verdict]

    @property
    def untouched(self) -> bool:
        """The server has not answered MAIL."""
        return self.expect in (_RESET, MAIL)

    @property
    def is_all_sent(self) -> bool:
        """Whether all that is left are replies."""
        return self._content_is_sent

    def decide(self, verdict: Verdict) -> None:
        """For everybody who has no verdict yet."""
        self._verdicts = [known or verdict for known in self._verdicts]
        self._accepted = []

    def content_sent(self) -> None:
        """The content and its end have been sent."""
        self._content_is_sent = True
        self.step = Step.READ
        if self.expect is _CONTENT:
            self.expect = _END

    def answer(self, reply: Reply) -> Verdict | None:
        """Take a reply, 421 excepted. Returns why the connection must end, where it must."""
        return _ANSWERS[self.expect](self, reply)

    # --- commands

    def _send_next(self) -> None:
        """The next command, for a server without PIPELINING."""
        self.output = self._commands[self._sent][1]
        self._sent += 1

    def _went_on(self) -> None:
        """A command before the content has its answer, and the transaction goes on."""
        self._answered += 1
        expect = self.expect = self._commands[self._answered][0]
        if self._sent > self._answered:  # the next command has been sent
            if expect is CHUNK:
                self.expect = _END if self._content_is_sent else _CONTENT
            return
        if expect in (DATA, CHUNK) and not self._accepted:
            self._over(reset_due=self._mail_accepted)
            return
        self._send_next()
        if expect is CHUNK:
            self.expect = _CONTENT
            self.step = Step.CONTENT

    def _over(self, *, reset_due: bool = False) -> None:
        """The connection can be used again."""
        self.reset_due = reset_due
        self.expect = NOTHING
        self.step = Step.READY

    # --- replies, one method for each thing that is answered

    def _on_reset(self, reply: Reply) -> Verdict | None:
        if reply.code // 100 != 2:
            return violation(reply, self.expect)
        self._went_on()
        return None

    def _on_mail(self, reply: Reply) -> Verdict | None:
        if reply.code // 100 == 2:
            self._mail_accepted = True
            self._went_on()
        elif reply.code // 100 == 3:
            return violation(reply, self.expect)
        else:
            self.decide(self._verdict(reply))
            if self._pipelining:
                self._went_on()  # the others will be refused too
            else:
                self._over()
        return None

    def _on_recipient(self, reply: Reply) -> Verdict | None:
        if reply.code // 100 == 3:
            return violation(reply, self.expect)
        if self._mail_accepted:
            index = self._answered - len(self._commands) + 1 + len(self._verdicts)
            if reply.code // 100 == 2:
                self._accepted.append(index)
            else:
                self._verdicts[index] = self._verdict(reply)
        self._went_on()
        return None

    def _on_data(self, reply: Reply) -> Verdict | None:
        kind = reply.code // 100
        if kind == 2 or (kind == 3 and not self._accepted and self._protocol is Protocol.LMTP):
            return violation(reply, self.expect)
        if kind != 3:
            self.decide(self._verdict(reply))
            self._over(reset_due=self._mail_accepted)
        elif self._accepted:
            self.expect = _CONTENT
            self.step = Step.CONTENT
        else:  # RFC 2920 section 3.1: no recipient was accepted, and yet the server wants content
            self.expect = _EMPTY_END
            self.output = b".\r\n"
        return None

    def _on_content(self, reply: Reply) -> Verdict | None:
        """A reply before the content was sent: a server may refuse before it has read all, but then it is lost."""
        return self._verdict(reply) if reply.code // 100 in (4, 5) else violation(reply, self.expect)

    def _on_end(self, reply: Reply) -> Verdict | None:
        if reply.code // 100 == 3:
            return violation(reply, self.expect)
        is_taken = reply.code // 100 == DELIVERED
        if not self._accepted:  # only content that was sent unasked comes to this
            if is_taken:
                return violation(reply, self.expect)
            self._over(reset_due=self._mail_accepted)
        elif self._protocol is Protocol.SMTP:
            self.decide(self._verdict(reply))
            self._over(reset_due=self.chunked and not is_taken)
        else:  # RFC 2033 section 4.2, RFC 2033 section 4.3: a reply for each accepted recipient, in order
            self._verdicts[self._accepted.pop(0)] = self._verdict(reply)
            if not self._accepted:
                self._over()
        return None

    def _on_empty_end(self, reply: Reply) -> Verdict | None:
        """Whatever it says: nobody was promised anything."""
        self._over()
        return None

    def _verdict(self, reply: Reply) -> Verdict:
        status = reply.code // 100
        return Verdict(status, reply.enhanced, reply.text if status == DELIVERED else in_reply(reply, self.expect))


_ANSWERS: dict[str, Callable[[Transaction, Reply], Verdict | None]] = {
    _RESET: Transaction._on_reset,
    MAIL: Transaction._on_mail,
    RECIPIENT: Transaction._on_recipient,
    DATA: Transaction._on_data,
    _CONTENT: Transaction._on_content,
    _END: Transaction._on_end,
    _EMPTY_END: Transaction._on_empty_end,
}


def in_reply(reply: Reply, expect: str) -> str:
    """A reply's text, and what it answers."""
    return f"{reply.text} (in reply to {expect})"


def violation(reply: Reply, expect: str) -> Verdict:
    """What becomes of everybody when a server says what it must not say."""
    return Verdict(DEFERRED, "4.5.0", f"unexpected reply: {in_reply(reply, expect)}")
