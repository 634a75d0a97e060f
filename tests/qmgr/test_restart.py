"""A manager that is killed at any step of its journal, and its successor: nothing lost, little delivered twice."""

import os
import shutil
import traceback
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from killed import KILLED, Fuse, KilledDatabase, quick_folder
from queuetools import Bench, FakeClock, Sender, assert_counted, bench, deferred, delivered, failed

from mta import ipc
from mta.spool import queueid, reclaim

MESSAGES = 60


def prepare(root: Path) -> dict[int, str]:
    """A spool with mail in two shards; returns what is to become of each message."""
    fates: dict[int, str] = {}
    for shard in range(2):
        sender = Sender(root, segment_bytes=8192)
        for number in range(MESSAGES // 2):
            fate = "late" if number % 20 == 3 else "fail" if number % 20 == 5 else "good"
            large = number % 15 == 5  # good ones and a bad one
            location = sender.send(b"%s%d@store.example" % (fate.encode(), number), large=large)
            fates[location] = fate
            if number % 7 == shard:
                sender.commit()
        sender.close()
    return fates


def work(queue: Bench, fates: dict[int, str], delivered_fd: int) -> None:
    """Some hours of the manager's life: first attempts, retries, moved survivors. Deliveries are noted at once."""

    def deliver(job: ipc.Job) -> ipc.Outcome:
        fate = fates[job.queue_id]
        if fate == "fail":
            return failed(job)
        if fate == "late" and job.attempt < 3:
            return deferred(job)
        os.write(delivered_fd, f"{job.queue_id} {job.attempt}\n".encode())
        return delivered(job)

    for _ in range(6):
        now = queue.clock.monotonic()
        queue.core.take(now)
        jobs = queue.core.scheduler.assign(now).get(queue.WORKER, [])
        for start in range(0, len(jobs), 9):
            for job in jobs[start : start + 9]:
                queue.core.active.finish(queue.WORKER, deliver(job))
            queue.wait(0.2)
            queue.core.settle(queue.clock.monotonic())
        queue.wait(6.0)
        queue.core.settle(queue.clock.monotonic())
        queue.core.settle(queue.clock.monotonic())
        queue.wait(1500.0)
        queue.core.settle(queue.clock.monotonic())


def live_and_die(root: Path, fates: dict[int, str], steps: int) -> int:
    """Work in a process of its own, which dies after some steps; returns how it ended."""
    pid = os.fork()
    if pid:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    try:
        fd = os.open(root / "delivered", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        queue = Bench(root)
        fuse = Fuse(steps)
        database: Any = KilledDatabase(queue.core.journal._database, fuse)
        queue.core.journal._database = database

        really_free = reclaim.free_segment

        def free_segment(*arguments: Any) -> None:
            fuse.burn()
            really_free(*arguments)

        reclaim.free_segment = free_segment
        work(queue, fates, fd)
        os._exit(0)
    finally:
        traceback.print_exc()  # only an exception comes here, and it must not reach the parent's copy of the tests
        os._exit(1)


def finish(root: Path, fates: dict[int, str]) -> None:
    """A successor: it ends everything, and the books are right."""
    clock = FakeClock()
    clock.elapsed_s = 20_000.0
    fd = os.open(root / "delivered", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    with bench(root, clock) as queue:
        assert_counted(queue.core.journal)
        assert int(str(queue.stats()["queued"])) <= MESSAGES
        work(queue, fates, fd)
        bad = {queueid.text(location) for location, fate in fates.items() if fate == "fail"}
        assert {item["id"] for item in queue.ask("list")} == bad
        assert queue.counts() == (0, 0, 0, len(bad))
        assert len(queue.segments()) <= 2  # of our own shard
        assert len(list((root / "bodies").iterdir())) == 2  # of bad ones
        assert queue.ask("delete", all=True)
        queue.core.commit(clock.monotonic())
        queue.wait(10.0)
        queue.work()
        assert list((root / "bodies").iterdir()) == []
    os.close(fd)
    lines = [line.split() for line in (root / "delivered").read_text().splitlines()]
    counts = Counter(int(location) for location, _ in lines)
    assert set(counts) == {location for location, fate in fates.items() if fate != "fail"}
    assert max(counts.values()) <= 2
    # What can come twice is what was delivered since the last commit.
    assert sum(count - 1 for count in counts.values()) <= 9


quick_path = pytest.fixture(quick_folder)


@pytest.mark.parametrize("part", range(4))
def test_killed_at_every_step(quick_path: Path, part: int) -> None:
    template = quick_path / "template"
    fates = prepare(template)
    steps = 1 + part
    while True:
        root = quick_path / str(steps)
        shutil.copytree(template, root)
        ended = live_and_die(root, fates, steps)
        finish(root, fates)
        shutil.rmtree(root)
        if ended != KILLED:
            assert ended == 0
            break
        steps += 4
    assert steps > 50
