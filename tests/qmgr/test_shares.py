"""Who gives place when the set is full: whoever holds much and sends little."""

import pytest

from mta.ipc import Job
from mta.qmgr.lines import Terms
from mta.qmgr.scheduler import QUANTUM, Answer, Scheduler
from mta.qmgr.shares import CUT_FRACTION, LOOK_S, PATIENCE_S, WATCH_S, Shares

LIMIT = 1000


class Lines:
    """A scheduler with one worker, and the looks at it."""

    def __init__(self, **counts: int) -> None:
        self.scheduler = Scheduler({"mx": Terms(window=50, by_domain=True)}, suspend_s=10.0)
        self.scheduler.join(0)
        self.shares = Shares(self.scheduler, LIMIT)
        self.names: list[str] = []  # of destinations, by job
        self.flying: list[int] = []
        self.held = 0
        self.now = 0.0
        for name, count in counts.items():
            self.add(name, count)

    def add(self, name: str, count: int) -> None:
        for _ in range(count):
            self.held += 1
            number = len(self.names)
            self.names.append(name)
            self.scheduler.add(Job(number, number, number, "mx", (0,), 1), name)

    def work(self, name: str, count: int) -> None:
        """One destination delivers so many; the others hang."""
        for _ in range(count):
            self.flying += [job.number for job in self.scheduler.assign(self.now).get(0, [])]
            number = next(number for number in self.flying if self.names[number] == name)
            self.flying.remove(number)
            self.scheduler.finish(0, number, Answer.GOOD)
            self.held -= 1

    def look(self, seconds: float) -> dict[str, int]:
        """Looks over some time; what the last one finds."""
        found = []
        for _ in range(round(seconds / LOOK_S)):
            self.now += LOOK_S
            found = self.shares.look(self.now, self.held)
        return {line.name: count for line, count in found}


def test_a_line_that_does_not_move_is_cut_as_far_as_one_look_goes() -> None:
    lines = Lines(hung=900, other=20)
    assert lines.look(WATCH_S) == {}
    assert lines.look(LOOK_S) == {"hung": LIMIT // CUT_FRACTION}


@pytest.mark.parametrize("counts", [{"hung": 400, "other": 20}, {"hung": 900}])
def test_nobody_is_cut_without_need(counts: dict[str, int]) -> None:
    """There is room, or there is nobody else."""
    assert Lines(**counts).look(10 * WATCH_S) == {}


def test_nobody_is_cut_while_no_worker_is_there() -> None:
    lines = Lines(hung=900, other=20)
    lines.scheduler.leave(0)
    assert lines.look(10 * WATCH_S) == {}


def test_a_fast_line_is_left_alone() -> None:
    lines = Lines(fast=950, other=20)
    speed = round(950 / PATIENCE_S) + 5
    for _ in range(3 * round(WATCH_S)):
        lines.work("fast", speed)
        assert lines.look(1.0) == {}
        lines.add("fast", speed)
    for _ in range(2 * round(WATCH_S)):
        lines.work("fast", 2)
        found = lines.look(1.0)
    assert found == {"fast": LIMIT // CUT_FRACTION}  # it is not fast any more


def test_the_longest_lines_are_cut_first_and_all_may_hold_a_little() -> None:
    lines = Lines(a=500, b=300, **{f"x{number}": QUANTUM for number in range(5)})
    lines.look(WATCH_S)
    assert lines.look(LOOK_S) == {"a": LIMIT // CUT_FRACTION}
    few = Lines(a=40, b=20, **{f"x{number}": 2 for number in range(450)})  # nearly as many lines as places
    few.look(WATCH_S)
    found = few.look(LOOK_S)
    assert (found.pop("a"), found.pop("b")) == (39, 19)
    assert set(found.values()) == {1}


def test_mail_comes_back_when_the_line_is_nearly_empty() -> None:
    lines = Lines(a=QUANTUM)
    line = lines.scheduler.destinations["a"]
    assert not lines.shares.may_refill(line)
    lines.work("a", 1)
    assert lines.shares.may_refill(line)
    line.window.size = 1
    line.window.unreachable(0.0, "no answer")
    assert not lines.shares.may_refill(line)
