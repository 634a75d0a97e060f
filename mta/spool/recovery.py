"""Reading a segment: its records in order, what is torn, what is corrupt.

The same code reads behind a living writer and after a crash. What a reader can meet, and what it does about it, stands
in the package's manual.
"""

import os
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from xxhash import xxh3_64_intdigest

from mta.errors import SpoolCorrupt, SpoolError
from mta.spool import layout
from mta.spool.layout import SegmentName
from mta.spool.queueid import UNIT_BYTES
from mta.spool.record import END, HEADER_BYTES, MESSAGE, PREFIX_START, Header, Identity, Record

CHUNK_BYTES = 262144  # one read of many records
SPARSE_BYTES = 8192  # one read where bodies are long and are skipped
SKIP_BYTES = 32768  # a body reaching this far beyond what was read is long
SCAN_BYTES = 1048576  # one read when looking for a record behind damage
PAGE_BYTES = 4096  # one read where the disk has unreadable places
MESSAGE_BYTES = 16384  # first read of a single message: most fit in
AHEAD_BYTES = 65536  # the same where it is the one behind the last: more will be read. Each open segment keeps so much


class Segment:
    """A segment, open for reading.

    After `records` is exhausted, `end` is where it stopped (bytes), `sealed` whether an end marker stands there, `torn`
    the offsets where something unfinished was cut off, and `problems` what was found corrupt, in order.
    """

    def __init__(self, path: Path, identity: Identity) -> None:
        """Open the file; raises `SpoolError` when it cannot be."""
        try:
            self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise SpoolError(f"{path}: {error.strerror}") from error
        self.path = path
        self.identity = identity
        self.end = 0
        self.sealed = False
        self.torn: list[int] = []
        self.problems: list[SpoolCorrupt] = []
        self._next = -1  # offset behind the last message that was read
        self._ahead = b""
        self._ahead_from = 0  # its offset

    @classmethod
    def open(cls, root: Path, shard: int, number: int) -> "Segment":
        """The segment with that number; raises `SpoolError` when there is none."""
        folder = layout.shard_folder(root, shard)
        for name in layout.segment_names(folder):
            if name.number == number:
                return cls.named(root, shard, name)
        raise SpoolError(f"{folder}: no segment {number:08x}")

    @classmethod
    def named(cls, root: Path, shard: int, name: SegmentName) -> "Segment":
        """The segment of that name; raises `SpoolError` when there is none."""
        return cls(layout.shard_folder(root, shard) / name.file, Identity(shard, name.number, name.seed))

    def close(self) -> None:
        """Close the file."""
        os.close(self._fd)

    def records(self, start: int = 0, stop: int | None = None, committed: int = 0) -> Iterator[Record]:
        """The messages from offset `start` on, in the order in which they were taken. Bodies are not read.

        With `stop` (the offset up to which the writer has committed), everything up to there must be valid. Without,
        the segment has no writer any more, and the end is the end marker or the last valid record; `committed` is the
        offset up to which it is known to have been committed, if more is known than the records tell. Where a later
        record shows that damaged bytes had been committed, they are a problem; else they are torn, and cut.
        Messages that nothing shows to be committed are given out when they are whole, inline body included.
        """
        return _Scan(self, start, stop, committed).run()

    def read(self, offset: int) -> Record:
        """The message at that offset; raises `SpoolCorrupt` when no valid one stands there."""
        return self._load(self.pread(MESSAGE_BYTES, offset), 0, offset)[0]

    def message(self, offset: int) -> tuple[Record, bytes | None]:
        """The message at that offset with its body, verified; None for a body that has a file of its own.

        One system call for messages up to 16 KiB, two for others; one for several that are read in their order. Raises
        `SpoolCorrupt`.
        """
        at = offset - self._ahead_from
        if 0 <= at < len(self._ahead):
            with suppress(SpoolCorrupt):  # it was read before it was written whole
                return self._message(self._ahead, at, offset)
        self._ahead = self.pread(AHEAD_BYTES if offset == self._next else MESSAGE_BYTES, offset)
        self._ahead_from = offset
        return self._message(self._ahead, 0, offset)

    def body(self, record: Record) -> bytes:
        """The inline body of a record of this segment, verified; raises `SpoolCorrupt`."""
        return self._inline_body(record, b"", 0)

    def body_is_whole(self, record: Record) -> bool:
        """Whether the inline body is what it was when it was taken."""
        return xxh3_64_intdigest(self.pread(record.body_bytes, record.body_offset)) == record.body_hash

    def pread(self, size: int, offset: int) -> bytes:
        """Bytes of the file; raises `SpoolCorrupt` where the disk cannot read them."""
        try:
            return os.pread(self._fd, size, offset)
        except OSError as error:
            raise SpoolCorrupt(str(self.path), offset, f"unreadable: {error.strerror}") from error

    def pread_holes(self, size: int, offset: int) -> bytes:
        """As `pread`, with zeros for what the disk cannot read."""
        try:
            return os.pread(self._fd, size, offset)
        except OSError:
            pages = range(offset, offset + size, PAGE_BYTES)
            return b"".join(map(self._pread_page, pages))[:size]

    def _pread_page(self, offset: int) -> bytes:
        try:
            return os.pread(self._fd, PAGE_BYTES, offset)
        except OSError:
            return bytes(PAGE_BYTES)

    def size(self) -> int:
        """The file's length in bytes, used or not."""
        return os.fstat(self._fd).st_size

    def _message(self, data: bytes, at: int, offset: int) -> tuple[Record, bytes | None]:
        """As `message`, of what was read already: the record at `offset` begins at index `at` of `data`."""
        record, data, at = self._load(data, at, offset)
        self._next = offset + record.length
        if record.body_file:
            return record, None
        return record, self._inline_body(record, data, at)

    def _load(self, data: bytes, at: int, offset: int) -> tuple[Record, bytes, int]:
        """The record at an offset, and data and index where it begins: those given, or such as hold all of its head."""
        header = self.identity.parse(data, at)
        if header is None or header.kind != MESSAGE:
            raise SpoolCorrupt(str(self.path), offset, "no message of this segment stands here")
        head_bytes = HEADER_BYTES + header.envelope_bytes
        if len(data) - at < header.unpadded and offset + header.unpadded > self.size():
            raise SpoolCorrupt(str(self.path), offset, "its length exceeds the file")
        if len(data) - at < head_bytes:
            data, at = self.pread(head_bytes, offset), 0
        if not self.identity.verify(data, at, header.envelope_bytes):
            raise SpoolCorrupt(str(self.path), offset, "wrong checksum of header and envelope")
        return self.identity.record(header, offset, data[at + HEADER_BYTES : at + head_bytes]), data, at

    def _inline_body(self, record: Record, data: bytes, at: int) -> bytes:
        """The inline body; `data` is what was read already, the record begins at its index `at`."""
        at += record.body_offset - record.offset
        body = data[at : at + record.body_bytes]
        missing = record.body_bytes - len(body)
        if missing:
            body += self.pread(missing, record.body_offset + len(body))
        if xxh3_64_intdigest(body) != record.body_hash:
            raise SpoolCorrupt(str(self.path), record.offset, "wrong checksum of the body")
        return body


