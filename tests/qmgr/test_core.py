"""The way of messages through the manager: from the log to jobs, outcomes, the journal, and the end."""

from pathlib import Path

import pytest
from queuetools import START_WALL, FakeClock, Sender, bench, deferred, delivered, down, failed

from mta import ipc
from mta.spool import queueid


@pytest.fixture
def sender(tmp_path: Path):
    it = Sender(tmp_path)
    yield it
    it.close()


def test_delivered_at_once_touches_no_row(tmp_path: Path, sender: Sender) -> None:
    with bench(tmp_path) as queue:
        locations = [sender.send(b"a%d@store.example" % n) for n in range(10)]
        assert queue.fetch() == []  # nothing is committed
        sender.commit()
        assert queue.counts() == (10, 0, 0, 0)
        jobs = queue.fetch()
        assert [job.location for job in jobs] == locations
        assert {(job.transport, job.recipients, job.attempt) for job in jobs} == {("store", (0,), 1)}
        assert [job.queue_id for job in jobs] == locations
        assert queue.counts() == (10, 10, 0, 0)
        queue.answer(jobs)
        assert queue.counts() == (0, 0, 0, 0)
        assert queue.core.journal.rows(0, 100) == []
        assert queue.stats()["results"] == {"delivered": 10, "deferred": 0, "failed": 0}
        assert not queue.core.active.messages
        assert queue.core.active.recipients == 0


def test_each_transport_gets_its_recipients(tmp_path: Path, sender: Sender) -> None:
    with bench(tmp_path) as queue:
        sender.send(b"a@store.example", b"b@relay.example", b"c@store.example")
        sender.commit()
        jobs = queue.fetch()
        assert sorted((job.transport, job.recipients) for job in jobs) == [("relay", (1,)), ("store", (0, 2))]
        queue.answer(jobs[:1])
        assert queue.counts() == (1, 1, 0, 0)
        queue.answer(jobs[1:])
        assert queue.counts() == (0, 0, 0, 0)


def test_many_recipients_make_several_jobs(tmp_path: Path, sender: Sender) -> None:
    with bench(tmp_path) as queue:
        sender.send(*(b"a%d@store.example" % n for n in range(1000)))
        sender.commit()
        jobs = queue.work()
        assert max(len(job.recipients) for job in jobs) == ipc.RECIPIENTS_PER_JOB
        assert [index for job in jobs for index in job.recipients] == list(range(1000))
        assert queue.counts() == (0, 0, 0, 0)


def test_deferred_waits_and_backs_off(tmp_path: Path, sender: Sender) -> None:
    with bench(tmp_path) as queue:
        location = sender.send(b"a@store.example", wall=queue.clock.wall())
        sender.commit()
        for attempt, wait_s in enumerate((300, 600, 1200, 2400, 4000, 4000), 1):
            (job,) = queue.work(deferred)
            assert (job.location, job.attempt) == (location, attempt)
            assert queue.counts() == (1, 0, 1, 0)
            queue.wait(wait_s - 3)  # `work` moves the clock as well
            assert queue.work() == []
            queue.wait(wait_s * 0.1 + 5)
        assert len(queue.work()) == 1
        assert queue.counts() == (0, 0, 0, 0)
        assert queue.core.journal.rows(0, 9) == []


def test_only_who_remains_is_tried_again(tmp_path: Path, sender: Sender) -> None:
    def partly(job: ipc.Job) -> ipc.Outcome:
        return ipc.Outcome(
            job.number,
            (
                ipc.Result(0, 2, "2.0.0", "ok"),
                ipc.Result(1, 4, "4.2.2", "full"),
                ipc.Result(2, 5, "5.1.1", "unknown"),
                ipc.Result(3, 4, "4.3.0", "later"),
            ),
        )

    with bench(tmp_path) as queue:
        sender.send(*(b"%d@store.example" % n for n in range(4)))
        sender.commit()
        queue.work(partly)
        queue.wait(400)
        (job,) = queue.fetch_due()
        assert job.recipients == (1, 3)
        results = (ipc.Result(1, 2, "2.0.0", "ok"), ipc.Result(3, 4, "4.3.0", "later"))
        queue.answer([job], lambda job: ipc.Outcome(job.number, results))
        queue.wait(1000)
        (job,) = queue.work()
        assert job.recipients == (3,)
        assert queue.counts() == (0, 0, 0, 1)
        message, *recipients = queue.ask("show", id=queueid.text(job.queue_id))
        assert message["state"] == "failed"
        assert [recipient["state"] for recipient in recipients] == ["delivered", "delivered", "failed", "delivered"]
        assert recipients[2]["code"] == "5.1.1"
        assert queue.stats()["results"] == {"delivered": 3, "deferred": 3, "failed": 1}


