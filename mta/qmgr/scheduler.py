"""Which delivery worker gets which job, and when.

Jobs wait in lines by destination (`mta.qmgr.lines`). Transports take turns, and in each the destinations that can send
something, `QUANTUM` jobs each. How many of a destination's jobs are in flight is bounded by its window, how many go a
second by its rate (`mta.qmgr.pacing`) and that of its transport; how many a worker holds by `WORKER_JOBS`; and the
worker with the least in hand gets the next ones. A transport never holds more of the workers' places than it leaves
free, so one whose destinations all hang leaves places to the others, and two that do, too. No I/O and no clock: time
(monotonic, seconds) is an argument.

A destination whose window is full, whose rate is used up or that is down is in nobody's way: it comes back when that is
over. So what `assign` costs depends on the jobs that it hands out, not on the number of destinations.

A job is in exactly one place: in its destination's line, or in flight with one worker, or handed back to the caller.
"""

import enum
from collections import deque
from collections.abc import Callable, Container, Mapping

from mta.ipc import Job
from mta.qmgr.lines import Alarms, Destination, Place, Terms, Transport
from mta.qmgr.pacing import Window

QUANTUM = 32  # jobs a destination gets before the next one's turn; they go to one worker, so that it can batch
WORKER_JOBS = 4096  # in flight with one worker: several turns of the fastest transport, 1 MB of memory there
IDLE_KEPT = 10_000  # domains without mail whose windows are remembered; 20 MB


class Answer(enum.Enum):
    """What a job's end says of its destination."""

    GOOD = enum.auto()  # somebody got the message
    NONE = enum.auto()  # nothing
    DOWN = enum.auto()  # it could not be reached


