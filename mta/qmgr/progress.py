"""How far each log segment has been read, and what in it is settled.

A record is settled when its message is finished or has a row in the journal; from then on the log need not be read for
it again. What is not settled is kept per segment in the order of the log, so the first of it is how far the segment is
settled without a gap: `taken`, the one number that the journal needs. Plain data, no I/O.

Segments are named by `location >> SEGMENT_SHIFT`; offsets are the rest of a location (units of
`mta.spool.queueid.UNIT_BYTES`).
"""

from collections.abc import Iterable

from mta.qmgr.journal import Settled

SEGMENT_SHIFT = 20
OFFSET_MASK = (1 << SEGMENT_SHIFT) - 1


class SegmentProgress:
    """One segment of one shard."""

    __slots__ = ("done", "name", "open", "position", "row_bytes", "rows", "settled", "taken", "whole")

    def __init__(self, name: int, taken: int) -> None:
        self.name = name
        self.taken = taken  # as the journal has it on disk
        self.position = taken  # where reading goes on
        self.open: dict[int, None] = {}  # offsets read and not settled, in the order of the log
        self.settled: list[int] = []  # offsets settled since the last commit
        self.done: set[int] = set()  # offsets not read yet that are settled already
        self.rows = 0  # messages in this segment that have a row in the journal
        self.row_bytes = 0
        self.whole = False  # read to its end, and nothing will be appended


class Progress:
    """All segments that are known, and which of them the next commit is about."""

    def __init__(self, taken: dict[int, int]) -> None:
        """`taken` per segment, from the journal."""
        self.segments = {name: SegmentProgress(name, offset) for name, offset in taken.items()}
        self._touched: list[SegmentProgress] = []

    def segment(self, name: int) -> SegmentProgress:
        """A segment; one that was not known begins at its start."""
        segment = self.segments.get(name)
        if segment is None:
            segment = self.segments[name] = SegmentProgress(name, 0)
        return segment

    def settle(self, segment: SegmentProgress, offset: int) -> None:
        """A record that was read is settled."""
        segment.open.pop(offset, None)
        if not segment.settled:
            self._touched.append(segment)
        segment.settled.append(offset)

    def settle_unread(self, location: int) -> None:
        """A record that was not read yet is settled, and will be passed over."""
        segment = self.segment(location >> SEGMENT_SHIFT)
        offset = location & OFFSET_MASK
        if offset not in segment.done:
            segment.done.add(offset)
            self.settle(segment, offset)

    def add_row(self, location: int, size_bytes: int) -> None:
        """A message got a row in the journal."""
        segment = self.segment(location >> SEGMENT_SHIFT)
        segment.rows += 1
        segment.row_bytes += size_bytes

    def add_rows(self, name: int, rows: int, row_bytes: int) -> None:
        """A segment holds so many messages with rows, as the journal says."""
        segment = self.segment(name)
        segment.rows += rows
        segment.row_bytes += row_bytes

    def drop_row(self, location: int, size_bytes: int) -> None:
        """A message's row is gone."""
        segment = self.segment(location >> SEGMENT_SHIFT)
        segment.rows -= 1
        segment.row_bytes -= size_bytes

    def pending(self) -> int:
        """How many records were settled since the last commit."""
        return sum(len(segment.settled) for segment in self._touched)

    def batch(self) -> list[Settled]:
        """What the next commit has to say about segments."""
        parts = []
        for segment in self._touched:
            taken = next(iter(segment.open), segment.position)
            parts.append(Settled(segment.name, taken, [offset for offset in segment.settled if offset >= taken]))
        return parts

    def committed(self, batch: Iterable[Settled]) -> None:
        """The batch is on disk."""
        for part in batch:
            segment = self.segments[part.segment]
            segment.taken = part.taken
            segment.settled.clear()
        self._touched.clear()

    def freeable(self) -> list[SegmentProgress]:
        """Segments that nobody needs, according to what is on disk."""
        return [
            segment
            for segment in self.segments.values()
            if segment.whole and not segment.open and not segment.settled and not segment.rows
        ]

    def forget(self, segment: SegmentProgress) -> None:
        """A segment has been freed."""
        del self.segments[segment.name]
