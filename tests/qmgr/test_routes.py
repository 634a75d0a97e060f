"""Routes at work: what decides is kept with a message, and each attempt asks the routes as they are then."""

from pathlib import Path

import pytest
from xxhash import xxh3_64_intdigest

from mta import envelope as envelopes
from mta.config import Route
from mta.envelope import Envelope
from mta.ipc import Job, Outcome, Result
from tests.qmgr import queuetools
from tests.qmgr.queuetools import START_WALL, Bench, Sender, deferred, delivered

REST = Route(["*"], "store")


def send(sender: Sender, *recipients: bytes, listener: str = "", reverse: bytes = b"from@sender.example") -> None:
    envelope = Envelope(reverse, recipients, START_WALL, session="s1", listener=listener)
    sender.writer.append(envelopes.encode(envelope), [b"x"], body_bytes=1, body_hash=xxh3_64_intdigest(b"x"))
    sender.commit()


@pytest.fixture
def routed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> "Routed":
    return Routed(monkeypatch, tmp_path)


class Routed:
    """Queue managers with routes that a test chooses, one after the other on the same spool and clock."""

    def __init__(self, patch: pytest.MonkeyPatch, root: Path) -> None:
        self._patch = patch
        self._root = root
        self._clock = queuetools.FakeClock()

    def start(self, *routes: Route) -> Bench:
        self._patch.setattr(queuetools, "ROUTES", [*routes, REST])
        return Bench(self._root, self._clock, retry_min_s=10.0, retry_max_s=1000.0)


def transports(jobs: list[Job]) -> list[tuple[str, tuple[int, ...]]]:
    return sorted((job.transport, job.recipients) for job in jobs)


def test_sender_and_listener_decide_at_each_attempt_and_after_a_restart(routed: Routed, tmp_path: Path) -> None:
    routes = [Route(["*"], "relay", senders=["<>"]), Route(["*"], "relay", listeners=["in:25"])]
    queue = routed.start(*routes)
    sender = Sender(tmp_path)
    send(sender, b"a@x.example", listener="in:25")
    send(sender, b"b@x.example", b"c@x.example", reverse=b"")
    send(sender, b"d@x.example", listener="in:26")
    expected = [("relay", (0,)), ("relay", (0, 1)), ("store", (0,))]
    assert transports(queue.work(deferred)) == expected
    queue.wait(20)
    assert transports(queue.work(deferred)) == expected
    assert len(queue.ask("list", transport=["relay"])) == 2
    assert len(queue.ask("list", transport=["store"])) == 1
    queue.close()
    queue = routed.start(*routes)
    queue.wait(2000)
    assert transports(queue.work(delivered)) == expected
    assert queue.counts() == (0, 0, 0, 0)
    queue.close()
    sender.close()


def test_changed_routes_apply_to_what_waits(routed: Routed, tmp_path: Path) -> None:
    queue = routed.start()
    sender = Sender(tmp_path)
    send(sender, b"a@x.example", b"b@y.example")
    assert transports(queue.work(deferred)) == [("store", (0, 1))]
    queue.close()
    queue = routed.start(Route(["*@x.example"], "relay"))
    queue.wait(100)
    assert transports(queue.work(deferred)) == [("relay", (0,)), ("store", (1,))]
    queue.close()
    sender.close()


def test_changed_routes_apply_to_what_was_handed_out(routed: Routed, tmp_path: Path) -> None:
    """A manager that is replaced gets no answer for what its predecessor handed out, and hands it out anew."""
    queue = routed.start()
    sender = Sender(tmp_path)
    send(sender, b"a@x.example")
    assert transports(queue.fetch_due()) == [("store", (0,))]
    queue.close()
    queue = routed.start(Route(["*@x.example"], "relay"))
    assert transports(queue.work(delivered)) == [("relay", (0,))]
    queue.close()
    sender.close()


@pytest.mark.parametrize(
    ("asked_s", "least_s", "most_s"), [(0.0, 10, 11), (5.0, 10, 11), (200.0, 200, 220), (1e7, 1000, 1000)]
)
def test_wait_that_a_destination_asked_for(
    routed: Routed, tmp_path: Path, asked_s: float, least_s: float, most_s: float
) -> None:
    """Within the bounds of the queue."""

    def later(job: Job) -> Outcome:
        return Outcome(job.number, (Result(0, 4, "4.3.2", "503 busy"),), retry_after_s=asked_s)

    queue = routed.start()
    sender = Sender(tmp_path)
    send(sender, b"a@x.example")
    queue.work(later)
    (item,) = queue.ask("list")
    due_wall = item["due_wall"]
    assert isinstance(due_wall, float)
    assert least_s <= due_wall - queue.clock.wall() <= most_s
    queue.wait(2 * most_s)
    queue.work(deferred)  # asked once, for one attempt
    (item,) = queue.ask("list")
    due_wall = item["due_wall"]
    assert isinstance(due_wall, float)
    assert due_wall - queue.clock.wall() <= 22
    queue.close()
    sender.close()
