"""The process as the supervisor starts it: ready, at work, and the ways in which it ends."""

import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic

import msgspec
import pytest
from queuetools import Sender, make_config

from mta import ipc
from mta.child import ChildContext
from mta.qmgr import store

PATIENCE_S = 30.0


class Process:
    """`python -m mta.qmgr.main` with what a supervisor would give it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.folder = str(root / "qmgr")
        self.wake_fd = os.eventfd(0, os.EFD_NONBLOCK)
        lifeline, self.lifeline = os.pipe()
        self.status, status = os.pipe()
        config_fd = os.memfd_create("config")
        os.write(config_fd, msgspec.json.encode(make_config(root)))
        context = ChildContext("qmgr", 0, config_fd, lifeline, status, self.wake_fd)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "mta.qmgr.main"],
            env=os.environ | context.environ(),
            pass_fds=context.descriptors(),
        )
        for fd in (lifeline, status, config_fd):
            os.close(fd)

    def wait_until_ready(self) -> None:
        assert self.is_ready(PATIENCE_S)
        assert os.read(self.status, 100) == b"ready\n"

    def is_ready(self, timeout_s: float) -> bool:
        return bool(select.select([self.status], [], [], timeout_s)[0])

    def connect(self, role: str) -> socket.socket:
        channel = ipc.connect(self.folder, ipc.Hello(role, os.getpid()))
        channel.settimeout(PATIENCE_S)
        return channel

    def stats(self) -> dict[str, object]:
        with self.connect("control") as client:
            client.send(ipc.encode(ipc.Request("stats")))
            reply = ipc.decode(client.recv(ipc.PACKET_BYTES))
        assert isinstance(reply, ipc.Reply)
        return reply.items[0]

    def handles(self, number: int) -> bool:
        """Whether the process has got so far that it takes this signal itself."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        caught = next(line.split()[1] for line in status.splitlines() if line.startswith("SigCgt"))
        return bool(int(caught, 16) >> (number - 1) & 1)

    def exit_code(self) -> int:
        return self.process.wait(PATIENCE_S)

    def close_lifeline(self) -> None:
        os.close(self.lifeline)
        self.lifeline = -1

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        for fd in (self.wake_fd, self.status, self.lifeline):
            if fd >= 0:
                os.close(fd)


Start = Callable[[], Process]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    processes: list[Process] = []

    def one() -> Process:
        processes.append(Process(tmp_path))
        return processes[-1]

    yield one
    for process in processes:
        process.end()


@pytest.fixture
def manager(start: Start) -> Process:
    process = start()
    process.wait_until_ready()
    return process


def receive(worker: socket.socket) -> list[ipc.Job]:
    message = ipc.decode(worker.recv(ipc.PACKET_BYTES))
    assert isinstance(message, ipc.Jobs)
    return message.jobs


def report(worker: socket.socket, jobs: list[ipc.Job]) -> None:
    worker.send(ipc.encode(ipc.Outcomes([ipc.Outcome(job.number) for job in jobs])))


def queued_without_manager(root: Path) -> object:
    (reply,) = store.answer(make_config(root), ipc.Request("stats"))
    return reply.items[0]["queued"]


def test_delivers_from_shards_that_were_and_that_come(
    manager: Process, tmp_path: Path, until: Callable[[Callable[[], object]], None]
) -> None:
    worker = manager.connect("deliver")
    sender = Sender(tmp_path, wake_fd=manager.wake_fd)
    took_s = []
    for number in range(20):
        begun = monotonic()
        location = sender.send(b"%d@store.example" % number)
        sender.commit()
        jobs = receive(worker)
        took_s.append(monotonic() - begun)
        assert [job.location for job in jobs] == [location]
        report(worker, jobs)
    assert sorted(took_s)[10] < 0.5  # woken up, not stumbled upon by the look every second
    for number in range(5000):
        sender.send(b"%d@store.example" % number)
    sender.commit()
    seen = 0
    while seen < 5000:
        jobs = receive(worker)
        seen += len(jobs)
        report(worker, jobs)
    sender.close()
    until(lambda: not manager.stats()["queued"])
    worker.close()


def test_term_waits_for_outcomes(manager: Process, tmp_path: Path) -> None:
    worker = manager.connect("deliver")
    sender = Sender(tmp_path, wake_fd=manager.wake_fd)
    for number in range(10):
        sender.send(b"%d@store.example" % number)
    sender.commit()
    jobs = receive(worker)
    manager.process.send_signal(signal.SIGTERM)
    sender.send(b"late@store.example")
    sender.commit()
    report(worker, jobs)
    assert manager.exit_code() == 0
    assert worker.recv(10) == b""  # no more jobs after the signal
    assert queued_without_manager(tmp_path) == 1
    sender.close()


def test_int_waits_for_nothing(manager: Process, tmp_path: Path) -> None:
    worker = manager.connect("deliver")
    sender = Sender(tmp_path, wake_fd=manager.wake_fd)
    for number in range(10):
        sender.send(b"%d@store.example" % number)
    sender.commit()
    jobs = receive(worker)
    report(worker, jobs[:4])
    manager.stats()  # so the outcomes have been read
    begun = monotonic()
    manager.process.send_signal(signal.SIGINT)
    assert manager.exit_code() == 0
    assert monotonic() - begun < 4.0
    assert queued_without_manager(tmp_path) == 6
    sender.close()


def test_ends_with_the_supervisor(manager: Process) -> None:
    manager.close_lifeline()
    assert manager.exit_code() == 0


def test_successor_waits_for_the_lock(manager: Process, start: Start) -> None:
    second = start()
    assert not second.is_ready(0.5)
    manager.process.send_signal(signal.SIGTERM)
    assert manager.exit_code() == 0
    second.wait_until_ready()
    assert second.stats()["workers"] == 0


def test_waiting_for_the_lock_ends_with_a_signal(
    manager: Process, start: Start, until: Callable[[Callable[[], object]], None]
) -> None:
    second = start()
    until(lambda: second.handles(signal.SIGTERM))
    second.process.send_signal(signal.SIGTERM)
    assert second.exit_code() == 0


def test_killed_and_started_again(start: Start, tmp_path: Path) -> None:
    first = start()
    first.wait_until_ready()
    sender = Sender(tmp_path, wake_fd=first.wake_fd)
    for number in range(100):
        sender.send(b"%d@store.example" % number)
    sender.commit()
    worker = first.connect("deliver")
    assert len(receive(worker)) == 100
    first.process.kill()
    first.exit_code()
    assert worker.recv(10) == b""
    second = start()
    second.wait_until_ready()
    worker = second.connect("deliver")
    assert len(receive(worker)) == 100
    sender.close()


def test_not_without_a_supervisor() -> None:
    environment = {key: value for key, value in os.environ.items() if key != "MTA_CHILD"}
    ended = subprocess.run(
        [sys.executable, "-m", "mta.qmgr.main"], env=environment, capture_output=True, timeout=PATIENCE_S, check=False
    )
    assert ended.returncode == 70
    assert b"supervisor" in ended.stderr
