"""Which delivery worker gets which job, and when.

Jobs wait in one line per destination (a transport, so far). Destinations take turns, `QUANTUM` jobs each; how many of a
destination's jobs are in flight is bounded by its window (`mta.qmgr.pacing`), how many a worker holds by `WORKER_JOBS`,
and the worker with the least in hand gets the next ones. No I/O and no clock: time (monotonic, seconds) is an argument.

A job is in exactly one place: in its destination's line, or in flight with one worker, or handed back to the caller.
"""

from collections import deque
from collections.abc import Callable, Container, Mapping

from mta.ipc import Job
from mta.qmgr.pacing import Window

QUANTUM = 32  # jobs a destination gets before the next one's turn; they go to one worker, so that it can batch
WORKER_JOBS = 4096  # in flight with one worker: several turns of the fastest transport, 1 MB of memory there


class Destination:
    """Jobs for one destination."""

    __slots__ = ("in_flight", "in_ring", "name", "per_worker", "waiting", "window")

    def __init__(self, name: str, per_worker: int, suspend_s: float) -> None:
        self.name = name
        self.per_worker = per_worker
        self.window = Window(per_worker, suspend_s)
        self.waiting: deque[Job] = deque()
        self.in_flight = 0
        self.in_ring = False


class Scheduler:
    """The lines, the windows and what is in flight.

    `windows` maps each destination to the messages it may have in flight per delivery worker; `suspend_s` is how long a
    destination that is down is left alone. Workers are named by any number the caller likes.
    """

    def __init__(self, windows: Mapping[str, int], *, suspend_s: float) -> None:
        self.destinations = {name: Destination(name, size, suspend_s) for name, size in windows.items()}
        self._ring: deque[Destination] = deque()  # those with jobs waiting, in order of their turns
        self._workers: dict[int, dict[int, Job]] = {}

    # Workers

    def join(self, worker: int) -> None:
        """A delivery worker is there."""
        self._workers[worker] = {}
        self._resize()

    def leave(self, worker: int) -> int:
        """A delivery worker is gone: its jobs go back to the head of their lines. Returns how many."""
        jobs = self._workers.pop(worker)
        for job in reversed(jobs.values()):
            destination = self.destinations[job.transport]
            destination.in_flight -= 1
            destination.waiting.appendleft(job)
            self._enter(destination)
        self._resize()
        return len(jobs)

    def _resize(self) -> None:
        for destination in self.destinations.values():
            destination.window.resize(destination.per_worker * max(1, len(self._workers)))

    # Jobs

    def add(self, job: Job) -> None:
        """Put a job at the end of its destination's line."""
        destination = self.destinations[job.transport]
        destination.waiting.append(job)
        if not destination.in_ring:
            self._enter(destination)

    def _enter(self, destination: Destination) -> None:
        if not destination.in_ring:
            destination.in_ring = True
            self._ring.append(destination)

    def assign(self, now: float) -> dict[int, list[Job]]:
        """Take what may go out now, as jobs per worker; they count as in flight from here on."""
        assigned: dict[int, list[Job]] = {}
        passed = 0  # destinations in a row that could not take anything
        while passed < len(self._ring) and self._workers:
            worker, held = min(self._workers.items(), key=_load)
            free = WORKER_JOBS - len(held)
            if not free:
                break
            destination = self._ring[0]
            waiting, window = destination.waiting, destination.window
            if window.suspended_until_at:
                window.is_suspended(now)  # opens it for a probe when the pause has passed
            count = min(len(waiting), QUANTUM, free, window.size - destination.in_flight)
            if count > 0:
                passed = 0
                jobs = [waiting.popleft() for _ in range(count)]
                held.update([(job.number, job) for job in jobs])
                destination.in_flight += count
                assigned.setdefault(worker, []).extend(jobs)
            else:
                passed += 1
            if waiting:
                self._ring.rotate(-1)
            else:
                destination.in_ring = False
                self._ring.popleft()
        return assigned

    def suspended(self, now: float) -> list[tuple[Job, str]]:
        """Take the jobs whose destination is down: each with the reason to defer it without an attempt."""
        refused: list[tuple[Job, str]] = []
        for destination in self._ring:
            window = destination.window
            if window.suspended_until_at and window.is_suspended(now):
                refused += [(job, window.reason) for job in destination.waiting]
                destination.waiting.clear()
        if refused:
            self._prune()
        return refused

    def finish(self, worker: int, number: int) -> Job | None:
        """A job's outcome has come; `None` when the worker does not hold that job (it was removed)."""
        job = self._workers[worker].pop(number, None)
        if job is not None:
            self.destinations[job.transport].in_flight -= 1
        return job

    def remove(self, is_unwanted: Callable[[Job], bool]) -> None:
        """Forget jobs, waiting or in flight; outcomes of the latter will find nothing. Walks all jobs."""
        for destination in self.destinations.values():
            destination.waiting = deque(job for job in destination.waiting if not is_unwanted(job))
        self._prune()
        for jobs in self._workers.values():
            for number in [number for number, job in jobs.items() if is_unwanted(job)]:
                self.destinations[jobs.pop(number).transport].in_flight -= 1

    def withdraw(self, locations: Container[int]) -> list[Job]:
        """Take the jobs of messages out of their lines; those in flight stay there. Walks all jobs that wait."""
        taken: list[Job] = []
        for destination in self.destinations.values():
            part = [job for job in destination.waiting if job.location in locations]
            if part:
                destination.waiting = deque(job for job in destination.waiting if job.location not in locations)
                taken += part
        if taken:
            self._prune()
        return taken

    def flying(self, locations: Container[int]) -> list[Job]:
        """The jobs of messages that are with a worker. Walks all that are."""
        return [job for jobs in self._workers.values() for job in jobs.values() if job.location in locations]

    def _prune(self) -> None:
        """Take destinations without jobs out of the ring."""
        for destination in self._ring:
            destination.in_ring = bool(destination.waiting)
        self._ring = deque(destination for destination in self._ring if destination.in_ring)

    def resume(self) -> None:
        """End every suspension."""
        for destination in self.destinations.values():
            destination.window.resume()

    def in_flight(self) -> int:
        """Jobs that are with a worker."""
        return sum(map(len, self._workers.values()))

    def workers(self) -> int:
        """Delivery workers that are there."""
        return len(self._workers)


def _load(item: tuple[int, dict[int, Job]]) -> int:
    return len(item[1])
