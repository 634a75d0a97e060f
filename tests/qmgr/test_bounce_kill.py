"""A manager that is killed at any step while it tells senders of failures: every failure is told of, some twice."""

import email
import os
import shutil
import traceback
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from flufl.bounce import all_failures
from killed import KILLED, Fuse, KilledDatabase, quick_folder
from queuetools import Bench, FakeClock, Sender, bench, deferred, delivered, failed

from mta import envelope as envelopes
from mta import ipc
from mta.config import Bounces
from mta.spool import reclaim
from mta.spool.reader import MessageReader

MESSAGES = 12
ME = b"me@store.example"

quick_path = pytest.fixture(quick_folder)


class KilledShard:
    """Our own shard, in a process that dies just before or after something is on its disk."""

    def __init__(self, queue: Bench, fuse: Fuse) -> None:
        self._make = queue.core._own.writer
        self._fuse = fuse

    def __call__(self) -> "KilledShard":
        self._writer = self._make()
        return self

    def append(self, *arguments: Any, **more: Any) -> int:
        self._fuse.burn()
        return self._writer.append(*arguments, **more)

    def append_reference(self, *arguments: Any) -> int:
        return self._writer.append_reference(*arguments)

    def commit(self) -> None:
        self._fuse.burn()
        self._writer.commit()
        self._fuse.burn()


def address(number: int, kind: str) -> bytes:
    return b"%s%d@relay.example" % (kind.encode(), number)


def prepare(root: Path) -> set[bytes]:
    """A spool with mail; returns the addresses that fail. Some fail beside others that are delivered later."""
    bad = set()
    sender = Sender(root, segment_bytes=8192)
    for number in range(MESSAGES):
        names = [address(number, "bad" if number % 3 else "good")]
        if number % 4 == 1:
            names.append(address(number, "late"))
        bad |= {name for name in names if name.startswith(b"bad")}
        sender.send(*names, sender=ME, body=b"Subject: x\r\n\r\nx\r\n", large=number == 5)
    sender.commit()
    sender.close()
    return bad


def work(queue: Bench, notes_fd: int) -> None:
    """Some hours of the manager's life. What is delivered is noted at once: addresses, or those in notifications."""

    def answer(job: ipc.Job) -> ipc.Outcome:
        reader = MessageReader(queue.root)
        record, body = reader.message(job.location)
        envelope = envelopes.decode(record.envelope)
        reader.close()
        if job.transport == "store":
            assert envelope.sender == b""
            assert isinstance(body, bytes)
            (_, addresses) = all_failures(email.message_from_bytes(body))
            os.write(notes_fd, b"".join(b"told %b\n" % name for name in addresses))
            return delivered(job)
        results = []
        for index in job.recipients:
            name = envelope.recipients[index]
            how = failed if name.startswith(b"bad") else deferred if name.startswith(b"late") else delivered
            how = delivered if how is deferred and job.attempt > 1 else how
            if how is delivered:
                os.write(notes_fd, b"delivered %b\n" % name)
            results += how(ipc.Job(0, 0, 0, "", (index,), 1)).results or [ipc.Result(index, 2, "2.0.0", "ok")]
        return ipc.Outcome(job.number, tuple(results))

    for _ in range(4):
        for _ in range(3):
            jobs = queue.fetch()
            for start in range(0, len(jobs), 4):
                for job in jobs[start : start + 4]:
                    queue.core.active.finish(queue.WORKER, answer(job))
                queue.wait(0.2)
                queue.core.settle(queue.clock.monotonic())
            queue.wait(6.0)
            queue.core.settle(queue.clock.monotonic())
        queue.wait(700.0)
        queue.core.settle(queue.clock.monotonic())


def live_and_die(root: Path, steps: int) -> int:
    """Work in a process of its own, which dies after some steps; returns how it ended."""
    pid = os.fork()
    if pid:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    try:
        fd = os.open(root / "notes", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        queue = Bench(root, bounces=Bounces())
        fuse = Fuse(steps)
        database: Any = KilledDatabase(queue.core.journal._database, fuse)
        queue.core.journal._database = database
        shard: Any = KilledShard(queue, fuse)
        queue.core._own.writer = shard

        really_free = reclaim.free_segment

        def free_segment(*arguments: Any) -> None:
            fuse.burn()
            really_free(*arguments)

        reclaim.free_segment = free_segment
        work(queue, fd)
        os._exit(0)
    finally:
        traceback.print_exc()  # only an exception comes here, and it must not reach the parent's copy of the tests
        os._exit(1)


def finish(root: Path, bad: set[bytes]) -> None:
    """A successor: it ends everything, and everybody was told."""
    clock = FakeClock()
    clock.elapsed_s = 10_000.0
    fd = os.open(root / "notes", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    with bench(root, clock, bounces=Bounces()) as queue:
        work(queue, fd)
        assert queue.counts() == (0, 0, 0, 0)
        assert queue.core.journal.rows(0, 99) == []
        assert list((root / "bodies").iterdir()) == []
    os.close(fd)
    notes = [line.split() for line in (root / "notes").read_bytes().splitlines()]
    told = Counter(name for what, name in notes if what == b"told")
    assert set(told) == bad
    assert max(told.values()) <= 3  # made twice, and one of the two delivered twice
    arrived = {name for what, name in notes if what == b"delivered"}
    assert arrived == {address(number, "good") for number in range(0, MESSAGES, 3)} | {
        address(number, "late") for number in range(1, MESSAGES, 4)
    }


@pytest.mark.parametrize("part", range(3))
def test_killed_at_every_step(quick_path: Path, part: int) -> None:
    template = quick_path / "template"
    bad = prepare(template)
    steps = 1 + part
    while True:
        root = quick_path / str(steps)
        shutil.copytree(template, root)
        ended = live_and_die(root, steps)
        finish(root, bad)
        shutil.rmtree(root)
        if ended != KILLED:
            assert ended == 0
            break
        steps += 3
    assert steps > 50
