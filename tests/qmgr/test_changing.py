"""The orders of `mta queue`: hold, release, expire, move, by id and by filter, wherever a message is."""

from pathlib import Path

import pytest
from queuetools import START_WALL, Bench, FakeClock, Sender, bench, deferred, delivered, failed

from mta import ipc
from mta.config import Bounces
from mta.ipc import Job
from mta.qmgr import finding
from mta.qmgr.rows import State
from mta.qmgr.shape import AGES
from mta.spool import queueid


@pytest.fixture
def sender(tmp_path: Path):
    it = Sender(tmp_path)
    yield it
    it.close()


def crash(queue: Bench) -> None:
    """The end of the process, without a word."""
    queue.close()
    queue.core.close = lambda: None  # type: ignore[method-assign]


def order(queue: Bench, verb: str, **arguments: object) -> tuple[object, object, object]:
    """Give an order; count, missing and unchanged."""
    (item,) = queue.ask(verb, **arguments)
    return item["count"], item["missing"], item["unchanged"]


def states(queue: Bench) -> dict[int, str]:
    return {queueid.parse(str(item["id"])): str(item["state"]) for item in queue.ask("list")}


@pytest.mark.parametrize("how", ["id", "filter", "all"])
@pytest.mark.parametrize("place", ["queued", "active", "waiting"])
def test_hold_and_release(tmp_path: Path, sender: Sender, place: str, how: str) -> None:
    with bench(tmp_path) as queue:
        location = sender.send(b"a@store.example", large=place == "queued")
        sender.commit()
        if place == "active":
            queue.core.scheduler.leave(queue.WORKER)
            queue.core.take(queue.clock.monotonic())
        elif place == "waiting":
            queue.work(deferred)
        assert states(queue) == {location: place}
        text = queueid.text(location)
        which = {"id": {"ids": [text]}, "filter": {"sender": ["from@*"]}, "all": {"all": True}}[how]
        assert order(queue, "hold", **which) == (1, [], [])
        assert states(queue) == {location: "held"}
        assert (queue.stats()["queued"], queue.stats()["held"]) == (1, 1)
        assert order(queue, "hold", ids=[text]) == (0, [], [text])
        crash(queue)
    with bench(tmp_path, queue.clock) as queue:
        queue.wait(1_000_000.0)  # it does not expire
        assert queue.work() == []
        assert order(queue, "retry", ids=[text]) == (0, [], [text])
        assert states(queue) == {location: "held"}
        assert order(queue, "release", **({"all": True} if how == "filter" else which)) == (1, [], [])
        assert order(queue, "release", ids=[text]) == (0, [], [text])
        (job,) = queue.work()
        assert job.queue_id == location
        assert queue.counts() == (0, 0, 0, 0)
        queue.wait(10.0)
        queue.work()
        assert list((tmp_path / "bodies").iterdir()) == []


def test_what_is_in_flight_may_end(tmp_path: Path, sender: Sender) -> None:
    """Held while a worker has one of two jobs: that outcome counts, the other recipient is held, also after a crash."""
    with bench(tmp_path) as queue:
        location = sender.send(b"a@store.example", b"b@relay.example", b"c@relay.example")
        sender.commit()
        jobs = queue.fetch()
        assert [job.transport for job in jobs] == ["store", "relay"]
        assert order(queue, "hold", all=True) == (1, [], [])
        assert order(queue, "hold", all=True) == (0, [], [])
        assert states(queue) == {location: "active"}
        queue.answer(jobs[:1])
        assert queue.counts() == (1, 1, 0, 0)
        queue.answer(jobs[1:], lambda job: ipc.Outcome(job.number, (ipc.Result(1, 4, "4.2.2", "full"),)))
        assert states(queue) == {location: "held"}
        (message, a, b, c) = queue.ask("show", id=queueid.text(location))
        assert (message["state"], message["recipients"], message["attempts"]) == ("held", 2, 1)
        assert [a["state"], b["state"], c["state"]] == ["delivered", "held", "held"]
        assert (b["code"], c["code"]) == ("4.2.2", "4.3.0")  # the worker said nothing of c
        assert order(queue, "release", recipient=["b@relay.*"]) == (1, [], [])
        (job,) = queue.work()
        assert (job.recipients, job.attempt) == ((1, 2), 2)


def test_held_in_flight_survives_a_crash(tmp_path: Path, sender: Sender) -> None:
    with bench(tmp_path) as queue:
        location = sender.send(b"a@store.example", b"b@relay.example")
        sender.commit()
        assert len(queue.fetch()) == 2
        order(queue, "hold", all=True)
        crash(queue)
    with bench(tmp_path, queue.clock) as queue:
        assert states(queue) == {location: "held"}
        assert queue.work() == []


