"""The server's side of a conversation, without I/O: bytes in, events out, replies gathered.

The driver calls `receive` with what the network brought and `next_event` until that says `NEED_DATA`; the replies
made meanwhile lie in the output and go out with one write, as a pipelined group deserves (RFC 2920 section 3.2). What
is legal when is the table in `mta.smtp.state`; what a refusal says is in `mta.smtp.replies`. There is no clock, no
socket and no configuration in here, and none of this blocks.
"""

from collections.abc import Callable

import msgspec

from mta.fastparse import LINE_TOO_LONG, LineSplitter, Unstuffer, parse_command, parse_path
from mta.smtp import address, limits, parameters, replies
from mta.smtp.events import Content, DataCommand, Event, Message, Recipient, Sender, Signal
from mta.smtp.replies import Reply
from mta.smtp.state import NOT_IMPLEMENTED, NOT_SMTP, OUT_OF_ORDER, TRANSITIONS, State

NEED_DATA = Signal.NEED_DATA
CLOSE = Signal.CLOSE
DROPPED = Signal.DROPPED


class Terms(msgspec.Struct, frozen=True):
    """What a listener offers: our name, and the bounds a session keeps. One object serves all its sessions."""

    greeting: Reply
    hello: Reply
    extended_hello: Reply
    message_bytes: int
    recipients: int
    errors: int

    @classmethod
    def make(cls, hostname: str, *, message_bytes: int, recipients: int, errors: int) -> "Terms":
        """Terms with their replies made ready. HELP stands last: some clients read EHLO up to there."""
        keywords = [f"SIZE {message_bytes}", "PIPELINING", "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES", "HELP"]
        return cls(
            greeting=replies.greeting(hostname),
            hello=replies.hello(hostname),
            extended_hello=replies.extended_hello(hostname, keywords),
            message_bytes=message_bytes,
            recipients=recipients,
            errors=errors,
        )


class Transaction:
    """A mail transaction: from MAIL until its message is answered, or until it is dropped whole."""

    __slots__ = ("eight_bit", "recipients", "sender", "smtputf8")

    def __init__(self, sender: bytes, *, eight_bit: bool = False, smtputf8: bool = False) -> None:
        self.sender = sender
        self.eight_bit = eight_bit
        self.smtputf8 = smtputf8
        self.recipients: list[bytes] = []


class Refusal(msgspec.Struct, gc=False):
    """What was refused, for the log: the command's verb (or DATA for content), its argument, the reply as sent."""

    verb: bytes
    argument: bytes
    reply: Reply


