"""Records: bytes of a segment, made and read.

A record is a header of 64 bytes, the envelope, the body unless it has a file of its own, and zeros up to the next
multiple of 64. The layout stands in the package's manual. This module knows bytes only, no files.
"""

import struct

import msgspec
from xxhash import xxh3_64_digest

from mta.spool import queueid

HEADER_BYTES = 64
VERSION = 1
MAGIC = b"mtaR"
MESSAGE = 1
END = 2
CHECKSUM_BYTES = 8

# Behind the checksum: magic, version, shard, segment, identity (these 16 bytes are equal for all records of a segment),
# kind, ordinal, committed (in units of 64 bytes), envelope's length, body's length, body file, body's hash.
_HEADER = struct.Struct("<4sHHIIB3xIIIQQQ")
_PREFIX = struct.Struct("<4sHHII")
_REST = struct.Struct("<B3xIIIQQQ")
PREFIX_START = CHECKSUM_BYTES
PREFIX_END = CHECKSUM_BYTES + _PREFIX.size
PADDING = tuple(bytes(n) for n in range(queueid.UNIT_BYTES))


class Record(msgspec.Struct, frozen=True, gc=False):
    """One message as the log has it. `offset` and `length` (header, envelope, inline body, padding) are bytes.

    `envelope` is raw (`mta.envelope.decode`). The body is inline at `body_offset` of the segment, or in the file
    `body_file` when that is not 0. `ordinal` counts the messages of the segment from 0.
    """

    location: int
    segment: int
    offset: int
    length: int
    envelope: bytes
    body_offset: int
    body_bytes: int
    body_file: int
    body_hash: int
    ordinal: int


class Header(msgspec.Struct, frozen=True, gc=False):
    """What a header says, before anything is believed."""

    kind: int
    ordinal: int
    committed: int  # bytes
    envelope_bytes: int
    body_bytes: int
    body_file: int
    body_hash: int
    unpadded: int  # bytes of the record without its padding


class Identity:
    """What all records of one segment have in common: shard, number, and the seed of the checksums.

    The seed is a random number of 64 bits in the segment's file name. It is new for every use of a file, so that bytes
    left from an earlier use never look valid, and nobody who sends mail knows it, so that a message cannot contain a
    record.
    """

    __slots__ = ("base", "prefix", "seed", "segment", "shard")

    def __init__(self, shard: int, segment: int, seed: int) -> None:
        self.shard = shard
        self.segment = segment
        self.seed = seed
        self.base = queueid.pack(shard, segment, 0)
        self.prefix = _PREFIX.pack(MAGIC, VERSION, shard, segment, seed & 0xFFFFFFFF)

    def head(self, ordinal: int, committed: int, envelope: bytes, body: tuple[int, int, int]) -> bytes:
        """Header and envelope of a message. `committed` is bytes; `body` is length (bytes), file (or 0) and hash."""
        covered = self.prefix + _REST.pack(MESSAGE, ordinal, committed >> 6, len(envelope), *body) + envelope
        return xxh3_64_digest(covered, self.seed) + covered

    def end(self, ordinal: int, offset: int) -> bytes:
        """The end marker that stands at `offset` (bytes); everything before it is known to be synced."""
        covered = self.prefix + _REST.pack(END, ordinal, offset >> 6, 0, 0, 0, 0)
        return xxh3_64_digest(covered, self.seed) + covered

    def parse(self, data: bytes, at: int) -> Header | None:
        """The header at index `at` of `data`, or None when none of this segment stands there. Not yet verified."""
        if data[at + PREFIX_START : at + PREFIX_END] != self.prefix or len(data) - at < HEADER_BYTES:
            return None
        kind, ordinal, committed, envelope_bytes, body_bytes, body_file, body_hash = _REST.unpack_from(
            data, at + PREFIX_END
        )
        unpadded = HEADER_BYTES + envelope_bytes + (0 if body_file else body_bytes)
        return Header(kind, ordinal, committed << 6, envelope_bytes, body_bytes, body_file, body_hash, unpadded)

    def record(self, header: Header, offset: int, envelope: bytes) -> Record:
        """The record at `offset`, of a verified header and the envelope behind it."""
        return Record(
            self.base | offset >> 6,
            self.segment,
            offset,
            padded(header.unpadded),
            envelope,
            offset + HEADER_BYTES + len(envelope),
            header.body_bytes,
            header.body_file,
            header.body_hash,
            header.ordinal,
        )

    def verify(self, data: bytes, at: int, envelope_bytes: int) -> bool:
        """Whether the checksum of the header at index `at` and of the envelope behind it is right."""
        covered = data[at + CHECKSUM_BYTES : at + HEADER_BYTES + envelope_bytes]
        return xxh3_64_digest(covered, self.seed) == data[at : at + CHECKSUM_BYTES]


def padded(length: int) -> int:
    """`length` (bytes) up to the next place where a record can start."""
    return (length + 63) & -64
