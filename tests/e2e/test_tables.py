"""A table of recipients with the real processes: who is refused, and a file that changes meanwhile."""

import os
import smtplib
import time
import urllib.parse
from collections.abc import Iterator
from pathlib import Path

import pytest

from mta.tables.lmdb_build import build
from tests.support.asking import PATIENCE_S, answer
from tests.support.httpvalues import HttpValues
from tests.support.server import Server


class Users:
    """The file with the recipients."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, *lines: str) -> None:
        """Put a new file in place, as an administrator should."""
        beside = self.path.with_suffix(".new")
        beside.write_text("".join(f"{line}\n" for line in lines))
        written = time.time() - 60
        os.utime(beside, (written, written))
        beside.rename(self.path)


@pytest.fixture
def users(tmp_path: Path) -> Users:
    users = Users(tmp_path / "users")
    users.write("# who we have", "joe@example.org")
    return users


@pytest.fixture
def server(tmp_path: Path, users: Users) -> Iterator[Server]:
    settings = {
        "processes": {"server": 1},
        "domains": {"local": ["example.org"], "recipients": "users", "extension": "+"},
        "table": {"users": {"kind": "file", "path": str(users.path)}},
    }
    with Server(tmp_path / "mta", settings) as server:
        yield server


def test_users_come_and_go(server: Server, users: Users) -> None:
    assert answer(server, "JOE+tag@example.org").startswith("250 2.1.5 ")
    assert answer(server, "jane@example.org") == "550 5.1.1 No such user here [no-user]"
    assert answer(server, "postmaster@example.org").startswith("250 2.1.5 ")
    users.write("jane@example.org")
    server.until(lambda: answer(server, "jane@example.org").startswith("250 2.1.5 "), "the new file")
    assert answer(server, "joe@example.org").startswith("550 5.1.1 ")
    with smtplib.SMTP(*server.address, timeout=PATIENCE_S) as client:
        refused = client.sendmail("jim@example.com", ["jane@example.org", "joe@example.org"], "Subject: x\r\n\r\nx\r\n")
    assert list(refused) == ["joe@example.org"]
    server.wait_empty()
    assert len(server.delivered()) == 1


def test_faults_leave_the_old_users(server: Server, users: Users) -> None:
    users.write("jane@example.org", "jack@example.org", "JACK@example.org")

    def is_told() -> bool:
        assert answer(server, "joe@example.org").startswith("250 2.1.5 ")
        return f"{users.path}:3: 'jack@example.org' is there twice" in server.log.read_text()

    server.until(is_told, "the fault in the log")
    assert answer(server, "jane@example.org").startswith("550 5.1.1 ")


def test_without_a_table_nobody_is_refused_for_good(tmp_path: Path, users: Users) -> None:
    users.path.unlink()
    settings = {
        "processes": {"server": 1},
        "domains": {"local": ["example.org"], "recipients": "users"},
        "table": {"users": {"kind": "file", "path": str(users.path)}},
    }
    with Server(tmp_path / "mta", settings) as server:
        assert answer(server, "joe@example.org").startswith("451 4.4.3 ")
        assert answer(server, "postmaster@example.org").startswith("250 2.1.5 ")
        assert "table=users" in server.log.read_text()
        users.write("joe@example.org")
        server.until(lambda: answer(server, "joe@example.org").startswith("250 "), "the file")
        assert answer(server, "jane@example.org").startswith("550 ")


def settings_of(table: dict[str, object]) -> dict[str, object]:
    """Of a server whose recipients are in that table, nothing remembered."""
    return {
        "processes": {"server": 1},
        "domains": {"local": ["example.org"], "recipients": "users", "extension": "+"},
        "table": {"users": table},
    }


def test_a_database(tmp_path: Path) -> None:
    text, path = tmp_path / "users", tmp_path / "users.lmdb"

    def put(*lines: str) -> None:
        text.write_text("".join(f"{line}\n" for line in lines))
        build(str(text), str(path), lambda _seen, _total: None)

    put("JOE@example.org")
    with Server(tmp_path / "mta", settings_of({"kind": "lmdb", "path": str(path)})) as server:
        assert answer(server, "Joe+tag@example.org").startswith("250 2.1.5 ")
        assert answer(server, "jane@example.org") == "550 5.1.1 No such user here [no-user]"
        put("jane@example.org")
        server.until(lambda: answer(server, "jane@example.org").startswith("250 "), "the new database")
        assert answer(server, "joe@example.org").startswith("550 5.1.1 ")
        path.write_bytes(b"")
        server.until(lambda: answer(server, "jane@example.org").startswith("451 4.4.3 "), "the damage")
        server.until(lambda: f'"{path}: it was cut' in server.log.read_text(), "the reason in the log")
        put("jane@example.org")
        server.until(lambda: answer(server, "jane@example.org").startswith("250 "), "the mended database")


def test_a_server_of_values(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("s3cret\n")
    with HttpValues({"joe@example.org": "a value"}, token="s3cret") as values:
        url = f"http://127.0.0.1:{values.port}/users/{{key}}"
        table = {"kind": "http", "url": url, "key_file": str(token), "cache_s": 0, "negative_cache_s": 0}
        with Server(tmp_path / "mta", settings_of(table)) as server:
            assert answer(server, "joe+tag@example.org").startswith("250 2.1.5 ")
            asked = ["joe+tag@example.org", "joe@example.org"]
            assert values.asked == [f"/users/{urllib.parse.quote(key, safe='')}" for key in asked]
            assert answer(server, "jane@example.org") == "550 5.1.1 No such user here [no-user]"
            values.is_down = True
            assert answer(server, "joe@example.org").startswith("451 4.4.3 ")
            server.until(lambda: "503 Service Unavailable" in server.log.read_text(), "the reason in the log")
            values.is_down = False
            server.until(lambda: answer(server, "joe@example.org").startswith("250 "), "the server")