class _Scan:
    """One pass over a segment."""

    def __init__(self, segment: Segment, start: int, stop: int | None, committed: int) -> None:
        self.segment = segment
        self.at = start
        size = segment.size()
        self.limit = size if stop is None else min(stop, size)
        self.known = committed if stop is None else stop  # up to here everything was committed
        self.unsure: deque[Record] = deque()  # valid but for the body, maybe; not known to be committed
        self.gaps: deque[tuple[int, str]] = deque()  # damage behind what is known to be committed, and what kind
        self.chunk = b""
        self.base = start  # the chunk's offset

    def run(self) -> Iterator[Record]:
        """Walk from record to record; where there is none, look for the next."""
        segment, identity = self.segment, self.segment.identity
        while self.at < self.limit or self.at < self.known:
            header = self._header(self.at)
            if isinstance(header, str):
                if self._pass_damage(header):
                    continue
                break
            if header.committed > self.known:
                self.known = header.committed
                yield from self._settle()
            if header.kind == END:
                segment.sealed = True
                break
            start = self.at - self.base + HEADER_BYTES
            record = identity.record(header, self.at, self.chunk[start : start + header.envelope_bytes])
            self.at += record.length
            if record.offset < self.known:
                yield record
            else:
                self.unsure.append(record)
        segment.end = self.at
        yield from self._finish()

    def _header(self, at: int) -> Header | str:
        """The verified header at an offset, with its envelope in the chunk; or what is wrong ("" for nothing there)."""
        beyond = at - self.base - len(self.chunk)
        if beyond > -HEADER_BYTES:
            self._fill(at, CHUNK_BYTES if beyond < SKIP_BYTES else SPARSE_BYTES)
        header = self.segment.identity.parse(self.chunk, at - self.base)
        if header is None:
            return ""
        if header.kind not in (MESSAGE, END):
            return f"unknown kind of record {header.kind}"
        if at + header.unpadded > self.limit:
            return "its length exceeds the file"
        needed = HEADER_BYTES + header.envelope_bytes
        if at - self.base + needed > len(self.chunk):
            self._fill(at, max(needed, SPARSE_BYTES))
        if not self.segment.identity.verify(self.chunk, at - self.base, header.envelope_bytes):
            return "wrong checksum of header and envelope"
        return header

    def _fill(self, at: int, size: int) -> None:
        self.chunk = self.segment.pread_holes(max(0, min(size, self.limit - at)), at)
        self.base = at

    def _pass_damage(self, reason: str) -> bool:
        """Nothing valid stands here: go to the next record, and say whether there is one."""
        damaged = self.at
        following = self._next_valid(damaged + UNIT_BYTES)
        if following is not None or reason or damaged < self.known:
            self.gaps.append((damaged, reason or "nothing stands where a record was written"))
        if following is None:
            return False
        self.at = following
        return True

    def _next_valid(self, start: int) -> int | None:
        """The first offset from `start` on where a valid header of this segment stands."""
        prefix = self.segment.identity.prefix
        while start + HEADER_BYTES <= self.limit:
            data = self.segment.pread_holes(min(SCAN_BYTES, self.limit - start), start)
            index = data.find(prefix)
            while index >= 0:
                at = start + index - PREFIX_START
                if at % UNIT_BYTES == 0 and at >= start and not isinstance(self._header(at), str):
                    return at
                index = data.find(prefix, index + 1)
            start += SCAN_BYTES
        return None

    def _settle(self) -> Iterator[Record]:
        """More is known to be committed: give out what was waiting for that, and report what should have been there."""
        while self.unsure and self.unsure[0].offset < self.known:
            yield self.unsure.popleft()
        while self.gaps and self.gaps[0][0] < self.known:
            offset, reason = self.gaps.popleft()
            self.segment.problems.append(SpoolCorrupt(str(self.segment.path), offset, reason))

    def _finish(self) -> Iterator[Record]:
        """The end: what nothing has shown to be committed is given out when it is whole, and cut when it is not."""
        yield from self._settle()
        for record in self.unsure:
            if record.body_file or self.segment.body_is_whole(record):
                yield record
            else:
                self.segment.torn.append(record.offset)
        self.segment.torn += (offset for offset, _ in self.gaps)
        self.segment.torn.sort()
