"""Who shares a sync with whom: the batches that a worker makes of the messages of its clients."""

import os
from collections.abc import Iterator

import gevent
import pytest

from mta.errors import SpoolError, SpoolFailed
from mta.server.commit import GroupCommit


class FakeWriter:
    """A spool writer whose syncs end when the test says so. `batches` are the sizes of those that were started."""

    def __init__(self) -> None:
        self._done = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._error: SpoolError | None = None
        self._in_flight = 0
        self.appended = 0
        self.batches: list[int] = []

    def submit(self) -> bool:
        if self._in_flight or not self.appended:
            return False
        self._in_flight, self.appended = self.appended, 0
        self.batches.append(self._in_flight)
        return True

    def fileno(self) -> int:
        return self._done

    def end(self, error: SpoolError | None = None) -> None:
        """The disk has answered."""
        self._error = error
        os.eventfd_write(self._done, 1)

    def collect(self) -> tuple[int, SpoolError | None]:
        os.eventfd_read(self._done)
        count, self._in_flight = self._in_flight, 0
        if self._error is not None:
            count += self.appended  # an error fails what was appended behind the batch, too
            self.appended = 0
        return count, self._error

    def close(self) -> None:
        os.close(self._done)


class Clients:
    """Greenlets that append and wait, in a worker of their own."""

    def __init__(self) -> None:
        self.writer = FakeWriter()
        self.commit = GroupCommit(self.writer)  # type: ignore[arg-type]
        self.answers: list[tuple[str, SpoolError | None]] = []

    def send(self, name: str) -> None:
        def run() -> None:
            self.writer.appended += 1
            self.answers.append((name, self.commit.wait()))

        gevent.spawn(run)

    def until(self, batches: list[int], answers: str) -> None:
        """Let the loop run until these batches were started and these clients were answered, in this order."""
        with gevent.Timeout(20):
            while self.writer.batches != batches or "".join(name for name, _ in self.answers) != answers:
                gevent.sleep(0)


@pytest.fixture
def clients() -> Iterator[Clients]:
    clients = Clients()
    yield clients
    clients.commit.close()
    clients.writer.close()


def test_a_lone_message_does_not_wait(clients):
    clients.send("a")
    clients.until([1], "")
    clients.writer.end()
    clients.until([1], "a")


def test_messages_of_one_turn_share_a_sync_and_later_ones_the_next(clients):
    for name in "abc":
        clients.send(name)
    clients.until([3], "")
    for name in "de":
        clients.send(name)
    gevent.sleep(0)
    assert clients.writer.batches == [3]  # one is under way
    clients.writer.end()
    clients.until([3, 2], "abc")
    clients.writer.end()
    clients.until([3, 2], "abcde")


@pytest.fixture
def without_timer(monkeypatch: pytest.MonkeyPatch) -> None:
    """The interval never passes by itself; set before the timer is made, which keeps it."""
    monkeypatch.setattr("mta.server.commit.INTERVAL_S", 1000.0)


@pytest.mark.usefixtures("without_timer")
def test_a_batch_waits_for_content_that_is_on_its_way_but_not_for_long(clients):
    clients.commit.receiving = 1
    clients.commit._submitted_at = float("inf")  # a batch has just begun
    clients.send("a")
    for _ in range(10):
        gevent.sleep(0)
    assert clients.writer.batches == []
    clients.commit.receiving = 0
    clients.send("b")
    clients.until([2], "")
    clients.writer.end()
    clients.until([2], "ab")


def test_a_slow_client_holds_a_batch_up_for_the_interval_and_no_longer(clients):
    clients.commit.receiving = 1
    clients.send("a")  # no batch has begun for a while
    clients.until([1], "")
    clients.send("b")
    clients.writer.end()
    clients.until([1, 1], "a")  # once the interval has passed


def test_an_error_reaches_all_that_it_concerns(clients):
    for name in "ab":
        clients.send(name)
    clients.until([2], "")
    clients.send("c")
    gevent.sleep(0)
    error = SpoolFailed("no")
    clients.writer.end(error)
    clients.until([2], "abc")
    assert [answer for _, answer in clients.answers] == [error] * 3
    clients.send("d")
    clients.until([2, 1], "abc")
