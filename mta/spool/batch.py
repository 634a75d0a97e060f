"""Batches: messages that are written and synced together, one batch after the other."""

from collections import deque
from collections.abc import Sequence

from mta.spool import position
from mta.spool._disk import NO_SYNC, RANGE_SYNC
from mta.spool.disk import Disk
from mta.spool.large import LargeBody
from mta.spool.record import PADDING
from mta.spool.segment import SegmentFile

# One appended message: envelope, inline body, facts of the body (length, file, hash), unpadded length of the record,
# and the large body to close when it is committed. A plain tuple: there is one for each message.
Entry = tuple[bytes, Sequence[bytes], tuple[int, int, int], int, LargeBody | None]


class Batch:
    """Messages of one segment, written and synced with one job of the disk thread."""

    __slots__ = ("end", "entries", "segment", "ticket")

    def __init__(self, segment: SegmentFile, entries: list[Entry]) -> None:
        """The messages that were appended to `segment` last."""
        self.segment = segment
        self.entries = entries
        self.end = segment.end
        self.ticket = -1

    def buffers(self) -> list[bytes]:
        """The batch as it is written. Everything before it is committed by now, and its records say so."""
        buffers: list[bytes] = []
        head, committed = self.segment.identity.head, self.segment.committed
        ordinal = self.segment.messages
        for envelope, body, facts, length, _ in self.entries:
            buffers.append(head(ordinal, committed, envelope, facts))
            buffers += body
            buffers.append(PADDING[-length & 63])
            ordinal += 1
        return buffers

    def accept(self) -> None:
        """It is on the disk."""
        self.segment.committed = self.end
        self.segment.messages += len(self.entries)
        for _, _, _, _, large in self.entries:
            if large is not None:
                large.close()

    def refuse(self) -> None:
        """It is not, and will not be: nothing behind what is committed counts."""
        self.segment.end = self.segment.committed
        for _, _, _, _, large in self.entries:
            if large is not None:
                large.abort()


class Batches:
    """The queue in front of the disk thread: one batch on its way, the others gathering behind it.

    Messages are for the segment that the owner appends to; when it goes on to another one it says so with `leave`.
    """

    def __init__(self, disk: Disk) -> None:
        self.gathered: list[Entry] = []  # for the current segment
        self._disk = disk
        self._waiting: deque[Batch] = deque()  # of segments that have been left since
        self._in_flight: Batch | None = None
        self._retiring: dict[int, SegmentFile] = {}  # segments whose end marker is being written, by ticket
        self._total = 0

    def leave(self, segment: SegmentFile) -> None:
        """Nothing more comes for this segment, which was the current one."""
        segment.left = True
        if self.gathered:
            self._waiting.append(Batch(segment, self.gathered))
            self.gathered = []
        self._retire_if_done(segment)

    def busy(self) -> bool:
        """Whether a batch is on its way."""
        return self._in_flight is not None

    def submit(self, current: SegmentFile) -> bool:
        """Start the next batch, unless one is on its way or there is none; says whether it did."""
        if self._in_flight is not None:
            return False
        if self._waiting:
            batch = self._waiting.popleft()
        elif self.gathered:
            batch, self.gathered = Batch(current, self.gathered), []
        else:
            return False
        segment, count = batch.segment, len(batch.entries)
        batch.ticket = self._disk.submit(
            segment.fd,
            segment.committed,
            batch.buffers(),
            RANGE_SYNC,
            position.words(segment.identity.segment, batch.end, segment.messages + count, self._total + count),
        )
        self._in_flight = batch
        return True

    def collect(self) -> tuple[Batch, int] | None:
        """The batch on its way and its errno, when it has ended. One without an error has been accepted."""
        ended: tuple[Batch, int] | None = None
        for ticket, failure in self._disk.completions():
            if self._in_flight is not None and ticket == self._in_flight.ticket:
                batch, self._in_flight = self._in_flight, None
                ended = batch, failure
                if not failure:
                    batch.accept()
                    self._total += len(batch.entries)
                    self._retire_if_done(batch.segment)
            else:
                self._retiring.pop(ticket).close()
        return ended

    def drop(self, current: SegmentFile) -> list[Batch]:
        """Take back everything that is not on its way."""
        dropped = [*self._waiting, Batch(current, self.gathered)]
        self._waiting.clear()
        self.gathered = []
        return dropped

    def close(self) -> None:
        """End the disk thread behind its last job. Blocks."""
        self._disk.close()
        for segment in self._retiring.values():
            segment.close()

    def _retire_if_done(self, segment: SegmentFile) -> None:
        """Write the end marker of a segment that was left and has nothing more to come."""
        if segment.abandoned or not segment.left:
            return
        coming = self._waiting if self._in_flight is None else (self._in_flight, *self._waiting)
        if any(batch.segment is segment for batch in coming):
            return
        # Without a sync: the marker saves work after a crash, and nothing depends on it.
        ticket = self._disk.submit(segment.fd, segment.committed, [segment.end_marker()], NO_SYNC)
        self._retiring[ticket] = segment
