"""Queries through SQLAlchemy, with SQLite as the database; a real server is in tests/interop/test_postgresql.py."""

import sqlite3
from contextlib import closing
from pathlib import Path
from time import monotonic
from typing import Any

import gevent
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import make_url
from sqlalchemy.exc import DBAPIError, NoSuchTableError

from mta.errors import TableDown
from mta.tables.sql import SqlLink, SqlServer, bounded, without_query
from mta.tables.threaded import Gone, ThreadedTable

QUERY = "SELECT value FROM users WHERE name = :key ORDER BY value"
ROWS: list[tuple[str, object]] = [
    ("joe@example.org", "b, c"),
    ("joe@example.org", "a välue"),
    ("jane@example.org", ""),
    ("number", 7),
    ("null", None),
    ("some", None),
    ("some", "x"),
    ("long", "x" * 65537),
    ("ünter@example.org", "%s :x"),
]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "users.db"
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("CREATE TABLE users (name TEXT, value)")
        database.executemany("INSERT INTO users VALUES (?, ?)", ROWS)
    return path


def table_of(path: Path, query: str = QUERY, password_file: str = "") -> ThreadedTable:
    server = SqlServer(f"sqlite+pysqlite:///{path}", query, password_file, 10.0)
    return ThreadedTable("db", server.connect, 10.0, 2, clock=monotonic)


def down(table: ThreadedTable, key: bytes = b"joe@example.org") -> str:
    with pytest.raises(TableDown) as caught:
        table.get(key)
    return caught.value.reason


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (b"joe@example.org", "a välue,b, c"),
        (b"jane@example.org", ""),
        (b"number", "7"),
        (b"some", "x"),
        ("ünter@example.org".encode(), "%s :x"),
        (b"null", None),
        (b"nobody", None),
        (b"", None),
        (b"\xff", None),
        (b"joe@example.org\0", None),
        (b"' OR 1 = 1 --", None),
    ],
)
def test_values(path: Path, key: bytes, value: str | None) -> None:
    table = table_of(path)
    for _ in range(2):
        assert table.get(key) == (None if value is None else value.encode())


def test_too_long_a_value(path: Path) -> None:
    assert down(table_of(path), b"long") == "db: a value of more than 65536 bytes"


def test_too_many_rows(path: Path) -> None:
    many = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n WHERE :key != '' LIMIT {}"
    assert down(table_of(path, many.format(10_000_000))) == "db: more than 1000 values"
    value = table_of(path, many.format(1000)).get(b"x")
    assert value is not None
    assert value.endswith(b",999,1000")


@pytest.mark.parametrize(
    ("query", "key", "value"),
    [
        ("SELECT :local || ' at ' || :domain || ' is ' || :key", b"a@b@c", b"a@b at c is a@b@c"),
        ("SELECT :local || ' at ' || :domain", b"@c", b" at c"),
        ("SELECT :local", b"a", b"a"),
        ("SELECT :domain", b"a", None),
        ("SELECT :key || :key; ", b"a", b"aa"),
        ("SELECT '%' || :key || '\\:key' -- a remark", b"a", b"%a:key"),
        ("WITH x AS (SELECT :key AS a) SELECT a FROM x", b"a", b"a"),
    ],
)
def test_queries(path: Path, query: str, key: bytes, value: bytes | None) -> None:
    assert table_of(path, query).get(key) == value


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ("SELECT value FROM nobody WHERE name = :key", "db: no such table: nobody"),
        ("SELECT FROM :key", "syntax error"),
        ("SELECT 1) SELECT value FROM users WHERE (name = :key", "syntax error"),
        ("DELETE FROM users WHERE name = :key RETURNING value", "syntax error"),
    ],
)
def test_queries_that_fail(path: Path, query: str, reason: str) -> None:
    assert reason in down(table_of(path, query))
    assert table_of(path).get(b"number") == b"7"


def test_no_database(tmp_path: Path) -> None:
    assert down(table_of(tmp_path / "absent" / "users.db")) == "db: unable to open database file"


def test_no_password(path: Path, tmp_path: Path) -> None:
    table = table_of(path, password_file=str(tmp_path / "absent"))
    assert down(table) == f"db: {tmp_path}/absent: No such file or directory"


def test_many_at_once(path: Path) -> None:
    table = table_of(path)
    asking = [gevent.spawn(table.get, b"number") for _ in range(30)]
    gevent.joinall(asking, timeout=30)
    assert [one.value for one in asking] == [b"7"] * 30


@given(st.binary(max_size=40))
def test_any_key(key: bytes) -> None:
    """It comes to the database as it is, or not at all."""
    server = SqlServer("sqlite+pysqlite://", "SELECT :key", "", 10.0)
    link = server.connect(lambda _descriptor: None)
    try:
        value = link.ask(key)
    finally:
        link.close()
    assert value == key or (value is None and (b"\0" in key or not is_utf8(key)))


def is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


# What drivers raise ---------------------------------------------------------------------------------------------------


class DriverError(Exception):
    def __init__(self, words: str, sqlstate: str) -> None:
        super().__init__(words)
        self.sqlstate = sqlstate


class FakeConnection:
    """Fails at each query."""

    def __init__(self, error: Exception) -> None:
        self.error = error
        self.closed = 0

    def execute(self, *_: object) -> Any:
        raise self.error

    def close(self) -> None:
        self.closed += 1


def ask(error: Exception) -> bytes | None:
    connection: Any = FakeConnection(error)
    statement: Any = None
    return SqlLink(connection, statement, frozenset(["key"]), "geheim").ask(b"joe")


def failure(words: str, sqlstate: str = "", *, is_gone: bool = False) -> DBAPIError:
    return DBAPIError(
        "SELECT secret FROM users", {"key": "joe"}, DriverError(words, sqlstate), connection_invalidated=is_gone
    )


def test_the_secret_is_struck_out() -> None:
    with pytest.raises(TableDown) as caught:
        ask(failure("FATAL: geheim is\n\tno password"))
    assert caught.value.reason == "FATAL: *** is no password"


def test_a_lost_connection() -> None:
    with pytest.raises(Gone, match="terminating connection"):
        ask(failure("terminating connection", "57P01", is_gone=True))


def test_a_key_that_is_in_no_such_encoding() -> None:
    assert ask(failure('character has no equivalent in encoding "LATIN1"', "22P05")) is None
    with pytest.raises(TableDown) as caught:
        ask(failure("division by zero", "22012"))
    assert caught.value.of_key
    with pytest.raises(TableDown) as caught:
        ask(failure("canceling statement due to statement timeout", "57014"))
    assert not caught.value.of_key


def test_other_errors() -> None:
    with pytest.raises(TableDown, match="users"):
        ask(NoSuchTableError("users"))
    with pytest.raises(TableDown, match="codec can't decode"):
        ask(UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"))


def test_urls_in_failures() -> None:
    url = "postgresql+psycopg://mta:geheim@db.example.org:5433/mail?sslmode=verify-full&password=geheim"
    assert without_query(make_url(url)) == "postgresql+psycopg://mta@db.example.org:5433/mail"


def test_a_query_is_sent_with_its_bounds() -> None:
    assert bounded(" SELECT a ;") == (
        "WITH mta_answer (mta_value) AS (\nSELECT a \n) "
        "SELECT substr(CAST(mta_value AS TEXT), 1, 65537) FROM mta_answer LIMIT 1001"
    )
