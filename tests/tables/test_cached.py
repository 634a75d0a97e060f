"""A table with a memory: what is asked, how often, and what happens when the source fails."""

import gevent
import pytest
from gevent.event import Event

from mta.errors import TableDown
from mta.tables.cache import Cache
from mta.tables.cached import REST_S, CachedTable


class Source:
    """Knows `values`; answers when it may. With a `reason` it is down."""

    def __init__(self) -> None:
        self.values = {b"joe": b"x"}
        self.reason = ""
        self.of_key = False
        self.asked: list[bytes] = []
        self.may_answer = Event()
        self.may_answer.set()

    def get(self, key: bytes) -> bytes | None:
        self.asked.append(key)
        self.may_answer.wait()
        if self.reason:
            raise TableDown(self.reason, of_key=self.of_key)
        return self.values.get(key)


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Rig:
    """A source that answers when it may, behind a memory."""

    def __init__(self) -> None:
        self.source = Source()
        self.clock = Clock()
        self.table = CachedTable(self.source, Cache(10, 60.0, 10.0), self.clock)


@pytest.fixture
def rig() -> Rig:
    return Rig()


def test_remembers(rig: Rig) -> None:
    for _ in range(3):
        assert rig.table.get(b"joe") == b"x"
        assert rig.table.get(b"jane") is None
    assert rig.source.asked == [b"joe", b"jane"]
    rig.clock.now += 10.0
    assert rig.table.get(b"jane") is None
    assert rig.table.get(b"joe") == b"x"
    assert rig.source.asked == [b"joe", b"jane", b"jane"]


def test_a_key_is_asked_for_once_at_a_time(rig: Rig) -> None:
    rig.source.may_answer.clear()
    waiting = [gevent.spawn(rig.table.get, key) for key in (b"joe", b"joe", b"jane", b"joe")]
    gevent.idle()
    rig.source.may_answer.set()
    gevent.joinall(waiting, timeout=10)
    assert [one.value for one in waiting] == [b"x", b"x", None, b"x"]
    assert rig.source.asked == [b"joe", b"jane"]


def test_a_failure_is_for_all_who_wait(rig: Rig) -> None:
    rig.source.may_answer.clear()
    rig.source.reason = "is burning"
    waiting = [gevent.spawn(_reason, rig.table, b"joe") for _ in range(3)]
    gevent.idle()
    rig.source.may_answer.set()
    gevent.joinall(waiting, timeout=10)
    assert [one.value for one in waiting] == ["is burning"] * 3
    assert rig.source.asked == [b"joe"]


def test_a_failed_source_is_left_alone_for_a_while(rig: Rig) -> None:
    assert rig.table.get(b"joe") == b"x"
    rig.source.reason = "is burning"
    assert _reason(rig.table, b"jane") == "is burning"
    rig.source.reason = ""
    assert _reason(rig.table, b"jane") == "is burning"
    assert rig.table.get(b"joe") == b"x"  # which is remembered
    assert rig.source.asked == [b"joe", b"jane"]
    rig.clock.now += REST_S
    assert rig.table.get(b"jane") is None


def test_who_waits_for_one_that_is_killed(rig: Rig) -> None:
    rig.source.may_answer.clear()
    first, second = (gevent.spawn(rig.table.get, b"joe") for _ in range(2))
    gevent.idle()
    third = gevent.spawn(rig.table.get, b"joe")
    gevent.idle()
    first.kill()
    gevent.idle()
    assert rig.source.asked == [b"joe", b"joe"]  # the second asks for itself, and for the third
    rig.source.may_answer.set()
    gevent.joinall([second, third], timeout=10)
    assert (second.value, third.value) == (b"x", b"x")
    assert rig.source.asked == [b"joe", b"joe"]


def test_a_failure_of_one_key_is_no_rest_for_others(rig: Rig) -> None:
    """Or a client that names it would keep the table from everybody."""
    rig.source.reason, rig.source.of_key = "400 Bad Request", True
    assert _reason(rig.table, b"%00") == "400 Bad Request"
    rig.source.reason = ""
    assert rig.table.get(b"joe") == b"x"


def _reason(table: CachedTable, key: bytes) -> str:
    with pytest.raises(TableDown) as caught:
        table.get(key)
    return caught.value.reason
