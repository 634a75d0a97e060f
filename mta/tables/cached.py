"""A table with a memory, for those that have to ask somebody."""

from collections.abc import Callable
from typing import Any, Protocol

from gevent.event import AsyncResult

from mta.errors import TableDown
from mta.tables.cache import Cache, Unknown

REST_S = 2.0
"""How long a table is down after it failed, without being asked again: a few recipients a minute find out for all. What
it says of one key is no such failure, or whoever names that key would keep it from everybody."""


class Source(Protocol):
    """What is asked."""

    def get(self, key: bytes) -> bytes | None:
        """The value, or None; raises `TableDown`. May switch greenlets, for a bounded time."""


class _GivenUp:
    """Who asked has no answer, and has not failed either: its own time was over."""


class CachedTable:
    """Asks `source` for what `cache` does not know, each key once at a time; `clock` gives monotonic seconds."""

    def __init__(self, source: Source, cache: Cache, clock: Callable[[], float]) -> None:
        self._source = source
        self._cache = cache
        self._clock = clock
        self._flights: dict[bytes, Any] = {}  # results to come, by their keys
        self._down_until = 0.0
        self._reason = ""

    def get(self, key: bytes) -> bytes | None:
        """The value, or None; raises `TableDown`. Switches greenlets where the cache does not know."""
        while True:
            now = self._clock()
            found = self._cache.get(key, now)
            if not isinstance(found, Unknown):
                return found
            flight = self._flights.get(key)
            if flight is None:
                break
            answer = flight.get()
            if isinstance(answer, _GivenUp):
                continue  # it is our turn, or that of another who waited
            if isinstance(answer, TableDown):
                raise TableDown(answer.reason, of_key=answer.of_key)
            return answer  # type: ignore[no-any-return]
        if now < self._down_until:
            raise TableDown(self._reason)
        return self._ask(key)

    def _ask(self, key: bytes) -> bytes | None:
        flight: Any = AsyncResult()
        self._flights[key] = flight
        answer: bytes | TableDown | _GivenUp | None = _GivenUp()  # where the greenlet that asks is stopped
        try:
            answer = value = self._source.get(key)
        except TableDown as error:
            answer = error
            if not error.of_key:
                self._reason = error.reason
                self._down_until = self._clock() + REST_S
            raise
        finally:
            del self._flights[key]
            flight.set(answer)
        self._cache.put(key, value, self._clock())
        return value