def test_a_worker_that_goes_away_gives_back_nothing_that_is_held(tmp_path: Path, sender: Sender) -> None:
    with bench(tmp_path) as queue:
        held, free = sender.send(b"a@store.example"), sender.send(b"b@store.example")
        sender.commit()
        assert len(queue.fetch()) == 2
        assert order(queue, "hold", recipient=["a@*"]) == (1, [], [])
        assert queue.core.active.leave(queue.WORKER) == 2
        assert states(queue) == {held: "held", free: "active"}
        queue.core.scheduler.join(queue.WORKER)
        assert [job.location for job in queue.work()] == [free]


def test_released_before_what_is_in_flight_has_ended(tmp_path: Path, sender: Sender) -> None:
    """The rest is due as soon as that has ended."""
    with bench(tmp_path) as queue:
        location = sender.send(b"a@store.example")
        sender.commit()
        jobs = queue.fetch()
        order(queue, "hold", all=True)
        assert order(queue, "release", all=True) == (1, [], [])
        queue.answer(jobs, deferred)
        assert states(queue) == {location: "waiting"}
        assert [job.attempt for job in queue.work()] == [2]


def test_a_deleted_message_that_was_held_in_flight(tmp_path: Path, sender: Sender) -> None:
    with bench(tmp_path) as queue:
        sender.send(b"a@store.example")
        sender.send(b"b@store.example")
        sender.commit()
        jobs = queue.fetch()
        order(queue, "hold", all=True)
        assert order(queue, "delete", recipient=["a@*"]) == (1, [], [])
        queue.answer(jobs, deferred)
        assert order(queue, "delete", state="held") == (1, [], [])
        assert states(queue) == {}
        assert not any(queue.core.journal.states.values())


def put(queue: Bench, sender: Sender, place: str) -> tuple[int, list[Job]]:
    """Bring a message to a place; its location, and the jobs that are in flight then."""
    location = sender.send(b"a@store.example")
    sender.commit()
    if place == "active":
        queue.core.scheduler.leave(queue.WORKER)
        queue.core.take(queue.clock.monotonic())
    elif place == "in flight":
        return location, queue.fetch()
    elif place != "queued":
        queue.work(failed if place == "failed" else deferred)
        if place == "held":
            order(queue, "hold", all=True)
    return location, []


@pytest.mark.parametrize("place", ["queued", "active", "waiting", "held", "in flight"])
def test_expire(tmp_path: Path, sender: Sender, place: str) -> None:
    with bench(tmp_path) as queue:
        location, jobs = put(queue, sender, place)
        assert order(queue, "expire", domain=["store.example"]) == (1, [], [])
        queue.answer(jobs, deferred)
        assert states(queue) == {location: "failed"}
        _, recipient = queue.ask("show", id=queueid.text(location))
        assert recipient["code"] == "5.4.7"
        last = "" if place in ("queued", "active") else "; last: 4.2.2 mailbox full"
        assert recipient["text"] == f"expired by the administrator{last}"
        assert order(queue, "expire", all=True) == (0, [], [])
        assert order(queue, "expire", ids=[queueid.text(location)]) == (0, [], [queueid.text(location)])


def test_expire_spares_what_is_delivered_meanwhile(tmp_path: Path, sender: Sender) -> None:
    with bench(tmp_path) as queue:
        sender.send(b"a@store.example")
        sender.commit()
        jobs = queue.fetch()
        order(queue, "expire", all=True)
        queue.answer(jobs, delivered)
        assert queue.counts() == (0, 0, 0, 0)


@pytest.mark.parametrize("verb", ["expire", "bounce"])
@pytest.mark.parametrize("is_new", [True, False])
def test_giving_up_what_is_in_flight_outlasts_a_crash(
    tmp_path: Path, sender: Sender, verb: str, *, is_new: bool
) -> None:
    with bench(tmp_path, bounces=Bounces()) as queue:
        location, _ = put(queue, sender, "in flight" if is_new else "waiting")
        if not is_new:
            queue.wait(5000.0)
            assert queue.fetch_due()
        assert order(queue, verb, ids=[queueid.text(location)]) == (1, [], [])
        assert states(queue) == {location: "active"}
        crash(queue)
    with bench(tmp_path, queue.clock) as queue:
        assert queue.work(delivered) == []
        assert queue.work(delivered) == []  # by now it is known that there is no way to tell the sender
        assert states(queue) == {location: "failed"}
        assert queue.ask("show", id=queueid.text(location))[1]["code"] == "5.4.7"
        assert order(queue, "retry", ids=[queueid.text(location)]) == (1, [], [])
        queue.wait(1.0)
        assert [job.queue_id for job in queue.work(delivered)] == [location]  # the order is over