def test_result_that_is_missing_is_no_success(tmp_path: Path, sender: Sender) -> None:
    with bench(tmp_path) as queue:
        sender.send(b"a@store.example", b"b@store.example")
        sender.commit()
        queue.work(lambda job: ipc.Outcome(job.number, (ipc.Result(0, 2, "2.0.0", "ok"),)))
        assert queue.counts() == (1, 0, 1, 0)
        queue.wait(400)
        assert [job.recipients for job in queue.work()] == [(1,)]


def test_failed_at_once_is_kept_and_listed(tmp_path: Path, sender: Sender) -> None:
    with bench(tmp_path) as queue:
        sender.send(b"a@store.example")
        sender.commit()
        queue.work(failed)
        assert queue.counts() == (0, 0, 0, 1)
        (item,) = queue.ask("list")
        assert (item["state"], item["reason"], item["due_wall"]) == ("failed", "5.1.1 no such user", None)
        queue.wait(1_000_000)
        assert queue.work() == []


def test_an_old_message_that_is_deferred_again_has_failed(tmp_path: Path, sender: Sender) -> None:
    with bench(tmp_path, lifetime_s=1000.0) as queue:
        sender.send(b"a@store.example")
        sender.commit()
        queue.work(deferred)
        queue.wait(1000)
        queue.work(deferred)
        assert queue.counts() == (0, 0, 0, 1)
        (item,) = queue.ask("list")
        assert item["reason"] == "5.4.7 delivery time expired; last: 4.2.2 mailbox full"


def test_no_route_is_deferred(tmp_path: Path, sender: Sender) -> None:
    with bench(tmp_path) as queue:
        sender.send(b"a@elsewhere.example", b"b@store.example")
        sender.send(b"a@elsewhere.example")
        sender.commit()
        assert [job.recipients for job in queue.work()] == [(1,)]
        assert queue.counts() == (2, 0, 2, 0)
        assert {item["reason"] for item in queue.ask("list")} == {"4.3.5 no route for this recipient"}


def test_destination_that_is_down_is_left_alone(tmp_path: Path, sender: Sender) -> None:
    with bench(tmp_path) as queue:
        for number in range(200):
            sender.send(b"%d@relay.example" % number)
        sender.send(b"a@store.example")
        sender.commit()
        jobs = queue.fetch()
        assert sum(job.transport == "relay" for job in jobs) == 5  # it begins slowly
        queue.answer([job for job in jobs if job.transport == "relay"], down)
        assert queue.fetch() == []  # and what waited has been deferred
        assert queue.counts() == (201, 1, 200, 0)
        reasons = [item["reason"] for item in queue.ask("list", state="waiting")]
        assert reasons.count("4.4.1 connection refused") == 5
        assert reasons.count("4.4.1 delivery temporarily suspended: connection refused") == 195
        assert queue.stats()["destinations"]["relay"]["suspended"] == "connection refused"
        attempts = {item["attempts"] for item in queue.ask("list") if "suspended" in str(item["reason"])}
        assert attempts == {0}
        # New mail for it meanwhile is not tried either.
        sender.send(b"new@relay.example")
        sender.commit()
        assert queue.fetch() == []
        # When it is back: a probe, then more and more.
        queue.wait(400)
        sizes = []
        while jobs := queue.fetch_due():
            sizes.append(len(jobs))
            queue.answer(jobs)
        assert sizes[:5] == [1, 2, 4, 8, 16]
        assert queue.counts() == (1, 1, 0, 0)


def test_worker_gone_and_its_jobs_go_to_the_next(tmp_path: Path, sender: Sender) -> None:
    with bench(tmp_path) as queue:
        for number in range(5):
            sender.send(b"%d@store.example" % number)
        sender.commit()
        jobs = queue.fetch()
        queue.answer(jobs[:2])
        assert queue.core.scheduler.leave(queue.WORKER) == 3
        assert queue.core.scheduler.assign(queue.clock.monotonic()) == {}
        queue.core.scheduler.join(queue.WORKER)
        assert queue.fetch() == jobs[2:]


def test_active_set_is_bounded_and_the_backlog_stays_on_disk(tmp_path: Path, sender: Sender) -> None:
    with bench(tmp_path, active=50) as queue:
        for number in range(300):
            sender.send(b"%d@store.example" % number)
        sender.commit()
        queue.core.scheduler.leave(queue.WORKER)  # nobody delivers
        for _ in range(10):
            queue.fetch()
            assert len(queue.core.active.messages) <= 50
        assert queue.counts() == (300, 50, 0, 0)
        assert queue.stats()["unread"] == 250
        queue.core.scheduler.join(queue.WORKER)
        assert len({job.location for job in queue.work()}) == 300
        assert queue.counts() == (0, 0, 0, 0)


