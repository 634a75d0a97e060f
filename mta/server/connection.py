"""One client: where protocol, decision, storage and socket meet. Plain synchronous code in a greenlet of its own."""

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from time import time
from traceback import format_exc
from typing import Any

from mta import envelope, log
from mta.config import Listen
from mta.errors import SpoolError
from mta.fastparse import Unstuffer
from mta.policy.chain import Chain
from mta.server.content import IncomingContent
from mta.server.service import Shared
from mta.server.stream import DeadlineExceeded, Draining, Stream
from mta.smtp import replies, trace
from mta.smtp.events import Content, DataCommand, Message, Recipient, Sender, Signal
from mta.smtp.session import Session, Terms, Transaction
from mta.smtp.state import State
from mta.spool import queueid

NEWCOMER_S = 3.0
"""A client has this long to begin its first message while the worker goes down; greeting, EHLO and MAIL take three
round trips, and each less than a second."""


class Door:
    """What one listener offers to those who come in by it."""

    def __init__(self, listen: Listen, hostname: str, terms: Terms, chain: Chain) -> None:
        self.address = listen.address
        self.hostname = hostname.encode()
        self.terms = terms
        self.chain = chain


class Client:
    """Who is connected: `text` for the log, `literal` for the Received field, `session_id` for both ends' logs."""

    __slots__ = ("literal", "session_id", "text")

    def __init__(self, text: str, literal: bytes, session_id: str) -> None:
        self.text = text
        self.literal = literal
        self.session_id = session_id


