"""Following one shard of the log: every record that became readable, once, in the order of the shard.

How far a segment may be read stands in the manual of `mta.spool`: the one that the shard's position names up to the
position, earlier ones to their end; without a position, all to their end if nobody holds the shard.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

from mta import envelope as envelopes
from mta import log
from mta.envelope import Envelope
from mta.errors import SpoolCorrupt, SpoolError
from mta.qmgr.progress import OFFSET_MASK, SEGMENT_SHIFT, Progress, SegmentProgress
from mta.spool import layout, queueid
from mta.spool.layout import SegmentName
from mta.spool.position import Position
from mta.spool.queueid import UNIT_BYTES
from mta.spool.reader import ShardReader, is_claimed
from mta.spool.record import END, HEADER_BYTES, MESSAGE, PREFIX_END, PREFIX_START, Record
from mta.spool.recovery import Segment

SCAN_BYTES = 1048576  # one read when looking for the last record of a segment

Consumer = Callable[[Record, Envelope, SegmentProgress], bool]  # returns whether it takes more
Discarder = Callable[[Record, SegmentProgress], None]


class ShardIntake:
    """Reading one shard. `corrupt` and `torn` count the damaged and the unfinished places that were met."""

    def __init__(self, root: Path, shard: int, progress: Progress, discard: Discarder) -> None:
        """`discard` takes what is let go unread."""
        self.shard = shard
        self.corrupt = 0
        self.torn = 0
        self._purge_before = 0  # messages with a lower location are to be let go unread
        self._discard = discard
        self._root = root
        self._folder = layout.shard_folder(root, shard)
        self._progress = progress
        self._reader = ShardReader(root, shard)
        self._segment: Segment | None = None  # being read
        self._number = -1  # of that segment, or of the last one that was read to its end
        self._records: Iterator[Record] | None = None  # of that segment, as far as they could be read
        self._stop: int | None = None  # how far that is, in bytes; None: to the segment's end
        self._gaps: list[int] = []  # offsets in it, since then, where no record stood
        self._ordinal: int | None = None  # of the next message there; None before the first was read
        self._finished = -1  # segments up to this number will not grow any more
        self._totals: dict[int, int] = {}  # messages in finished segments, as far as somebody asked

    def close(self) -> None:
        """Close the files."""
        if self._segment is not None:
            self._segment.close()
        self._reader.close()

    def look(self) -> None:
        """See whether the shard has lost its writer. Some system calls; once a second is enough."""
        names = layout.segment_names(self._folder)  # before the lock is tried: a writer that comes now adds others
        if not names or names[-1].number <= self._finished or is_claimed(self._root, self.shard):
            return
        position = self._position()
        if position is None:
            self._finished = names[-1].number
        elif self._segment is not None and position.segment == self._number and _is_sealed(self._segment, position):
            self._finished = self._number

    def read(self, limit: int, consume: Consumer) -> int:
        """Read up to `limit` records and hand the new messages to `consume`, while it says that it takes more.

        Returns how many were read. What has been handed out counts as read. Raises `SpoolError`.
        """
        position, count = self._position(), 0
        while True:
            segment = self._segment or self._next_segment()
            if segment is None:
                return count
            progress = self._progress.segment(segment.identity.base >> SEGMENT_SHIFT)
            if self._records is None:
                stop, committed = self._readable(position)
                if stop is not None and stop <= progress.position * UNIT_BYTES:
                    return count
                self._records = segment.records(progress.position * UNIT_BYTES, stop, committed)
                self._stop = stop
            for record in self._records:
                envelope = self._take(segment, progress, record)
                count += 1
                if (envelope is not None and not consume(record, envelope, progress)) or count >= limit:
                    return count
            self._end_pass(segment, progress)
            if self._stop is not None:
                continue  # it may have been written on meanwhile
            progress.whole = True
            self.torn += len(segment.torn)
            segment.close()
            self._segment = None

    def _take(self, segment: Segment, progress: SegmentProgress, record: Record) -> Envelope | None:
        """One record: its envelope, or None when it is not to be delivered."""
        location = record.location
        offset = location & OFFSET_MASK
        if offset != progress.position:  # whether that is damage or the torn end of a batch is told at the end
            self._gaps.append(progress.position)
            progress.open[progress.position] = None
        progress.position = offset + record.length // UNIT_BYTES
        self._ordinal = record.ordinal + 1
        if offset in progress.done:
            progress.done.discard(offset)
            return None
        try:
            envelope = envelopes.decode(record.envelope)
        except ValueError as error:
            self._complain(progress, SpoolCorrupt(str(segment.path), record.offset, str(error)))
            return None
        if envelope.queue_id:
            return None  # a message that was moved here lives by its row in the journal alone
        if location < self._purge_before:
            self._discard(record, progress)
            return None
        return envelope

    def _end_pass(self, segment: Segment, progress: SegmentProgress) -> None:
        """The records that could be read are through: tell what is damaged, forget gaps that are not."""
        damaged = {problem.offset_bytes // UNIT_BYTES for problem in segment.problems}
        for offset in self._gaps:
            if offset not in damaged:
                self._progress.settle(progress, offset)
        for problem in segment.problems:
            self._complain(progress, problem)
        segment.problems.clear()
        self._gaps.clear()
        self._records = None
        progress.position = max(progress.position, (self._stop or segment.end) // UNIT_BYTES)

    def _complain(self, progress: SegmentProgress, problem: SpoolCorrupt) -> None:
        """Tell of damage. It is never settled, so the segment is kept, and each restart tells again."""
        self.corrupt += 1
        log.corrupt(problem.path, problem.offset_bytes, problem.reason)
        progress.open[problem.offset_bytes // UNIT_BYTES] = None

    def _readable(self, position: Position | None) -> tuple[int | None, int]:
        """For the segment being read: up to which offset (None: to its end), and what is known to be committed."""
        committed = position.offset if position is not None and position.segment == self._number else 0
        return (None, committed) if self._number <= self._finished else (committed, committed)

    def _position(self) -> Position | None:
        """The committed position; also learns from it which segments are finished."""
        position = self._reader.committed()
        if position is not None and position.segment > self._finished + 1:
            self._finished = position.segment - 1
        return position

    def _next_segment(self) -> Segment | None:
        """Open the segment behind the last one."""
        for name in layout.segment_names(self._folder):
            if name.number > self._number:
                self._segment = Segment.named(self._root, self.shard, name)
                self._totals.pop(self._number, None)
                self._number = name.number
                self._ordinal = None
                return self._segment
        return None

    # What is not read yet

    def purge(self) -> int:
        """Let go everything that can be read now; returns how many messages that is. They go as they are read."""
        count = self.unread()
        self._purge_before = self.end()
        return count

    def is_purging(self) -> bool:
        """Whether messages that were let go have not all been passed yet."""
        return not self.is_passed(self._purge_before)

    def end(self) -> int:
        """A location that is greater than those of all messages that can be read now."""
        position = self._position()
        if position is not None and position.segment > self._finished:
            return queueid.pack(self.shard, position.segment, position.offset)
        return queueid.pack(self.shard, self._finished + 1, 0)

    def is_passed(self, end: int) -> bool:
        """Whether every message with a location below `end` has been read."""
        _, number, offset = queueid.unpack(end)
        for name in self._unread_names():
            if name.number < number:
                return False
            if name.number == number:
                progress = self._progress.segments.get(end >> SEGMENT_SHIFT)
                return progress is not None and offset <= progress.position * UNIT_BYTES
        return True

    def unread(self) -> int:
        """Messages that can be read and have not been. A few system calls, and a look into segments not met before."""
        position = self._position()
        return sum(self._left(name, position) for name in self._unread_names())

    def records(self) -> Iterator[tuple[Record, Envelope] | None]:
        """All messages not read yet, without reading them in; `None` for each record that is no such message.

        For people; may take long, and they may be read in meanwhile.
        """
        position = self._position()
        for name in self._unread_names():
            progress = self._progress.segments.get(queueid.pack(self.shard, name.number, 0) >> SEGMENT_SHIFT)
            start, done = (progress.position, progress.done) if progress else (0, set[int]())
            if name.number > self._finished and (position is None or position.segment != name.number):
                return
            stop = position.offset if position is not None and name.number > self._finished else None
            try:
                segment = Segment.named(self._root, self.shard, name)
            except SpoolError:
                if name in layout.segment_names(self._folder):
                    raise
                continue  # it was read, and freed, while others were being looked at
            try:
                for record in segment.records(start * UNIT_BYTES, stop):
                    is_let_go = (record.location & OFFSET_MASK) in done or record.location < self._purge_before
                    yield None if is_let_go else self._decode(record)
            finally:
                segment.close()

    @staticmethod
    def _decode(record: Record) -> tuple[Record, Envelope] | None:
        try:
            envelope = envelopes.decode(record.envelope)
        except ValueError:
            return None  # will be told when it is read in
        return None if envelope.queue_id else (record, envelope)

    def is_unread(self, location: int) -> bool:
        """Whether a location of this shard lies ahead of what has been read."""
        _, number, offset = queueid.unpack(location)
        if number != self._number or self._segment is None:
            return number > self._number
        progress = self._progress.segment(location >> SEGMENT_SHIFT)
        return offset >= progress.position * UNIT_BYTES

    def _unread_names(self) -> list[SegmentName]:
        first = self._number if self._segment is not None else self._number + 1
        return [name for name in layout.segment_names(self._folder) if name.number >= first]

    def _left(self, name: SegmentName, position: Position | None) -> int:
        """Messages in one segment that can be read and have not been."""
        if position is not None and position.segment == name.number:
            total = position.messages
        elif name.number > self._finished:
            return 0
        else:
            total = self._total(name)
        progress = self._progress.segments.get(queueid.pack(self.shard, name.number, 0) >> SEGMENT_SHIFT)
        if progress is None:
            return total
        read = self._ordinal if name.number == self._number else None
        if read is None:
            read = 0 if not progress.position else self._first_ordinal(name, progress.position, total)
        return max(0, total - read - len(progress.done))

    def _total(self, name: SegmentName) -> int:
        """Messages in a finished segment."""
        total = self._totals.get(name.number)
        if total is None:
            segment = Segment.named(self._root, self.shard, name)
            try:
                total = self._totals[name.number] = count_messages(segment)
            finally:
                segment.close()
        return total

    def _first_ordinal(self, name: SegmentName, offset: int, total: int) -> int:
        """The ordinal of the first message at or behind an offset (units)."""
        segment = Segment.named(self._root, self.shard, name)
        try:
            return segment.read(offset * UNIT_BYTES).ordinal
        except SpoolCorrupt:
            return total  # nothing stands there: all of it was read
        finally:
            segment.close()


def _is_sealed(segment: Segment, position: Position) -> bool:
    """Whether a writer that is gone has marked the end of its last segment. If it died, its successor does so."""
    data = segment.pread(HEADER_BYTES, position.offset)
    header = segment.identity.parse(data, 0)
    return header is not None and header.kind == END and segment.identity.verify(data, 0, 0)


def count_messages(segment: Segment) -> int:
    """How many messages a finished segment has, told by its last record: the search goes backwards from the end."""
    prefix = segment.identity.prefix
    stop = segment.size()
    while stop > 0:
        start = max(0, stop - SCAN_BYTES)
        data = segment.pread(stop - start + HEADER_BYTES, start)  # a header that begins in this piece, whole
        at = data.rfind(prefix, 0, stop - start + PREFIX_END)
        while at >= PREFIX_START:
            header = segment.identity.parse(data, at - PREFIX_START)
            if header is not None and not (start + at - PREFIX_START) % UNIT_BYTES:
                return header.ordinal + (1 if header.kind == MESSAGE else 0)
            at = data.rfind(prefix, 0, at)
        stop = start
    return 0