@pytest.mark.parametrize(
    ("verb", "state"), [("hold", "held"), ("move", "waiting"), ("retry", "waiting"), ("release", "waiting")]
)
def test_the_last_order_before_and_after_a_crash_counts(tmp_path: Path, sender: Sender, verb: str, state: str) -> None:
    """Given up in flight; a crash; another order, as without a manager: what it says is done."""
    with bench(tmp_path) as queue:
        location, _ = put(queue, sender, "in flight")
        order(queue, "expire", all=True)
        crash(queue)
    with bench(tmp_path, queue.clock) as queue:
        where = {"to": "relay"} if verb == "move" else {}
        expected = (0, [], [queueid.text(location)]) if verb in ("retry", "release") else (1, [], [])
        assert order(queue, verb, ids=[queueid.text(location)], **where) == expected
        assert states(queue) == {location: state}
        order(queue, "release", all=True)
        is_given_up = verb in ("retry", "release")  # it was due, and not held: nothing was done
        assert [job.queue_id for job in queue.work(delivered)] == ([] if is_given_up else [location])


@pytest.mark.parametrize("place", ["queued", "active", "waiting", "held", "failed", "in flight"])
def test_move(tmp_path: Path, sender: Sender, place: str) -> None:
    """From then on it goes by the other transport, also after a restart."""
    with bench(tmp_path) as queue:
        location, jobs = put(queue, sender, place)
        assert order(queue, "move", all=True, to="relay") == ((0 if place == "failed" else 1), [], [])
        assert order(queue, "move", ids=[queueid.text(location)], to="relay")[0] == (1 if place == "failed" else 0)
        queue.answer(jobs, deferred)
        assert [item["transport"] for item in queue.ask("list", transport=["relay"])] == ["relay"]
        assert queue.ask("list", transport=["store"]) == []
        crash(queue)
    with bench(tmp_path, queue.clock) as queue:
        if place == "held":
            assert states(queue) == {location: "held"}
            order(queue, "release", all=True)
        elif place == "failed":
            order(queue, "retry", state="failed")
        for _ in range(2):  # and again after it was deferred there
            queue.wait(5000.0)
            assert [job.transport for job in queue.work(deferred)] == ["relay"]


def test_moved_to_a_transport_that_is_gone(tmp_path: Path, sender: Sender) -> None:
    """The configuration has changed: the routes say where it goes."""
    with bench(tmp_path) as queue:
        location = sender.send(b"a@store.example")
        sender.commit()
        order(queue, "move", all=True, to="relay")
        row = queue.core.journal.row(location)
        assert row is not None
        row.detail.transport = "gone"
        queue.core.journal.put(row, before=row.state)
        assert [job.transport for job in queue.work()] == ["store"]


def test_orders_need_to_be_about_something(tmp_path: Path) -> None:
    with bench(tmp_path) as queue:
        for verb, arguments in (
            ("hold", {}),
            ("delete", {"ids": []}),
            ("move", {"all": True}),
            ("move", {"all": True, "to": "nowhere"}),
            ("hold", {"ids": ["zz"]}),
        ):
            (reply,) = queue.control.answer(ipc.Request(verb, arguments))
            assert reply.error


def test_ids_and_filters_together(tmp_path: Path, sender: Sender) -> None:
    with bench(tmp_path) as queue:
        ids = [queueid.text(sender.send(b"%d@store.example" % number)) for number in range(3)]
        sender.commit()
        found = order(queue, "delete", ids=[*ids[:2], *ids[:2], "123"], recipient=["1@*"])
        assert found == (1, ["123"], [ids[0]])


def test_many_messages_in_every_place(tmp_path: Path, sender: Sender) -> None:
    """More than a page of each, and pages between which the mail has its turn."""
    with bench(tmp_path, active=700) as queue:
        for number in range(1200):
            sender.send(b"%d@store.example" % number)
        sender.commit()
        queue.work(deferred)
        for number in range(2000):
            sender.send(b"%d@relay.example" % number)
        sender.commit()
        jobs = queue.fetch()
        assert len(jobs) < 100
        assert queue.counts() == (3200, 700, 1200, 0)
        pages = 0
        for reply in queue.control.answer(ipc.Request("hold", {"sender": ["*"]})):
            assert not reply.error
            assert reply.seen <= reply.total
            queue.answer([])
            queue.core.take(queue.clock.monotonic())
            pages += 1
        assert reply.items == [{"count": 3200, "missing": [], "unchanged": []}]
        assert pages >= 8
        queue.answer(jobs, deferred)
        assert queue.fetch() == []
        assert (queue.stats()["held"], queue.counts()) == (3200, (3200, 0, 0, 0))
        assert len(queue.ask("list", state="held", domain=["relay.example"])) == 2000
        (total, *domains) = queue.ask("shape")
        assert (total["domain"], total["total"], total["5"]) == ("TOTAL", 3200, 3200)
        assert [(item["domain"], item["total"]) for item in domains] == [
            ("relay.example", 2000),
            ("store.example", 1200),
        ]


