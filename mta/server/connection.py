"""One client: where protocol, decision, storage and socket meet. Plain synchronous code in a greenlet of its own."""

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from time import time
from traceback import format_exc
from typing import Any

from mta import log
from mta.errors import SpoolError
from mta.newlines import Normaliser
from mta.server import entrance, envelopes
from mta.server.addressing import Addressing
from mta.server.client import Client
from mta.server.content import IncomingContent
from mta.server.door import Door
from mta.server.pace import Pace
from mta.server.service import Shared
from mta.server.stream import DeadlineExceeded, Draining, Stream
from mta.server.tls_stream import TlsFacts, TlsFailure, TlsStream
from mta.smtp import replies
from mta.smtp.events import (
    CLOSE,
    DROPPED,
    NEED_DATA,
    START_TLS,
    Content,
    DataCommand,
    Message,
    Recipient,
    Sender,
    Xclient,
    Xforward,
)
from mta.smtp.replies import Reply
from mta.smtp.transaction import Transaction
from mta.spool import queueid

NEWCOMER_S = 3.0
"""A client has this long to begin its first message while the worker goes down; greeting, EHLO and MAIL take three
round trips, and each less than a second."""

PENALTIES = 5
"""Refusals of a pipelined group that are delayed, at most; the group is answered at once, after the sum."""


