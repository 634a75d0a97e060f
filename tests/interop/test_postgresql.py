"""A real PostgreSQL as a table: values, bounds, what it refuses, silence, restarts; who is known at RCPT."""

from collections.abc import Iterator
from pathlib import Path

import gevent
import msgspec
import pytest

from mta.tables.book import ReportedTable, open_table
from mta.tables.settings import Table
from tests.support.command import mta
from tests.support.issued import Issued
from tests.support.outage import check_hanging, check_recipients, check_restart, down, wait_found
from tests.support.postgresql import PostgreSQL
from tests.support.program import PASSWORD
from tests.support.server import Server

pytestmark = pytest.mark.interop

QUERY = "SELECT value FROM users WHERE name = :key ORDER BY value"


@pytest.fixture(scope="module")
def server() -> Iterator[PostgreSQL]:
    with PostgreSQL() as server:
        server.tell("CREATE TABLE users (name TEXT PRIMARY KEY, value TEXT, number INT, bytes BYTEA)")
        server.tell("CREATE SEQUENCE seen")
        server.tell("CREATE TABLE aliases (name TEXT, value TEXT)")
        for name, value in (("joe@example.org", "a välue"), ("empty", ""), ("null", None), ("long", "ü" * 40_000)):
            server.tell("INSERT INTO users VALUES (%s, %s, 7, 'x')", name, value)
        for value in ("joe@example.org", "jane@example.org", None, "b, c"):
            server.tell("INSERT INTO aliases VALUES ('all@example.org', %s)", value)
        yield server


def table_of(url: str, password: str, query: str = QUERY, **given: object) -> ReportedTable:
    settings = {
        **{"kind": "sql", "url": url, "query": query, "password_file": password},
        **{"cache_s": 0, "negative_cache_s": 0, **given},
    }
    return open_table("users", msgspec.convert(settings, Table), lambda *_, **__: None)


@pytest.mark.parametrize("where", ["tcp", "unix"])
def test_values(server: PostgreSQL, password: str, where: str) -> None:
    table = table_of(server.tcp if where == "tcp" else server.unix, password)
    for _ in range(8):  # the driver prepares a query that comes often
        assert table.get(b"joe@example.org") == "a välue".encode()
        assert table.get(b"empty") == b""
        assert table.get(b"null") is None
        assert table.get(b"jane@example.org") is None
        assert table.get("ünter@example.org".encode()) is None
        for key in (b"\xff", b"joe@example.org\0", b"' OR true --", b"%s", b":key"):
            assert table.get(key) is None


@pytest.mark.parametrize(
    ("query", "value"),
    [
        ("SELECT value FROM aliases WHERE name = :key ORDER BY value", "b, c,jane@example.org,joe@example.org"),
        ("SELECT value FROM aliases WHERE name LIKE '%' || :domain AND :local = 'all' LIMIT 1;", "joe@example.org"),
        ("WITH a AS (SELECT * FROM aliases) SELECT count(*) FROM a WHERE name = :key", "4"),
        ("SELECT number, value FROM users WHERE name <> :key LIMIT 1", "7"),
        ("SELECT bytes FROM users WHERE name <> :key LIMIT 1", "\\x78"),
        ("SELECT 7.50::text || :key -- a remark", "7.50all@example.org"),
        ("SELECT true WHERE :key ~ '^all@'", "true"),
    ],
)
def test_queries(server: PostgreSQL, password: str, query: str, value: str) -> None:
    assert table_of(server.tcp, password, query).get(b"all@example.org") == value.encode()


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ("SELECT value FROM nobody WHERE name = :key", 'relation "nobody" does not exist'),
        ("SELECT nextval('seen') || :key", "cannot execute nextval() in a read-only transaction"),
        (
            "WITH x AS (DELETE FROM users WHERE name = :key RETURNING name) SELECT name FROM x",
            "must be at the top level",
        ),
        ("SELECT i FROM generate_series(1, 10000000) AS i WHERE :key <> ''", "more than 1000 values"),
        ("SELECT repeat('x', 1000000) WHERE :key <> ''", "more than 65536 bytes"),
        ("SELECT value FROM users WHERE name = 'long' AND :key <> ''", "more than 65536 bytes"),
        ("SELECT 1) SELECT (:key", "syntax error"),
    ],
)
def test_queries_that_fail(server: PostgreSQL, password: str, query: str, reason: str) -> None:
    assert reason in down(table_of(server.tcp, password, query))


