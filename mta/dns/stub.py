"""The resolver: look-ups for greenlets, from the cache or from the servers; the same one is on its way only once."""

from collections.abc import Callable
from random import SystemRandom
from typing import Any, Literal, NamedTuple, Protocol, overload

import gevent
from gevent import get_hub, getcurrent
from gevent.event import AsyncResult
from gevent.lock import BoundedSemaphore

from mta.dns import name as names
from mta.dns.answer import ALIASES, Answer, Link, Status, conclude
from mta.dns.cache import Cache, Key
from mta.dns.exchange import Exchange, Outcome, ask
from mta.dns.message import EXTENDED, BadMessage, Mx, Query, Rcode, Response, Tlsa, Type
from mta.dns.settings import RESOLV_CONF, Dns, servers_of
from mta.dns.upstreams import Upstream, Upstreams

ROUNDS = 5
"""How often the servers that stay silent are asked in one look-up."""

FIRST_WAIT_S = 1.0
"""How long the first question waits for its answer; each round doubles it. What the server had to find out meanwhile,
it answers at once when asked again."""

FIRST_WAIT_PARTS = 8
"""With a short time for the whole, the first question has this part of it."""

OPEN_LOOKUPS = 1000
"""Look-ups at work at once, each with a socket; more wait until others have ended."""


GIVEN_UP = "given up"  # the resolver was closed


class Random(Protocol):
    """Where identifiers of queries come from."""

    def getrandbits(self, k: int, /) -> int:
        """`k` random bits."""


class _Expired(BaseException):
    """The time for a look-up is up. No `Exception`, so that nobody on the way takes it for a fault of a server's."""


class _Flight(NamedTuple):
    """A look-up at work: its result to come, and the greenlet that makes it.

    A plain greenlet and a result cost a third of a `Greenlet` that is joined.
    """

    result: Any
    greenlet: Any


