"""The connection to the queue manager: jobs in, outcomes gathered, and what happens when the manager goes away."""

import socket
import time
from collections.abc import Iterator
from pathlib import Path

import gevent
import gevent.socket
import pytest
from gevent.event import Event

from mta import ipc
from mta.deliver.attempt import Transport, Work
from mta.deliver.discard import Discard
from mta.deliver.link import Link, packed
from mta.errors import IpcError
from mta.ipc import Hello, Job, Jobs, Outcome, Outcomes, Result

DEADLINE_S = 10


class Holding:
    """A transport that begins works as it is told, and ends them as it is told."""

    def __init__(self) -> None:
        self.waiting: list[Work] = []
        self.begun: list[Work] = []
        self.closed = False
        self.taken = Event()

    def take(self, works: list[Work]) -> None:
        self.waiting += works
        self.taken.set()

    def begin(self, count: int) -> None:
        self.begun += [self.waiting.pop(0) for _ in range(count)]

    def abandon(self) -> None:
        while self.waiting:
            self.waiting.pop().forget()

    def close(self) -> None:
        self.closed = True


class Manager:
    """The other side of the socket. Calls wait without blocking the loop."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._listener = ipc.listen(str(folder))
        self._listener.setblocking(False)
        self.channel: socket.socket | None = None

    def accept(self) -> None:
        gevent.socket.wait_read(self._listener.fileno(), timeout=DEADLINE_S)
        self.channel, _ = self._listener.accept()
        self.channel.setblocking(False)
        assert isinstance(self._receive(), Hello)

    def give(self, *jobs: Job) -> None:
        assert self.channel
        self.channel.send(ipc.encode(Jobs(list(jobs))))

    def outcomes(self) -> list[Outcome]:
        message = self._receive()
        assert isinstance(message, Outcomes)
        return message.outcomes

    def go(self) -> None:
        """Die: connection and listener are closed."""
        if self.channel:
            self.channel.close()
        self._listener.close()

    def _receive(self) -> ipc.Message:
        assert self.channel
        gevent.socket.wait_read(self.channel.fileno(), timeout=DEADLINE_S)
        return ipc.decode(self.channel.recv(ipc.PACKET_BYTES))


def job(number: int, transport: str = "hold", queue_id: int = 0) -> Job:
    return Job(number, queue_id or number, queue_id or number, transport, (0,), 1)


class Running:
    """A link at work."""

    def __init__(self, folder: Path, transports: dict[str, Transport]) -> None:
        self.link = Link(lambda: ipc.connect(str(folder), Hello("deliver", 1)), transports)
        self.greenlet = gevent.spawn(self.link.run)


@pytest.fixture
def hold() -> Holding:
    return Holding()


@pytest.fixture
def running(tmp_path: Path, hold: Holding) -> Iterator[Running]:
    one = Running(tmp_path, {"hold": hold, "null": Discard()})
    yield one
    one.greenlet.kill()


def taken(hold: Holding) -> None:
    assert hold.taken.wait(DEADLINE_S)
    hold.taken.clear()


def test_jobs_in_outcomes_out(tmp_path: Path, running: Running) -> None:
    manager = Manager(tmp_path)
    manager.accept()
    manager.give(job(1, "null"), job(2, "null"), job(3, "unknown"))
    first, second, third = manager.outcomes()
    assert (first, second) == (Outcome(1), Outcome(2))
    assert third.number == 3
    assert [(result.status, result.code) for result in third.results] == [(4, "4.3.5")]


def test_outcomes_under_load_are_gathered(tmp_path: Path, running: Running, hold: Holding) -> None:
    manager = Manager(tmp_path)
    manager.accept()
    manager.give(*[job(n) for n in range(1, 201)])
    taken(hold)
    hold.begin(200)
    packets = []
    seen = 0
    started = time.monotonic()
    while hold.begun:  # one ends each turn of the loop, as connections do
        hold.begun.pop().discarded()
        gevent.sleep(0)
    while seen < 200:
        packets.append(manager.outcomes())
        seen += len(packets[-1])
    took_s = time.monotonic() - started
    assert len(packets) <= 2 + took_s / 0.004


def test_work_begun_is_finished_and_the_rest_forgotten_when_the_manager_goes(
    tmp_path: Path, running: Running, hold: Holding
) -> None:
    manager = Manager(tmp_path)
    manager.accept()
    manager.give(job(1), job(2), job(3))
    taken(hold)
    hold.begin(1)
    manager.go()
    manager = Manager(tmp_path)
    with pytest.raises(TimeoutError):  # the link finishes first
        gevent.socket.wait_read(manager._listener.fileno(), timeout=0.05, timeout_exc=TimeoutError())
    assert hold.waiting == []
    hold.begun.pop().discarded()
    manager.accept()
    # What was delivered meanwhile is not delivered again; the others are new.
    manager.give(job(11, queue_id=1), job(12, queue_id=2))
    taken(hold)
    assert [work.job.number for work in hold.waiting] == [12]
    assert manager.outcomes() == [Outcome(11)]


def test_what_was_reported_to_a_manager_that_died_is_not_delivered_again(tmp_path: Path, running: Running) -> None:
    manager = Manager(tmp_path)
    manager.accept()
    manager.give(job(1, "null"))
    assert manager.outcomes() == [Outcome(1)]
    manager.go()
    manager = Manager(tmp_path)
    manager.accept()
    manager.give(Job(5, 1, 1, "null", (0,), 1))
    assert manager.outcomes() == [Outcome(5)]


def test_drain_finishes_what_is_begun(tmp_path: Path, running: Running, hold: Holding) -> None:
    manager = Manager(tmp_path)
    manager.accept()
    manager.give(job(1), job(2))
    taken(hold)
    hold.begin(1)
    running.greenlet.kill()
    draining = gevent.spawn(running.link.drain, DEADLINE_S)
    gevent.idle()
    assert hold.waiting == []
    hold.begun.pop().discarded()
    draining.get(timeout=DEADLINE_S)
    assert manager.outcomes() == [Outcome(1)]
    assert hold.closed


def test_drain_is_bounded(tmp_path: Path, running: Running, hold: Holding) -> None:
    manager = Manager(tmp_path)
    manager.accept()
    manager.give(job(1))
    taken(hold)
    hold.begin(1)
    running.greenlet.kill()
    gevent.spawn(running.link.drain, 0.01).get(timeout=DEADLINE_S)
    hold.begun.pop().discarded()  # too late, and harmless


@pytest.mark.parametrize("packet", [b"\xff\xff", ipc.encode(Outcomes([]))])
def test_what_no_manager_says_ends_the_connection(tmp_path: Path, running: Running, packet: bytes) -> None:
    manager = Manager(tmp_path)
    manager.accept()
    assert manager.channel
    manager.channel.send(packet)
    manager.accept()


def test_a_manager_that_does_not_read_loses_nothing(tmp_path: Path, running: Running) -> None:
    manager = Manager(tmp_path)
    manager.accept()
    total = 20_000
    results: list[Outcome] = []
    for start in range(0, total, ipc.JOBS_PER_PACKET):
        jobs = [job(n, "unknown") for n in range(start, min(total, start + ipc.JOBS_PER_PACKET))]
        assert manager.channel
        gevent.socket.wait_write(manager.channel.fileno(), timeout=DEADLINE_S)
        manager.give(*jobs)
    while len(results) < total:
        results += manager.outcomes()
    assert [outcome.number for outcome in results] == list(range(total))


def test_packets_fit() -> None:
    text = "x" * ipc.TEXT_BYTES
    outcomes = [Outcome(n, tuple(Result(r, 4, "4.4.1", text) for r in range(64))) for n in range(5)]
    packets = packed(outcomes)
    assert all(len(packet) <= ipc.PACKET_BYTES for packet, _ in packets)
    decoded = [outcome for packet, _ in packets for outcome in ipc.decode(packet).outcomes]  # type: ignore[union-attr]
    assert decoded == outcomes
    assert sum(count for _, count in packets) == 5


def test_connect_error_is_an_ipc_error(tmp_path: Path) -> None:
    with pytest.raises(IpcError):
        ipc.connect(str(tmp_path), Hello("deliver", 1))
