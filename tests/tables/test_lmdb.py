"""LMDB as a table: files that take another's place, go away, and are locked."""

import fcntl
from pathlib import Path

import gevent
import pytest

from mta.errors import TableDown
from mta.tables.lmdb import CHECK_S, LmdbTable
from tests.tables.test_lmdb_file import EXCLUSIVE, FREE, make


class Rig:
    """A database and its table, with a clock that stands still."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "users.lmdb"
        self.now = 0.0

    def open(self) -> LmdbTable:
        return LmdbTable(str(self.path), clock=lambda: self.now)

    def put(self, value: bytes) -> None:
        """A new database in the old one's place."""
        fresh = self.path.with_name("fresh")
        make(fresh, {b"joe@example.org\0": value + b"\0"})
        fresh.rename(self.path)

    def wait(self) -> None:
        self.now += CHECK_S


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    rig = Rig(tmp_path)
    rig.put(b"x")
    return rig


def down(table: LmdbTable) -> str:
    with pytest.raises(TableDown) as caught:
        table.get(b"joe@example.org")
    return caught.value.reason


def test_keys_are_folded(rig: Rig) -> None:
    table = rig.open()
    assert table.get(b"JOE@Example.org") == b"x"
    assert table.get(b"jane@example.org") is None


def test_another_file_in_its_place(rig: Rig) -> None:
    table = rig.open()
    rig.put(b"y")
    assert table.get(b"joe@example.org") == b"x"  # looked at once a second
    rig.wait()
    assert table.get(b"joe@example.org") == b"y"


def test_a_file_that_goes_away_and_comes_back(rig: Rig) -> None:
    table = rig.open()
    rig.path.unlink()
    rig.wait()
    for _ in range(2):
        assert down(table) == f"{rig.path}: No such file or directory"
    rig.put(b"y")
    rig.wait()
    assert table.get(b"joe@example.org") == b"y"


def test_without_a_file_at_the_start(rig: Rig) -> None:
    rig.path.unlink()
    table = rig.open()
    assert down(table) == f"{rig.path}: No such file or directory"
    rig.put(b"x")
    rig.wait()
    assert table.get(b"joe@example.org") == b"x"


def test_a_damaged_file_in_its_place(rig: Rig) -> None:
    table = rig.open()
    bad = rig.path.with_name("bad")
    bad.write_bytes(b"joe@example.org x\n" * 1000)
    bad.rename(rig.path)
    rig.wait()
    assert down(table) == f"{rig.path}: it is no database of LMDB"
    rig.put(b"y")
    rig.wait()
    assert table.get(b"joe@example.org") == b"y"


def test_a_file_that_is_copied_over(rig: Rig) -> None:
    table = rig.open()
    whole = rig.path.read_bytes()
    rig.path.write_bytes(b"")
    assert down(table) == f"{rig.path}: it was cut while it was in use"
    rig.path.write_bytes(whole)
    assert down(table)
    rig.wait()
    assert table.get(b"joe@example.org") == b"x"


def test_who_asks_waits_for_a_writer(rig: Rig) -> None:
    table = rig.open()
    with rig.path.open("r+b") as file:
        fcntl.fcntl(file, fcntl.F_OFD_SETLK, EXCLUSIVE)
        asking = gevent.spawn(table.get, b"joe@example.org")
        gevent.sleep(0)
        assert not asking.ready()
        fcntl.fcntl(file, fcntl.F_OFD_SETLK, FREE)
        asking.join(30)
    assert asking.value == b"x"


def test_a_writer_that_does_not_end(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mta.tables.lmdb.LOCKED_TRIES", 2)
    table = rig.open()
    with rig.path.open("r+b") as file:
        fcntl.fcntl(file, fcntl.F_OFD_SETLK, EXCLUSIVE)
        assert down(table) == f"{rig.path}: somebody writes, and does not end"
    assert table.get(b"joe@example.org") == b"x"
