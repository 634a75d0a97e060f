"""The server's side of a conversation, without I/O: bytes in, events out, replies gathered.

The driver calls `receive` with what the network brought and `next_event` until that says `NEED_DATA`; the replies
made meanwhile lie in the output and go out with one write, as a pipelined group deserves (RFC 2920 section 3.2). What
is legal when is the table in `mta.smtp.state`; what each command does is in `mta.smtp.commands`; what a refusal says
is in `mta.smtp.replies`. There is no clock, no socket and no configuration in here, and none of this blocks.

Content comes with DATA, dots stuffed, or with BDAT in chunks of a told size; either way it passes an `Unstuffer`, which
counts what policy asks about. The bytes of a chunk are taken as such even where its BDAT is refused: they must never be
read as commands (RFC 3030 section 2).
"""

from collections.abc import Sequence

from mta.fastparse import LINE_TOO_LONG, LineSplitter, Unstuffer, parse_command
from mta.smtp import replies
from mta.smtp.commands import HANDLERS, parse_chunk
from mta.smtp.dialogue import Dialogue
from mta.smtp.events import CLOSE, DROPPED, NEED_DATA, Content, DataCommand, Event, Message
from mta.smtp.replies import Reply
from mta.smtp.state import (
    BDAT,
    CHUNK,
    CLOSED,
    CONNECTED,
    DATA,
    NOT_IMPLEMENTED,
    NOT_SMTP,
    RCPT,
    READY,
)
from mta.smtp.terms import Terms
from mta.smtp.transaction import Target


