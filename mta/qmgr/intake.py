"""Following the log: all shards of a spool, in turns (`mta.qmgr.shard`).

The log is the incoming queue. What is not read yet costs no memory here, and after a restart reading goes on where the
journal says that everything before is settled.
"""

from collections.abc import Iterator
from pathlib import Path

from mta import log
from mta.envelope import Envelope
from mta.errors import SpoolError
from mta.qmgr.progress import SEGMENT_SHIFT, Progress
from mta.qmgr.shard import Consumer, Discarder, ShardIntake
from mta.spool import layout, queueid
from mta.spool.record import Record

READ_AT_ONCE = 1024  # records in one turn, so that outcomes do not wait long behind a backlog
SHARD_SHIFT = 51  # of a location, down to its shard (`mta.spool.queueid`)


class Intake:
    """All shards of a spool, in turns."""

    def __init__(self, root: Path, progress: Progress, discard: Discarder) -> None:
        self._root = root
        self._progress = progress
        self._discard = discard
        self._shards: dict[int, ShardIntake] = {}
        self._turns: list[ShardIntake] = []
        self._failed: set[int] = set()  # shards that could not be read, until the next look
        self.look()

    def close(self) -> None:
        """Close all files."""
        for shard in self._turns:
            shard.close()

    def look(self) -> None:
        """Find new shards, and see which ones have a writer. Some system calls a shard."""
        self.find()
        self._failed.clear()
        for shard in self._turns:
            shard.look()

    def find(self) -> None:
        """Find new shards."""
        for number in layout.shard_numbers(self._root):
            if number not in self._shards:
                self._shards[number] = ShardIntake(self._root, number, self._progress, self._discard)
                self._turns.append(self._shards[number])

    def read(self, room: int, consume: Consumer) -> int:
        """Read at most `room` records, and at most one turn's share, from all shards alike; returns how many.

        New messages go to `consume`, which says whether it takes more.
        """
        if not self._turns or room <= 0:
            return 0
        share = max(1, min(room, READ_AT_ONCE) // len(self._turns))
        self._turns.append(self._turns.pop(0))
        count = 0
        for shard in self._turns:
            if shard.shard in self._failed:
                continue
            try:
                count += shard.read(min(share, room - count), consume)
            except SpoolError as error:
                self._failed.add(shard.shard)
                log.problem(str(error), shard=shard.shard)
            if count >= room:
                break
        return count

    def unread(self) -> int:
        """Messages that have been accepted and not read in."""
        return sum(shard.unread() for shard in self._turns)

    def is_unread(self, location: int) -> bool:
        """Whether there may be a message at a location that has not been read in."""
        shard = self._shards.get(location >> SHARD_SHIFT)
        return shard is not None and shard.is_unread(location)

    def records(self) -> Iterator[tuple[Record, Envelope] | None]:
        """All messages that have not been read in, and `None` for each record that is not one."""
        for shard in list(self._turns):
            yield from shard.records()

    def purge(self) -> int:
        """Let go all messages that have not been read in; returns how many they are."""
        return sum(shard.purge() for shard in self._turns)

    def is_purging(self) -> bool:
        """Whether messages that were let go have not all been passed yet."""
        return any(shard.is_purging() for shard in self._turns)

    def ends(self) -> dict[int, int]:
        """For each shard, a location that is greater than those of all messages that can be read now."""
        return {shard.shard: shard.end() for shard in self._turns}

    def has_passed(self, ends: dict[int, int]) -> bool:
        """Whether everything below these locations has been read."""
        return all(self._shards[shard].is_passed(end) for shard, end in ends.items())

    def segments(self) -> set[int]:
        """The segments of all shards, named as in `mta.qmgr.progress`."""
        return {
            queueid.pack(number, name.number, 0) >> SEGMENT_SHIFT
            for number in self._shards
            for name in layout.segment_names(layout.shard_folder(self._root, number))
        }

    def damage(self) -> tuple[int, int]:
        """How many damaged and how many unfinished places have been met."""
        return sum(shard.corrupt for shard in self._turns), sum(shard.torn for shard in self._turns)
