"""The lines that jobs wait in: one pair for each destination, and the transports that destinations belong to.

A destination is a transport, where all its mail goes to one place, or `transport/domain`, where each domain has a next
hop of its own. Those of the second kind come with their first job and go when they have been idle and many others came.
"""

import enum
import heapq
import itertools
from collections import deque

import msgspec

from mta.ipc import Job
from mta.qmgr.pacing import INITIAL, Rate, Window

AGAIN_SHARE = 4  # every fourth job is one that waited in the journal, while there are others


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """What a transport allows: `window` messages in flight to one destination per delivery worker, `initial` of them to
    one that has not answered yet; messages a second for all and for one destination (0 is any); and whether each domain
    is a destination of its own."""

    window: int
    initial: int = INITIAL
    rate: float = 0.0
    destination_rate: float = 0.0
    by_domain: bool = False


class Place(enum.Enum):
    """What a destination waits for."""

    EMPTY = enum.auto()  # jobs
    READY = enum.auto()  # its turn
    FULL = enum.auto()  # its window
    ASLEEP = enum.auto()  # its rate
    DOWN = enum.auto()  # for its jobs to be taken back


class Destination:
    """Jobs for one destination: first attempts, and those that waited in the journal."""

    __slots__ = (
        *("again", "finished", "first", "in_flight", "in_ring", "name", "place", "rate", "transport", "window"),
        *("_turn", "seen_at", "seen_finished"),
    )

    def __init__(self, name: str, transport: "Transport", window: Window) -> None:
        self.name = name
        self.transport = transport
        self.window = window
        self.rate = Rate(transport.terms.destination_rate) if transport.terms.destination_rate else None
        self.first: deque[Job] = deque()
        self.again: deque[Job] = deque()
        self.in_flight = 0
        self.in_ring = False
        self.place = Place.EMPTY
        self.finished = 0  # jobs, ever
        self.seen_at = -1.0  # when somebody last looked how fast it is, and what `finished` was then
        self.seen_finished = 0
        self._turn = 0

    def waiting(self) -> int:
        """Jobs in line."""
        return len(self.first) + len(self.again)

    def put_back(self, job: Job) -> None:
        """A job comes back, to be the next one."""
        (self.again if job.attempt > 1 else self.first).appendleft(job)

    def take(self, count: int) -> list[Job]:
        """The next `count` jobs, of at least as many."""
        first, again = self.first, self.again
        if not again:
            return [first.popleft() for _ in range(count)]
        jobs: list[Job] = []
        for _ in range(count):
            self._turn = (self._turn + 1) % AGAIN_SHARE
            line = again if again and (not first or not self._turn) else first
            jobs.append(line.popleft())
        return jobs

    def take_last(self, count: int) -> list[Job]:
        """Up to `count` jobs from the ends of the lines: those that would have waited longest."""
        jobs: list[Job] = []
        while len(jobs) < count and (self.again or self.first):
            jobs.append((self.again or self.first).pop())
        return jobs

    def take_all(self) -> list[Job]:
        """Every job in line."""
        jobs = [*self.first, *self.again]
        self.first.clear()
        self.again.clear()
        return jobs


class Transport:
    """A transport as the scheduler sees it: the destinations that wait for their turn, and what is in flight."""

    __slots__ = ("in_flight", "in_ring", "name", "rate", "ring", "terms")

    def __init__(self, name: str, terms: Terms) -> None:
        self.name = name
        self.terms = terms
        self.rate = Rate(terms.rate) if terms.rate else None
        self.ring: deque[Destination] = deque()
        self.in_flight = 0
        self.in_ring = False


class Alarms:
    """Destinations and transports that sleep until a time."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Destination | Transport]] = []
        self._numbers = itertools.count()

    def set(self, at: float, who: Destination | Transport) -> None:
        """Wake somebody at a time (monotonic, seconds)."""
        heapq.heappush(self._heap, (at, next(self._numbers), who))

    def ring(self, now: float) -> list[Destination | Transport]:
        """Those whose time has come."""
        woken = []
        while self._heap and self._heap[0][0] <= now:
            woken.append(heapq.heappop(self._heap)[2])
        return woken

    def next_at(self) -> float | None:
        """The next time; `None` when nobody sleeps."""
        return self._heap[0][0] if self._heap else None
