"""What speaks SMTP or LMTP to a destination: the host of a transport, or the hosts of a domain (`mta.deliver.domains`).

Up to `concurrency` connections are open. Each busy one has a greenlet that takes one work after the other from the
common queue; one that finds the queue empty stays open for `IDLE_S` without a greenlet, watched for the server
closing it.

A reused connection may turn out to be dead. Where the server has not answered the new transaction's MAIL, the mail is
tried once more on a fresh connection. Mostly no content was sent by then; where it was sent unasked
(`mta.smtp.client_transaction`) a server that took it all and went without a word gets it twice, as it would an hour
later.

When a connection cannot be made while others to the same destination work, the destination limits us: the work goes to
one of the others. When none works, the destination is down: everything that waits for it is deferred at once, and the
outcome tells the queue manager so.

TLS is spoken as the transport's level has it (`mta.deliver.tls`). Where it is optional and does not work, the same
address is tried once more in plain text at once, and is spoken to in plain text for `PLAIN_S`: a broken TLS is no
better than none, and must not keep mail from its destination. A policy of MTA-STS that is for testing is tried, and
done without, in the same way.
"""

import traceback
from collections import deque
from time import monotonic

import gevent
from gevent.hub import get_hub
from gevent.lock import BoundedSemaphore

from mta import log
from mta.config import Transport as Settings
from mta.deliver import outgoing
from mta.deliver.attempt import Work
from mta.deliver.endpoint import Endpoint, Endpoints, Target
from mta.deliver.messages import Message, Messages
from mta.deliver.peer import Address, ConnectError, Connection, connect
from mta.deliver.tls import PLAIN, Level, Policy, fixed
from mta.deliver.turns import Turns
from mta.drain import PEER
from mta.errors import SpoolError
from mta.ipc import DEFERRED, DELIVERED, FAILED, PASSED, RELAYED, Result
from mta.smtp.client import Client, Encryption, Protocol, Step

IDLE_S = 5.0  # servers keep an idle connection for minutes, or for 10 s when they are busy (Postfix)
SWEEP_S = 0.5  # deadlines are looked at so often, and more often where they are short
LIMITED_S = 10.0  # no more connections for so long where one was refused while others work
PLAIN_S = 600.0  # no TLS for so long to an address where it did not work
PLAIN_ADDRESSES = 1000  # that are remembered for it

_ENCRYPTION = {Level.NONE: Encryption.NEVER, Level.OPTIONAL: Encryption.OFFERED}


def _encryption(tls: Policy) -> Encryption:
    return _ENCRYPTION.get(tls.base.level if tls.base is not None else tls.level, Encryption.ALWAYS)


class _Courier:
    """A busy connection's place: `connection` is None until one is made; `work` is what it has in hand."""

    __slots__ = ("connection", "work")

    def __init__(self, connection: Connection | None, work: Work) -> None:
        self.connection = connection
        self.work: Work | None = work


