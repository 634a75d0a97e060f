"""Which MTA-STS policy a domain has now (RFC 8461 section 5.1): the record in the DNS, the server, and what is kept.

The DNS only says whether there is something new: with another id in it the policy is fetched again, and mail waits for
that. What cannot be fetched leaves what is kept in force, until it expires; so do a record that is gone and a DNS that
does not answer, for either may be an attacker's work. Without either there is no policy. After a failure the next
attempt is `AGAIN_S` later.

A policy is fetched again, without anybody waiting, when it is used and has been kept for a day, or for half of
its life. What one worker has fetched, the others find on the disk.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, TypeVar

import gevent
from gevent.hub import get_hub
from gevent.lock import BoundedSemaphore

from mta import log
from mta.deliver import sts_policy
from mta.deliver.sts_fetch import Fetched
from mta.deliver.sts_policy import Mode, Policy
from mta.deliver.sts_store import Kept, Store, StoreError
from mta.dns.message import Type
from mta.dns.stub import Resolver

AGAIN_S = 300.0  # RFC 8461 section 3.3: five minutes or longer
FRESH_S = 86400.0  # RFC 8461 section 3.3 suggests to look once a day
DOMAINS = 10_000  # in memory
READ_S = 60.0  # what another worker has found of a domain that had no policy is seen within that time
FETCHES = 500  # on their way at once, each with a socket; more wait
ROOM_S = 40.0  # and go without, then

ResultT = TypeVar("ResultT")


class Fetcher(Protocol):
    """What fetches: `mta.deliver.sts_fetch.Fetcher`."""

    def fetch(self, domain: bytes) -> Fetched:
        """The policy of a domain, or why there is none. Waits."""


class _Known(NamedTuple):
    """What is known of a domain: what was fetched last; when the disk was asked; and until when nothing is fetched,
    after a failure. Times are of the wall clock."""

    kept: Kept | None
    read_wall: float
    not_before_wall: float = 0.0


class Sts:
    """The policies of domains. Its method switches greenlets, and never blocks the hub."""

    def __init__(
        self, resolver: Resolver, fetcher: Fetcher, store: Store, wall: Callable[[], float], *, domains: int = DOMAINS
    ) -> None:
        """`wall` gives seconds since the epoch: policies outlive processes, and monotonic clocks do not."""
        self._resolver = resolver
        self._fetcher = fetcher
        self._store = store
        self._wall = wall
        self._known: dict[bytes, _Known] = {}  # the oldest news first
        self._flights: dict[bytes, Any] = {}  # greenlets that fetch
        self._domains = domains
        self._room = BoundedSemaphore(FETCHES)

    def policy(self, domain: bytes) -> Policy | None:
        """What counts for mail to a domain (lower case, A-labels); None where there is no policy, or one for nothing.

        Waits for the DNS, and for the server of a policy that is new; never raises for them.
        """
        answer = self._resolver.lookup(b"_mta-sts." + domain, Type.TXT)
        found_id = sts_policy.record_id(answer.records)
        known = self._look(domain, found_id)
        kept, now = known.kept, self._wall()
        if kept is not None and (kept.expires_wall <= now or kept.fetched_wall > now + FRESH_S):
            kept = None  # over; or the clock was wrong when it was fetched
        if found_id and known.not_before_wall <= now:
            if kept is None or kept.id != found_id:
                kept = self._fetch(domain, found_id, kept).get()
            elif now - kept.fetched_wall > min(FRESH_S, kept.policy.max_age_s / 2):
                self._fetch(domain, found_id, kept)
        return kept.policy if kept is not None and kept.policy.mode is not Mode.NONE else None

    def _look(self, domain: bytes, found_id: str) -> _Known:
        """What is known, by us or by another worker; the disk is asked where that can make a difference."""
        known, now = self._known.get(domain), self._wall()
        if known is not None:
            is_new = found_id and (known.kept is None or known.kept.id != found_id)
            if not is_new and (known.kept is not None or now - known.read_wall < READ_S):
                return known
        read = self._disk(self._store.get, domain)
        known = self._known.get(domain, _Known(None, now))
        if read is not None and (known.kept is None or read.fetched_wall >= known.kept.fetched_wall):
            known = known._replace(kept=read)
        return self._remember(domain, known._replace(read_wall=now))

    def _remember(self, domain: bytes, known: _Known) -> _Known:
        self._known.pop(domain, None)
        self._known[domain] = known
        while len(self._known) > self._domains:
            del self._known[next(iter(self._known))]
        return known

    def _fetch(self, domain: bytes, found_id: str, kept: Kept | None) -> "gevent.Greenlet[..., Kept | None]":
        """Fetch, once for all who ask meanwhile; what is in force then is the greenlet's value."""
        flight = self._flights.get(domain)
        if flight is None:
            flight = self._flights[domain] = gevent.spawn(self._fly, domain, found_id, kept)
        return flight

    def _fly(self, domain: bytes, found_id: str, kept: Kept | None) -> Kept | None:
        try:
            if not self._room.acquire(timeout=ROOM_S):
                return kept
            try:
                fetched = self._fetcher.fetch(domain)
            finally:
                self._room.release()
            now = self._wall()
            if fetched.policy is None:
                name = domain.decode("ascii", "replace")
                log.tls_result(name, "sts", name, fetched.result, fetched.text)
                self._remember(domain, _Known(kept, now, now + AGAIN_S))
                return kept
            new = Kept(found_id, now, fetched.policy)
            self._remember(domain, _Known(new, now))
            self._disk(self._store.put, domain, new)
            return new
        finally:
            del self._flights[domain]

    def _disk(self, work: Callable[..., ResultT], *arguments: Any) -> ResultT | None:
        """Have a native thread read or write; None where that fails, which is told. Waits."""
        outcome = get_hub().threadpool.apply(_guarded, (work, arguments))
        if isinstance(outcome, StoreError):
            log.problem("policies of MTA-STS cannot be read or kept", error=str(outcome))
            return None
        result: ResultT = outcome
        return result


def _guarded(work: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    """Runs in a native thread, where gevent would print an exception that is raised."""
    try:
        return work(*arguments)
    except StoreError as error:
        return error
