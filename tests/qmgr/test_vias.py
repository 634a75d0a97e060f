"""Transports that were decided when a message was accepted, and copies: where they go, who is told, what stays."""

from pathlib import Path

import pytest

from mta.config import Bounces, Route, Transport
from mta.envelope import Dsn
from mta.ipc import Job, Outcome, Result
from mta.spool import queueid
from tests.qmgr import queuetools
from tests.qmgr.queuetools import Answer, Bench, FakeClock, Sender, deferred, delivered, failed

JOE = b"joe@store.example"
REST = Route(["*"], "store")
TELLING = Bounces(send=True)


class Queue:
    """Queue managers with the transports that a test chooses, one after the other on the same spool and clock."""

    def __init__(self, patch: pytest.MonkeyPatch, root: Path) -> None:
        self._patch = patch
        self._root = root
        self._clock = FakeClock()
        self.sender = Sender(root)
        patch.setattr(queuetools, "ROUTES", [REST])

    def start(self, *transports: str, bounces: Bounces = queuetools.SILENT) -> Bench:
        made = {name: Transport("discard") for name in ("store", *transports)}
        self._patch.setattr(queuetools, "TRANSPORTS", made)
        return Bench(self._root, self._clock, bounces, retry_min_s=10.0, retry_max_s=1000.0, lifetime_s=100_000.0)

    def send(self, *entries: tuple[bytes, str], success: bool = False) -> str:
        """One message with these recipients, each with its `via`; copies have NOTIFY=NEVER, as they always have."""
        notify = tuple("NEVER" if via.startswith("&") else "SUCCESS" if success else "" for _, via in entries)
        dsn = Dsn("", b"", notify, (b"",) * len(entries))
        location = self.sender.send(*(address for address, _ in entries), via=tuple(via for _, via in entries), dsn=dsn)
        self.sender.commit()
        return queueid.text(location)