class Connection(Addressing):
    """A client from its arrival to its end."""

    __slots__ = (
        "_content",
        "_held_bytes",
        "_messages",
        "_network",
        "_normaliser",
        "_pace",
        "_started_s",
        "_talk",
        "_tls",
        "stream",
    )

    def __init__(self, stream: Stream, client: Client, door: Door, shared: Shared) -> None:
        super().__init__(client, door, shared)
        self.stream = stream
        self._talk: Stream | TlsStream = stream  # what the conversation goes through
        self._pace = Pace(door.limits, shared.clock)
        self._tls: TlsFacts | None = None
        self._network = b""  # that the client is counted with
        self._content: IncomingContent | None = None
        self._normaliser: Normaliser | None = None
        self._held_bytes = 0  # our recipients' part of the account
        self._messages = 0
        self._started_s = shared.clock.now_s

    def run(self) -> None:
        """Serve the client until it is gone. Switches greenlets at every wait; raises nothing."""
        shared = self._shared
        shared.connections.add(self)
        try:
            reason = self._serve()
        except DeadlineExceeded:
            reason = self._last_word(self._pace.last_word(self._session))
        except Draining:
            reason = self._last_word(replies.R421_SHUTDOWN)
        except entrance.Misled as error:
            log.connect(self.client.session_id, self.client.text, self._door.address)
            reason = str(error)
        except TlsFailure as error:
            log.tls_failed(self.client.session_id, self.client.text, error.reason)
            reason = "TLS failed"
        except OSError as error:
            reason = error.strerror or type(error).__name__
        except Exception:  # noqa: BLE001 - the last frame of a greenlet: one session may die of a fault, the worker not
            log.problem("a session died of a fault of ours", session=self.client.session_id, trace=format_exc())
            reason = self._last_word(replies.R451_LOCAL_ERROR)
        self._drop_content()
        self._hold(None)
        self._talk.close()
        if self._network:
            shared.clients.remove(self._network)
        shared.connections.discard(self)
        client = self.client
        seconds = shared.clock.now_s - self._started_s
        log.disconnect(client.session_id, client.text, reason, self._messages, self._session.commands, seconds)

    # --- arrival

    def _serve(self) -> str:
        """From the first byte to the last; returns why the session ended."""
        shared = self._shared
        door = self._door
        session = self._session
        early = b""
        if self.client.host in door.proxies:
            self.client, early = entrance.read_proxy_header(self.stream, self.client, shared)
        client = self.client
        log.connect(client.session_id, client.text, door.address)
        session.may_xclient = client.host in door.xclient
        session.may_xforward = client.host in door.xforward
        session.may_xfer = client.host in door.xfer
        refusal = self._admit()
        if refusal is not None and door.is_tls:
            return refusal.reason  # whoever waits for TLS cannot read it
        if refusal is not None:
            session.turn_away(refusal)
        elif door.is_tls:
            self._shake_hands(early)
        else:
            early = early or self._early_input()
            if early and "greeting" in door.terms.refuse_early:
                session.turn_away(replies.R554_EARLY)
            elif early:
                session.receive(early)
        return self._converse()

    def _admit(self) -> Reply | None:
        """Count the client, or say why it cannot be served."""
        shared = self._shared
        limits = self._door.limits
        if not shared.has_memory():
            return replies.R421_OVERLOADED
        if shared.writer.unhealthy() is not None:
            return replies.R421_STORAGE
        if self.client.host in self._door.exempt:
            return None
        network = entrance.network(self.client.host, limits)
        if shared.clients.add(network, limits.client_connections) > limits.client_connections:
            shared.clients.remove(network)  # who is sent away takes nobody's place
            return replies.R421_TOO_MANY_OF_CLIENT
        self._network = network
        return None

    def _early_input(self) -> bytes:
        """What the client sent without waiting for the greeting."""
        shared = self._shared
        count = self.stream.receive_now(shared.buffer)
        return bytes(shared.view[:count]) if count else b""

    def _shake_hands(self, early: bytes = b"") -> None:
        """TLS begins here. Raises `TlsFailure`, `DeadlineExceeded`, `OSError`."""
        shared = self._shared
        talk = TlsStream(self.stream, shared.tls.context(self._door.client_certificates), early)
        self._talk = talk  # from here on nothing is said in the clear
        deadline_at = self._pace.deadline_at(self._session, is_stressed=shared.is_stressed)
        talk.handshake(shared.buffer, min(deadline_at, shared.clock.now_s + entrance.HANDSHAKE_S))
        self._tls = talk.facts
        log.tls(self.client.session_id, self.client.text, talk.facts)

    # --- conversation

    def _converse(self) -> str:
        """Go from event to event; returns why the session ended."""
        session = self._session
        shared = self._shared
        pace = self._pace
        while True:
            event = session.next_event()
            if event is NEED_DATA:
                self._hold(session.transaction)
                self._flush()
                if shared.is_draining and self._owes_nothing():
                    raise Draining
                deadline_at = pace.deadline_at(session, is_stressed=shared.is_stressed)
                count = self._talk.receive_into(shared.buffer, deadline_at)
                if count == 0:
                    return "lost in DATA" if session.is_receiving else "closed by client"
                pace.received_bytes += count
                session.receive(shared.view[:count])
            elif event is CLOSE:
                self._punish()
                self._log_refusals()
                self._talk.send_last(session.take_output())
                if not session.has_quit:
                    self._talk.linger(shared.buffer)
                return "quit" if session.has_quit else "closed by us"
            elif event is DROPPED:
                self._drop_content()
            elif event is START_TLS:
                self._start_tls()
            else:
                _ANSWERS[type(event)](self, event)

    def _hold(self, transaction: Transaction | None) -> None:
        """Count what the recipients of a message take in the worker's account of memory."""
        held_bytes = 0 if transaction is None else transaction.held_bytes
        if held_bytes != self._held_bytes:
            self._shared.held_bytes += held_bytes - self._held_bytes
            self._held_bytes = held_bytes

    def _flush(self) -> None:
        """Send what is to be sent, and log what was refused in it."""
        session = self._session
        if session.penalties:
            self._punish()
        if session.has_output:
            self._talk.send(session.take_output(), self._shared.clock.now_s + self._door.limits.command_timeout_s)
        if session.refusals:
            self._log_refusals()

    def _punish(self) -> None:
        """Let a client wait that does nothing but what is refused; not under stress, when it is to go soon."""
        session = self._session
        count, session.penalties = session.penalties, 0
        delay_s = self._door.limits.error_delay_s
        if count and delay_s and not self._shared.is_stressed:
            self.stream.pause(delay_s * min(count, PENALTIES))

    def _log_refusals(self) -> None:
        session = self._session
        client = self.client
        for refusal in session.refusals:
            reply = refusal.reply
            stage = refusal.verb.decode("ascii", "replace") if refusal.verb.isalpha() else "command"
            words = (reply.wire, reply.reason, refusal.sender, refusal.argument)
            log.refused(client.session_id, "", client.text, stage, *words)
        session.refusals.clear()

    def _last_word(self, reply: Reply) -> str:
        """Tell the client why we close, if it still listens (RFC 5321 section 3.8); returns the reason."""
        self._session.close(reply)
        self._log_refusals()
        with suppress(OSError):
            # Closed with input unread, the connection would be reset, and our words lost that are not sent yet.
            self.stream.receive_now(self._shared.buffer)
            self._talk.send_last(self._session.take_output())
        return reply.reason

    def is_idle(self) -> bool:
        """Whether the client owes us nothing but its next command: it may be sent away."""
        return self.stream.is_parked and self._owes_nothing()

    def hurry(self) -> None:
        """Stress has begun: who waits for its client waits no longer than that allows."""
        if self.stream.is_parked:
            self.stream.deadline_at = min(
                self.stream.deadline_at, self._pace.deadline_at(self._session, is_stressed=True)
            )

    def _owes_nothing(self) -> bool:
        # Who has just come has come to send a message, and would take it amiss to be greeted and turned away.
        is_new = self._messages == 0 and self._shared.clock.now_s - self._started_s < NEWCOMER_S
        return self._session.transaction is None and not is_new

    # --- answers to the session's questions

    def _start_tls(self) -> None:
        session = self._session
        if not self._shared.tls.available:
            session.refuse(replies.R454_TLS_UNAVAILABLE)
            return
        session.say(replies.R220_START_TLS)
        self._flush()
        self._shake_hands()
        session.tls_active = True
        session.restart()

    def _on_xclient(self, event: Xclient) -> None:
        self.client = entrance.introduced(self.client, event.attributes)
        client = self.client
        log.connect(client.session_id, client.text, self._door.address)
        self._session.may_xfer = False  # a filter speaks for others, and none of them is a node of ours
        self._session.restart(greet=True)

    def _on_xforward(self, event: Xforward) -> None:
        told = {name.lower(): value or "" for name, value in event.attributes.items()}
        log.note("forwarded", session=self.client.session_id, client=self.client.text, **told)

    def _on_data(self, event: DataCommand) -> None:
        session = self._session
        if not self._shared.has_memory():
            session.refuse(replies.R452_BUSY)
            return
        self._content = IncomingContent(self._shared)
        transaction = session.transaction
        assert transaction is not None
        if self._door.normalises and not transaction.parameters.binary:
            self._normaliser = Normaliser()
        session.accept_data()

    def _on_content(self, event: Content) -> None:
        self._add(event.data)

    def _add(self, data: bytes) -> None:
        assert self._content is not None
        self._content.add(data if self._normaliser is None else self._normaliser.feed(data))

    def _on_message(self, event: Message) -> None:
        session = self._session
        transaction = session.transaction
        content = self._content
        assert transaction is not None
        assert content is not None
        self._add(event.data)
        if self._normaliser is not None:
            content.add(self._normaliser.finish())
        facts = event.facts
        is_binary = transaction.parameters.binary
        reply = self._door.chain.content(facts, binary=is_binary).reply
        if reply is not None:
            self._drop_content()
            session.refuse_message(reply)
            return
        if session.has_output:
            self._flush()  # replies must not wait for the disk with the message
        make_envelope = partial(
            envelopes.encoded,
            transaction=transaction,
            session=session,
            client=self.client,
            facts=facts,
            hostname=self._door.hostname,
            listener=self._door.address,
            tls=self._tls,
            is_normalised=self._normaliser is not None,
            lifetime_s=self._door.lifetime_s,
        )
        try:
            location = content.commit(make_envelope)
        except SpoolError as error:
            log.problem("a message could not be stored", session=self.client.session_id, reason=str(error))
            session.refuse_message(replies.R452_STORAGE)
            return
        finally:
            self._content = self._normaliser = None
        self._messages += 1
        queue_id = queueid.text(location)
        client = self.client
        seconds = time() - self._transaction_started_s
        count, size_bytes = len(transaction.recipients), facts.size
        log.queued(queue_id, client.session_id, client.text, transaction.sender, count, size_bytes, seconds)
        if transaction.parameters.handed_id:
            age_s = max(0.0, time() - transaction.parameters.arrived_wall)
            there = transaction.parameters.handed_id
            log.note("taken_over", queue=queue_id, session=client.session_id, there=there, age_s=age_s)
        session.accept_message(replies.queued(queue_id))

    def _drop_content(self) -> None:
        self._normaliser = None
        if self._content is not None:
            self._content.abort()
            self._content = None


_ANSWERS: dict[type, Callable[[Connection, Any], None]] = {
    Sender: Connection._on_sender,
    Recipient: Connection._on_recipient,
    DataCommand: Connection._on_data,
    Content: Connection._on_content,
    Message: Connection._on_message,
    Xclient: Connection._on_xclient,
    Xforward: Connection._on_xforward,
}
