"""The manager's socket with scripted peers: workers that obey, stall, babble or vanish, and clients that do so too."""

import selectors
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from queuetools import Bench, Sender, bench

from mta import ipc
from mta.qmgr import peers
from mta.qmgr.peers import Peers


class Hub:
    """A core with a real socket; `turn` does what the process's loop does."""

    def __init__(self, queue: Bench, folder: Path) -> None:
        queue.core.scheduler.leave(queue.WORKER)
        self.folder = str(folder)
        self.queue = queue
        self.selector = selectors.DefaultSelector()
        self.peers = Peers(
            ipc.listen(self.folder), self.selector, queue.core.scheduler, queue.core.active, queue.control.answer
        )

    def turn(self) -> int:
        """Everything that is ready, then mail in and jobs out."""
        moved = 0
        while ready := self.selector.select(0):
            done = sum(key.data(mask) for key, mask in ready)
            moved += done
            if not done and all(mask == selectors.EVENT_WRITE for _, mask in ready):
                break
        now = self.queue.clock.monotonic()
        self.queue.core.take(now)
        moved += self.peers.send(self.queue.core.scheduler.assign(now))
        self.queue.core.settle(now)
        return moved

    def connect(self, role: str) -> socket.socket:
        channel = ipc.connect(self.folder, ipc.Hello(role, 1))
        channel.settimeout(10.0)
        self.turn()
        return channel

    def close(self) -> None:
        self.peers.close()
        self.selector.close()


@pytest.fixture
def sender(tmp_path: Path) -> Iterator[Sender]:
    it = Sender(tmp_path)
    yield it
    it.close()


@pytest.fixture
def hub(tmp_path: Path, sender: Sender) -> Iterator[Hub]:
    with bench(tmp_path) as queue:
        it = Hub(queue, tmp_path / "qmgr")
        yield it
        it.close()


def receive(channel: socket.socket) -> list[ipc.Job]:
    message = ipc.decode(channel.recv(ipc.PACKET_BYTES))
    assert isinstance(message, ipc.Jobs)
    return message.jobs


def report(channel: socket.socket, jobs: list[ipc.Job]) -> None:
    channel.send(ipc.encode(ipc.Outcomes([ipc.Outcome(job.number) for job in jobs])))


def is_closed(channel: socket.socket) -> bool:
    try:
        return channel.recv(10) == b""
    except ConnectionResetError:
        return True


def test_jobs_and_outcomes(hub: Hub, sender: Sender) -> None:
    locations = [sender.send(b"%d@store.example" % number) for number in range(600)]
    sender.commit()
    hub.turn()
    assert hub.queue.counts() == (600, 600, 0, 0)  # they wait for a worker
    worker = hub.connect("deliver")
    packets = [receive(worker) for _ in range(3)]
    assert [len(jobs) for jobs in packets] == [256, 256, 88]
    jobs = [job for packet in packets for job in packet]
    assert [job.location for job in jobs] == locations
    for packet in packets:
        report(worker, packet)
    hub.turn()
    assert hub.queue.counts() == (0, 0, 0, 0)
    worker.close()


def test_jobs_of_a_worker_that_is_gone_go_to_another(hub: Hub, sender: Sender) -> None:
    for number in range(10):
        sender.send(b"%d@store.example" % number)
    sender.commit()
    first = hub.connect("deliver")
    jobs = receive(first)
    second = hub.connect("deliver")
    report(first, jobs[:4])
    first.close()
    hub.turn()
    hub.turn()
    assert receive(second) == jobs[4:]
    assert hub.queue.stats()["workers"] == 1
    second.close()


def test_work_is_shared(hub: Hub, sender: Sender) -> None:
    workers = [hub.connect("deliver") for _ in range(3)]
    for number in range(900):
        sender.send(b"%d@store.example" % number)
    sender.commit()
    hub.turn()
    counts = []
    for worker in workers:
        worker.setblocking(False)
        count = 0
        try:
            while True:
                count += len(receive(worker))
        except BlockingIOError:
            counts.append(count)
    assert sum(counts) == 900
    assert max(counts) - min(counts) <= 32


