"""Postfix's socketmap protocol, with servers that speak it and servers that do not."""

from collections.abc import Iterator
from pathlib import Path

import gevent
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mta.errors import TableDown
from mta.tables.exchange import BadReply, Exchange
from mta.tables.socketmap import REPLY_BYTES, NetstringReader, SocketmapTable, netstring
from tests.support.tableserver import Answer, TableServer, feed_in_pieces

VALUES = {b"users joe@example.org": b"OK a value", b"users jane@example.org": b"OK "}


def known(data: bytes) -> bytes:
    return netstring(VALUES.get(data.partition(b":")[2][:-1], b"NOTFOUND "))


def table_of(server: TableServer, *, timeout_s: float = 10.0, connections: int = 2) -> SocketmapTable:
    return SocketmapTable(Exchange(server.host, timeout_s, connections), "users")


@pytest.fixture(params=["tcp", "unix", "pieces"])
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[TableServer]:
    path = tmp_path / "map" if request.param == "unix" else None
    with TableServer(known, path=path, piece_bytes=request.param == "pieces") as server:
        yield server


def test_values(server: TableServer) -> None:
    table = table_of(server)
    for _ in range(2):
        assert table.get(b"joe@example.org") == b"a value"
        assert table.get(b"jane@example.org") == b""
        assert table.get(b"jack@example.org") is None
    assert server.asked[0] == b"21:users joe@example.org,"
    assert server.connections == 1


def test_a_server_that_has_closed_meanwhile(server: TableServer) -> None:
    table = table_of(server)
    assert table.get(b"joe@example.org") == b"a value"
    server.hang_up()
    assert table.get(b"joe@example.org") == b"a value"
    assert server.connections == 2


def test_no_more_connections_than_allowed(server: TableServer) -> None:
    table = table_of(server)
    asking = [gevent.spawn(table.get, b"joe@example.org") for _ in range(10)]
    gevent.joinall(asking, timeout=20)
    assert [one.value for one in asking] == [b"a value"] * 10
    assert server.connections == 2


def answers(said: bytes | None) -> Answer:
    return lambda _data: said


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (netstring(b"TEMP try later"), "TEMP try later"),
        (netstring(b"PERM broken"), "PERM broken"),
        (netstring(b"TIMEOUT slow"), "TIMEOUT slow"),
        (netstring(b"TEMP"), "TEMP"),
        (netstring(b"TEMP " + b"x" * 5000), "TEMP " + "x" * 200),
        (netstring(b"ok x"), "a reply that is none of OK"),
        (netstring(b""), "a reply that is none of OK"),
        (b"4:OK x;", "does not end in a comma"),
        (b"4:OK x,x", "more than one reply"),
        (b"HTTP/1.1 400 Bad Request\r\n", "no netstring"),
        (b":", "no netstring"),
        (b"04:OK x,", "strange length"),
        (b"-4:OK x,", "no netstring"),
        (b"999999999999999999999999", "strange length"),
        (b"100001:OK", "strange length"),
        (b"4:OK", "no answer within"),
        (b"4", "no answer within"),
        (b"", "no answer within"),
        (None, "closed before the reply"),
    ],
)
def test_misbehaviour(said: bytes | None, reason: str) -> None:
    is_silent = reason.startswith("no answer")
    with TableServer(answers(said)) as server:
        table = table_of(server, timeout_s=0.05 if is_silent else 10.0)
        with pytest.raises(TableDown) as caught:
            table.get(b"joe")
        assert reason in caught.value.reason
        assert len(caught.value.reason) < 300
        server.answer = known
        table = table_of(server)
        assert table.get(b"joe@example.org") == b"a value"


def test_a_connection_that_misbehaved_is_not_used_again() -> None:
    with TableServer(answers(b"4:OK x;")) as server:
        table = table_of(server)
        with pytest.raises(TableDown):
            table.get(b"joe")
        server.answer = known
        assert table.get(b"joe@example.org") == b"a value"
        assert server.connections == 2


def test_what_comes_unasked_is_no_answer() -> None:
    with TableServer(known) as server:
        table = table_of(server)
        assert table.get(b"joe@example.org") == b"a value"
        server.blurt(netstring(b"OK for another"))
        assert table.get(b"jack@example.org") is None
        assert server.connections == 2


def test_the_wait_for_a_free_connection_is_bounded() -> None:
    with TableServer(answers(b"")) as server:
        table = table_of(server, timeout_s=0.1, connections=1)
        asking = [gevent.spawn(_down, table) for _ in range(5)]
        gevent.joinall(asking, timeout=20)
        assert [one.value for one in asking] == [True] * 5
        assert server.connections <= 5


def _down(table: SocketmapTable) -> bool:
    with pytest.raises(TableDown, match="no answer within"):
        table.get(b"joe")
    return True


@pytest.mark.parametrize("host", ["127.0.0.1:1", "unix:/nonexistent/socket"])
def test_nobody_there(host: str) -> None:
    with pytest.raises(TableDown, match=r"refused|No such file"):
        SocketmapTable(Exchange(host, 10.0, 1), "users").get(b"joe")


def test_the_longest_reply() -> None:
    with TableServer(answers(netstring(b"OK " + b"x" * (REPLY_BYTES - 3)))) as server:
        assert table_of(server).get(b"joe") == b"x" * (REPLY_BYTES - 3)


@given(st.binary(max_size=300), st.lists(st.integers(1, 20), max_size=20))
def test_netstrings_in_any_pieces(data: bytes, cuts: list[int]) -> None:
    reader = NetstringReader()
    feed_in_pieces(reader, netstring(data), cuts)
    assert reader.data == data


@given(st.binary(max_size=50), st.integers(1, 50))
def test_any_bytes(data: bytes, cut: int) -> None:
    results = []
    for pieces in ((data,), (data[:cut], data[cut:])):
        reader = NetstringReader()
        try:
            results.append([reader.feed(piece) for piece in pieces if piece][-1:])
        except BadReply:
            results.append(["bad"])
    if results[0] == [True]:
        assert netstring(reader.data) == data
    if results[0] == [False]:
        assert results[1] == [False]
