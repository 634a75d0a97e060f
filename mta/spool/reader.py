"""Reading the spool: how far each shard may be read, and single messages by their location."""

from collections import OrderedDict
from collections.abc import Iterator
from io import FileIO
from pathlib import Path

import msgspec
from xxhash import xxh3_64

from mta.errors import SpoolCorrupt, SpoolError
from mta.spool import claim, layout, queueid
from mta.spool.position import Position, PositionFile
from mta.spool.record import Record
from mta.spool.recovery import Segment

OPEN_SEGMENTS = 64  # kept open by a MessageReader
BODY_CHUNK_BYTES = 262144


class Readable(msgspec.Struct, frozen=True):
    """How far a segment may be read: `stop` is for `Segment.records`, an offset in bytes, or None for its end."""

    segment: int
    stop: int | None


def shards(root: Path) -> list[int]:
    """The shards that exist, in order."""
    return layout.shard_numbers(root)


def segments(root: Path, shard: int) -> list[int]:
    """The numbers of a shard's segments, oldest first."""
    return [name.number for name in layout.segment_names(layout.shard_folder(root, shard))]


def is_claimed(root: Path, shard: int) -> bool:
    """Whether a living writer holds the shard."""
    return claim.is_claimed(root, shard)


class ShardReader:
    """Follows one shard. Keeps its position mapped; never writes anything."""

    def __init__(self, root: Path, shard: int) -> None:
        self.root = root
        self.shard = shard
        self._position: PositionFile | None = None

    def committed(self) -> Position | None:
        """The position of the shard's writer, living or dead, or None when there was none since the machine started.

        Without a system call, once the file is mapped.
        """
        if self._position is None:
            try:
                self._position = PositionFile.open(layout.shard_folder(self.root, self.shard))
            except (FileNotFoundError, ValueError):  # no writer yet, or it is just making the file
                return None
        return self._position.read()

    def readable(self) -> list[Readable]:
        """Every segment that may be read now and how far, oldest first.

        A segment that the writer has left can be read to its end, the one it is in up to the committed position; also
        after the writer's death, since what it had not committed nobody was told to be accepted. Where no position is
        left (the power failed) there is only the end of each segment. The order of the looks matters: a segment that is
        listed was made by a writer that came before; if nobody holds the shard then, it has its last bytes.
        """
        numbers = segments(self.root, self.shard)
        claimed = is_claimed(self.root, self.shard)
        position = self.committed()
        if position is None:
            return [] if claimed else [Readable(number, None) for number in numbers]
        return [
            Readable(number, None if number < position.segment else position.offset)
            for number in numbers
            if number <= position.segment
        ]

    def close(self) -> None:
        """Let go of the position."""
        if self._position is not None:
            self._position.close()
            self._position = None


class MessageReader:
    """Gives out single messages by their location, keeping segments open between calls."""

    def __init__(self, root: Path, *, open_segments: int = OPEN_SEGMENTS) -> None:
        self._root = root
        self._limit = open_segments
        self._open: OrderedDict[tuple[int, int], Segment] = OrderedDict()  # by shard and number, least used first

    def record(self, location: int) -> Record:
        """The record at a location; raises `SpoolCorrupt`, or `SpoolError` when its segment is gone."""
        segment, offset = self._find(location)
        return segment.read(offset)

    def message(self, location: int) -> tuple[Record, bytes | Iterator[bytes]]:
        """The record at a location and its body: bytes, or chunks when it has a file of its own.

        Raises `SpoolCorrupt`, or `SpoolError` when the segment or the body's file is gone. The checksum of a body that
        comes in chunks can be told only at its end: the iterator then raises `SpoolCorrupt` behind the last chunk.
        Blocks for the disk; at most one system call for a message up to 16 KiB whose segment is open.
        """
        segment, offset = self._find(location)
        record, body = segment.message(offset)
        return record, self._open_body(record) if body is None else body

    def close(self) -> None:
        """Close all segments."""
        for segment in self._open.values():
            segment.close()
        self._open.clear()

    def _find(self, location: int) -> tuple[Segment, int]:
        shard, number, offset = queueid.unpack(location)
        key = (shard, number)
        segment = self._open.get(key)
        if segment is None:
            segment = self._open[key] = Segment.open(self._root, shard, number)
            if len(self._open) > self._limit:
                self._open.popitem(last=False)[1].close()
        else:
            self._open.move_to_end(key)
        return segment, offset

    def _open_body(self, record: Record) -> Iterator[bytes]:
        path = body_path(self._root, record.body_file)
        try:
            file = FileIO(path)
        except OSError as error:
            raise SpoolError(f"{path}: {error.strerror}") from error
        return _body_chunks(file, record)


def body_path(root: Path, body_file: int) -> Path:
    """Where a large body is. After a power failure it may still bear a name of its file's earlier life."""
    path = layout.bodies_folder(root) / layout.body_name(body_file)
    if not path.exists():
        for number, boot in layout.free_bodies(root):
            if number == body_file:
                return layout.free_folder(root) / layout.free_body_name(number, boot)
    return path


def _body_chunks(file: FileIO, record: Record) -> Iterator[bytes]:
    checksum = xxh3_64()
    left = record.body_bytes
    with file:
        while left:
            chunk = file.read(min(left, BODY_CHUNK_BYTES))
            if not chunk:
                raise SpoolCorrupt(str(file.name), record.body_bytes - left, "the file ends before the body does")
            checksum.update(chunk)
            left -= len(chunk)
            yield chunk
    if checksum.intdigest() != record.body_hash:
        raise SpoolCorrupt(str(file.name), 0, "wrong checksum of the body")
