"""Marking rows: what each counts for (`mta.qmgr.tally`), when it is written, and again when the routes have changed.

A row is marked with the transports that its recipients would take at the time. After a change of the configuration, and
of a journal whose format knew no marks, all rows are looked at once, a few at a time; until that is done, counts by
transport are partly those of the old routes.
"""

import math
from collections.abc import Callable

import msgspec
from xxhash import xxh3_64_hexdigest

from mta.config import Config
from mta.qmgr import tally
from mta.qmgr.clock import Clock
from mta.qmgr.journal import Journal
from mta.qmgr.rows import Row
from mta.qmgr.schema import COUNTED
from mta.qmgr.tally import Mark

ROWS = 200  # looked at in one step: 2 ms
STEP_S = 0.05  # between steps: 4,000 rows a second, at a twentieth of a processor
ROUTES = "routes"  # the note that says for which routes all rows are marked


def routes(config: Config) -> str:
    """A text that changes with whatever says which transport takes a message."""
    return xxh3_64_hexdigest(msgspec.json.encode([config.route, sorted(config.transport), config.domains]))


class Marker:
    """Marks the rows of a journal. Opening reads two of its notes, and raises `SpoolError`."""

    def __init__(self, journal: Journal, ways: Callable[[Row], list[str]], clock: Clock, routes: str) -> None:
        """`ways` tells the transports of a row's recipients, one each, with "" where there is none."""
        self._journal = journal
        self._ways = ways
        self._clock = clock
        self._routes = routes
        self._after = -1
        self._step_at = clock.monotonic()
        self.is_done = journal.is_counted and journal.noted(ROUTES) == routes
        journal.mark = self.mark

    def mark(self, row: Row) -> Mark:
        """What a row that is being written counts for."""
        return Mark(tally.bucket(row.received_wall, self._clock.wall()), self._transports(row))

    def _transports(self, row: Row) -> list[str]:
        ways = self._ways(row)
        return ways[:1] if len(set(ways)) == 1 else ways

    def wait_s(self, now: float) -> float:
        """How long until `step` has something to do, in seconds."""
        return math.inf if self.is_done else self._step_at - now

    def step(self, now: float) -> None:
        """Mark some rows anew if it is time; the journal's next batch says so. Raises `SpoolError`."""
        if self.is_done or now < self._step_at:
            return
        self._step_at = now + STEP_S
        journal = self._journal
        last = journal.page_end(self._after, ROWS)
        if last is None:
            self.is_done = True
            journal.note(ROUTES, self._routes)
            if not journal.is_damaged():
                journal.note(COUNTED, "all")
            return
        for row in journal.between(self._after + 1, last + 1):
            mark = row.detail.mark
            if mark is None or mark.transports != self._transports(row):
                journal.put(row, before=row.state)
        self._after = last