class Session(Dialogue):
    """One conversation, from its bytes on. See the module's text for how it is driven."""

    __slots__ = (
        "_chunk_bytes",
        "_chunk_is_last",
        "_chunk_left",
        "_chunk_refusal",
        "_chunk_state",
        "_content",
        "_splitter",
        "_unstuffer",
    )

    def __init__(self, terms: Terms) -> None:
        super().__init__(terms)
        self._splitter = LineSplitter(terms.bounds.command_bytes)
        self._unstuffer: Unstuffer | None = None  # of the message that is coming
        self._content: bytes | memoryview | None = None  # received, not yet unstuffed
        self._chunk_bytes = 0  # the chunk in hand
        self._chunk_left = 0  # bytes of it that are to come
        self._chunk_is_last = False
        self._chunk_refusal: list[Reply] = []  # it is read and forgotten, and then answered with these
        self._chunk_state = CONNECTED  # where a refused one leads back to

    # --- input

    def receive(self, data: bytes | memoryview) -> None:
        """Take what the network brought. A view must stay valid until `next_event` was called once."""
        if self.state is DATA or self.state is CHUNK:
            self._content = data
        else:
            self._splitter.feed(data)

    def next_event(self) -> Event:
        """Go on with what was received until something has to be asked, told or waited for."""
        while True:
            if self.state is DATA:
                return self._next_content()
            if self.state is CHUNK:
                event = self._next_of_chunk()
            elif self.state is CLOSED:
                return CLOSE
            else:
                line = self._splitter.next_line()
                if line is None:
                    return NEED_DATA
                event = self._next_command(line)
            if event is not None:
                return event

    # --- answers of the driver

    def accept_sender(self) -> None:
        """Answer to `Sender`: the transaction begins."""
        self.transaction = self.proposed
        self.mails += 1
        self.move()
        self._output.append(replies.R250_SENDER.wire)

    def accept_recipient(self, recipient: bytes) -> None:
        """Answer to `Recipient`: `recipient` is the forward-path to be kept in the envelope."""
        assert self.transaction is not None
        self.transaction.add(recipient, self.proposed_recipient)
        self.move()
        self._output.append(replies.R250_RECIPIENT.wire)

    def accept_targets(self, recipient: bytes, targets: Sequence[Target]) -> None:
        """Answer to `Recipient` as well: `targets` are what it came to."""
        assert self.transaction is not None
        if not self.transaction.make_room(len(targets)):
            self.decline(replies.R452_TOO_MANY_RECIPIENTS)
            return
        self.transaction.expand(recipient, targets, self.proposed_recipient)
        self.move()
        self._output.append(replies.R250_RECIPIENT.wire)

    def accept_data(self) -> None:
        """Answer to `DataCommand`: what follows is content."""
        limit_bytes = self.terms.bounds.message_bytes
        if self.verb == b"BDAT":
            self._unstuffer = Unstuffer(limit_bytes, stuffed=False)
            self._enter_chunk()
            return
        if self.has_input and "data" in self.terms.refuse_early:
            self.close(replies.R554_EARLY)
            return
        self._unstuffer = Unstuffer(limit_bytes)
        self.move()
        self._output.append(replies.R354_GO_AHEAD.wire)
        if self.has_input:
            self._content = self._splitter.take(self._splitter.pending)

    def refuse(self, reply: Reply) -> None:
        """Refuse a command, which counts as an error; too many of them end the session.

        A refused BDAT is answered when its bytes have come, and gone.
        """
        if self.verb == b"BDAT":
            self._refuse_chunk(reply)
        else:
            super().refuse(reply)

    # --- commands

    def _next_command(self, line: bytes | int) -> Event | None:
        self.commands += 1
        if self.commands > self.terms.bounds.commands:
            self.close(replies.R421_TOO_MANY_COMMANDS)
            return None
        if not isinstance(line, bytes):
            self.verb = self.argument = b""
            self.refuse(replies.R500_LINE_TOO_LONG if line == LINE_TOO_LONG else replies.R500_BARE_LF)
            return None
        self.verb, self.argument = verb, argument = parse_command(line)
        self.has_input = self._splitter.pending > 0
        if self.has_input and not self.extended and self.must_wait:
            self.close(replies.R554_EARLY)
            return None
        if verb == b"BDAT":
            return self._begin_chunk(argument)
        transitions = self.terms.rules.transitions[self.state]
        if verb not in transitions:
            self._refuse_command(verb)
            return None
        self.next_state = transitions[verb]
        event = HANDLERS[verb](self, argument)
        if self._unstuffer is not None and self.transaction is None:  # a message in chunks was given up
            self._unstuffer = None
            return DROPPED
        return event

    def _refuse_command(self, verb: bytes) -> None:
        reply = self.terms.rules.out_of_order[self.state].get(verb)
        if reply is not None:
            self.refuse(reply)
        elif verb in NOT_SMTP:
            self.close(replies.R502_NOT_SMTP)
        else:
            self.refuse(replies.R502_NOT_IMPLEMENTED if verb in NOT_IMPLEMENTED else replies.R500_UNKNOWN)

    # --- content between DATA and its dot

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
        if unstuffer.consumed < len(data):
            self._splitter.feed(data[unstuffer.consumed :])
        return self._whole(content, unstuffer)

    def _whole(self, content: bytes, unstuffer: Unstuffer) -> Event:
        """The message has come to its end."""
        self._unstuffer = None
        self.state = READY  # the transaction is over, whatever its answer
        if unstuffer.oversize:
            self.refuse_message(replies.R552_TOO_BIG)
            return DROPPED
        return Message(content, unstuffer)

    # --- content in chunks

    def _begin_chunk(self, argument: bytes) -> Event | None:
        """BDAT: the first of a message is a question (RFC 3030 section 2)."""
        chunk = parse_chunk(argument)
        if chunk is None:
            self.close(replies.R501_BDAT_SYNTAX)  # nobody knows where its bytes end and commands begin
            return None
        self._chunk_bytes, self._chunk_is_last = chunk
        self._chunk_left = self._chunk_bytes
        if b"BDAT" not in self.terms.rules.transitions[self.state]:
            self._refuse_command(b"BDAT")
        elif self._unstuffer is None:
            return DataCommand()
        else:
            self._enter_chunk()
        return None

    def _enter_chunk(self) -> None:
        """The bytes of a chunk come next; some may have come already."""
        self.state = CHUNK
        if self.has_input or not self._chunk_left:
            self._content = self._splitter.take(self._chunk_left)

    def _next_of_chunk(self) -> Event | None:
        data = self._content
        if data is None:
            return NEED_DATA
        self._content = None
        left = self._chunk_left
        if len(data) > left:
            self._splitter.feed(data[left:])
            data = data[:left]
        self._chunk_left = left - len(data)
        if self._chunk_refusal:
            self._forget_chunk()
            return None
        unstuffer = self._unstuffer
        assert unstuffer is not None
        content = unstuffer.feed(data)
        if self._chunk_left:
            return Content(content)
        if self._chunk_is_last:
            unstuffer.end()
            return self._whole(content, unstuffer)
        if unstuffer.oversize:
            return self._too_big_so_far()
        self.state = BDAT
        self._output.append(replies.chunk(self._chunk_bytes).wire)
        return Content(content)

    def _refuse_chunk(self, reply: Reply) -> None:
        """Read the chunk in hand and forget it. Without its first chunk a message is none, so its transaction ends."""
        self._chunk_refusal = [reply]
        if self.state is RCPT:
            assert self.transaction is not None
            if self.is_lmtp and self._chunk_is_last:  # RFC 2033 section 4.2
                self._chunk_refusal *= self.transaction.accepted
            self.transaction = None
            self.state = READY
        self._chunk_state = self.state
        self._enter_chunk()

    def _forget_chunk(self) -> None:
        """A piece of a refused chunk has come; answer when it was the last."""
        if self._chunk_left:
            return
        self.state = self._chunk_state
        reply, *copies = self._chunk_refusal
        self._chunk_refusal = []
        self._output += [copy.wire for copy in copies]
        super().refuse(reply)

    def _too_big_so_far(self) -> Event:
        """More chunks would follow: one reply to this one, with LMTP too, and the transaction is over."""
        self._unstuffer = None
        self.state = READY
        self.decline(replies.R552_TOO_BIG)
        self.transaction = None
        return DROPPED
