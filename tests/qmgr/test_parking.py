"""A destination that hangs does not hold up the rest, however much mail it has, and its mail is not lost on the way."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from queuetools import Bench, FakeClock, Sender, bench

from mta.ipc import Job
from mta.qmgr.active import ASIDE_S
from mta.qmgr.shares import WATCH_S

ACTIVE = 200
HUNG = 2000


@pytest.fixture
def sender(tmp_path: Path) -> Iterator[Sender]:
    it = Sender(tmp_path)
    yield it
    it.close()


def fill(sender: Sender, count: int = HUNG) -> None:
    """A backlog for a destination that hangs, and ten messages for another one behind it."""
    for number in range(count):
        sender.send(b"%d@relay.example" % number)
    for number in range(10):
        sender.send(b"%d@store.example" % number)
    sender.commit()


def turns(queue: Bench, seconds: float, transports: str = "store") -> list[Job]:
    """Turns, ten a second; some transports answer at once, and the rest hangs. Returns what was delivered."""
    done: list[Job] = []
    for _ in range(round(seconds * 10)):
        queue.wait(0.1)
        jobs = queue.fetch()
        answered = [job for job in jobs if job.transport in transports]
        done += answered
        queue.answer(answered)
        assert len(queue.core.active.messages) <= ACTIVE
    return done


def flying(queue: Bench) -> list[Job]:
    """What the worker has in hand."""
    return queue.core.scheduler.flying(queue.core.active.messages)


def test_others_go_on_while_one_hangs(tmp_path: Path, sender: Sender) -> None:
    fill(sender)
    with bench(tmp_path, active=ACTIVE) as queue:
        assert turns(queue, WATCH_S - 1.0) == []  # they lie behind it in the log
        assert len(turns(queue, 60.0)) == 10
        assert queue.stats()["unread"] == 0
        queued, active, waiting, failed = queue.counts()
        assert (queued, failed) == (HUNG, 0)
        assert active == HUNG - waiting <= ACTIVE
        waiting_items = queue.ask("list", state="waiting")
        assert {(item["attempts"], str(item["reason"])[:16]) for item in waiting_items} == {(0, "4.4.5 put aside:")}


def test_what_was_put_aside_comes_back_when_its_destination_does(tmp_path: Path, sender: Sender) -> None:
    fill(sender)
    with bench(tmp_path, active=ACTIVE) as queue:
        turns(queue, 60.0)
        hung = flying(queue)
        queue.answer(hung)
        done = turns(queue, 60.0, "relay")
        assert len(done) + len(hung) == HUNG
        assert len({job.location for job in done}) == len(done)
        assert queue.counts() == (0, 0, 0, 0)
        queue.wait(2.5 * ASIDE_S)
        assert queue.work() == []  # and no more


def test_a_restart_knows_what_was_put_aside(tmp_path: Path, sender: Sender) -> None:
    clock = FakeClock()
    fill(sender)
    with bench(tmp_path, clock, active=ACTIVE) as queue:
        turns(queue, 60.0)
        assert queue.core.commit(clock.monotonic())
    with bench(tmp_path, clock, active=ACTIVE) as queue:
        done = turns(queue, 60.0, "relay")
        assert len({job.location for job in done}) == len(done) == HUNG
        assert queue.counts() == (0, 0, 0, 0)


def test_it_comes_back_by_itself_in_the_end(tmp_path: Path, sender: Sender) -> None:
    """Though its destination is not what it was then."""
    fill(sender, 400)
    with bench(tmp_path, active=ACTIVE) as queue:
        turns(queue, 60.0)
        aside = queue.counts()[2]
        assert aside
        queue.core.parking._turns.clear()
        queue.answer(flying(queue))
        queue.wait(2 * ASIDE_S)
        assert len(turns(queue, 60.0, "relay")) >= aside
        assert queue.counts() == (0, 0, 0, 0)


def test_mail_that_is_too_old_is_given_up_instead(tmp_path: Path, sender: Sender) -> None:
    fill(sender)
    with bench(tmp_path, active=ACTIVE, lifetime_s=10) as queue:
        turns(queue, 60.0)
        queued, active, _, failed = queue.counts()
        assert failed
        assert queued == active
        assert failed + queued == HUNG
        (item,) = queue.ask("list", state="failed", limit=1)
        assert "5.4.7" in str(item["reason"])


def test_several_recipients(tmp_path: Path, sender: Sender) -> None:
    """Those elsewhere have it once, and the others keep their turn."""
    for number in range(600):
        sender.send(b"%d@relay.example" % number, b"%d@store.example" % number)
    sender.commit()
    with bench(tmp_path, active=ACTIVE) as queue:
        first = turns(queue, 120.0)
        assert len({job.location for job in first}) == len(first) == 600
        hung = flying(queue)
        assert hung
        queue.answer(hung)
        queue.wait(3 * ASIDE_S)
        second = [*hung, *turns(queue, 120.0, "store relay")]
        assert {job.recipients for job in second} == {(0,)}
        assert len({job.location for job in second}) == len(second) == 600