def test_active_set_is_bounded_in_recipients(tmp_path: Path, sender: Sender) -> None:
    with bench(tmp_path, active=50) as queue:
        for _ in range(20):
            sender.send(*(b"%d@store.example" % n for n in range(100)))
        sender.commit()
        queue.fetch()
        assert len(queue.core.active.messages) == 3
        assert queue.core.active.recipients == 300
        queue.core.active.remove(list(queue.core.active.messages.values()))
        assert queue.core.active.recipients == 0


def test_waiting_messages_come_in_although_the_log_is_full(tmp_path: Path, sender: Sender) -> None:
    with bench(tmp_path, active=50) as queue:
        for number in range(30):
            sender.send(b"%d@store.example" % number)
        sender.commit()
        queue.work(deferred)
        for number in range(1000):
            sender.send(b"%d@store.example" % number)
        sender.commit()
        queue.wait(400)
        attempts: list[int] = []
        for _ in range(20):
            jobs = queue.fetch_due()
            assert len(queue.core.active.messages) <= 50
            attempts += [job.attempt for job in jobs]
            queue.answer(jobs)
            queue.wait(0.2)
        assert attempts.count(2) == 30
        assert attempts.count(1) > 300


def test_shards_come_and_go(tmp_path: Path) -> None:
    with bench(tmp_path) as queue:
        first, second = Sender(tmp_path), Sender(tmp_path)
        first.send(b"a@store.example")
        first.commit()
        second.send(b"b@store.example")
        second.commit()
        assert len(queue.work()) == 2
        first.send(b"c@store.example")
        first.commit()
        first.close()
        third = Sender(tmp_path)  # takes over the shard of the first
        assert third.writer.shard == first.writer.shard
        third.send(b"d@store.example")
        third.commit()
        assert len(queue.work()) == 2
        second.close()
        third.close()
        queue.wait(2)
        queue.work()
        assert queue.segments() == []


def test_segments_are_freed_when_all_is_done(tmp_path: Path) -> None:
    sender = Sender(tmp_path, segment_bytes=65536)
    with bench(tmp_path) as queue:
        for number in range(2000):
            sender.send(b"%d@store.example" % number)
            if number % 100 == 0:
                sender.commit()
        sender.commit()
        assert len(queue.segments()) > 5
        jobs = queue.fetch()
        assert len(jobs) == 1024
        before = len(queue.segments())
        queue.answer(jobs[1:])
        assert queue.core.commit(queue.clock.monotonic())
        assert len(queue.segments()) < before  # those between the first and the last that was read
        queue.work()
        queue.answer(jobs[:1])
        queue.core.commit(queue.clock.monotonic())
        sender.close()
        queue.wait(2)
        queue.work()
        assert queue.segments() == []
        queue.core.commit(queue.clock.monotonic())
        assert queue.core.journal.segments() == {}


def test_survivors_are_moved_and_keep_their_ids(tmp_path: Path) -> None:
    with bench(tmp_path, retry_min_s=1000.0) as queue:
        sender = Sender(tmp_path, segment_bytes=65536)
        locations = []
        for number in range(400):
            recipient = b"%d@relay.example" if number % 100 == 7 else b"%d@store.example"
            locations.append(sender.send(recipient % number))
        sender.commit()
        sender.close()
        ids = {queueid.text(location) for location in locations[7::100]}
        queue.work(lambda job: deferred(job) if job.transport == "relay" else delivered(job))
        queue.wait(10)
        for _ in range(5):
            queue.work()
        assert {item["id"] for item in queue.ask("list")} == ids
        assert len(queue.segments()) == 1  # our own
        for text in ids:
            message, recipient = queue.ask("show", id=text)
            assert message["id"] == text
            assert recipient["state"] == "waiting"
        assert queue.counts() == (4, 0, 4, 0)
    with bench(tmp_path, queue.clock) as queue:
        assert queue.counts() == (4, 0, 4, 0)
        queue.wait(1100)
        jobs = queue.work()
        assert {queueid.text(job.queue_id) for job in jobs} == ids
        assert all(job.location != job.queue_id for job in jobs)
        queue.wait(2)
        queue.work()
        assert queue.segments() == []


