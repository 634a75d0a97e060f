"""Who gives place when the active set is full: destinations that hold much of it and send little.

A slow destination may have more mail than the set has places; what comes behind it in the log, for others, would wait
for it. So when the set is full, a line that its destination will not have sent within `PATIENCE_S`, at the speed it has
shown, is cut to what it will; what is cut off is put aside in the journal (`mta.qmgr.active`) and comes back when the
line is nearly empty. A fast destination that has filled the set is left alone: reading on comes soon enough, and the
log is the cheapest place to wait in.

No I/O and no clock: time (monotonic, seconds) is an argument.
"""

from mta.qmgr.lines import Destination
from mta.qmgr.scheduler import QUANTUM, Scheduler

LOOK_S = 0.25  # between looks
WATCH_S = 5.0  # a destination's speed is taken over so long at least
PATIENCE_S = 30.0
FULL = 0.9  # of the places: then somebody may have to wait in the log
CUT_FRACTION = 16  # no more than this part of the places is given up at one look: each costs a row in the journal


class Shares:
    """The looks at the lines of a scheduler, and what they find. `limit` is the places in the active set.

    `spares_the_only_one`: where there is one destination, it is left alone. Not so where the log is to be read on, so
    that somebody knows how much mail it has waiting.
    """

    def __init__(self, scheduler: Scheduler, limit: int, *, spares_the_only_one: bool = True) -> None:
        self._scheduler = scheduler
        self._limit = limit
        self._spares_the_only_one = spares_the_only_one
        self._look_at = 0.0
        self._floor = QUANTUM  # what a line may hold in any case

    def is_crowded(self, held: int) -> bool:
        """Whether a set that holds so many messages is full, or nearly."""
        return held >= self._limit * FULL

    def is_watching(self, held: int) -> bool:
        """Whether speeds are to be known soon."""
        return held * 2 >= self._limit

    def look(self, now: float, held: int) -> list[tuple[Destination, int]]:
        """Whose lines are to be cut, and by how many jobs; nobody's as long as there is room.

        Walks the destinations, once in `LOOK_S` and when at least half of the set is taken.
        """
        if now < self._look_at or not self.is_watching(held) or not self._scheduler.workers():
            return []
        self._look_at = now + LOOK_S
        lines = [one for one in self._scheduler.destinations.values() if one.first or one.again]
        kept = self._floor = max(1, min(QUANTUM, self._limit // (2 * max(1, len(lines)))))
        slow: list[tuple[Destination, int]] = []
        for line in lines:
            waiting = line.waiting()
            speed = _speed(line, now)
            if speed is not None and waiting > max(kept, speed * PATIENCE_S):
                slow.append((line, waiting - max(kept, int(speed * PATIENCE_S))))
        if self._spares_the_only_one and len(lines) < 2 and len(self._scheduler.destinations) < 2:
            return []  # there is nobody to give place to
        return self._bounded(slow) if self.is_crowded(held) else []

    def _bounded(self, slow: list[tuple[Destination, int]]) -> list[tuple[Destination, int]]:
        """The longest ones, as far as one look goes."""
        left, cuts = max(QUANTUM, self._limit // CUT_FRACTION), []
        for line, count in sorted(slow, key=lambda one: one[1], reverse=True):
            cuts.append((line, min(count, left)))
            left -= cuts[-1][1]
            if not left:
                break
        return cuts

    def may_refill(self, line: Destination) -> bool:
        """Whether mail that was put aside may come back: the line is nearly empty."""
        return line.waiting() < self._floor and not line.window.suspended_until_at


def _speed(line: Destination, now: float) -> float | None:
    """Messages a second that a destination has taken since it was watched; `None` until that is long enough."""
    elapsed_s = now - line.seen_at
    if line.seen_at < 0 or elapsed_s > 4 * WATCH_S:
        line.seen_at, line.seen_finished = now, line.finished
        return None
    if elapsed_s < WATCH_S:
        return None
    speed = (line.finished - line.seen_finished) / elapsed_s
    if elapsed_s > 2 * WATCH_S:  # what it does now counts, not what it did once
        line.seen_at, line.seen_finished = now - WATCH_S, line.finished - int(speed * WATCH_S)
    return speed
