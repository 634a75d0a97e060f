"""Which failures are of one key alone, so that a client that names it keeps the table from nobody else."""

import pytest

from mta.errors import TableDown
from mta.tables.exchange import Exchange
from mta.tables.http import HttpTable
from mta.tables.redis import RedisTable
from mta.tables.socketmap import SocketmapTable, netstring
from mta.tables.threaded import ThreadedTable
from tests.support.tableserver import TableServer


def made(kind: str, host: str, timeout_s: float) -> HttpTable | RedisTable | SocketmapTable:
    if kind == "http":
        return HttpTable(f"http://{host}/{{key}}", timeout_s, 1)
    exchange = Exchange(host, timeout_s, 1)
    return RedisTable(exchange, "", "") if kind == "redis" else SocketmapTable(exchange, "users")


@pytest.mark.parametrize(
    ("kind", "said", "of_key"),
    [
        ("http", b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n", True),
        ("http", b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n", True),
        ("http", b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n", False),
        ("http", b"HTTP/1.1 504 Late\r\nContent-Length: 0\r\n\r\n", False),
        ("http", b"", False),
        ("http", None, False),
        ("redis", b"-WRONGTYPE Operation against a key holding the wrong kind of value\r\n", True),
        ("redis", b"$65537\r\n", True),
        ("redis", b"-LOADING Redis is loading the dataset in memory\r\n", False),
        ("socketmap", netstring(b"TEMP broken"), True),
        ("socketmap", netstring(b"PERM broken"), True),
        ("socketmap", netstring(b"TIMEOUT "), False),
    ],
)
def test_servers(kind: str, said: bytes | None, of_key: bool) -> None:
    with TableServer(lambda _data: said) as server:
        with pytest.raises(TableDown) as caught:
            made(kind, server.host, 0.05 if said == b"" else 10.0).get(b"joe")
        assert caught.value.of_key is of_key


class Link:
    """Fails as it is told."""

    def __init__(self, of_key: bool) -> None:
        self._of_key = of_key

    def ask(self, key: bytes) -> bytes | None:
        raise TableDown("too long", of_key=self._of_key)

    def close(self) -> None:
        """Nothing to close."""


@pytest.mark.parametrize("of_key", [False, True])
def test_out_of_a_thread(of_key: bool) -> None:
    table = ThreadedTable("db", lambda _watch: Link(of_key), 10.0, 1, clock=float)
    with pytest.raises(TableDown, match="db: too long") as caught:
        table.get(b"joe")
    assert caught.value.of_key is of_key
