"""Mail of slow destinations, put aside while the active set is full.

`mta.qmgr.shares` says whose lines are cut. What is cut off becomes a row of the journal that waits, as if it had been
deferred, with the name of its destination. It comes back when the line is nearly empty; and when it is due in any case,
an hour or two later. In memory is the name of each destination for which something may have been put aside.
"""

from collections import deque

from mta.qmgr.active import ActiveSet
from mta.qmgr.journal import Journal
from mta.qmgr.scheduler import Scheduler
from mta.qmgr.shares import Shares

REFILL = 500  # messages that come back to one line at once
NAMES_AT_ONCE = 16  # destinations that are looked at after a commit; the others have their turn later


class Parking:
    """Cuts lines and fills them again. `limit` is the places in the active set."""

    def __init__(
        self, limit: int, scheduler: Scheduler, active: ActiveSet, journal: Journal, *, spares_the_only_one: bool = True
    ) -> None:
        self._limit = limit
        self._scheduler = scheduler
        self._active = active
        self._journal = journal
        self._shares = Shares(scheduler, limit, spares_the_only_one=spares_the_only_one)
        self._turns = deque(journal.aside_names())
        self._names = set(self._turns)

    def _held(self) -> int:
        """Places that are taken; a set that is full of recipients has none left either."""
        return self._limit if self._active.is_full() else len(self._active.messages)

    def is_watching(self) -> bool:
        """Whether `cut` should be called soon though nothing happens."""
        return self._shares.is_watching(self._held())

    def cut(self, now: float) -> int:
        """Put aside what stands in the way; returns how many jobs."""
        count = 0
        for line, surplus in self._shares.look(now, self._held()):
            jobs = self._scheduler.evict(line, surplus)
            self._active.put_aside(jobs, line.name)
            count += len(jobs)
            if line.name not in self._names:
                self._names.add(line.name)
                self._turns.append(line.name)
        return count

    def refill(self) -> int:
        """Take back what there is a place for; returns how many messages. The journal has just been committed."""
        count = 0
        for _ in range(min(NAMES_AT_ONCE, len(self._turns))):
            if self._shares.is_crowded(self._held()):
                break
            name = self._turns.popleft()
            line = self._scheduler.destinations.get(name)
            if line is None or self._shares.may_refill(line):
                rows = self._journal.aside(name, min(REFILL, self._active.room()))
                if not rows:
                    self._names.discard(name)
                    continue
                for row in rows:
                    self._active.load(row)
                count += len(rows)
            self._turns.append(name)
        return count