class Scheduler:
    """The lines, the windows and what is in flight.

    `terms` says for each transport what it allows; `suspend_s` is how long a destination that is down is left alone.
    Workers are named by any number the caller likes.
    """

    def __init__(self, terms: Mapping[str, Terms], *, suspend_s: float) -> None:
        self.destinations: dict[str, Destination] = {}
        self._suspend_s = suspend_s
        self.transports = {name: Transport(name, one) for name, one in terms.items()}
        self._ring: deque[Transport] = deque()  # those with destinations that are ready, in order of their turns
        self._down: list[Destination] = []  # those that are down and have jobs
        self._idle: dict[str, Destination] = {}  # domains without jobs, the one that has been so longest first
        self._alarms = Alarms()
        self._workers: dict[int, dict[int, tuple[Job, Destination]]] = {}
        self._in_flight = 0
        for name, one in terms.items():
            if not one.by_domain:
                self._create(name, name)

    def _create(self, name: str, transport: str) -> Destination:
        owner = self.transports[transport]
        most, first = self._widths(owner.terms)
        window = Window(most, self._suspend_s, initial=first)
        destination = self.destinations[name] = Destination(name, owner, window)
        return destination

    def _widths(self, terms: Terms) -> tuple[int, int]:
        """The window of a destination at most, and at first."""
        workers = max(1, len(self._workers))
        return terms.window * workers, terms.initial * (workers if terms.initial >= terms.window else 1)

    # Workers

    def join(self, worker: int) -> None:
        """A delivery worker is there."""
        self._workers[worker] = {}
        self._resize()

    def leave(self, worker: int) -> int:
        """A delivery worker is gone: its jobs go back to the head of their lines. Returns how many."""
        jobs = self._workers.pop(worker)
        for job, destination in reversed(jobs.values()):
            self._land(destination)
            destination.put_back(job)
            self._enter(destination)
        self._resize()
        return len(jobs)

    def _resize(self) -> None:
        for destination in self.destinations.values():
            destination.window.resize(*self._widths(destination.transport.terms))
            if destination.place is Place.FULL:
                self._enter(destination)

    # Jobs

    def destination(self, transport: str, recipient: bytes) -> str:
        """The name of the destination of a recipient's mail."""
        if not self.transports[transport].terms.by_domain:
            return transport
        domain = recipient.rpartition(b"@")[2].lower()
        return f"{transport}/{domain.decode('utf-8', 'backslashreplace')}"

    def add(self, job: Job, destination: str = "") -> None:
        """Put a job at the end of the line of a destination, which is its transport if not told."""
        line = self._find(job, destination)
        line.first.append(job)
        if line.place is Place.EMPTY:
            self._enter(line)

    def add_again(self, job: Job, destination: str = "") -> None:
        """As `add`, for a message that has waited in the journal: it does not hold up those that came just now."""
        line = self._find(job, destination)
        line.again.append(job)
        if line.place is Place.EMPTY:
            self._enter(line)

    def _find(self, job: Job, name: str) -> Destination:
        """The destination of a job, made when needed."""
        name = name or job.transport
        destination = self.destinations.get(name)
        if destination is None:
            return self._create(name, job.transport)
        if self._idle:
            self._idle.pop(name, None)
        return destination

    def _enter(self, destination: Destination) -> None:
        """A destination that has jobs goes where it belongs."""
        if destination.window.suspended_until_at:
            if destination.place is not Place.DOWN:
                destination.place = Place.DOWN
                self._down.append(destination)
            return
        destination.place = Place.READY
        transport = destination.transport
        if not destination.in_ring:
            destination.in_ring = True
            transport.ring.append(destination)
        if not transport.in_ring:
            transport.in_ring = True
            self._ring.append(transport)

    def assign(self, now: float) -> dict[int, list[Job]]:
        """Take what may go out now, as jobs per worker; they count as in flight from here on."""
        self._wake(now)
        assigned: dict[int, list[Job]] = {}
        ring = self._ring
        passed = 0  # transports in a row that have to leave places to others
        while passed < len(ring) and self._workers:
            worker, held = min(self._workers.items(), key=_load)
            free = WORKER_JOBS - len(held)
            if not free:
                break
            transport = ring[0]
            places = WORKER_JOBS * len(self._workers) - self._in_flight - transport.in_flight
            if places <= 0:
                passed += 1
                ring.rotate(-1)
                continue
            passed = 0
            ring.popleft()
            if transport.rate is not None and not transport.rate.allowed(now):
                self._alarms.set(transport.rate.ready_at(), transport)
                continue  # its place in the ring is kept until then
            destination = _head(transport)
            if destination is None:
                transport.in_ring = False
                continue
            ring.append(transport)
            jobs = self._take(destination, min(places, free), now)
            if jobs:
                held.update([(job.number, (job, destination)) for job in jobs])
                assigned.setdefault(worker, []).extend(jobs)
        return assigned

    def _take(self, destination: Destination, places: int, now: float) -> list[Job]:
        """Take a destination's share out of its line, and put the destination where it belongs after that."""
        transport = destination.transport
        count = min(places, QUANTUM, destination.waiting(), destination.window.size - destination.in_flight)
        if count <= 0:
            destination.place, destination.in_ring = Place.FULL, False
            return []
        rates = [rate for rate in (transport.rate, destination.rate) if rate is not None]
        for rate in rates:
            count = min(count, rate.allowed(now))
            if not count:  # the destination's own: the transport's has been looked at
                self._alarms.set(rate.ready_at(), destination)
                destination.place, destination.in_ring = Place.ASLEEP, False
                return []
        for rate in rates:
            rate.take(count)
        jobs = destination.take(count)
        destination.in_flight += count
        transport.in_flight += count
        self._in_flight += count
        if destination.first or destination.again:
            transport.ring.append(destination)
        else:
            destination.place, destination.in_ring = Place.EMPTY, False
        return jobs

    def _wake(self, now: float) -> None:
        """Let those go on whose pause is over."""
        for who in self._alarms.ring(now):
            if isinstance(who, Destination):
                if who.place is Place.ASLEEP:
                    self._enter(who)
            else:
                self._ring.append(who)
        if self._down:
            down, self._down = self._down, []
            for destination in down:
                if destination.place is Place.DOWN:
                    destination.window.is_suspended(now)  # opens it for a probe when the pause has passed
                    destination.place = Place.EMPTY
                    self._enter(destination)

    def next_at(self) -> float | None:
        """When `assign` may have more to hand out though nothing happens; `None`: never."""
        return self._alarms.next_at()

    def suspended(self, now: float) -> list[tuple[Job, str]]:
        """Take the jobs whose destination is down: each with the reason to defer it without an attempt."""
        if not self._down:
            return []
        self._wake(now)
        refused: list[tuple[Job, str]] = []
        for destination in self._down:
            refused += [(job, destination.window.reason) for job in destination.take_all()]
            self._emptied(destination)
        self._down.clear()
        return refused

    def finish(
        self, worker: int, number: int, answer: Answer = Answer.NONE, *, now: float = 0.0, reason: str = ""
    ) -> Job | None:
        """A job's outcome has come; `None` when the worker does not hold that job (it was removed).

        With DOWN, `now` is the time and `reason` one line for people.
        """
        found = self._workers[worker].pop(number, None)
        if found is None:
            return None
        job, destination = found
        window = destination.window
        if answer is Answer.GOOD:
            if window.size < window.maximum or window.cohort:
                window.succeeded(destination.in_flight + destination.waiting())
        elif answer is Answer.DOWN:
            window.unreachable(now, reason)
        destination.finished += 1
        self._land(destination)
        if destination.first or destination.again:
            if destination.place is Place.FULL or window.suspended_until_at:
                self._enter(destination)
        elif not destination.in_flight:
            self._emptied(destination)
        return job

    def _land(self, destination: Destination) -> None:
        """One job of a destination is not in flight any more."""
        destination.in_flight -= 1
        destination.transport.in_flight -= 1
        self._in_flight -= 1

    def _emptied(self, destination: Destination) -> None:
        """A destination has no jobs in line. One that has none at all is forgotten when many others are like that."""
        destination.place = Place.EMPTY
        if not destination.in_flight and destination.transport.terms.by_domain:
            self._idle[destination.name] = destination
            if len(self._idle) > IDLE_KEPT:
                oldest = next(iter(self._idle))
                del self._idle[oldest], self.destinations[oldest]

    def flying(self, locations: Container[int]) -> list[Job]:
        """The jobs of messages that are in flight. Walks all of these."""
        return [job for jobs in self._workers.values() for job, _ in jobs.values() if job.location in locations]

    def withdraw(self, locations: Container[int]) -> list[Job]:
        """Take the jobs of messages out of their lines. Walks all of these."""
        withdrawn: list[Job] = []
        self._sift(lambda job: job.location in locations, withdrawn)
        return withdrawn

    def _sift(self, is_unwanted: Callable[[Job], bool], into: list[Job]) -> None:
        """Move unwanted jobs out of all lines."""
        for destination in [one for one in self.destinations.values() if one.waiting()]:
            for line in (destination.first, destination.again):
                unwanted = [job for job in line if is_unwanted(job)]
                if unwanted:
                    into += unwanted
                    kept = [job for job in line if not is_unwanted(job)]
                    line.clear()
                    line.extend(kept)
            if not destination.waiting():
                self._emptied(destination)

    def evict(self, destination: Destination, count: int) -> list[Job]:
        """Take up to `count` jobs from the end of a destination's line."""
        jobs = destination.take_last(count)
        if jobs and not destination.waiting():
            self._emptied(destination)
        return jobs

    def remove(self, is_unwanted: Callable[[Job], bool]) -> None:
        """Forget jobs, waiting or in flight; outcomes of the latter will find nothing. Walks all jobs."""
        for jobs in self._workers.values():
            for number in [number for number, (job, _) in jobs.items() if is_unwanted(job)]:
                destination = jobs.pop(number)[1]
                self._land(destination)
                if destination.place is Place.FULL:
                    self._enter(destination)
                elif not destination.waiting() and not destination.in_flight:
                    self._emptied(destination)
        self._sift(is_unwanted, [])

    def resume(self) -> None:
        """End every suspension."""
        for destination in self.destinations.values():
            destination.window.resume()

    def load(self, transport: str) -> int:
        """Jobs of a transport, in line or in flight. Walks all destinations where each domain is one."""
        owner = self.transports.get(transport)
        if owner is None:
            return 0
        if not owner.terms.by_domain:
            return owner.in_flight + self.destinations[transport].waiting()
        lines = (one.waiting() for one in self.destinations.values() if one.transport is owner)
        return owner.in_flight + sum(lines)

    def in_flight(self) -> int:
        """Jobs that are with a worker."""
        return self._in_flight

    def workers(self) -> int:
        """Delivery workers that are there."""
        return len(self._workers)


def _head(transport: Transport) -> Destination | None:
    """The destination whose turn it is, taken out of the ring; `None` when none is ready."""
    while transport.ring:
        destination = transport.ring.popleft()
        if destination.place is Place.READY:
            return destination
        destination.in_ring = False  # it has gone down or lost its jobs meanwhile
    return None


def _load(item: tuple[int, dict[int, tuple[Job, Destination]]]) -> int:
    return len(item[1])
