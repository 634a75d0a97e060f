"""Questions in native threads, by links that wait, break and end as a test tells them."""

import socket
from collections.abc import Callable

import gevent
import pytest

from mta.errors import TableDown
from mta.tables.threaded import IDLE_S, Gone, ThreadedTable


class Servers:
    """Makes links, and has the other end of each; `answers` is what they will say, in order: bytes, or what is raised.

    With `None` a link waits until somebody writes or shuts down.
    """

    def __init__(self, *answers: bytes | Exception | None) -> None:
        self.answers = list(answers)
        self.links: list[FakeLink] = []
        self.failure: Exception | None = None
        self.now = 0.0

    def connect(self, watch: Callable[[int], None]) -> "FakeLink":
        if self.failure is not None:
            raise self.failure
        link = FakeLink(self)
        self.links.append(link)
        watch(link.near.fileno())
        return link

    def table(self, timeout_s: float = 10.0, connections: int = 2) -> ThreadedTable:
        return ThreadedTable("db", self.connect, timeout_s, connections, clock=lambda: self.now)

    @property
    def open(self) -> int:
        return sum(not link.is_closed for link in self.links)


class FakeLink:
    def __init__(self, servers: Servers) -> None:
        self._servers = servers
        self.near, self.far = socket.socketpair()
        self.near.settimeout(30)
        self.is_closed = False

    def ask(self, key: bytes) -> bytes | None:
        answer = self._servers.answers.pop(0)
        if answer is None:
            answer = self.near.recv(100)  # in the thread, as a library does
            if not answer:
                raise Gone("cut off")
        if isinstance(answer, Exception):
            raise answer
        return key + answer

    def close(self) -> None:
        self.is_closed = True
        self.near.close()


def down(table: ThreadedTable) -> str:
    with pytest.raises(TableDown) as caught:
        table.get(b"key")
    return caught.value.reason


def test_a_link_is_kept() -> None:
    servers = Servers(b"1", b"2")
    table = servers.table()
    assert table.get(b"a") == b"a1"
    assert table.get(b"b") == b"b2"
    assert len(servers.links) == 1


def test_one_that_was_idle_for_long_is_not() -> None:
    servers = Servers(b"1", b"2")
    table = servers.table()
    assert table.get(b"a") == b"a1"
    servers.now = IDLE_S
    assert table.get(b"b") == b"b2"
    assert [link.is_closed for link in servers.links] == [True, False]


def test_one_that_is_gone_is_replaced() -> None:
    servers = Servers(b"1", Gone("restarted"), b"2")
    table = servers.table()
    assert table.get(b"a") == b"a1"
    assert table.get(b"b") == b"b2"
    assert [link.is_closed for link in servers.links] == [True, False]


def test_a_fresh_one_that_is_gone_means_down() -> None:
    servers = Servers(Gone("closed at once"))
    assert down(servers.table()) == "db: closed at once"
    assert servers.open == 0


def test_failures_close_the_link() -> None:
    servers = Servers(TableDown("no such table"), b"1")
    table = servers.table()
    assert down(table) == "db: no such table"
    assert servers.open == 0
    assert table.get(b"a") == b"a1"


def test_no_connection() -> None:
    servers = Servers(b"1")
    table = servers.table()
    for failure in (TableDown("refused"), Gone("refused")):
        servers.failure = failure
        assert down(table) == "db: refused"
    servers.failure = None
    assert table.get(b"a") == b"a1"


def test_silence_ends_and_frees_the_thread() -> None:
    """Three times as often as there are threads; other greenlets go on meanwhile."""
    servers = Servers(*[None] * 6, b"1")
    table = servers.table(timeout_s=0.05)
    turns = 0
    for _ in range(3):
        asking = [gevent.spawn(down, table) for _ in range(2)]
        while not all(one.ready() for one in asking):
            turns += 1
            gevent.sleep(0.001)
        assert [one.value for one in asking] == ["db: no answer within 0.05 s"] * 2
        with gevent.Timeout(20):
            while servers.open:  # the threads close them
                gevent.sleep(0.001)
    assert turns > 3
    table = servers.table()
    assert table.get(b"a") == b"a1"


def test_no_more_at_once_than_threads() -> None:
    servers = Servers(None, None, b"3")
    table = servers.table()
    asking = [gevent.spawn(table.get, key) for key in (b"a", b"b", b"c")]
    with gevent.Timeout(20):
        while len(servers.links) < 2:
            gevent.sleep(0.001)
    assert not any(one.ready() for one in asking)
    for link in servers.links:
        link.far.sendall(b"!")
    gevent.joinall(asking, timeout=20)
    assert {one.value for one in asking} == {b"a!", b"b!", b"c3"}
    assert len(servers.links) == 2


def test_waiting_for_a_thread_ends_too() -> None:
    servers = Servers(None, b"2")
    table = servers.table(timeout_s=0.05, connections=1)
    asking = [gevent.spawn(down, table) for _ in range(2)]
    gevent.joinall(asking, timeout=20)
    assert [one.value for one in asking] == ["db: no answer within 0.05 s"] * 2


def test_what_was_given_up_before_its_turn_is_not_asked() -> None:
    servers = Servers(None, b"2")
    table = servers.table(timeout_s=20.0, connections=1)
    with gevent.Timeout(20):
        first = gevent.spawn(table.get, b"a")
        while not servers.links:
            gevent.sleep(0.001)
        second = gevent.spawn(table.get, b"b")
        gevent.sleep(0)  # it waits for the thread now
        second.kill()
        first.kill()
        assert table.get(b"c") == b"c2"  # the only answer there is, had by the next in the line


def test_a_greenlet_that_is_killed_gives_up() -> None:
    servers = Servers(None)
    one = gevent.spawn(servers.table().get, b"a")
    with gevent.Timeout(20):
        while not servers.links:
            gevent.sleep(0.001)
        one.kill()
        while servers.open:
            gevent.sleep(0.001)


def test_what_was_given_up_before_it_was_connected_is_cut() -> None:
    """A connection that comes too late ends at once."""
    gate, opener = socket.socketpair()
    servers = Servers(None)

    def connect(watch: Callable[[int], None]) -> FakeLink:
        gate.recv(1)
        return servers.connect(watch)

    table = ThreadedTable("db", connect, 0.05, 1, clock=lambda: 0.0)
    assert down(table) == "db: no answer within 0.05 s"
    opener.sendall(b"!")
    with gevent.Timeout(20):
        while not servers.links or servers.open:
            gevent.sleep(0.001)
    gate.close()
    opener.close()
