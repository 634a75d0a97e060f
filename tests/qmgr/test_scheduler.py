"""The scheduler's promises, over any order of events: no job lost or doubled, windows kept, turns fair, loads even."""

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from mta.ipc import Job
from mta.qmgr import scheduler
from mta.qmgr.lines import AGAIN_SHARE, Destination, Place, Terms
from mta.qmgr.scheduler import QUANTUM, WORKER_JOBS, Answer, Scheduler

WIDE = Terms(window=10**6, initial=10**6)
TERMS = {
    "a": Terms(window=4),
    "b": Terms(window=300, initial=3),
    "c": Terms(window=200, initial=200, rate=2.0),
    "mx": Terms(window=10, initial=2, by_domain=True),
    "slow": Terms(window=10, initial=2, destination_rate=0.5, by_domain=True),
}
DESTINATIONS = ["a", "b", "c", "mx/one", "mx/two", "mx/three", "slow/one", "slow/two"]


def make_job(number: int, transport: str, attempt: int = 1) -> Job:
    return Job(number, number, number, transport, (0,), attempt)


class SchedulerMachine(RuleBasedStateMachine):
    """Every job is in exactly one place: waiting, with a worker, or out."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 1.0
        self.scheduler = Scheduler(TERMS, suspend_s=10.0)
        self.waiting: dict[int, Job] = {}
        self.held: dict[int, dict[int, Job]] = {}
        self.names: dict[int, str] = {}  # destinations, by job
        self.numbers = iter(range(1, 1_000_000))

    def line(self, number: int) -> Destination:
        return self.scheduler.destinations[self.names[number]]

    @rule(name=st.sampled_from(DESTINATIONS), count=st.integers(1, 50), again=st.booleans())
    def add(self, name: str, count: int, again: bool) -> None:
        for _ in range(count):
            job = make_job(next(self.numbers), name.split("/")[0])
            self.waiting[job.number] = job
            self.names[job.number] = name
            if again:
                self.scheduler.add_again(job, name)
            else:
                self.scheduler.add(job, name)

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
                line = self.line(job.number)
                assert not line.window.is_suspended(self.now)
                assert line.in_flight <= line.window.size
                self.held[worker][job.number] = job

    @precondition(lambda self: any(self.held.values()))
    @rule(data=st.data(), answer=st.sampled_from(Answer), count=st.integers(1, 8))
    def finish(self, data: st.DataObject, answer: Answer, count: int) -> None:
        worker = data.draw(st.sampled_from(sorted(w for w, jobs in self.held.items() if jobs)))
        for _ in range(min(count, len(self.held[worker]))):
            number = data.draw(st.sampled_from(sorted(self.held[worker])))
            job = self.scheduler.finish(worker, number, answer, now=self.now, reason="no answer")
            assert job == self.held[worker].pop(number)

    @rule(seconds=st.sampled_from([0.1, 11.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def take_suspended(self) -> None:
        for job, reason in self.scheduler.suspended(self.now):
            assert reason == "no answer"
            assert self.line(job.number).window.is_suspended(self.now)
            assert self.waiting.pop(job.number) == job
        for number in self.waiting:
            assert not self.line(number).window.is_suspended(self.now)

    @rule(remainder=st.integers(0, 4))
    def remove(self, remainder: int) -> None:
        self.scheduler.remove(lambda job: job.location % 5 == remainder)
        for jobs in (self.waiting, *self.held.values()):
            for number in [number for number in jobs if number % 5 == remainder]:
                del jobs[number]

    @rule(remainder=st.integers(0, 4))
    def withdraw(self, remainder: int) -> None:
        wanted = [number for number in self.names if number % 5 == remainder]
        flying = {job.number for job in self.scheduler.flying(wanted)}
        assert flying == {number for jobs in self.held.values() for number in jobs if number % 5 == remainder}
        for job in self.scheduler.withdraw(wanted):
            assert self.waiting.pop(job.number).number % 5 == remainder
        assert not any(number % 5 == remainder for number in self.waiting)

    @rule(name=st.sampled_from(DESTINATIONS), count=st.integers(1, 50))
    def evict(self, name: str, count: int) -> None:
        line = self.scheduler.destinations.get(name)
        if line is not None:
            there = line.waiting()
            jobs = self.scheduler.evict(line, count)
            assert len(jobs) == min(there, count)
            for job in jobs:
                assert self.waiting.pop(job.number) == job

    @rule()
    def resume(self) -> None:
        self.scheduler.resume()

    @invariant()
    def books_agree(self) -> None:
        lines = self.scheduler.destinations.values()
        assert sorted(job.number for line in lines for job in (*line.first, *line.again)) == sorted(self.waiting)
        assert self.scheduler.in_flight() == sum(map(len, self.held.values()))
        flying = [self.names[number] for jobs in self.held.values() for number in jobs]
        for line in lines:
            assert line.in_flight == flying.count(line.name)
            assert all(self.names[job.number] == line.name for job in (*line.first, *line.again))
            assert (line.place is Place.EMPTY) == (not line.waiting())
            assert list(line.transport.ring).count(line) == line.in_ring
            assert line.place is not Place.READY or line.in_ring

    @invariant()
    def nothing_waits_for_nothing(self) -> None:
        """Once all that may go has gone, what still waits has a reason to."""
        self.assign()
        capacity = WORKER_JOBS * len(self.held)
        for line in self.scheduler.destinations.values():
            if line.waiting() and self.held:
                full = line.in_flight >= line.window.size
                rates = [rate for rate in (line.rate, line.transport.rate) if rate is not None]
                spent = any(not rate.allowed(self.now) for rate in rates)
                left = capacity - self.scheduler.in_flight()
                assert full or spent or line.window.is_suspended(self.now) or line.transport.in_flight >= left

    @invariant()
    def who_sleeps_is_woken(self) -> None:
        """Where a rate is all that holds a line up, there is a time at which it goes on."""
        for line in self.scheduler.destinations.values():
            rates = [rate for rate in (line.rate, line.transport.rate) if rate is not None]
            if line.place in (Place.READY, Place.ASLEEP) and self.held and rates:
                assert self.scheduler.next_at() is not None


SchedulerMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestScheduler = SchedulerMachine.TestCase


@given(st.integers(1, 4), st.integers(1, 500))
@settings(deadline=None)
def test_assign_never_opens_more_than_the_windows(workers: int, count: int) -> None:
    windows = {"a": 4, "b": 3, "c": 200}
    line = Scheduler({name: Terms(window=size, initial=size) for name, size in windows.items()}, suspend_s=10.0)
    for worker in range(workers):
        line.join(worker)
    for number in range(count):
        for index, transport in enumerate(sorted(windows)):
            line.add(make_job(3 * number + index, transport))
    assigned = line.assign(0.0)
    for transport, window in windows.items():
        sent = sum(job.transport == transport for jobs in assigned.values() for job in jobs)
        assert sent == min(count, window * workers)


def test_destinations_take_turns_and_leave_places_to_others() -> None:
    line = Scheduler({"a": WIDE, "b": WIDE, "c": WIDE}, suspend_s=10.0)
    line.join(0)
    for number in range(WORKER_JOBS):
        line.add(make_job(number, "a"))
        line.add(make_job(number + WORKER_JOBS, "b"))
    jobs = line.assign(0.0)[0]
    assert abs(len(jobs) - WORKER_JOBS * 2 // 3) <= QUANTUM
    for start in range(0, len(jobs) - 2 * QUANTUM, 2 * QUANTUM):
        assert [job.transport for job in jobs[start : start + 2 * QUANTUM]] == ["a"] * QUANTUM + ["b"] * QUANTUM
    assert line.assign(0.0) == {}
    line.add(make_job(-1, "c"))  # however long the others hang
    assert [job.number for job in line.assign(0.0)[0]] == [-1]


def test_jobs_spread_over_workers_and_keep_their_order() -> None:
    line = Scheduler({"a": WIDE}, suspend_s=10.0)
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
    assert [job.number for job in line.destinations["a"].first] == [*(job.number for job in again), 10_000]


def test_outcome_of_an_unknown_job_is_nothing() -> None:
    line = Scheduler(TERMS, suspend_s=scheduler.QUANTUM)
    line.join(0)
    assert line.finish(0, 99) is None


def test_first_attempts_go_first_and_others_go_too() -> None:
    line = Scheduler({"a": Terms(window=8, initial=8)}, suspend_s=10.0)
    line.join(0)
    for number in range(20):
        line.add_again(make_job(100 + number, "a", attempt=2))
        line.add(make_job(number, "a"))
    order = []
    while jobs := line.assign(0.0).get(0):
        for job in jobs:
            order.append(job.number)
            line.finish(0, job.number, Answer.GOOD)
    assert len(order) == 40
    assert [number >= 100 for number in order[: 4 * AGAIN_SHARE]] == ([False] * (AGAIN_SHARE - 1) + [True]) * 4
    assert sorted(order[:24]) == sorted(order[:24], key=lambda number: (number >= 100, number))


def test_a_full_destination_costs_nothing_and_comes_back() -> None:
    line = Scheduler({"mx": Terms(window=10, initial=1, by_domain=True)}, suspend_s=10.0)
    line.join(0)
    for number in range(300):
        for copy in range(3):
            line.add(make_job(3 * number + copy, "mx"), f"mx/{number}")
    assert len(line.assign(0.0)[0]) == 300  # one each
    assert line.assign(0.0) == {}
    assert not line.transports["mx"].ring  # nobody is asked in vain
    line.finish(0, 30, Answer.GOOD)
    assert [job.number for job in line.assign(0.0)[0]] == [31, 32]  # its window has opened


def test_domains_come_with_their_mail_and_go_when_there_are_many() -> None:
    line = Scheduler({"mx": Terms(window=10, by_domain=True)}, suspend_s=10.0)
    assert line.destinations == {}
    line.join(0)
    count = scheduler.IDLE_KEPT + 50
    for number in range(count):
        name = line.destination("mx", b"someone@Domain-%d.example" % number)
        assert name == f"mx/domain-{number}.example"
        line.add(make_job(number, "mx"), name)
        assert [job.number for job in line.assign(0.0)[0]] == [number]
        line.finish(0, number, Answer.GOOD)
    assert len(line.destinations) == scheduler.IDLE_KEPT
    assert "mx/domain-0.example" not in line.destinations
    line.add(make_job(-1, "mx"), "mx/domain-51.example")  # it is not idle any more, so it stays
    line.add(make_job(-2, "mx"), "mx/new.example")
    assert len(line.assign(0.0)[0]) == 2
    line.finish(0, -2)
    assert "mx/domain-51.example" in line.destinations


def test_a_transport_to_one_host_is_one_destination() -> None:
    assert Scheduler(TERMS, suspend_s=1.0).destination("a", b"x@y.example") == "a"


def test_rates_of_transport_and_destination() -> None:
    terms = Terms(window=1000, initial=1000, rate=100.0, destination_rate=20.0, by_domain=True)
    line = Scheduler({"mx": terms, "free": WIDE}, suspend_s=10.0)
    line.join(0)
    number = 0
    for domain in range(10):
        for _ in range(500):
            number += 1
            line.add(make_job(number, "mx"), f"mx/{domain}")
    line.add(make_job(-1, "free"))
    sent: dict[int, int] = {}
    now = 0.0
    while now < 10.0:
        for job in line.assign(now).get(0, []):
            sent[job.number] = (job.number - 1) // 500
            line.finish(0, job.number, Answer.GOOD)
        next_at = line.next_at()
        assert next_at is not None
        assert next_at > now
        now = next_at
    assert sent.pop(-1) == -1
    assert 1000 <= len(sent) <= 1015
    shares = [list(sent.values()).count(domain) for domain in range(10)]
    assert max(shares) - min(shares) <= 11  # a burst is one turn's
