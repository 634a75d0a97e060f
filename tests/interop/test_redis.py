"""A real Redis as a table: values, none, errors, a restart."""

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from mta.errors import TableDown
from mta.tables.book import ReportedTable, open_table
from mta.tables.redis import request
from mta.tables.settings import Table
from tests.support.front import need
from tests.support.redis import Redis

pytestmark = pytest.mark.interop


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[Redis]:
    with Redis(need("redis-check-rdb"), tmp_path) as redis:
        yield redis


def table_of(host: str, **given: object) -> ReportedTable:
    settings = {"kind": "redis", "host": host, "cache_s": 0, "negative_cache_s": 0, **given}
    return open_table("users", msgspec.convert(settings, Table), lambda *_, **__: None)


@pytest.mark.parametrize("where", ["tcp", "unix"])
def test_values(redis: Redis, where: str) -> None:
    redis.tell(request(b"SET", b"mail:joe@example.org", b"a\r\nvalue"))
    redis.tell(request(b"SET", b"mail:empty", b""))
    redis.tell(request(b"SET", b"mail:long", b"x" * 65536))
    redis.tell(request(b"HSET", b"users", b"jane@example.org", "välue".encode()))
    host = redis.tcp if where == "tcp" else redis.unix
    keys, fields = table_of(host, prefix="mail:"), table_of(host, hash="users")
    for _ in range(2):
        assert keys.get(b"joe@example.org") == b"a\r\nvalue"
        assert keys.get(b"empty") == b""
        assert keys.get(b"long") == b"x" * 65536
        assert keys.get(b"jane@example.org") is None
        assert fields.get(b"jane@example.org") == "välue".encode()
        assert fields.get(b"joe@example.org") is None


def test_what_is_no_string(redis: Redis) -> None:
    redis.tell(request(b"HSET", b"users", b"jane", b"x"))
    with pytest.raises(TableDown, match="WRONGTYPE"):
        table_of(redis.unix).get(b"users")


def test_too_long_a_value(redis: Redis) -> None:
    redis.tell(request(b"SET", b"joe", b"x" * 65537))
    with pytest.raises(TableDown, match="more than 65536 bytes"):
        table_of(redis.unix).get(b"joe")


def test_a_restart(redis: Redis) -> None:
    redis.tell(request(b"SET", b"joe", b"x"))
    table = table_of(redis.unix)
    assert table.get(b"joe") == b"x"
    redis.stop()
    redis.start()
    assert table.get(b"joe") is None  # nothing was kept, and the connection is a new one
    redis.stop()
    with pytest.raises(TableDown):
        table.get(b"joe")
