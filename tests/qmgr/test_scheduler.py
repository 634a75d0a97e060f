"""The scheduler's promises, over any order of events: no job lost or doubled, windows kept, turns fair, loads even."""

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from mta.ipc import Job
from mta.qmgr import scheduler
from mta.qmgr.scheduler import QUANTUM, WORKER_JOBS, Scheduler

WINDOWS = {"a": 4, "b": 3, "c": 200}


def make_job(number: int, transport: str) -> Job:
    return Job(number, number, number, transport, (0,), 1)


class SchedulerMachine(RuleBasedStateMachine):
    """Every job is in exactly one place: waiting, with a worker, or out."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 1.0
        self.scheduler = Scheduler(WINDOWS, suspend_s=10.0)
        self.waiting: dict[int, Job] = {}
        self.held: dict[int, dict[int, Job]] = {}
        self.numbers = iter(range(1, 1_000_000))

    @rule(transport=st.sampled_from(sorted(WINDOWS)), count=st.integers(1, 50))
    def add(self, transport: str, count: int) -> None:
        for _ in range(count):
            job = make_job(next(self.numbers), transport)
            self.waiting[job.number] = job
            self.scheduler.add(job)

    @precondition(lambda self: len(self.held) < 4)
    @rule()
    def join(self) -> None:
        worker = next(self.numbers)
        self.held[worker] = {}
        self.scheduler.join(worker)

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        worker = data.draw(st.sampled_from(sorted(self.held)))
        jobs = self.held.pop(worker)
        assert self.scheduler.leave(worker) == len(jobs)
        self.waiting.update(jobs)

    @rule()
    def assign(self) -> None:
        for worker, jobs in self.scheduler.assign(self.now).items():
            for job in jobs:
                assert self.waiting.pop(job.number) == job
                assert not self.scheduler.destinations[job.transport].window.is_suspended(self.now)
                self.held[worker][job.number] = job

    @precondition(lambda self: any(self.held.values()))
    @rule(data=st.data(), answer=st.sampled_from(["ok", "down", "later"]))
    def finish(self, data: st.DataObject, answer: str) -> None:
        worker = data.draw(st.sampled_from(sorted(w for w, jobs in self.held.items() if jobs)))
        number = data.draw(st.sampled_from(sorted(self.held[worker])))
        job = self.scheduler.finish(worker, number)
        assert job == self.held[worker].pop(number)
        window = self.scheduler.destinations[job.transport].window
        if answer == "ok":
            window.succeeded()
        elif answer == "down":
            window.unreachable(self.now, "no answer")

    @rule(seconds=st.sampled_from([0.1, 11.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def take_suspended(self) -> None:
        for job, reason in self.scheduler.suspended(self.now):
            assert reason == "no answer"
            assert self.scheduler.destinations[job.transport].window.is_suspended(self.now)
            assert self.waiting.pop(job.number) == job

    @rule(remainder=st.integers(0, 4))
    def remove(self, remainder: int) -> None:
        self.scheduler.remove(lambda job: job.location % 5 == remainder)
        for jobs in (self.waiting, *self.held.values()):
            for number in [number for number in jobs if number % 5 == remainder]:
                del jobs[number]

    @rule(remainder=st.integers(0, 4))
    def withdraw(self, remainder: int) -> None:
        wanted = {number for number in range(10_000) if number % 5 == remainder}
        flying = [job for jobs in self.held.values() for job in jobs.values() if job.location in wanted]
        assert set(self.scheduler.flying(wanted)) == set(flying)
        for job in self.scheduler.withdraw(wanted):
            assert job.location in wanted
            assert self.waiting.pop(job.number) == job
        assert not [number for number in self.waiting if number in wanted]

    @rule()
    def resume(self) -> None:
        self.scheduler.resume()

    @invariant()
    def books_agree(self) -> None:
        lines = self.scheduler.destinations.values()
        assert sorted(job.number for line in lines for job in line.waiting) == sorted(self.waiting)
        assert self.scheduler.in_flight() == sum(map(len, self.held.values()))
        assert {line.name for line in self.scheduler._ring} == {line.name for line in lines if line.waiting}
        assert len(self.scheduler._ring) == len({line.name for line in self.scheduler._ring})
        for line in lines:
            in_flight = sum(job.transport == line.name for jobs in self.held.values() for job in jobs.values())
            assert line.in_flight == in_flight

    @invariant()
    def nothing_waits_for_nothing(self) -> None:
        """Once all that may go has gone, what still waits has a reason to."""
        self.assign()
        for line in self.scheduler.destinations.values():
            if line.waiting and self.held:
                full = line.in_flight >= line.window.size
                assert full or all(len(jobs) >= WORKER_JOBS for jobs in self.held.values())


SchedulerMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestScheduler = SchedulerMachine.TestCase


@given(st.integers(1, 4), st.integers(1, 500))
@settings(deadline=None)
def test_assign_never_opens_more_than_the_windows(workers: int, count: int) -> None:
    scheduler = Scheduler(WINDOWS, suspend_s=10.0)
    for worker in range(workers):
        scheduler.join(worker)
    for number in range(count):
        for index, transport in enumerate(sorted(WINDOWS)):
            scheduler.add(make_job(3 * number + index, transport))
    assigned = scheduler.assign(0.0)
    for transport, window in WINDOWS.items():
        sent = sum(job.transport == transport for jobs in assigned.values() for job in jobs)
        assert sent == min(count, window * workers)


def test_destinations_take_turns_when_workers_are_full() -> None:
    line = Scheduler({"a": 10**6, "b": 10**6}, suspend_s=10.0)
    line.join(0)
    for number in range(WORKER_JOBS):
        line.add(make_job(number, "a"))
        line.add(make_job(number + WORKER_JOBS, "b"))
    jobs = line.assign(0.0)[0]
    assert len(jobs) == WORKER_JOBS
    for start in range(0, WORKER_JOBS, 2 * QUANTUM):
        assert [job.transport for job in jobs[start : start + 2 * QUANTUM]] == ["a"] * QUANTUM + ["b"] * QUANTUM
    assert line.assign(0.0) == {}


def test_jobs_spread_over_workers_and_keep_their_order() -> None:
    line = Scheduler({"a": 10**6}, suspend_s=10.0)
    for worker in range(3):
        line.join(worker)
    for number in range(QUANTUM * 9):
        line.add(make_job(number, "a"))
    assigned = line.assign(0.0)
    assert [len(jobs) for jobs in assigned.values()] == [QUANTUM * 3] * 3
    assert all(jobs == sorted(jobs, key=lambda job: job.number) for jobs in assigned.values())
    again = assigned[1]
    assert line.leave(1) == len(again)
    line.add(make_job(10_000, "a"))
    assert [job.number for job in line.destinations["a"].waiting] == [*(job.number for job in again), 10_000]


def test_outcome_of_an_unknown_job_is_nothing() -> None:
    line = Scheduler(WINDOWS, suspend_s=scheduler.QUANTUM)
    line.join(0)
    assert line.finish(0, 99) is None