@pytest.fixture
def queue(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Queue:
    return Queue(monkeypatch, tmp_path)


def transports(jobs: list[Job]) -> list[tuple[str, tuple[int, ...]]]:
    return sorted((job.transport, job.recipients) for job in jobs)


def only(name: str, how: Answer) -> Answer:
    """All is delivered but what goes by one transport."""
    return lambda job: how(job) if job.transport == name else delivered(job)


def test_what_was_decided_counts_at_each_attempt_and_after_a_restart(queue: Queue) -> None:
    bench = queue.start("out", "archive")
    queue.send((JOE, "out"))
    queue.send((JOE, ""), (b"ann@store.example", "out"), (b"ann@store.example", "&archive"), (JOE, "&archive"))
    expected = [("archive", (2, 3)), ("out", (0,)), ("out", (1,)), ("store", (0,))]
    assert transports(bench.work(deferred)) == expected
    bench.wait(20)
    assert transports(bench.work(deferred)) == expected
    bench.close()
    bench = queue.start("out", "archive")
    bench.wait(2000)
    assert transports(bench.work()) == expected
    assert bench.counts() == (0, 0, 0, 0)
    bench.close()


def test_a_transport_that_is_gone(queue: Queue) -> None:
    """What was decided falls back to the routes; a copy waits for its transport, and goes nowhere else meanwhile."""
    bench = queue.start()
    queue.send((JOE, "out"))
    queue_id = queue.send((JOE, ""), (JOE, "&archive"))
    assert transports(bench.work()) == [("store", (0,)), ("store", (0,))]
    assert bench.counts() == (1, 0, 1, 0)
    _, main, copy = bench.ask("show", id=queue_id)
    assert (main["state"], main["transport"], main["copy"]) == ("delivered", "store", False)
    assert (copy["state"], copy["transport"], copy["copy"]) == ("waiting", "", True)
    assert (copy["code"], copy["text"]) == ("4.3.5", "no transport archive for this copy")
    bench.close()
    bench = queue.start("archive")
    bench.wait(2000)
    assert transports(bench.work()) == [("archive", (1,))]
    assert bench.counts() == (0, 0, 0, 0)
    bench.close()


def test_a_move_overrides_it(queue: Queue) -> None:
    bench = queue.start("out", "archive")
    queue_id = queue.send((JOE, "out"), (JOE, "&archive"))
    bench.work(only("archive", deferred))
    bench.ask("move", ids=[queue_id], to="store")
    assert transports(bench.work()) == [("store", (1,))]
    assert bench.counts() == (0, 0, 0, 0)
    bench.close()


def test_filters_ask_for_the_transport_that_takes_it(queue: Queue) -> None:
    bench = queue.start("out", "archive")
    queue.send((JOE, "out"))
    queue.send((JOE, ""), (JOE, "&archive"))

    def found() -> list[int]:
        return [len(bench.ask("list", transport=[name])) for name in ("out", "archive", "store")]

    assert found() == [1, 1, 1]  # unread
    jobs = bench.fetch()
    assert found() == [1, 1, 1]  # in hand
    bench.answer(jobs, deferred)
    bench.work(deferred)
    assert found() == [1, 1, 1]  # waiting
    bench.ask("hold", all=True)
    assert found() == [1, 1, 1]
    assert [item["transport"] for item in bench.ask("show", id=bench.ask("list", transport=["archive"])[0]["id"])] == [
        "",
        "store",
        "archive",
    ]
    bench.close()


def test_an_order_for_what_is_unread_keeps_it(queue: Queue) -> None:
    bench = queue.start("archive")
    queue_id = queue.send((JOE, ""), (JOE, "&archive"))
    bench.ask("hold", ids=[queue_id])
    bench.close()
    bench = queue.start("archive")
    bench.ask("release", ids=[queue_id])
    assert transports(bench.work()) == [("archive", (1,)), ("store", (0,))]
    bench.close()


def test_a_copy_that_has_failed_stays_and_nobody_is_told(queue: Queue) -> None:
    bench = queue.start("archive", bounces=TELLING)
    queue_id = queue.send((JOE, ""), (JOE, "&archive"))
    bench.work(only("archive", failed))
    assert bench.counts() == (0, 0, 0, 1)
    assert bench.stats()["bounces"] == {"sent": 0, "dropped": 0}
    bench.ask("retry", ids=[queue_id])
    assert transports(bench.work()) == [("archive", (1,))]
    assert bench.counts() == (0, 0, 0, 0)
    bench.close()


def test_a_copy_that_has_failed_stays_beside_a_failure_that_is_told_of(queue: Queue) -> None:
    bench = queue.start("archive", bounces=TELLING)
    queue.send((JOE, ""), (b"ann@store.example", ""), (JOE, "&archive"))

    def answer(job: Job) -> Outcome:
        if job.transport == "archive":
            return failed(job)
        results = [Result(0, 5, "5.1.1", "no"), Result(1, 4, "4.2.2", "full")]
        return Outcome(job.number, tuple(result for result in results if result.recipient in job.recipients))

    jobs = bench.fetch()
    bench.answer(jobs, answer)
    bench.wait(1)
    bench.work()  # the notification
    assert bench.stats()["bounces"] == {"sent": 1, "dropped": 0}
    assert bench.counts() == (1, 0, 1, 0)
    bench.wait(2000)
    assert ("store", (1,)) in transports(bench.work())
    assert bench.counts() == (0, 0, 0, 1)
    assert bench.stats()["bounces"] == {"sent": 1, "dropped": 0}
    (item,) = bench.ask("list", state="failed")
    assert item["recipients"] == 1
    bench.close()


def test_copies_expire_and_stay(queue: Queue) -> None:
    bench = queue.start("archive", bounces=TELLING)
    queue_id = queue.send((JOE, ""), (JOE, "&archive"))
    bench.work(only("archive", deferred))
    bench.ask("bounce", ids=[queue_id])
    bench.work()
    assert bench.counts() == (0, 0, 0, 1)
    assert bench.stats()["bounces"] == {"sent": 0, "dropped": 0}
    bench.close()


def test_success_of_a_copy_is_nothing_to_tell(queue: Queue) -> None:
    bench = queue.start("archive", bounces=TELLING)
    queue.send((JOE, ""), (JOE, "&archive"), success=True)
    bench.work(only("store", deferred))
    assert bench.stats()["bounces"] == {"sent": 0, "dropped": 0}
    assert bench.counts() == (1, 0, 1, 0)
    bench.wait(2000)
    bench.work()
    bench.wait(1)
    bench.work()
    assert bench.stats()["bounces"] == {"sent": 1, "dropped": 0}
    assert bench.counts() == (0, 0, 0, 0)
    bench.close()


def test_survivors_keep_it_when_they_are_moved(queue: Queue, tmp_path: Path) -> None:
    sender = Sender(tmp_path, segment_bytes=8192)
    queue.sender.close()  # its shard, the first, will be our own
    queue.sender = sender
    bench = queue.start("out", "archive")
    queue.send((JOE, "out"), (JOE, "&archive"))
    for _ in range(60):
        sender.send(JOE, size=500)
    sender.commit()
    bench.work(lambda job: delivered(job) if job.transport == "store" else deferred(job))
    for _ in range(2):
        bench.wait(6.0)
        bench.core.settle(bench.clock.monotonic())
    assert bench.core.cleaner.moves == 1
    bench.wait(2000)
    assert transports(bench.work()) == [("archive", (1,)), ("out", (0,))]
    assert bench.counts() == (0, 0, 0, 0)
    bench.close()
    sender.close()
