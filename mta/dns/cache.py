"""Answers kept for as long as they may be believed: bounded in entries and in bytes, least recently used go first.

Pure: time is an argument, in seconds of a clock that never goes back.
"""

from collections import OrderedDict
from typing import NamedTuple

from mta.dns.answer import Answer, Status
from mta.dns.message import Mx, Tlsa

TTL_MIN_S = 1
"""Shortest time that an answer is kept, one with a TTL of 0 too: connections that come in together ask once."""

TTL_MAX_S = 86400
"""Longest time that records are kept (RFC 8767 section 4 suggests a week at most)."""

NEGATIVE_MAX_S = 3600
"""Longest time that NXDOMAIN and NODATA are kept; RFC 2308 section 5 has one to three hours as sensible."""

FAILURE_S = 5
"""How long a failure is kept; RFC 9520 section 3.2 has at least one second and at most five minutes."""

ENTRY_BYTES = 1024
"""What an entry may take on average. An answer has some hundred bytes; only strange ones are over this."""

OVERHEAD_BYTES = 400  # of an entry with no records in it, roughly: two tuples, a key, a place in the dictionary
RECORD_BYTES = 100  # of a record, without the bytes in it

Key = tuple[bytes, int]
"""A name on the wire in lower case, and a type."""


class _Entry(NamedTuple):
    answer: Answer[object]
    expires_at: float
    size_bytes: int


class Cache:
    """At most `entries` answers, and at most `entries * ENTRY_BYTES` of memory; 0 keeps nothing."""

    def __init__(self, entries: int) -> None:
        self._limit_count = entries
        self._limit_bytes = entries * ENTRY_BYTES
        self._entries: OrderedDict[Key, _Entry] = OrderedDict()
        self._held_bytes = 0

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def held_bytes(self) -> int:
        """An estimate of the memory that is held."""
        return self._held_bytes

    def get(self, key: Key, now: float) -> Answer[object] | None:
        """The answer if it may still be believed, with the seconds that are left of its time; None without one."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        left_s = entry.expires_at - now
        if left_s <= 0:
            self._remove(key)
            return None
        self._entries.move_to_end(key)
        answer = entry.answer
        # Made by hand: `_replace` takes three times as long.
        return Answer(answer.status, answer.records, answer.authentic, int(left_s), answer.canonical, answer.reason)

    def put(self, key: Key, answer: Answer[object], now: float) -> Answer[object]:
        """Keep an answer for as long as its status and its `ttl_s` allow; returns it with the time that came of it.

        It takes the place of an older one. Where it alone would take an eighth of the memory, it is not kept.
        """
        ttl_s = lifetime_s(answer.status, answer.ttl_s)
        if ttl_s != answer.ttl_s:
            answer = answer._replace(ttl_s=ttl_s)
        if key in self._entries:
            self._remove(key)
        size_bytes = weigh(key, answer)
        if size_bytes * 8 > self._limit_bytes and size_bytes > ENTRY_BYTES:
            return answer
        self._entries[key] = _Entry(answer, now + answer.ttl_s, size_bytes)
        self._held_bytes += size_bytes
        while len(self._entries) > self._limit_count or self._held_bytes > self._limit_bytes:
            _, oldest = self._entries.popitem(last=False)
            self._held_bytes -= oldest.size_bytes
        return answer

    def _remove(self, key: Key) -> None:
        self._held_bytes -= self._entries.pop(key).size_bytes


def lifetime_s(status: Status, ttl_s: int) -> int:
    """How long an answer with that status and TTL is kept, in seconds."""
    if status is Status.FAILED:
        return FAILURE_S
    return max(TTL_MIN_S, min(ttl_s, TTL_MAX_S if status is Status.OK else NEGATIVE_MAX_S))


def weigh(key: Key, answer: Answer[object]) -> int:
    """Roughly the bytes of memory that an entry takes."""
    size_bytes = OVERHEAD_BYTES + len(key[0]) + len(answer.canonical) + len(answer.reason)
    for record in answer.records:
        size_bytes += RECORD_BYTES
        if isinstance(record, (bytes, str)):
            size_bytes += len(record)
        elif isinstance(record, Mx):
            size_bytes += len(record.exchange)
        elif isinstance(record, Tlsa):
            size_bytes += len(record.data)
    return size_bytes
