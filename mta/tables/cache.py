"""Answers kept for their time: values, and that there is none. Bounded; least recently used go first.

Pure: time is an argument, in seconds of a clock that never goes back.
"""

from collections import OrderedDict

VALUE_BYTES = 4096
"""Longest key, and longest value, that is kept: with the number of entries this bounds the memory."""


class Unknown:
    """What `get` returns for a key it knows nothing of."""


UNKNOWN = Unknown()


class Cache:
    """At most `entries` keys, values for `positive_s` seconds, that there is none for `negative_s`; 0 keeps nothing."""

    def __init__(self, entries: int, positive_s: float, negative_s: float) -> None:
        self._limit_count = entries
        self._positive_s = positive_s
        self._negative_s = negative_s
        self._entries: OrderedDict[bytes, tuple[bytes | None, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: bytes, now: float) -> bytes | Unknown | None:
        """The value; None where it is known that there is none; `UNKNOWN` where nothing is known."""
        entry = self._entries.get(key)
        if entry is None:
            return UNKNOWN
        value, expires_at = entry
        if now >= expires_at:
            del self._entries[key]
            return UNKNOWN
        self._entries.move_to_end(key)
        return value

    def put(self, key: bytes, value: bytes | None, now: float) -> None:
        """Keep an answer in place of an older one."""
        self._entries.pop(key, None)
        lifetime_s = self._negative_s if value is None else self._positive_s
        if not lifetime_s or not self._limit_count or len(key) > VALUE_BYTES or len(value or b"") > VALUE_BYTES:
            return
        if len(self._entries) >= self._limit_count:
            self._entries.popitem(last=False)
        self._entries[key] = (value, now + lifetime_s)
