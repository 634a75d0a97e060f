"""A manager that empties its queue."""

from pathlib import Path

import pytest
from queuetools import Bench, FakeClock, Sender, bench, deferred, delivered, failed

from mta import drain, ipc
from mta.drain import Order
from mta.qmgr.changing import Changer
from mta.qmgr.draining import RETRY_S, Draining, is_empty
from mta.qmgr.finding import Finder


class Told:
    def __init__(self) -> None:
        self.count = 0

    def __call__(self) -> None:
        self.count += 1


def draining(it: Bench, root: Path, told: Told) -> Draining:
    return Draining(it.core, Changer(it.core, Finder(it.core, root)), told)


def steps(it: Bench, what: Draining) -> None:
    while what.step(it.clock.monotonic()):
        pass


def fill(it: Bench, sender: Sender) -> None:
    """One message that waits, one that is held, one that has failed."""
    for local, how in ((b"waits", deferred), (b"held", deferred), (b"failed", failed)):
        sender.send(local + b"@store.example")
        sender.commit()
        it.work(how)
    it.ask("hold", recipient=["held@store.example"])
    assert {item["state"] for item in it.ask("list")} == {"waiting", "held", "failed"}


def recipients(it: Bench) -> list[bytes]:
    """Who is waited for, as the queue has it."""
    return sorted(str(item["to"][0]).partition("@")[0].encode() for item in it.ask("list"))  # type: ignore[index]


def test_by_the_routes(tmp_path: Path) -> None:
    """What waits is tried once; held and failed messages stay, and as long as they do, it is not empty."""
    sender, told = Sender(tmp_path), Told()
    with bench(tmp_path, order=Order(1.0)) as it:
        fill(it, sender)
        what = draining(it, tmp_path, told)
        assert it.stats()["swept"] is False
        steps(it, what)
        assert it.stats()["swept"] is True
        (job,) = it.work(deferred)
        assert (job.transport, job.attempt) == ("store", 2)
        steps(it, what)
        assert it.work(delivered) == [], "the next time is when it is due"
        it.ask("retry", all=True)
        assert len(it.work(delivered)) == 1
        steps(it, what)
        assert recipients(it) == [b"failed", b"held"]
        assert told.count == 0
        it.ask("delete", all=True)
        for _ in range(3):
            steps(it, what)
        assert told.count == 1
    sender.close()


def test_to_a_peer(tmp_path: Path) -> None:
    """All of it goes there: held, failed and moved messages, too. What the peer does not take now is tried again."""
    sender, told, clock = Sender(tmp_path), Told(), FakeClock()
    with bench(tmp_path, clock) as it:
        fill(it, sender)
        it.ask("move", to="relay", recipient=["waits@store.example"])
        it.work(deferred)
    clock.elapsed_s += 10 * it.config.queue.lifetime_s  # the peer is to say whether it is too old
    sender.send(b"new@nowhere.example")
    decided = {"via": ("", "relay", "&store", "&nowhere")}  # two recipients, and two copies for the first
    sender.send(b"a@store.example", b"b@store.example", b"a@store.example", b"a@store.example", **decided)
    sender.commit()
    with bench(tmp_path, clock, order=Order(1.0, "peer.example:25")) as it:
        what = draining(it, tmp_path, told)
        steps(it, what)
        jobs = it.work(lambda job: delivered(job) if job.transport == "store" else deferred(job))
        assert sorted(job.transport for job in jobs) == [drain.PEER] * 5 + ["store"], "copies are made from here"
        assert [job.recipients for job in jobs if len(job.recipients) > 1] == [(0, 1)]
        steps(it, what)
        assert it.stats()["waiting"] == 5
        assert told.count == 0
        it.wait(2 * it.config.queue.retry_max_s)
        assert len(it.work(delivered)) == 5
        steps(it, what)
        assert told.count == 0
        (left,) = it.ask("list")
        assert left["reason"] == "4.3.5 no transport nowhere for this copy"
        it.ask("delete", all=True)
        steps(it, what)
        assert told.count == 1
    sender.close()


def test_nothing_is_moved_to_the_peer(tmp_path: Path) -> None:
    """It has no name of ours: everything goes there anyway, copies apart, which it would not take."""
    sender = Sender(tmp_path)
    sender.send(b"a@store.example", b"a@store.example", via=("", "&store"))
    sender.commit()
    with bench(tmp_path, order=Order(1.0, "peer.example:25")) as it:
        (reply,) = it.control.answer(ipc.Request("move", {"all": True, "to": drain.PEER}))
        assert reply.error == "there is no transport '(drain)'"
        assert sorted(job.transport for job in it.work()) == [drain.PEER, "store"]


def test_what_is_not_on_disk_is_left(tmp_path: Path) -> None:
    sender = Sender(tmp_path)
    with bench(tmp_path, order=Order(1.0)) as it:
        assert is_empty(it.core)
        sender.send(b"one@store.example")
        sender.commit()
        assert not is_empty(it.core)
        jobs = it.fetch()
        assert not is_empty(it.core)
        for job in jobs:
            it.core.active.finish(it.WORKER, delivered(job))
        assert not is_empty(it.core)
        it.work()
        assert is_empty(it.core)
    sender.close()


def test_journal_that_cannot_be_written(tmp_path: Path) -> None:
    """What waits is tried when it can be."""
    sender, told = Sender(tmp_path), Told()
    with bench(tmp_path, order=Order(1.0)) as it:
        fill(it, sender)
        what = draining(it, tmp_path, told)
        it.core.healthy = False
        steps(it, what)
        it.core.healthy = True
        steps(it, what)
        assert it.work(delivered) == []
        it.wait(RETRY_S)
        steps(it, what)
        assert len(it.work(delivered)) == 1
    sender.close()


def test_orders(tmp_path: Path) -> None:
    """The order is written once; the same again is the same."""
    with bench(tmp_path) as it:
        (first,) = it.ask("drain", to="peer.example:25")
        it.wait(5.0)
        assert it.ask("drain", to="peer.example:25") == [first]
        assert drain.read(str(tmp_path)) == Order(it.clock.wall() - 5.0, "peer.example:25")
        (second,) = it.ask("drain")
        assert drain.read(str(tmp_path)) == Order(it.clock.wall(), "")
        assert second == {"since_wall": it.clock.wall(), "to": ""}
        assert it.ask("undrain") == [{"cancelled": True}]
        assert it.ask("undrain") == [{"cancelled": False}]
        assert drain.read(str(tmp_path)) is None
        Path(drain.path(str(tmp_path))).write_text("nonsense")
        with pytest.raises(AssertionError, match="not an order"):
            it.ask("drain")
