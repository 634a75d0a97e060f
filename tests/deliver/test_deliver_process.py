"""The delivery worker as the supervisor starts it: a real process, a real spool, and the test as its queue manager."""

import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from xxhash import xxh3_64_intdigest

from mta import envelope as envelopes
from mta import ipc
from mta.child import ChildContext
from mta.config import Config, Domains, Listen, Log, Route, Transport
from mta.ipc import Hello, Job, Jobs, Outcome, Outcomes
from mta.spool.writer import SpoolWriter
from tests.support.deliveries import mail

DEADLINE_S = 20
BODY = b"Subject: x\r\n\r\nhello\r\n"


class Worker:
    """A delivery worker, its spool, and the queue manager's side of its socket."""

    def __init__(self, root: Path, transports: dict[str, Transport]) -> None:
        self.root = root
        self.log = root / "log"
        self.config = Config(
            hostname="mx.example.org",
            spool=str(root / "spool"),
            listen=[Listen("127.0.0.1:0")],
            domains=Domains(["example.org"]),
            transport=transports,
            route=[Route(["*"], next(iter(transports)))],
            log=Log(file=str(self.log)),
        )
        self.spool = SpoolWriter(root / "spool")
        (root / "spool" / "qmgr").mkdir()
        self._listener = ipc.listen(self.config.spool + "/qmgr")
        config_fd = os.memfd_create("config")
        os.write(config_fd, msgspec.json.encode(self.config))
        alive, self.lifeline = os.pipe()
        self.status, status = os.pipe()
        context = ChildContext("deliver", 3, config_fd, alive, status, os.eventfd(0))
        self.process = subprocess.Popen(
            [sys.executable, "-m", "mta.deliver.main"],
            env=os.environ | context.environ(),
            pass_fds=context.descriptors(),
        )
        for fd in context.descriptors():
            os.close(fd)
        assert select.select([self.status], [], [], DEADLINE_S)[0]
        assert os.read(self.status, 100) == b"ready\n"
        self._listener.settimeout(DEADLINE_S)
        self.channel = self._accept()

    def append(self, *recipients: str) -> int:
        """A message into the spool; returns its location."""
        location = self.spool.append(
            envelopes.encode(mail(*recipients)), [BODY], body_bytes=len(BODY), body_hash=xxh3_64_intdigest(BODY)
        )
        self.spool.commit()
        return location

    def give(self, *jobs: Job) -> None:
        self.channel.send(ipc.encode(Jobs(list(jobs))))

    def outcomes(self, count: int) -> list[Outcome]:
        """The next outcomes, in the order of their jobs."""
        found: list[Outcome] = []
        while len(found) < count:
            message = ipc.decode(self.channel.recv(ipc.PACKET_BYTES))
            assert isinstance(message, Outcomes)
            found += message.outcomes
        return sorted(found, key=lambda outcome: outcome.number)

    def wait(self) -> int:
        """The exit code."""
        return self.process.wait(DEADLINE_S)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self.status)
        if self.lifeline >= 0:
            os.close(self.lifeline)
        self.channel.close()
        self._listener.close()
        self.spool.close()

    def _accept(self) -> socket.socket:
        channel, _ = self._listener.accept()
        channel.settimeout(DEADLINE_S)
        hello = ipc.decode(channel.recv(ipc.PACKET_BYTES))
        assert hello == Hello("deliver", self.process.pid)
        return channel


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[Worker]:
    made = Worker(
        tmp_path,
        {
            "store": Transport("maildir", path=f"{tmp_path}/mail/{{domain}}/{{local}}"),
            "null": Transport("discard"),
            "dead": Transport("smtp", host=f"unix:{tmp_path}/nobody"),
        },
    )
    yield made
    made.close()


def test_jobs_of_every_kind(worker: Worker) -> None:
    location = worker.append("joe@example.org", "jim@example.org", "postmaster")
    worker.give(
        Job(1, location, location, "store", (0, 2), 1),
        Job(2, location, location, "null", (1,), 1),
        Job(3, location, location, "dead", (1,), 1),
    )
    stored, discarded, dead = worker.outcomes(3)
    assert stored == Outcome(1)
    assert discarded == Outcome(2)
    assert (dead.destination_down, dead.results[0].status, dead.results[0].code) == (True, 4, "4.4.1")
    for name in ("joe", "postmaster"):
        (path,) = (worker.root / "mail" / "example.org" / name / "new").iterdir()
        assert path.read_bytes().endswith(BODY)
    worker.process.send_signal(signal.SIGTERM)
    assert worker.wait() == 0
    lines = worker.log.read_text().splitlines()
    events = [line.split(" event=")[1].split(" ")[0] for line in lines]
    assert sorted(events[1:-1]) == ["deferred", "delivered", "delivered", "delivered"]
    assert (events[0], events[-1]) == ("started", "stopped")
    assert all("process=deliver/3" in line for line in lines)


def test_a_batch_is_finished_on_term(worker: Worker) -> None:
    locations = [worker.append("joe@example.org") for _ in range(50)]
    worker.give(*[Job(n, location, location, "store", (0,), 1) for n, location in enumerate(locations)])
    first = ipc.decode(worker.channel.recv(ipc.PACKET_BYTES))
    worker.process.send_signal(signal.SIGTERM)
    outcomes = list(first.outcomes) if isinstance(first, Outcomes) else []
    while packet := worker.channel.recv(ipc.PACKET_BYTES):
        message = ipc.decode(packet)
        assert isinstance(message, Outcomes)
        outcomes += message.outcomes
    assert worker.wait() == 0
    # What was begun is reported; nothing else was delivered.
    assert len(list((worker.root / "mail/example.org/joe/new").iterdir())) == len(outcomes)
    assert not any(outcome.results for outcome in outcomes)


def test_int_ends_at_once(worker: Worker) -> None:
    worker.process.send_signal(signal.SIGINT)
    assert worker.wait() == 0


def test_the_supervisors_end_is_the_workers(worker: Worker) -> None:
    os.close(worker.lifeline)
    worker.lifeline = -1
    assert worker.wait() == 0


def test_without_a_supervisor() -> None:
    environment = {key: value for key, value in os.environ.items() if key != "MTA_CHILD"}
    done = subprocess.run(
        [sys.executable, "-m", "mta.deliver.main"], env=environment, capture_output=True, text=True, timeout=DEADLINE_S
    )
    assert done.returncode == 70
    assert "started by the supervisor only" in done.stderr