class Resolver:
    """Asks the servers of the settings. One for a process; its methods switch greenlets, and never block the hub."""

    def __init__(
        self,
        settings: Dns,
        clock: Callable[[], float],
        *,
        rng: Random | None = None,
        resolv_conf: str = RESOLV_CONF,
    ) -> None:
        """`clock` gives monotonic seconds. Reads `resolv_conf` where the settings name no server; a file that cannot be
        read names none. Raises `ValueError` for settings that are wrong."""
        self._upstreams = Upstreams(servers_of(settings, "" if settings.servers else _read(resolv_conf)))
        self._trust_ad = settings.trust_ad
        self._timeout_s = settings.timeout_s
        self._clock = clock
        self._rng = rng or SystemRandom()
        self._cache = Cache(settings.cache_entries)
        self._flights: dict[Key, _Flight] = {}  # by what they look up
        self._room = BoundedSemaphore(OPEN_LOOKUPS)

    @overload
    def lookup(
        self, name: bytes, rtype: Literal[Type.A, Type.AAAA], *, timeout_s: float | None = None
    ) -> Answer[str]: ...

    @overload
    def lookup(
        self, name: bytes, rtype: Literal[Type.TXT, Type.PTR, Type.CNAME], *, timeout_s: float | None = None
    ) -> Answer[bytes]: ...

    @overload
    def lookup(self, name: bytes, rtype: Literal[Type.MX], *, timeout_s: float | None = None) -> Answer[Mx]: ...

    @overload
    def lookup(self, name: bytes, rtype: Literal[Type.TLSA], *, timeout_s: float | None = None) -> Answer[Tlsa]: ...

    def lookup(self, name: bytes, rtype: Type, *, timeout_s: float | None = None) -> Answer[Any]:
        """The records of that type of a name (A-labels, with or without a dot at the end).

        Returns at once what the cache has; else switches greenlets, for `timeout_s` seconds at most and never longer
        than the settings allow. Never raises for what servers or the network do: then it has FAILED. A look-up that is
        given up here goes on for others who wait for it, and for the cache.
        """
        try:
            key = (names.to_wire(name), int(rtype))
        except names.BadName as error:
            return Answer(Status.NXDOMAIN, (), False, 0, b"", f"a name {error}")
        found = self._cache.get(key, self._clock())
        if found is not None:
            return found
        flight = self._flights.get(key)
        if flight is None:
            result: Any = AsyncResult()
            flight = self._flights[key] = _Flight(result, gevent.spawn_raw(self._fly, key, result))
        flight.result.wait(timeout_s)  # a `Timeout` of the caller's passes through
        if not flight.result.ready():
            return _failed(key, "timed out")
        answer: Answer[Any] = flight.result.get()
        return answer

    def close(self) -> None:
        """Give up all look-ups at work. They fail for who waits for them."""
        for key, flight in list(self._flights.items()):
            gevent.kill(flight.greenlet)
            flight.result.set(_failed(key, GIVEN_UP))
        self._flights.clear()

    # --- one look-up, in a greenlet of its own

    def _fly(self, key: Key, result: Any) -> None:
        """Look up, within the time of the settings, keep the result, and tell it."""
        timer: Any = get_hub().loop.timer(self._timeout_s)
        timer.start(getcurrent().throw, _Expired())
        try:
            with self._room:
                answer = self._follow(key)
        except _Expired:
            answer = _failed(key, "timed out")
        except gevent.GreenletExit:
            return  # given up, and told so
        except Exception as error:  # noqa: BLE001 - a fault of ours, which those who wait have to know of
            result.set_exception(error)
            return
        finally:
            timer.stop()
            timer.close()
            self._flights.pop(key, None)
        result.set(self._cache.put(key, answer, self._clock()))

    def _follow(self, key: Key) -> Answer[object]:
        """Ask for a name, and for the targets of aliases that the server did not follow itself."""
        at, rtype = key[0], Type(key[1])
        authentic, ttl_s, aliases = True, 0x7FFF_FFFF, 0
        while True:
            link = self._ask_all(at, rtype)
            if isinstance(link, str):
                return _failed(key, link)
            authentic = authentic and link.authentic
            ttl_s = min(ttl_s, link.ttl_s)
            aliases += link.aliases
            at = link.canonical
            if link.is_whole:
                canonical = names.to_text(at)
                return Answer(link.status, link.records, authentic and self._trust_ad, ttl_s, canonical)
            if aliases >= ALIASES:
                return _failed(key, "a loop of aliases, or too many")

    def _ask_all(self, name: bytes, rtype: Type) -> Link | str:
        """What the first server says that says anything; or why there is none, in words.

        A server that answered, but not with what we need, is not asked again in this look-up; one that is silent is.
        """
        left = self._upstreams.order(self._clock())
        first_s = min(FIRST_WAIT_S, self._timeout_s / FIRST_WAIT_PARTS)
        reason = ""
        for attempt in range(ROUNDS):
            for upstream in tuple(left):
                got = self._ask_one(upstream, name, rtype, wait_s=first_s * 2**attempt, attempt=attempt)
                if isinstance(got, Link):
                    return got
                if got.outcome is not Outcome.SILENT:
                    left.remove(upstream)
                reason = f"{upstream.server}: {got.reason}"
            if not left:
                break
        return reason

    def _ask_one(self, upstream: Upstream, name: bytes, rtype: Type, *, wait_s: float, attempt: int) -> Link | Exchange:
        """One question, and once more without EDNS if the server wants it so."""
        has_edns = upstream.wants_edns(self._clock(), attempt)
        got = self._exchange(upstream, name, rtype, has_edns=has_edns, wait_s=wait_s)
        response = got.response
        if response is None:
            return got
        if has_edns and response.rcode in (Rcode.FORMERR, Rcode.NOTIMP, Rcode.BADVERS):
            upstream.refused_edns(self._clock())
            got = self._exchange(upstream, name, rtype, has_edns=False, wait_s=wait_s)
            response = got.response
            if response is None:
                return got
        elif response.has_edns:
            upstream.took_edns()
        elif attempt and not has_edns:
            upstream.refused_edns(self._clock())  # with EDNS there was silence
        if response.rcode not in (Rcode.NOERROR, Rcode.NXDOMAIN):
            return Exchange(Outcome.STRANGE, None, _code_text(response))
        try:
            return conclude(response, name, rtype)
        except BadMessage as error:
            return Exchange(Outcome.STRANGE, None, str(error))

    def _exchange(self, upstream: Upstream, name: bytes, rtype: Type, *, has_edns: bool, wait_s: float) -> Exchange:
        """Ask, and remember how it went."""
        query = Query(self._rng.getrandbits(16), name, int(rtype), has_edns)
        got = ask(upstream.server, query, asks_authentic=self._trust_ad, wait_s=wait_s)
        if got.outcome is Outcome.SILENT:
            upstream.silent(self._clock())
        elif got.outcome is Outcome.UNREACHABLE:
            upstream.unreachable(self._clock())
        else:
            upstream.answered()
        return got


def _failed(key: Key, reason: str) -> Answer[object]:
    return Answer(Status.FAILED, (), False, 0, names.to_text(key[0]), reason)


def _code_text(response: Response) -> str:
    """What the server says, in words of ours."""
    try:
        text = Rcode(response.rcode).name
    except ValueError:
        text = f"code {response.rcode}"
    more = EXTENDED.get(-1 if response.extended is None else response.extended)
    return text if more is None else f"{text} ({more})"


def _read(path: str) -> str:
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            return file.read(1 << 20)
    except OSError:
        return ""