def test_messages_that_are_moved_are_not_missed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While an order is carried out, survivors go from old segments to a shard that it has passed already."""
    monkeypatch.setattr(finding, "PAGE_ROWS", 1)
    other = Sender(tmp_path)  # has the first shard, which will be our own
    sender = Sender(tmp_path, segment_bytes=8192)
    other.close()
    with bench(tmp_path) as queue:
        locations = [sender.send(b"%d@store.example" % number, size=500) for number in range(60)]
        sender.commit()
        held = [locations[number] for number in (1, 15, 30, 45)]
        assert order(queue, "hold", ids=list(map(queueid.text, held))) == (4, [], [])
        queue.work()
        in_place = [row for row in queue.core.journal.rows(-1, 9) if row.location in held]
        assert len(in_place) >= 2
        replies = queue.control.answer(ipc.Request("release", {"all": True}))
        for _ in range(4 - len(in_place) + 1):  # those that are moved already, and one that is not
            assert next(replies).more
        for _ in held:
            queue.wait(6.0)
            queue.core.settle(queue.clock.monotonic())
        rows = [row for row in queue.core.journal.rows(-1, 9) if row.state is State.HELD]
        assert rows
        assert all(row.location < locations[0] for row in rows)
        *_, last = replies
        assert last.items == [{"count": 4, "missing": [], "unchanged": []}]
        assert sorted(job.queue_id for job in queue.work()) == held
    sender.close()


def test_ages(tmp_path: Path, sender: Sender) -> None:
    clock = FakeClock()
    clock.elapsed_s = 10_000.0
    with bench(tmp_path, clock) as queue:
        for minutes, recipients in ((0, 1), (5, 2), (79, 1), (100_000 // 60, 1)):
            names = [b"%d@STORE.example" % number for number in range(recipients)]
            sender.send(*names, wall=clock.wall() - 60 * minutes)
        sender.commit()
        total, domain = queue.ask("shape")
        assert list(domain) == ["domain", "total", *AGES]
        assert list(domain.values()) == ["store.example", 5, 1, 2, 0, 0, 1, 0, 0, 0, 0, 1]
        assert list(total.values())[1:] == list(domain.values())[1:]
        assert [item["sender"] for item in queue.ask("shape", by="sender")] == ["TOTAL", "sender.example"]
        assert [item["total"] for item in queue.ask("shape", older_s=301)] == [2, 2]
        sender.send(b"x@relay.example", wall=START_WALL)
        sender.commit()
        assert [item["domain"] for item in queue.ask("shape", limit=1)] == ["TOTAL", "store.example", "(others)"]
        assert queue.core.journal.states[State.WAITING] == 0


def test_what_has_ended_before_a_restart_is_not_found(tmp_path: Path, sender: Sender) -> None:
    """Its record is still in the log, which is not read in at first."""
    with bench(tmp_path) as queue:
        location = sender.send(b"a@store.example")
        sender.commit()
        queue.work()
        crash(queue)
    with bench(tmp_path, queue.clock) as queue:
        assert order(queue, "hold", ids=[queueid.text(location)]) == (0, [queueid.text(location)], [])


@pytest.mark.parametrize("verb", ["hold", "release", "retry", "move"])
def test_orders_about_what_a_sender_is_to_be_told_of(tmp_path: Path, sender: Sender, verb: str) -> None:
    """They are carried out when the notification is in the spool, which goes on as if nothing had been ordered."""
    with bench(tmp_path, bounces=Bounces(send=True), delay_warning_s=60.0) as queue:
        location = sender.send(b"a@relay.example", sender=b"from@store.example")
        sender.commit()
        jobs = queue.fetch()
        queue.wait(100.0)
        for job in jobs:
            queue.core.active.finish(queue.WORKER, deferred(job))
        assert queue.core.journal.states[State.TELLING] == 1
        text = queueid.text(location)
        if verb == "release":
            assert order(queue, "hold", ids=[text]) == (1, [], [])
            assert states(queue) == {location: "held"}
        assert order(queue, verb, ids=[text], to="store" if verb == "move" else "") == (1, [], [])
        assert queue.core.journal.states[State.TELLING] == 1
        queue.wait(1.0)
        queue.core.settle(queue.clock.monotonic())
        queue.core.settle(queue.clock.monotonic())
        assert queue.core.journal.states[State.TELLING] == 0
        assert queue.core.bounces.counts.sent == 1
        row = queue.core.journal.row(location)
        assert row is not None
        assert row.detail.warned
        at_once = {"release": State.ACTIVE, "retry": State.ACTIVE, "hold": State.HELD}
        assert row.state is at_once.get(verb, State.WAITING)
        assert row.detail.transport == ("store" if verb == "move" else "")