class Connection:
    """A client from its greeting to its end."""

    __slots__ = (
        "_content",
        "_door",
        "_messages",
        "_session",
        "_shared",
        "_started_s",
        "_transaction_started_s",
        "client",
        "stream",
    )

    def __init__(self, stream: Stream, client: Client, door: Door, shared: Shared) -> None:
        self.stream = stream
        self.client = client
        self._door = door
        self._shared = shared
        self._session = Session(door.terms)
        self._content: IncomingContent | None = None
        self._messages = 0
        self._started_s = shared.clock.now_s
        self._transaction_started_s = 0.0

    def run(self) -> None:
        """Serve the client until it is gone. Switches greenlets at every wait; raises nothing."""
        client = self.client
        self._shared.connections.add(self)
        log.connect(client.session_id, client.text, self._door.address)
        try:
            reason = self._converse()
        except DeadlineExceeded:
            reason = self._last_word(replies.R421_TIMEOUT, "timeout")
        except Draining:
            reason = self._last_word(replies.R421_SHUTDOWN, "shutdown")
        except OSError as error:
            reason = error.strerror or type(error).__name__
        except Exception:  # noqa: BLE001 - the last frame of a greenlet: one session may die of a fault, the worker not
            log.problem("a session died of a fault of ours", session=client.session_id, trace=format_exc())
            reason = self._last_word(replies.R451_LOCAL_ERROR, "fault")
        self._drop_content()
        self.stream.close()
        self._shared.connections.discard(self)
        seconds = self._shared.clock.now_s - self._started_s
        log.disconnect(client.session_id, client.text, reason, self._messages, self._session.commands, seconds)

    def _converse(self) -> str:
        """Go from event to event; returns why the session ended."""
        session = self._session
        shared = self._shared
        command_timeout_s = shared.limits.command_timeout_s
        data_timeout_s = shared.limits.data_timeout_s
        while True:
            event = session.next_event()
            if event is Signal.NEED_DATA:
                self._flush()
                in_data = session.state is State.DATA
                if shared.is_draining and self._owes_nothing():
                    raise Draining
                count = self.stream.receive_into(shared.buffer, data_timeout_s if in_data else command_timeout_s)
                if count == 0:
                    return "lost in DATA" if in_data else "closed by client"
                session.receive(shared.view[:count])
            elif event is Signal.CLOSE:
                self._log_refusals()
                self.stream.send_last(session.take_output())
                if not session.has_quit:
                    self.stream.linger(shared.buffer)
                return "quit" if session.has_quit else "closed by us"
            elif event is Signal.DROPPED:
                self._drop_content()
            else:
                _ANSWERS[type(event)](self, event)

    def _flush(self) -> None:
        """Send what is to be sent, and log what was refused in it."""
        session = self._session
        if session.has_output:
            self.stream.send(session.take_output(), self._shared.limits.command_timeout_s)
        if session.refusals:
            self._log_refusals()

    def _log_refusals(self) -> None:
        session = self._session
        client = self.client
        sender = session.transaction.sender if session.transaction is not None else b""
        for refusal in session.refusals:
            stage = refusal.verb.decode("ascii", "replace") if refusal.verb.isalpha() else "command"
            reply = refusal.reply
            log.refused(client.session_id, "", client.text, stage, reply.wire, reply.reason, sender, refusal.argument)
        session.refusals.clear()

    def _last_word(self, reply: replies.Reply, reason: str) -> str:
        """Tell the client why we close, if it still listens (RFC 5321 section 3.8); returns `reason`."""
        self._session.close(reply)
        self._log_refusals()
        with suppress(OSError):
            self.stream.send_last(self._session.take_output())
        return reason

    def is_idle(self) -> bool:
        """Whether the client owes us nothing but its next command: it may be sent away."""
        return self.stream.is_parked and self._owes_nothing()

    def _owes_nothing(self) -> bool:
        # Who has just come has come to send a message, and would take it amiss to be greeted and turned away.
        is_new = self._messages == 0 and self._shared.clock.now_s - self._started_s < NEWCOMER_S
        return self._session.transaction is None and not is_new

    # Answers to the session's questions

    def _on_sender(self, event: Sender) -> None:
        shared = self._shared
        if shared.writer.unhealthy() is not None:
            self._session.refuse(replies.R452_STORAGE)
        elif not shared.has_memory():
            self._session.refuse(replies.R452_BUSY)
        else:
            self._transaction_started_s = time()
            self._session.accept_sender()

    def _on_recipient(self, event: Recipient) -> None:
        chain = self._door.chain
        reply = chain.recipient(event.domain).reply
        if reply is not None:
            self._session.refuse(reply)
        else:
            address = event.local + b"@" + event.domain if event.domain else chain.postmaster
            self._session.accept_recipient(address)

    def _on_data(self, event: DataCommand) -> None:
        if not self._shared.has_memory():
            self._session.refuse(replies.R452_BUSY)
        else:
            self._content = IncomingContent(self._shared)
            self._session.accept_data()

    def _on_content(self, event: Content) -> None:
        assert self._content is not None
        self._content.add(event.data)

    def _on_message(self, event: Message) -> None:
        session = self._session
        transaction = session.transaction
        content = self._content
        assert transaction is not None
        assert content is not None
        content.add(event.data)
        reply = self._door.chain.content(event.facts).reply
        if reply is not None:
            self._drop_content()
            session.refuse_message(reply)
            return
        if session.has_output:
            self._flush()  # replies must not wait for the disk with the message
        try:
            location = content.commit(partial(self._envelope, transaction, event.facts))
        except SpoolError as error:
            log.problem("a message could not be stored", session=self.client.session_id, reason=str(error))
            session.refuse_message(replies.R452_STORAGE)
            return
        finally:
            self._content = None
        self._messages += 1
        queue_id = queueid.text(location)
        client = self.client
        seconds = time() - self._transaction_started_s
        count, size_bytes = len(transaction.recipients), event.facts.size
        log.queued(queue_id, client.session_id, client.text, transaction.sender, count, size_bytes, seconds)
        session.accept_message(replies.queued(queue_id))

    def _envelope(self, transaction: Transaction, facts: Unstuffer, queue_id: bytes) -> bytes:
        """The envelope to be stored with the message of that queue id."""
        session = self._session
        client = self.client
        recipients = transaction.recipients
        protocol = "ESMTP" if session.extended else "SMTP"
        now_wall = time()
        field = trace.received(
            helo=session.helo,
            client=client.literal,
            hostname=self._door.hostname,
            protocol=b"UTF8SMTP" if transaction.smtputf8 else protocol.encode(),
            queue_id=queue_id,
            recipient=recipients[0] if len(recipients) == 1 else b"",
            when=trace.date(int(now_wall)),
        )
        return envelope.encode(
            envelope.Envelope(
                sender=transaction.sender,
                recipients=tuple(recipients),
                received_wall=now_wall,
                client=client.text,
                helo=session.helo,
                protocol=protocol,
                session=client.session_id,
                eight_bit=transaction.eight_bit or facts.eight_bit > 0,
                smtputf8=transaction.smtputf8,
                trace=field,
            )
        )

    def _drop_content(self) -> None:
        if self._content is not None:
            self._content.abort()
            self._content = None


_ANSWERS: dict[type, Callable[[Connection, Any], None]] = {
    Sender: Connection._on_sender,
    Recipient: Connection._on_recipient,
    DataCommand: Connection._on_data,
    Content: Connection._on_content,
    Message: Connection._on_message,
}
