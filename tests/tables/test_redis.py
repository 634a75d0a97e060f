"""GET and HGET, with servers that speak Redis' protocol and servers that do not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mta.errors import TableDown
from mta.tables.answer import VALUE_BYTES
from mta.tables.exchange import BadReply, Exchange
from mta.tables.redis import RedisTable, StringReader, request
from tests.support.tableserver import TableServer, feed_in_pieces

VALUES = {
    request(b"GET", b"mail:joe@example.org"): b"$6\r\na\r\nlue\r\n",
    request(b"HGET", b"users", b"joe@example.org"): b"$0\r\n\r\n",
}


def known(data: bytes) -> bytes:
    return VALUES.get(data, b"$-1\r\n")


@pytest.mark.parametrize("piece_bytes", [0, 1])
def test_values(piece_bytes: int) -> None:
    with TableServer(known, piece_bytes=piece_bytes) as server:
        exchange = Exchange(server.host, 10.0, 1)
        keys, fields = RedisTable(exchange, "", "mail:"), RedisTable(exchange, "users", "")
        for _ in range(2):
            assert keys.get(b"joe@example.org") == b"a\r\nlue"
            assert keys.get(b"jane@example.org") is None
            assert fields.get(b"joe@example.org") == b""
        assert server.asked[0] == b"*2\r\n$3\r\nGET\r\n$20\r\nmail:joe@example.org\r\n"
        assert server.connections == 1


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (b"-NOAUTH Authentication required.\r\n", "NOAUTH Authentication required."),
        (b"-WRONGTYPE " + b"x" * 300 + b"\r\n", "WRONGTYPE " + "x" * 190),
        (b"-\r\n", "an error without a text"),
        (b"+OK\r\n", "no reply to GET"),
        (b":1\r\n", "no reply to GET"),
        (b"*1\r\n$1\r\nx\r\n", "no reply to GET"),
        (b"$-2\r\n", "no reply to GET"),
        (b"$1x\r\n", "no reply to GET"),
        (b"$\r\n", "no reply to GET"),
        (b"$99999999999\r\n", "no reply to GET"),
        (b"$65537\r\n", "more than"),
        (b"$1\r\nxyz", "no part of a reply"),
        (b"$-1\r\n$-1\r\n", "no part of a reply"),
        (b"x" * 600, "too long"),
        (b"$5\r\nab", "no answer within"),
        (None, "closed before"),
    ],
)
def test_misbehaviour(said: bytes | None, reason: str) -> None:
    timeout_s = 0.05 if reason.startswith("no answer") else 10.0
    with TableServer(lambda _data: said) as server:
        with pytest.raises(TableDown) as caught:
            RedisTable(Exchange(server.host, timeout_s, 1), "", "").get(b"joe")
        assert reason in caught.value.reason


def test_an_error_leaves_the_connection_good() -> None:
    with TableServer(lambda _data: b"-LOADING\r\n") as server:
        table = RedisTable(Exchange(server.host, 10.0, 1), "", "mail:")
        with pytest.raises(TableDown, match="LOADING"):
            table.get(b"joe@example.org")
        server.answer = known
        assert table.get(b"joe@example.org") == b"a\r\nlue"
        assert server.connections == 1


@given(st.none() | st.binary(max_size=200), st.lists(st.integers(1, 20), max_size=20))
def test_values_in_any_pieces(value: bytes | None, cuts: list[int]) -> None:
    wire = b"$-1\r\n" if value is None else b"$%d\r\n%b\r\n" % (len(value), value)
    reader = StringReader()
    feed_in_pieces(reader, wire, cuts)
    assert reader.value == value


@given(st.binary(max_size=60))
def test_any_bytes(data: bytes) -> None:
    reader = StringReader()
    try:
        is_whole = reader.feed(data)
    except BadReply:
        return
    assert not is_whole or data[:1] in b"-$"
    assert len(reader.value or b"") <= VALUE_BYTES
