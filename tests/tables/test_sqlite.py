"""A query as a table, and what may happen to its database."""

import sqlite3
from contextlib import closing
from pathlib import Path
from time import monotonic

import gevent
import pytest

from mta.errors import TableDown
from mta.tables.sqlite import GRACE_S, THREADS, SqliteDatabase
from mta.tables.threaded import ThreadedTable

QUERY = "SELECT value FROM users WHERE name = ?"
ROWS: list[tuple[str, object]] = [
    ("joe@example.org", "a välue"),
    ("jane@example.org", ""),
    ("number", 7),
    ("bytes", b"\xff"),
    ("null", None),
    ("huge", "x" * 70_000),
]


def make(path: Path, rows: list[tuple[str, object]] = ROWS) -> None:
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("CREATE TABLE users (name TEXT PRIMARY KEY, value)")
        database.executemany("INSERT INTO users VALUES (?, ?)", rows)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "users? %41.db"  # no part of a URI
    make(path)
    return path


def table_of(path: Path, query: str = QUERY, timeout_s: float = 10.0) -> ThreadedTable:
    database = SqliteDatabase(str(path), query, timeout_s, clock=monotonic)
    return ThreadedTable(str(path), database.connect, timeout_s + GRACE_S, THREADS, clock=monotonic)


def down(table: ThreadedTable, key: bytes = b"joe@example.org") -> str:
    with pytest.raises(TableDown) as caught:
        table.get(key)
    return caught.value.reason


def test_values(path: Path) -> None:
    table = table_of(path)
    assert table.get(b"joe@example.org") == "a välue".encode()
    assert table.get(b"jane@example.org") == b""
    assert table.get(b"number") == b"7"
    assert table.get(b"bytes") == b"\xff"
    assert table.get(b"null") is None
    assert table.get(b"jack@example.org") is None
    assert table.get(b"\xff") is None
    assert table.get(b"' OR 1 = 1 --") is None
    assert "more than" in down(table, b"huge")


def test_many_at_once(path: Path) -> None:
    table = table_of(path)
    asking = [gevent.spawn(table.get, b"number") for _ in range(30)]
    gevent.joinall(asking, timeout=30)
    assert [one.value for one in asking] == [b"7"] * 30


def test_a_change_is_seen(path: Path) -> None:
    table = table_of(path)
    assert table.get(b"number") == b"7"
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("UPDATE users SET value = 8 WHERE name = 'number'")
    assert table.get(b"number") == b"8"


def test_another_file_in_its_place(path: Path, tmp_path: Path) -> None:
    table = table_of(path)
    assert table.get(b"number") == b"7"
    make(tmp_path / "new", [("number", 9)])
    (tmp_path / "new").rename(path)
    assert table.get(b"number") == b"9"
    path.write_text("this is no database, and long enough to be looked at as if it were one" * 20)
    assert "malformed" in down(table) or "not a database" in down(table)
    path.unlink()
    assert down(table).endswith("No such file or directory")
    make(path, [("number", 10)])
    assert table.get(b"number") == b"10"


def test_a_locked_database(path: Path) -> None:
    table = table_of(path, timeout_s=0.05)
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.execute("BEGIN EXCLUSIVE")
        assert down(table).endswith("database is locked")
        database.execute("ROLLBACK")
    assert table_of(path).get(b"number") == b"7"


def test_a_query_that_does_not_end(path: Path) -> None:
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n WHERE i > ?"
    assert down(table_of(path, endless, timeout_s=0.05)).endswith(("interrupted", "no answer within 1.05 s"))


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("SELECT value FROM nobody WHERE name = ?", "no such table"),
        ("SELECT FROM ?", "syntax error"),
        ("WITH x AS (SELECT ?) DELETE FROM users", "readonly"),
    ],
)
def test_queries_that_fail(path: Path, query: str, words: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert words in down(table_of(path, query))
    assert capfd.readouterr() == ("", "")  # what is raised in a thread of gevent's pool would be printed
    assert table_of(path).get(b"number") == b"7"