class Relay:
    """The transport."""

    def __init__(
        self,
        endpoint: Endpoints,
        protocol: Protocol,
        hostname: bytes,
        settings: Settings,
        messages: Messages,
        places: BoundedSemaphore | None = None,
    ) -> None:
        """`hostname` is what we call ourselves; of `settings` the limits are used.

        `places` bounds the connections of all relays that share it: each open one has a place.
        """
        self._endpoint = endpoint
        self._protocol = protocol
        self._hostname = hostname
        self._settings = settings
        self._messages = messages
        self._places = places
        self._broken: dict[tuple[Address, Level], float] = {}  # which TLS does not work where, until when (monotonic)
        self._turns = Turns()
        self._waiting: deque[Work] = deque()
        self._busy = 0  # couriers, those included that are still connecting
        self._idle: list[Connection] = []  # longest idle first
        self._open: set[Connection] = set()  # all that have a socket
        self._working = 0  # of those, the ones that were ready for mail
        self._limited_until_at = 0.0  # monotonic
        self._sweep_s = min(SWEEP_S, settings.timeout_s / 4)
        self._sweeper = get_hub().loop.timer(self._sweep_s, self._sweep_s)

    def take(self, works: list[Work]) -> None:
        """Queue works, and put connections to work on them: idle ones first, then new ones."""
        waiting = self._waiting
        waiting.extend(works)
        while waiting:
            if self._idle:
                connection = self._idle.pop()
                connection.resume()
                self._start(_Courier(connection, waiting.popleft()))
            elif self._busy < self._settings.concurrency and not self._limited():
                self._start(_Courier(None, waiting.popleft()))
            else:
                break

    def abandon(self) -> None:
        """Forget the works no connection has begun."""
        while self._waiting:
            self._waiting.popleft().forget()

    def close(self) -> None:
        """Close the idle connections."""
        while self._idle:
            self._drop(self._idle.pop())

    @property
    def is_unused(self) -> bool:
        """Whether there are neither works nor connections."""
        return not (self._waiting or self._busy or self._open)

    # --- couriers

    def _start(self, courier: _Courier) -> None:
        self._busy += 1
        greenlet = gevent.spawn(self._run, courier)
        greenlet.link_exception(lambda ended: self._fault(courier, ended))

    def _run(self, courier: _Courier) -> None:
        """One work after the other, until none waits. The greenlet of a courier."""
        while courier.work is not None:
            try:
                self._attempt(courier, courier.work)
            except ConnectError as error:
                self._unreachable(courier.work, error)
                courier.work = None
                break
            courier.work = self._waiting.popleft() if self._waiting else None
        self._busy -= 1
        if courier.connection is not None:
            self._idle.append(courier.connection)
            courier.connection.idle(self._on_idle_event, IDLE_S)

    def _attempt(self, courier: _Courier, work: Work) -> None:
        """Deliver one work, and report it; the courier keeps its connection if that can be used again.

        Raises `ConnectError` when there is no connection to be had; the work is not reported then.
        """
        try:
            message = self._messages.read(work.job.location)
        except SpoolError as error:
            work.settle_read(None, self._endpoint.label, [], error)
            return
        # RFC 8689 section 4.2.1: without verified TLS the message can go no further. LMTP is final delivery, as a
        # maildir is: behind that the request has no meaning (RFC 8689 section 4.4).
        require_tls = message.envelope.require_tls and self._protocol is Protocol.SMTP
        if require_tls and not self._endpoint.can_verify:
            self._not_verified(work, message, self._endpoint.label)
            return
        if require_tls and courier.connection is not None and not courier.connection.is_verified:
            self._let_go(courier)
        if courier.connection is not None and not courier.connection.is_quiet():
            self._let_go(courier)
        reused = courier.connection is not None
        while True:
            connection = courier.connection or self._connect(_domain(message, work), only_verified=require_tls)
            courier.connection = connection
            client = connection.client
            if require_tls and not connection.is_verified:
                self._not_verified(work, message, connection.label)
                return
            try:
                mail = outgoing.mail(message, work.job.recipients, client, require_tls=require_tls)
                if work.job.transport == PEER:
                    mail = outgoing.handed_over(mail, message, work)
                connection.transact(mail, message.chunks)
            except SpoolError as error:
                self._let_go(courier)
                work.settle_read(message.envelope, connection.label, [], error)
                return
            if client.step is Step.READY:
                break
            self._let_go(courier)
            if not (reused and client.untouched and not connection.expired):
                break
            reused = False
        self._report(work, message, connection)

    def _not_verified(self, work: Work, message: Message, label: str) -> None:
        text = "the message requires TLS, and the next hop is not verified"
        work.settle_all(message.envelope, label, FAILED, "5.7.30", text)

    def _report(self, work: Work, message: Message, connection: Connection) -> None:
        label = connection.label
        verdicts = connection.client.verdicts
        onward = ""
        if message.envelope.dsn is not None:  # RFC 3461 section 5.2: LMTP without DSN is final delivery
            is_smtp = self._protocol is Protocol.SMTP
            onward = PASSED if connection.client.offers(b"DSN") else RELAYED if is_smtp else ""
        if len(verdicts) == 1 and verdicts[0].status == DELIVERED:
            work.delivered(message.envelope, label, verdicts[0].text, tls=connection.cipher, onward=onward)
            return
        results = [
            Result(index, verdict.status, verdict.code, verdict.text)
            for index, verdict in zip(work.job.recipients, verdicts, strict=True)
        ]
        work.settle(message.envelope, label, results, tls=connection.cipher, remote=label, onward=onward)

    def _fault(self, courier: _Courier, ended: "gevent.Greenlet[..., None]") -> None:
        """A courier ended by a fault of ours: its work is deferred, since a newer version may not have it."""
        log.problem("a delivery failed", error="".join(traceback.format_exception(ended.exception)))
        self._busy -= 1
        self._let_go(courier)
        if courier.work is not None:
            courier.work.settle_all(None, self._endpoint.label, DEFERRED, "4.3.0", "internal error")
        self.take([])

    # --- connections

    def _connect(self, domain: bytes, *, only_verified: bool) -> Connection:
        """A connection that is ready for mail to a domain, if need be to one of those that are verified. Waits.

        Raises `ConnectError`.
        """
        failure = ConnectError("4.4.1", "the next hop has no address")
        for target in self._endpoint.targets():
            if only_verified and not target.tls.is_verified:
                continue
            try:
                connection = self._reach(target, domain)
            except ConnectError as error:
                self._endpoint.failed(target.address)
                text = str(error) if target.label == self._endpoint.label else f"{target.label}: {error}"
                failure = ConnectError(error.code, text)
            else:
                self._endpoint.answered(target.address)
                return connection
        raise failure

    def _reach(self, target: Target, domain: bytes) -> Connection:
        """A connection to one address, ready for mail to a domain. Waits; raises `ConnectError`."""
        tls, wanted = target.tls, target.tls
        while True:
            place = target.address, tls.level
            fallback = tls.fallback
            if fallback is not None and self._broken.get(place, 0.0) > monotonic():
                tls = fallback
                continue
            connection = self._greeted(target._replace(tls=tls))
            if tls is wanted:
                self._endpoint.tried(target, connection, domain)
            failure = connection.client.failure
            if failure is None:
                self._working += 1
                return connection
            if fallback is None or not connection.tls_failed:
                raise ConnectError(failure.code, failure.text)
            if fallback is PLAIN:
                log.note("plaintext", relay=target.label, reason=failure.text)
            if len(self._broken) >= PLAIN_ADDRESSES:
                self._broken.clear()
            self._broken[place] = monotonic() + PLAIN_S
            tls = fallback

    def _greeted(self, target: Target) -> Connection:
        """A connection behind the greetings; closed where they failed. Waits; raises `ConnectError`."""
        if self._places is not None:
            self._places.acquire()
        try:
            sock = connect(target.address, self._settings.connect_timeout_s)
        except BaseException:
            self._release()
            raise
        client = Client(self._hostname, self._protocol, _encryption(target.tls))
        connection = Connection(sock, client, self._settings.timeout_s, self._turns)
        connection.label = target.label
        self._open.add(connection)
        if len(self._open) == 1:
            self._sweeper.again(self._sweep)
        try:
            connection.greet(target.tls)
        except BaseException:  # a fault of ours, or our end
            self._close(connection)
            raise
        if client.failure is not None:
            self._close(connection)
        return connection

    def _unreachable(self, work: Work, error: ConnectError) -> None:
        """A courier found no connection for its work."""
        if self._working:
            self._limited_until_at = monotonic() + LIMITED_S
            self.take([work])
            return
        for one in (work, *self._waiting):
            try:
                envelope = self._messages.read(one.job.location).envelope
            except SpoolError as unreadable:
                one.settle_read(None, self._endpoint.label, [], unreadable)
                continue
            one.settle_all(envelope, self._endpoint.label, DEFERRED, error.code, str(error), destination_down=True)
        self._waiting.clear()

    def _limited(self) -> bool:
        return self._working > 0 and monotonic() < self._limited_until_at

    def _let_go(self, courier: _Courier) -> None:
        if courier.connection is not None:
            self._drop(courier.connection)
            courier.connection = None

    def _drop(self, connection: Connection) -> None:
        """Close a connection that was ready for mail once."""
        self._working -= 1
        self._close(connection)

    def _close(self, connection: Connection) -> None:
        connection.close()
        self._release()
        self._open.discard(connection)
        if not self._open:
            self._sweeper.stop()

    def _release(self) -> None:
        if self._places is not None:
            self._places.release()

    def _on_idle_event(self, connection: Connection) -> None:
        """The server closed an idle connection, or said something nobody asked for."""
        self._idle.remove(connection)
        self._drop(connection)

    def _sweep(self) -> None:
        now = monotonic()
        for connection in [one for one in self._idle if one.overdue(now)]:
            self._idle.remove(connection)
            self._drop(connection)
        for connection in self._open:
            if connection.overdue(now):
                connection.expire()


def _domain(message: Message, work: Work) -> bytes:
    """The domain of a work's recipients: to the hosts of a domain, all have the same."""
    return message.envelope.recipients[work.job.recipients[0]].rpartition(b"@")[2].lower()


def make(settings: Settings, hostname: str, messages: Messages) -> Relay:
    """The transport of kind smtp or lmtp; raises `ConfigError` when its host or its authorities cannot be used."""
    protocol = Protocol.LMTP if settings.kind == "lmtp" else Protocol.SMTP
    name = hostname.encode("ascii", "replace")
    return Relay(Endpoint(settings.host, fixed(settings)), protocol, name, settings, messages)
