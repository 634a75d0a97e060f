"""The transport that finds the next hop of each domain by itself: SMTP to its MX.

Works are gathered by domain while the DNS is asked, and go to a relay (`mta.deliver.relay`) then, which keeps and
bounds the connections. Domains that have the same hosts share one. A relay that has nothing in hand is let go of sooner
or later.

All recipients of a work have the same domain: the queue manager takes care of that, as each is a destination there.
"""

import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from time import time

import gevent
from gevent.lock import BoundedSemaphore

from mta import log
from mta.config import Transport as Settings
from mta.deliver import sts_fetch, tls, tls_result
from mta.deliver.attempt import Work
from mta.deliver.endpoint import Target
from mta.deliver.hosts import Asked, Found, Hosts
from mta.deliver.messages import Messages
from mta.deliver.mx import Failure
from mta.deliver.peer import Address, Connection
from mta.deliver.relay import Relay
from mta.deliver.sts import Sts
from mta.deliver.sts_fetch import Fetcher
from mta.deliver.sts_store import Store
from mta.dns.stub import Resolver
from mta.errors import SpoolError
from mta.ipc import DEFERRED, FAILED
from mta.smtp.address import AddressError, parse_domain
from mta.smtp.client import Protocol

CONNECTIONS = 1000  # open at once, over all domains; further ones wait
UNUSED_RELAYS = 256  # so many may be kept without need, at least


class Exchanges:
    """The hosts of a domain, as of the last time somebody asked, for a relay."""

    def __init__(self, hosts: Hosts, found: Found) -> None:
        self._hosts = hosts
        self.found = found

    @property
    def label(self) -> str:
        """The best host's."""
        return self.found.targets[0].label

    @property
    def can_verify(self) -> bool:
        """Whether any host is one that can be verified."""
        return any(target.tls.is_verified for target in self.found.targets)

    def targets(self) -> list[Target]:
        """The hosts, best first."""
        return self.found.targets

    def tried(self, target: Target, connection: Connection, domain: bytes) -> None:
        """Write down what came of it, for reports."""
        result, reason = tls_result.outcome(connection)
        if not result or target.tls.level is tls.Level.NONE or domain.startswith(b"["):
            return
        applied = target.applied
        if applied.trouble[0]:
            result, reason = applied.trouble
        name = _a_labels(domain)
        host, address = target.label.partition("[")[0], str(target.address.target[0])
        log.tls_result(
            name,
            applied.kind,
            applied.domain or name,
            result,
            reason,
            host=host,
            address=address,
            own_address=connection.own_ip,
            policy_text=applied.text,
            patterns=applied.patterns,
        )

    def failed(self, address: Address) -> None:
        """Try this one last for a while."""
        self._hosts.failed(address)

    def answered(self, address: Address) -> None:
        """Try this one in its place."""
        self._hosts.answered(address)


class Domains:
    """The transport."""

    def __init__(self, hosts: Hosts, make: Callable[[Exchanges], Relay], messages: Messages) -> None:
        """`make` makes a relay to the hosts given."""
        self._hosts = hosts
        self._make = make
        self._messages = messages
        self._unresolved: dict[bytes, list[Work]] = {}  # by domain, while its hosts are looked up
        self._relays: dict[tuple[object, ...], tuple[Relay, Exchanges]] = {}
        self._kept = UNUSED_RELAYS  # with more, those that have nothing in hand are let go of

    def take(self, works: list[Work]) -> None:
        """Queue works behind the look-up of their domains. Reads their envelopes from the spool."""
        for work in works:
            domain = self._domain(work)
            if domain is None:
                continue
            waiting = self._unresolved.get(domain)
            if waiting is None:
                self._unresolved[domain] = [work]
                gevent.spawn(self._resolve, domain)
            else:
                waiting.append(work)

    def abandon(self) -> None:
        """Forget the works that no connection has begun."""
        for works in self._unresolved.values():
            for work in works:
                work.forget()
            works.clear()
        for relay, _ in self._relays.values():
            relay.abandon()

    def close(self) -> None:
        """Close the idle connections."""
        for relay, _ in self._relays.values():
            relay.close()

    def _domain(self, work: Work) -> bytes | None:
        """The domain of a work's recipients; None when there is none to send to, and the work has ended."""
        try:
            envelope = self._messages.read(work.job.location).envelope
        except SpoolError as error:
            work.settle_read(None, "", [], error)
            return None
        found = {envelope.recipients[index].rpartition(b"@")[2].lower() for index in work.job.recipients}
        if len(found) > 1:
            work.settle_all(envelope, "", DEFERRED, "4.3.5", "recipients of several domains at once")
            return None
        with suppress(AddressError):
            return parse_domain(found.pop())
        work.settle_all(envelope, "", FAILED, "5.1.2", "the recipient has no domain that mail could be sent to")
        return None

    def _resolve(self, domain: bytes) -> None:
        """Look a domain up, and hand over what waits for it. A greenlet."""
        found: Found | Failure
        try:
            found = self._hosts.find(domain)
        except Exception as error:  # noqa: BLE001 - a fault of ours must not keep works for ever
            log.problem("a domain cannot be looked up", error="".join(traceback.format_exception(error)))
            found = Failure(DEFERRED, "4.3.0", "internal error")
        works = self._unresolved.pop(domain)
        if isinstance(found, Failure):
            for work in works:
                self._fail(work, found)
        elif works:
            self._relay(found).take(works)

    def _fail(self, work: Work, failure: Failure) -> None:
        try:
            envelope = self._messages.read(work.job.location).envelope
        except SpoolError as error:
            work.settle_read(None, "", [], error)
            return
        is_down = failure.status == DEFERRED
        work.settle_all(envelope, "", failure.status, failure.code, failure.text, destination_down=is_down)

    def _relay(self, found: Found) -> Relay:
        """The relay to these hosts."""
        known = self._relays.get(found.key)
        if known is not None:
            relay, exchanges = known
            exchanges.found = found
            return relay
        if len(self._relays) >= self._kept:
            self._relays = {key: pair for key, pair in self._relays.items() if not pair[0].is_unused}
            self._kept = max(UNUSED_RELAYS, 2 * len(self._relays))
        exchanges = Exchanges(self._hosts, found)
        relay = self._make(exchanges)
        self._relays[found.key] = relay, exchanges
        return relay


def _a_labels(domain: bytes) -> str:
    """As names are compared, and reported."""
    with suppress(AddressError):
        domain = parse_domain(domain)
    return domain.decode("ascii", "backslashreplace")


def make(
    settings: Settings, hostname: str, messages: Messages, resolver: Resolver, spool: Path, hosts: Hosts | None = None
) -> Domains:
    """The transport of kind smtp without a host; raises `ConfigError` when its authorities cannot be read.

    Policies of MTA-STS are kept in the folder `spool`. `hosts` is for tests.
    """
    name = hostname.encode("ascii", "replace")
    if hosts is None:
        policy = tls.for_hosts(settings)
        asked = None
        if settings.mta_sts and policy.level is not tls.Level.NONE:
            fetcher = Fetcher(resolver, sts_fetch.make_context(settings.tls_ca))
            sts = Sts(resolver, fetcher, Store(spool / "sts"), time)
            asked = Asked(sts, tls.make_context(tls.Level.STS, settings.tls_ca))
        hosts = Hosts(resolver, name.lower(), policy, sts=asked)
    places = BoundedSemaphore(CONNECTIONS)

    def relay(exchanges: Exchanges) -> Relay:
        return Relay(exchanges, Protocol.SMTP, name, settings, messages, places)

    return Domains(hosts, relay, messages)