class Session:
    """One conversation. See the module's text for how it is driven.

    `refusals` gathers what was refused since the driver last cleared it; `commands` counts lines taken as commands.
    """

    __slots__ = (
        "_argument",
        "_content",
        "_errors_left",
        "_next_state",
        "_output",
        "_proposed",
        "_splitter",
        "_terms",
        "_unstuffer",
        "_verb",
        "commands",
        "extended",
        "helo",
        "refusals",
        "state",
        "transaction",
    )

    def __init__(self, terms: Terms) -> None:
        self._terms = terms
        self._splitter = LineSplitter(limits.COMMAND_LINE_BYTES)
        self._unstuffer: Unstuffer | None = None
        self._content: bytes | memoryview | None = None  # received, not yet unstuffed
        self._output: list[bytes] = [terms.greeting.wire]
        self._errors_left = terms.errors
        self._next_state: State | None = None  # where the command in hand leads once it is accepted
        self._proposed: Transaction | None = None
        self._verb = b""  # the command in hand
        self._argument = b""
        self.commands = 0
        self.refusals: list[Refusal] = []
        self.state = State.CONNECTED
        self.transaction: Transaction | None = None
        self.helo = b""
        self.extended = False

    def receive(self, data: bytes | memoryview) -> None:
        """Take what the network brought. A view must stay valid until `next_event` was called once."""
        if self.state is State.DATA:
            self._content = data
        else:
            self._splitter.feed(data)

    def take_output(self) -> bytes:
        """The replies to be sent, which are forgotten here."""
        output = self._output
        if len(output) == 1:
            return output.pop()
        joined = b"".join(output)
        output.clear()
        return joined

    @property
    def has_quit(self) -> bool:
        """Whether the session was closed by the client's QUIT rather than by us."""
        return self.state is State.CLOSED and self._verb == b"QUIT"

    @property
    def has_output(self) -> bool:
        """Whether replies wait to be sent."""
        return bool(self._output)

    def next_event(self) -> Event:
        """Go on with what was received until something has to be asked, told or waited for."""
        while True:
            if self.state is State.DATA:
                return self._next_content()
            if self.state is State.CLOSED:
                return CLOSE
            line = self._splitter.next_line()
            if line is None:
                return NEED_DATA
            self.commands += 1
            if not isinstance(line, bytes):
                self._verb = self._argument = b""
                self.refuse(replies.R500_LINE_TOO_LONG if line == LINE_TOO_LONG else replies.R500_BARE_LF)
                continue
            verb, argument = parse_command(line)
            self._verb = verb
            self._argument = argument
            transitions = TRANSITIONS[self.state]
            if verb not in transitions:
                self._refuse_command(verb)
                continue
            self._next_state = transitions[verb]
            event = _HANDLERS[verb](self, argument)
            if event is not None:
                return event

    # Answers of the driver

    def accept_sender(self) -> None:
        """Answer to `Sender`: the transaction begins."""
        self.transaction = self._proposed
        self._move()
        self._output.append(replies.R250_SENDER.wire)

    def accept_recipient(self, recipient: bytes) -> None:
        """Answer to `Recipient`: `recipient` is the forward-path to be kept in the envelope."""
        assert self.transaction is not None
        self.transaction.recipients.append(recipient)
        self._move()
        self._output.append(replies.R250_RECIPIENT.wire)

    def accept_data(self) -> None:
        """Answer to `DataCommand`: what follows is content."""
        self._unstuffer = Unstuffer(self._terms.message_bytes)
        self._move()
        self._output.append(replies.R354_GO_AHEAD.wire)
        if self._splitter.pending:
            self._content = self._splitter.take_rest()

    def accept_message(self, reply: Reply) -> None:
        """Answer to `Message`: we are responsible for it now."""
        self.transaction = None
        self._output.append(reply.wire)

    def refuse_message(self, reply: Reply) -> None:
        """Answer to `Message`: the sender keeps it."""
        self.transaction = None
        self.refusals.append(Refusal(b"DATA", b"", reply))
        self._output.append(reply.wire)

    def refuse(self, reply: Reply) -> None:
        """Refuse a command, which counts as an error; too many of them end the session."""
        self.refusals.append(Refusal(self._verb, self._argument, reply))
        self._output.append(reply.wire)
        self._errors_left -= 1
        if self._errors_left <= 0:
            self.close(replies.R421_TOO_MANY_ERRORS)

    def close(self, reply: Reply) -> None:
        """Say a last word; the next event is CLOSE. What was being received is dropped."""
        self.transaction = None
        self.state = State.CLOSED
        self._output.append(reply.wire)

    def _move(self) -> None:
        if self._next_state is not None:
            self.state = self._next_state

    # Content

    def _next_content(self) -> Event:
        data = self._content
        if data is None:
            return NEED_DATA
        self._content = None
        unstuffer = self._unstuffer
        assert unstuffer is not None
        content = unstuffer.feed(data)
        if not unstuffer.done:
            return Content(content)
        self._unstuffer = None
        self.state = State.READY  # the transaction is over, whatever its answer
        if unstuffer.consumed < len(data):
            self._splitter.feed(data[unstuffer.consumed :])
        if unstuffer.oversize:
            self.refuse_message(replies.R552_TOO_BIG)
            return DROPPED
        return Message(content, unstuffer)

    # Commands: each gets its argument and returns a question for the driver, or None when it is done

    def _refuse_command(self, verb: bytes) -> None:
        reply = OUT_OF_ORDER[self.state].get(verb)
        if reply is None and verb in NOT_SMTP:
            self.close(replies.R502_NOT_SMTP)
            return
        if reply is None:
            reply = replies.R502_NOT_IMPLEMENTED if verb in NOT_IMPLEMENTED else replies.R500_UNKNOWN
        self.refuse(reply)

    def _hello(self, argument: bytes, reply: Reply, *, extended: bool) -> None:
        # RFC 5321 section 4.1.4: a client may be wrong about its name and must not be refused for that, so any
        # printable word will do.
        if not argument or len(argument) > limits.HELO_BYTES or min(argument) <= 32 or max(argument) >= 127:
            self.refuse(replies.R501_HELO_SYNTAX)
            return
        self.helo = argument
        self.extended = extended
        self.transaction = None
        self._move()
        self._output.append(reply.wire)

    def _helo(self, argument: bytes) -> None:
        self._hello(argument, self._terms.hello, extended=False)

    def _ehlo(self, argument: bytes) -> None:
        self._hello(argument, self._terms.extended_hello, extended=True)

    def _mail(self, argument: bytes) -> Event | None:
        simple = parse_path(argument, b"FROM")
        if simple is not None:
            local, domain, rest = simple
            sender = local + b"@" + domain if domain else b""
        else:
            try:
                mailbox, rest = address.parse_path(argument, b"FROM", smtputf8=True)
            except address.AddressError as error:
                self.refuse(_BAD_SENDER[error.kind])
                return None
            sender = mailbox.wire
        if not rest:
            if not sender.isascii():
                self.refuse(replies.R553_NEEDS_SMTPUTF8)
                return None
            self._proposed = Transaction(sender)
            return Sender(sender, 0)
        try:
            given = parameters.parse_mail(rest)
        except parameters.ParameterError as error:
            self.refuse(error.reply)
            return None
        if not given.smtputf8 and not sender.isascii():
            self.refuse(replies.R553_NEEDS_SMTPUTF8)
            return None
        if given.size > self._terms.message_bytes:
            self.refuse(replies.R552_TOO_BIG)
            return None
        self._proposed = Transaction(sender, eight_bit=given.eight_bit, smtputf8=given.smtputf8)
        return Sender(sender, given.size)

    def _rcpt(self, argument: bytes) -> Event | None:
        transaction = self.transaction
        assert transaction is not None
        simple = parse_path(argument, b"TO")
        if simple is not None and simple[1]:
            local, domain, rest = simple
            domain = domain.lower()
        else:
            try:
                mailbox, rest = address.parse_path(argument, b"TO", smtputf8=transaction.smtputf8)
            except address.AddressError as error:
                self.refuse(_BAD_RECIPIENT[error.kind])
                return None
            local, domain = mailbox.local, mailbox.domain
        if rest:
            try:
                parameters.parse_rcpt(rest)
            except parameters.ParameterError as error:
                self.refuse(error.reply)
                return None
        if len(transaction.recipients) >= self._terms.recipients:
            # No error of the client's, which may send the rest later: RFC 5321 section 4.5.3.1.10.
            self.refusals.append(Refusal(b"RCPT", argument, replies.R452_TOO_MANY_RECIPIENTS))
            self._output.append(replies.R452_TOO_MANY_RECIPIENTS.wire)
            return None
        return Recipient(local, domain)

    def _data(self, argument: bytes) -> Event | None:
        if argument:
            self.refuse(replies.R501_NO_ARGUMENT)
            return None
        return DataCommand()

    def _rset(self, argument: bytes) -> None:
        if argument:
            self.refuse(replies.R501_NO_ARGUMENT)
            return
        self.transaction = None
        self._move()
        self._output.append(replies.R250_OK.wire)

    def _noop(self, argument: bytes) -> None:
        self._output.append(replies.R250_OK.wire)

    def _help(self, argument: bytes) -> None:
        self._output.append(replies.R214_HELP.wire)

    def _vrfy(self, argument: bytes) -> None:
        self._output.append(replies.R252_VRFY.wire)

    def _quit(self, argument: bytes) -> None:
        if argument:
            self.refuse(replies.R501_NO_ARGUMENT)
            return
        self.close(replies.R221_BYE)


_BAD_SENDER: dict[address.Kind, Reply] = {
    "syntax": replies.R501_MAIL_SYNTAX,
    "address": replies.R501_SENDER_ADDRESS,
    "domain": replies.R501_SENDER_DOMAIN,
    "non-ascii": replies.R553_NEEDS_SMTPUTF8,
}
_BAD_RECIPIENT: dict[address.Kind, Reply] = {
    "syntax": replies.R501_RCPT_SYNTAX,
    "address": replies.R501_RECIPIENT_ADDRESS,
    "domain": replies.R501_RECIPIENT_DOMAIN,
    "non-ascii": replies.R553_NEEDS_SMTPUTF8,
}
_HANDLERS: dict[bytes, Callable[[Session, bytes], Event | None]] = {
    b"HELO": Session._helo,
    b"EHLO": Session._ehlo,
    b"MAIL": Session._mail,
    b"RCPT": Session._rcpt,
    b"DATA": Session._data,
    b"RSET": Session._rset,
    b"NOOP": Session._noop,
    b"HELP": Session._help,
    b"VRFY": Session._vrfy,
    b"QUIT": Session._quit,
}