def test_a_character_that_the_database_has_not(server: PostgreSQL, password: str) -> None:
    """Nobody there can have it in the name; senders choose keys, and must not turn a table off by that."""
    server.tell("CREATE DATABASE latin ENCODING 'LATIN1' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'")
    server.tell("CREATE TABLE users (name TEXT, value TEXT)", database="latin")
    server.tell("INSERT INTO users VALUES (%s, %s)", "ünter", "ä", database="latin")
    table = table_of(server.tcp.replace("/postgres", "/latin"), password)
    assert table.get("жук@example.org".encode()) is None
    assert table.get("ünter".encode()) == "ä".encode()


def test_a_slow_query(server: PostgreSQL, password: str) -> None:
    """The table is down after its time; what other greenlets do goes on, and the server does not go on with it."""
    table = table_of(server.tcp, password, "SELECT pg_sleep(60)::text || :key", timeout_s=0.3)
    turns = 0
    asking = gevent.spawn(down, table)
    while not asking.ready():
        turns += 1
        gevent.sleep(0.001)
    assert asking.value.endswith(("no answer within 0.3 s", "canceling statement due to statement timeout"))
    assert turns > 10
    running = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep%' AND state = 'active' AND pid <> "
    count = table_of(server.tcp, password, f"{running} pg_backend_pid() AND :key <> ''")
    with gevent.Timeout(20):
        while count.get(b"x") != b"0":
            gevent.sleep(0.01)


def test_a_server_that_hangs(server: PostgreSQL, password: str) -> None:
    """Kept connections and new ones alike."""
    kept, fresh = (table_of(server.tcp, password, timeout_s=0.5, connections=1) for _ in range(2))
    assert kept.get(b"joe@example.org") is not None
    check_hanging(server, [kept, fresh])


def test_a_restart(password: str) -> None:
    with PostgreSQL() as server:
        check_restart(server, table_of(server.tcp, password, "SELECT 1 WHERE :key = 'joe@example.org'"))


def test_a_wrong_password(server: PostgreSQL, tmp_path: Path) -> None:
    (tmp_path / "wrong").write_text("geheim\n")
    reason = down(table_of(server.tcp, str(tmp_path / "wrong")))
    assert 'password authentication failed for user "mta"' in reason
    assert "geheim" not in reason


def test_a_password_that_changed(server: PostgreSQL, tmp_path: Path) -> None:
    """The file is read at each connection."""
    file = tmp_path / "password"
    file.write_text("wrong\n")
    table = table_of(server.tcp, str(file))
    down(table)
    file.write_text(PASSWORD)
    wait_found(table)


def test_tls(password: str, issued: Issued) -> None:
    with PostgreSQL(issued.authority.server("127.0.0.1")) as server:
        server.tell("CREATE VIEW ours AS SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()")
        url = f"{server.tcp}?sslmode=verify-full"
        query = "SELECT ssl FROM ours WHERE :key <> ''"
        assert table_of(f"{url}&sslrootcert={issued.ca}", password, query).get(b"joe") == b"true"
        assert "certificate verify failed" in down(table_of(f"{url}&sslrootcert=system", password, query))
        other = url.replace("127.0.0.1", "localhost")
        reason = down(table_of(f"{other}&sslrootcert={issued.ca}", password, query))
        assert 'does not match host name "localhost"' in reason


def test_recipients(tmp_path: Path, password: str) -> None:
    with PostgreSQL() as server:
        server.tell("CREATE TABLE users (address TEXT)")
        server.tell("INSERT INTO users VALUES ('joe@example.org')")
        query = "SELECT 1 FROM users WHERE address = :key"
        table = {"kind": "sql", "url": server.tcp, "password_file": password, "query": query}
        check_recipients(tmp_path / "mta", server, table, "jane@example.org")


def test_the_command(server: PostgreSQL, tmp_path: Path, password: str) -> None:
    table = {"kind": "sql", "url": server.tcp, "password_file": password, "query": QUERY}
    config = Server(tmp_path / "mta", {"table": {"users": table}}).config

    def get(key: str) -> tuple[int, str]:
        done = mta("table", "get", "-c", config, "users", key)
        return done.returncode, done.stdout + done.stderr

    assert get("joe@example.org") == (0, "a välue\n")
    assert get("jane@example.org") == (1, "")
    Path(password).write_text("wrong\n")
    code, told = get("joe@example.org")
    assert code == 75
    assert "password authentication failed" in told
