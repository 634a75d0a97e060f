"""Giving space back: segments and large bodies that nobody needs, and survivors that keep a segment from going.

Everything here blocks on the disk, and does so only for what the journal has on disk already. A failure is told and
tried again later: space is not worth stopping the mail for.
"""

from contextlib import suppress
from pathlib import Path

import msgspec

from mta import log
from mta.errors import SpoolCorrupt, SpoolError
from mta.qmgr.journal import Journal
from mta.qmgr.own import OwnShard
from mta.qmgr.progress import SEGMENT_SHIFT, Progress, SegmentProgress
from mta.qmgr.rows import IN_HAND, Row
from mta.spool import layout, queueid, reclaim
from mta.spool.reader import MessageReader
from mta.spool.record import Record

LIVE_FRACTION = 0.1  # of a segment's file; below it, the messages that wait in it are moved elsewhere


class Census:
    """Finds large bodies that no message names: what a crash left behind.

    A body that had no writer when this began, and that neither the journal nor any record up to the place where the log
    ended then has named, is an orphan. The log is read anyway; `seen` is called for each record of it, and `finish`
    when reading has passed that place.
    """

    def __init__(self, root: Path, living: set[int]) -> None:
        self._root = root
        self._unwritten = reclaim.unwritten_bodies(root)
        stamp = layout.boot_stamp()
        earlier = {number for number, boot in layout.free_bodies(root) if boot != stamp}
        self._candidates = earlier.union(self._unwritten)
        self._living = living & self._candidates

    def seen(self, record: Record) -> None:
        """A living message has been read from the log."""
        if record.body_file in self._candidates:
            self._living.add(record.body_file)

    def finish(self, reserve: reclaim.BodyReserve) -> None:
        """All records that were there at the start have been seen. Raises `SpoolError`."""
        count = reclaim.restore_bodies(self._root, self._unwritten, self._living, reserve)
        if count:
            log.note("orphans", bodies=count)


class Cleaner:
    """Frees what can be freed, and moves what is in the way."""

    def __init__(self, root: Path, journal: Journal, progress: Progress, own: OwnShard) -> None:
        self.reserve = reclaim.BodyReserve(root)
        self._root = root
        self._journal = journal
        self._progress = progress
        self._reader = MessageReader(root, open_segments=4)
        self._own = own
        self._unmovable: set[int] = set()  # segments with damaged messages
        self.moves = 0  # rows that have got another location, so far

    def close(self) -> None:
        """Close all files."""
        self._reader.close()

    def free(self) -> int:
        """Free what nobody needs, according to the journal on disk; returns the number of segments."""
        journal, count = self._journal, 0
        try:
            while journal.unneeded:
                self.reserve.free(journal.unneeded[-1])
                journal.unneeded.pop()
            for segment in self._progress.freeable():
                shard, number, _ = queueid.unpack(segment.name << SEGMENT_SHIFT)
                reclaim.free_segment(self._root, shard, number)
                self._progress.forget(segment)
                journal.forget(segment.name)
                count += 1
        except SpoolError as error:
            log.problem(str(error))
        return count

    def move_survivors(self) -> int:
        """Move the waiting, held and failed messages out of one segment that has few of them; returns how many.

        The caller has committed the journal and commits it again afterwards.
        """
        candidates = [
            segment
            for segment in self._progress.segments.values()
            if segment.whole and segment.rows and not segment.open and segment.name not in self._unmovable
        ]
        sizes = self._sizes({queueid.unpack(segment.name << SEGMENT_SHIFT)[0] for segment in candidates})
        for segment in candidates:
            start = segment.name << SEGMENT_SHIFT
            if segment.row_bytes >= LIVE_FRACTION * sizes.get(segment.name, 0):
                continue
            rows = self._journal.between(start, start + (1 << SEGMENT_SHIFT))
            if rows and all(row.state not in IN_HAND for row in rows):
                return self._move(segment, rows)
        return 0

    def _sizes(self, shards: set[int]) -> dict[int, int]:
        """The bytes of each segment of some shards. A system call for each."""
        sizes: dict[int, int] = {}
        for shard in shards:
            folder = layout.shard_folder(self._root, shard)
            for name in layout.segment_names(folder):
                with suppress(FileNotFoundError):  # somebody has removed it
                    sizes[queueid.pack(shard, name.number, 0) >> SEGMENT_SHIFT] = (folder / name.file).stat().st_size
        return sizes

    def _move(self, segment: SegmentProgress, rows: list[Row]) -> int:
        """Copy messages to our own shard, and when they are safe there, let their rows say so."""
        moved: list[tuple[Row, int]] = []
        try:
            writer = self._own.writer()
            for row in rows:
                try:
                    moved.append((row, reclaim.move(self._reader, writer, row.location)))
                except SpoolCorrupt as error:
                    log.corrupt(error.path, error.offset_bytes, error.reason)
                    self._unmovable.add(segment.name)
            writer.commit()
        except SpoolError as error:
            log.problem(str(error))
            return 0
        for row, location in moved:
            self._journal.drop(row.location, before=row.state)
            self._journal.put(msgspec.structs.replace(row, location=location), before=None)
            self._progress.drop_row(row.location, row.inline_bytes)
            self._progress.add_row(location, row.inline_bytes)
            self._progress.settle_unread(location)  # the copy is no new message
        self.moves += len(moved)
        return len(moved)
