"""Queue ids: the address of a record in the spool, as one number and as text.

A location is 63 bits, so that SQLite's signed integers hold it: shard (12 bits), segment (31 bits), offset in units of
64 bytes (20 bits). Text is lower-case hexadecimal without leading zeros, as it stands in Received fields, replies and
logs. Locations of one shard grow in the order in which messages were taken.
"""

import re

UNIT_BYTES = 64  # records start at multiples of this
MAX_SHARD = (1 << 12) - 1
MAX_SEGMENT = (1 << 31) - 1
MAX_OFFSET_BYTES = ((1 << 20) - 1) * UNIT_BYTES  # a record starts at this offset of its segment at the latest

_TEXT = re.compile(r"[1-9a-f][0-9a-f]{0,15}")


def pack(shard: int, segment: int, offset: int) -> int:
    """The location of the record at `offset` (bytes, a multiple of 64); raises `ValueError` when out of range."""
    if not (0 <= shard <= MAX_SHARD and 0 <= segment <= MAX_SEGMENT and 0 <= offset <= MAX_OFFSET_BYTES):
        raise ValueError(f"no such place in a spool: shard {shard}, segment {segment}, offset {offset}")
    if offset % UNIT_BYTES:
        raise ValueError(f"records do not start at offset {offset}")
    return shard << 51 | segment << 20 | offset >> 6


def unpack(location: int) -> tuple[int, int, int]:
    """Shard, segment and offset (bytes) of a location."""
    return location >> 51, location >> 20 & MAX_SEGMENT, (location & 0xFFFFF) << 6


def text(location: int) -> str:
    """A location as people and logs see it."""
    return f"{location:x}"


def parse(text: str) -> int:
    """The location that `text` printed; raises `ValueError` for anything that it would not print."""
    if not _TEXT.fullmatch(text) or (location := int(text, 16)) >= 1 << 63:
        raise ValueError(f"not a queue id: {text[:40]!r}")
    return location
