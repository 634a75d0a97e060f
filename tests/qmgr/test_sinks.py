"""Which transports are full: by what waits for them and what is in hand, with some way back before they are not."""

from pathlib import Path

import pytest
from queuetools import FakeClock, Sender, assert_counted, bench, deferred, delivered, down, failed

from mta.config import Transport
from mta.qmgr.sinks import Sinks


@pytest.fixture
def sender(tmp_path: Path) -> Sender:
    return Sender(tmp_path)


@pytest.fixture
def limited(monkeypatch: pytest.MonkeyPatch) -> None:
    transports = {
        "store": Transport("discard", queue_limit=10),
        "relay": Transport("smtp", host="127.0.0.1:1", concurrency=2, queue_limit=1000),
    }
    monkeypatch.setattr("queuetools.TRANSPORTS", transports)


class Told:
    """Somebody who is to know."""

    def __init__(self) -> None:
        self.full: set[str] = set()
        self.times = 0
        self.knows = True

    def publish(self, names: object) -> None:
        self.full = set(names)
        self.times += 1
        self.knows = True


def test_hysteresis() -> None:
    counts = {"a": 0, "b": 0}
    sinks, told = Sinks({"a": 100, "b": 1}, counts.__getitem__), Told()
    sinks.tell(told.publish, lambda: told.knows, 0.0)
    now = 0.0
    for count, is_full in ((99, False), (100, True), (99, True), (91, True), (90, False), (99, False), (500, True)):
        counts["a"] = count
        now += 1.0
        sinks.look(now)
        assert told.full == ({"a"} if is_full else set())
    assert told.times == 4
    counts |= {"a": 0, "b": 1}
    sinks.look(now + 0.1)  # too soon
    assert told.full == {"a"}
    sinks.look(now + 1.0)
    assert told.full == {"b"}
    counts["b"] = 0
    sinks.look(now + 2.0)
    assert told.full == set()


def test_what_somebody_else_has_written_is_written_over() -> None:
    sinks, told = Sinks({"a": 1}, lambda _: 5), Told()
    sinks.tell(told.publish, lambda: told.knows, 0.0)
    assert told.full == {"a"}
    told.knows, told.full = False, set()
    sinks.look(1.0)
    assert told.full == {"a"}


@pytest.mark.usefixtures("limited")
@pytest.mark.parametrize("how", [deferred, down])
def test_what_waits_counts_and_so_does_what_is_in_hand(tmp_path: Path, sender: Sender, how) -> None:
    for number in range(12):
        sender.send(b"%d@store.example" % number, b"%d@relay.example" % number)
    sender.commit()
    clock = FakeClock()
    with bench(tmp_path, clock) as queue:
        jobs = queue.fetch()
        queue.core.commit(clock.monotonic())
        assert queue.stats()["loads"] == {"store": 12, "relay": 12}
        assert queue.stats()["full"] == ["store"]
        queue.answer(jobs, how)
        queue.work(how)
        assert queue.stats()["loads"] == {"store": 12, "relay": 12}
        assert_counted(queue.core.journal)
    with bench(tmp_path, clock) as queue:  # it is known at once after a restart
        queue.core.sinks.tell(lambda _: None, lambda: True, clock.monotonic())
        assert queue.stats()["full"] == ["store"]
        queue.wait(5000.0)
        queue.work(delivered)
        queue.wait(1.0)
        queue.work(delivered)
        assert queue.stats()["full"] == []
        assert queue.stats()["loads"] == {"store": 0, "relay": 0}


@pytest.mark.usefixtures("limited")
def test_held_and_failed_messages_do_not_count(tmp_path: Path, sender: Sender) -> None:
    for number in range(20):
        sender.send(b"%d@store.example" % number)
    sender.commit()
    with bench(tmp_path) as queue:
        for job in queue.fetch():
            queue.core.active.finish(queue.WORKER, failed(job) if job.number % 2 else deferred(job))
        queue.core.commit(queue.clock.monotonic())
        assert queue.stats()["full"] == ["store"]
        queue.wait(1.0)
        queue.ask("hold", all=True)
        queue.wait(1.0)
        queue.core.settle(queue.clock.monotonic())
        assert queue.stats()["full"] == []
        assert queue.stats()["loads"]["store"] == 0


@pytest.mark.usefixtures("limited")
def test_the_log_is_read_on_where_there_is_a_limit(tmp_path: Path, sender: Sender, monkeypatch) -> None:
    """The only transport hangs, and the active set is smaller than its limit."""
    monkeypatch.setattr("queuetools.TRANSPORTS", {"store": Transport("discard", queue_limit=500)})
    monkeypatch.setattr("queuetools.ROUTES", [])
    monkeypatch.setattr("mta.qmgr.core.BATCH_WINDOW", 5)
    monkeypatch.setattr("mta.qmgr.active.ActiveSet.transport", lambda *_: "store")
    monkeypatch.setattr("mta.routing.Router.transport", lambda *_: "store")
    for number in range(600):
        sender.send(b"%d@store.example" % number)
    sender.commit()
    with bench(tmp_path, active=100) as queue:
        for _ in range(400):
            queue.fetch()
            queue.core.settle(queue.clock.monotonic())
            queue.wait(0.5)
            if queue.stats()["full"]:
                break
        assert queue.stats()["full"] == ["store"]
        assert len(queue.core.active.messages) <= 100
