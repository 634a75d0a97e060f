"""Messages as the transports see them, and how they are read from the spool.

A small message costs one `pread`: header, envelope and body stand together in the segment. A large body has a file of
its own and is read in pieces. Nothing is believed before its checksum is; that of a large body is known only at its
end, so a transport must not finish a message whose `chunks` raise.
"""

import os
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from xxhash import xxh3_64

from mta import envelope as envelopes
from mta.envelope import Envelope
from mta.errors import SpoolCorrupt, SpoolFailed
from mta.spool import layout, queueid
from mta.spool.recovery import Segment

CHUNK_BYTES = 262144  # of a large body: few calls, little memory
SEGMENTS_OPEN = 8  # kept open, the last used; a deleted segment that is open still takes space


class Message(Protocol):
    """A message of the spool. Its content is as it was received, our trace fields in front, lines ended by CR LF."""

    @property
    def envelope(self) -> Envelope:
        """What SMTP said about it."""

    @property
    def size_bytes(self) -> int:
        """Length of the content."""

    def chunks(self) -> Iterator[bytes]:
        """The content in order; a small message is one chunk. May block; raises `SpoolError` when it is damaged."""


class Messages(Protocol):
    """Reads messages. One thread's own: each native thread has one."""

    def read(self, location: int) -> Message:
        """The message at `location` (`mta.spool.queueid`). Blocks for a read of the disk; raises `SpoolError`."""


class SmallMessage:
    """A message that was in the segment, read and verified."""

    __slots__ = ("_body", "envelope", "size_bytes")

    def __init__(self, envelope: Envelope, body: bytes) -> None:
        self.envelope = envelope
        self.size_bytes = len(body)
        self._body = body

    def chunks(self) -> Iterator[bytes]:
        """The one chunk there is."""
        return iter((self._body,))


class LargeMessage:
    """A message whose body has a file of its own."""

    __slots__ = ("_hash", "_path", "envelope", "size_bytes")

    def __init__(self, envelope: Envelope, path: Path, size_bytes: int, body_hash: int) -> None:
        self.envelope = envelope
        self.size_bytes = size_bytes
        self._path = path
        self._hash = body_hash

    def chunks(self) -> Iterator[bytes]:
        """The content in pieces; a wrong checksum is raised behind the last one."""
        digest = xxh3_64()
        offset = 0
        try:
            fd = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                while offset < self.size_bytes:
                    chunk = os.pread(fd, min(CHUNK_BYTES, self.size_bytes - offset), offset)
                    if not chunk:
                        raise SpoolCorrupt(str(self._path), offset, "the body ends early")
                    digest.update(chunk)
                    offset += len(chunk)
                    yield chunk
            finally:
                os.close(fd)
        except OSError as error:
            raise SpoolFailed(f"{self._path}: {error.strerror}") from error
        if digest.intdigest() != self._hash:
            raise SpoolCorrupt(str(self._path), 0, "the body's checksum is wrong")


class SpoolMessages:
    """Reads from a spool on disk."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._segments: OrderedDict[int, Segment] = OrderedDict()  # by location of their start, last used last

    def read(self, location: int) -> Message:
        """The message at `location`. Blocks for a read of the disk; raises `SpoolError`."""
        shard, number, offset = queueid.unpack(location)
        segment = self._open(shard, number)
        record, body = segment.message(offset)
        try:
            envelope = envelopes.decode(record.envelope)
        except ValueError as error:
            raise SpoolCorrupt(str(segment.path), offset, str(error)) from error
        if body is not None:
            return SmallMessage(envelope, body)
        path = layout.bodies_folder(self._root) / layout.body_name(record.body_file)
        return LargeMessage(envelope, path, record.body_bytes, record.body_hash)

    def _open(self, shard: int, number: int) -> Segment:
        base = queueid.pack(shard, number, 0)
        segment = self._segments.get(base)
        if segment is not None:
            self._segments.move_to_end(base)
            return segment
        segment = self._segments[base] = Segment.open(self._root, shard, number)
        if len(self._segments) > SEGMENTS_OPEN:
            self._segments.popitem(last=False)[1].close()
        return segment
