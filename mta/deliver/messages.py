"""Messages as the transports see them, and how they are read from the spool.

A small message costs one `pread` at most: header, envelope and body stand together in the segment. A large body has a
file of its own and is read in pieces. Nothing is believed before its checksum is; that of a large body is known only at
its end, so a transport must not finish a message whose `chunks` raise.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from mta import envelope as envelopes
from mta.envelope import Envelope
from mta.errors import SpoolFailed
from mta.spool import queueid
from mta.spool.reader import MessageReader

SEGMENTS_OPEN = 16  # by each reader: a segment that is deleted takes space for as long as it is open


class Message(Protocol):
    """A message of the spool. Its content is as it was received, our trace fields in front, lines ended by CR LF."""

    @property
    def envelope(self) -> Envelope:
        """What SMTP said about it."""

    @property
    def size_bytes(self) -> int:
        """Length of the content."""

    @property
    def content(self) -> bytes | None:
        """The content, where it is in memory and verified; None where `chunks` has to read it."""

    def chunks(self) -> Iterator[bytes]:
        """The content in order; a small message is one chunk. May block; raises `SpoolError` when it is damaged."""


class Messages(Protocol):
    """Reads messages. One thread's own: each native thread has one."""

    def read(self, location: int) -> Message:
        """The message at `location` (`mta.spool.queueid`). Blocks for a read of the disk; raises `SpoolError`."""


class SmallMessage:
    """A message that was in the segment, read and verified."""

    __slots__ = ("content", "envelope", "size_bytes")

    def __init__(self, envelope: Envelope, body: bytes) -> None:
        self.envelope = envelope
        self.content = envelope.trace + body
        self.size_bytes = len(self.content)

    def chunks(self) -> Iterator[bytes]:
        """The one chunk there is."""
        return iter((self.content,))


class LargeMessage:
    """A message whose body has a file of its own, which is opened anew for each reading."""

    __slots__ = ("_location", "_reader", "envelope", "size_bytes")

    content = None

    def __init__(self, envelope: Envelope, size_bytes: int, reader: MessageReader, location: int) -> None:
        self.envelope = envelope
        self.size_bytes = len(envelope.trace) + size_bytes
        self._reader = reader
        self._location = location

    def chunks(self) -> Iterator[bytes]:
        """The content in pieces; a wrong checksum is raised behind the last one."""
        body = self._reader.message(self._location)[1]
        yield self.envelope.trace
        try:
            yield from (body,) if isinstance(body, bytes) else body
        except OSError as error:
            raise SpoolFailed(f"{queueid.text(self._location)}: {error.strerror}") from error


class SpoolMessages:
    """Reads from a spool on disk."""

    def __init__(self, root: Path, open_segments: int = SEGMENTS_OPEN) -> None:
        self._reader = MessageReader(root, open_segments=open_segments)

    def read(self, location: int) -> Message:
        """The message at `location`. Blocks for a read of the disk; raises `SpoolError`."""
        record, body = self._reader.message(location)
        try:
            envelope = envelopes.decode(record.envelope)
        except ValueError as error:
            raise SpoolFailed(f"{queueid.text(location)}: {error}") from error
        if isinstance(body, bytes):
            return SmallMessage(envelope, body)
        return LargeMessage(envelope, record.body_bytes, self._reader, location)