def test_large_bodies_are_freed_after_the_journal(tmp_path: Path, sender: Sender) -> None:
    with bench(tmp_path) as queue:
        sender.send(b"a@store.example", large=True)
        sender.send(b"b@relay.example", large=True)
        sender.commit()
        bodies = tmp_path / "bodies"
        assert len(list(bodies.iterdir())) == 2
        jobs = queue.fetch()
        for job in jobs:
            queue.core.active.finish(queue.WORKER, delivered(job) if job.transport == "store" else deferred(job))
        assert len(list(bodies.iterdir())) == 2
        queue.core.commit(queue.clock.monotonic())
        assert len(list(bodies.iterdir())) == 1
        queue.wait(400)
        queue.work()
        assert list(bodies.iterdir()) == []


def test_orphaned_bodies_are_found(tmp_path: Path, sender: Sender) -> None:
    bodies = tmp_path / "bodies"
    sender.send(b"a@store.example", large=True)  # in the log
    sender.send(b"b@store.example", large=True)  # waiting
    sender.commit()
    with bench(tmp_path) as queue:
        _, second = queue.fetch()
        queue.answer([second], deferred)
        queue.core.commit(queue.clock.monotonic())
    (bodies / f"{77:016x}.body").write_bytes(b"left by a crash")
    clock = FakeClock()
    with bench(tmp_path, clock) as queue:
        queue.core.scheduler.leave(queue.WORKER)
        queue.wait(2)
        queue.core.settle(clock.monotonic())
        assert len(list(bodies.iterdir())) == 3  # the log has not been read yet
        queue.fetch()
        queue.wait(2)
        queue.core.settle(clock.monotonic())
        assert len(list(bodies.iterdir())) == 2
        assert not (bodies / f"{77:016x}.body").exists()


def test_damage_is_told_counted_and_kept(tmp_path: Path, sender: Sender) -> None:
    locations = [sender.send(b"%d@store.example" % number) for number in range(5)]
    sender.commit()
    sender.close()
    with bench(tmp_path) as queue:
        (name,) = queue.segments()
        path = tmp_path / "shards" / "0" / name
        data = bytearray(path.read_bytes())
        _, _, offset = queueid.unpack(locations[2])
        data[offset + 70] ^= 1
        path.write_bytes(data)
        assert [job.location for job in queue.work()] == [*locations[:2], *locations[3:]]
        assert queue.stats()["corrupt"] == 1
        queue.wait(10)
        queue.work()
        assert queue.segments() == [name]
    with bench(tmp_path) as queue:
        assert queue.work() == []  # nothing is delivered again
        assert queue.stats()["corrupt"] == 1
        assert queue.segments() == [name]


def test_journal_that_cannot_be_written_stops_the_mail(tmp_path: Path, sender: Sender) -> None:
    with bench(tmp_path) as queue:
        for number in range(3):
            sender.send(b"%d@store.example" % number)
            sender.commit()
        jobs = queue.fetch()
        queue.core.journal._database.execute("PRAGMA query_only=1")
        queue.answer(jobs[:2], deferred)
        assert not queue.core.healthy
        assert not queue.stats()["healthy"]
        sender.send(b"new@store.example")
        sender.commit()
        assert queue.fetch() == []
        queue.core.active.finish(queue.WORKER, delivered(jobs[2]))
        queue.core.journal._database.execute("PRAGMA query_only=0")
        queue.wait(2)
        queue.core.settle(queue.clock.monotonic())
        assert queue.core.healthy
        assert queue.counts() == (3, 0, 2, 0)
        assert len(queue.work()) == 1
    with bench(tmp_path) as queue:
        assert queue.counts() == (2, 0, 2, 0)


def test_unread_is_counted_over_segments(tmp_path: Path) -> None:
    sender = Sender(tmp_path, segment_bytes=65536)
    for number in range(1000):
        sender.send(b"%d@store.example" % number)
        if number % 50 == 0:
            sender.commit()
    sender.commit()
    with bench(tmp_path, active=120) as queue:
        assert queue.counts() == (1000, 0, 0, 0)
        assert queue.core.commit(queue.clock.monotonic())
        jobs = queue.fetch()
        assert queue.counts() == (1000, 120, 0, 0)
        queue.answer(jobs[:70])
        queue.core.commit(queue.clock.monotonic())
        assert queue.counts() == (930, 50, 0, 0)
    with bench(tmp_path, active=120) as queue:
        assert queue.counts() == (930, 0, 0, 0)
        queue.work()
        assert queue.counts() == (0, 0, 0, 0)
    sender.close()


def test_start_wall_is_what_senders_use() -> None:
    assert FakeClock().wall() == START_WALL