def test_worker_that_does_not_read_holds_nobody_up(hub: Hub, sender: Sender, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ipc, "JOBS_PER_PACKET", 4)  # many packets: the socket fills up
    slow = hub.connect("deliver")
    for _ in range(3):
        for number in range(1000):
            sender.send(b"%d@store.example" % number)
        sender.commit()
        hub.turn()
    assert hub.queue.stats()["in_flight"] == 2048  # its window
    assert hub.queue.counts() == (3000, 3000, 0, 0)
    seen: list[ipc.Job] = []
    while len(seen) < 3000:
        jobs = receive(slow)
        seen += jobs
        report(slow, jobs)
        hub.turn()
    assert len({job.number for job in seen}) == 3000
    assert [job.number for job in seen] == sorted(job.number for job in seen)
    hub.turn()
    assert hub.queue.counts() == (0, 0, 0, 0)


@pytest.mark.parametrize(
    "packet",
    [
        b"rubbish",
        ipc.encode(ipc.Hello("deliver", 1)),
        ipc.encode(ipc.Request("stats")),
        ipc.encode(ipc.Jobs([])),
    ],
)
def test_worker_that_breaks_the_rules_is_dropped(hub: Hub, sender: Sender, packet: bytes) -> None:
    sender.send(b"a@store.example")
    sender.commit()
    worker = hub.connect("deliver")
    jobs = receive(worker)
    worker.send(packet)
    hub.turn()
    assert is_closed(worker)
    other = hub.connect("deliver")
    assert receive(other) == jobs


def test_strangers_are_dropped(hub: Hub) -> None:
    for hello in (ipc.Hello("admin", 1), ipc.Hello("", 1)):
        channel = ipc.connect(hub.folder, hello)
        hub.turn()
        assert is_closed(channel)
    silent = ipc.connect(hub.folder, ipc.Hello("control", 1))
    silent.send(ipc.encode(ipc.Outcomes([ipc.Outcome(1)])))
    hub.turn()
    assert is_closed(silent)


def test_outcome_of_a_job_that_nobody_has(hub: Hub) -> None:
    worker = hub.connect("deliver")
    worker.send(ipc.encode(ipc.Outcomes([ipc.Outcome(12345)])))
    hub.turn()
    assert hub.queue.stats()["workers"] == 1


def ask(client: socket.socket, hub: Hub, verb: str, **arguments: object) -> list[dict[str, object]]:
    client.send(ipc.encode(ipc.Request(verb, arguments)))
    items: list[dict[str, object]] = []
    while True:
        hub.turn()
        reply = ipc.decode(client.recv(ipc.PACKET_BYTES))
        assert isinstance(reply, ipc.Reply)
        assert not reply.error
        items += reply.items
        if not reply.more:
            return items


def test_client_asks_again_and_again(hub: Hub, sender: Sender) -> None:
    for number in range(900):
        sender.send(b"%d@store.example" % number)
    sender.commit()
    client = hub.connect("control")
    assert ask(client, hub, "stats")[0]["queued"] == 900
    assert len(ask(client, hub, "list")) == 900
    assert ask(client, hub, "stats")[0]["queued"] == 900


def test_client_that_does_not_read_holds_nobody_up(hub: Hub, sender: Sender) -> None:
    for number in range(5000):
        sender.send(b"%d-%s@store.example" % (number, b"x" * 100))
    sender.commit()
    lazy = hub.connect("control")
    for _ in range(3):
        lazy.send(ipc.encode(ipc.Request("list")))
    worker = hub.connect("deliver")
    done = 0
    while done < 5000:
        hub.turn()
        jobs = receive(worker)
        done += len(jobs)
        report(worker, jobs)
    (connection,) = (c for c in hub.peers._connections.values() if c.role == "control")
    assert len(connection.outbox) <= peers.PAGES_PER_TURN
    lazy.close()
    hub.turn()
    hub.turn()
    assert connection.number not in hub.peers._connections


def test_clients_are_limited_and_workers_are_not(hub: Hub) -> None:
    clients = [hub.connect("control") for _ in range(peers.CONTROL_CLIENTS + 3)]
    assert sum(c.role == "control" for c in hub.peers._connections.values()) == peers.CONTROL_CLIENTS
    worker = hub.connect("deliver")
    assert hub.queue.stats()["workers"] == 1
    for channel in (*clients, worker):
        channel.close()
