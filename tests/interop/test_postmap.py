"""Databases of LMDB between Postfix and us: each reads what the other writes, also while it is written to."""

import os
from pathlib import Path
from time import monotonic

import pytest

from mta.tables.lmdb import LmdbTable
from mta.tables.lmdb_build import build
from tests.support.postmap import Postmap

pytestmark = pytest.mark.interop

TEXT = """\
# who there is
JOE@Example.org     a value
jane@example.org    x
@list.example.org   OK
"""
KEYS = ("joe@example.org", "jane@example.org", "@list.example.org", "jack@example.org")
VALUES = [b"a value", b"x", b"OK", None]


class Rig:
    """A text, its database, and who reads and writes them."""

    def __init__(self, folder: Path) -> None:
        self.postmap = Postmap(folder)
        self.text = folder / "users"
        self.text.write_text(TEXT)
        self.path = folder / "users.lmdb"

    def build(self) -> int:
        return build(str(self.text), str(self.path), lambda _seen, _total: None)

    def open(self) -> LmdbTable:
        return LmdbTable(str(self.path), clock=monotonic)


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path)


def values(table: LmdbTable) -> list[bytes | None]:
    return [table.get(key.encode()) for key in KEYS]


def test_what_postfix_writes(rig: Rig) -> None:
    rig.postmap.make(rig.text)
    assert values(rig.open()) == VALUES


def test_what_we_write(rig: Rig) -> None:
    assert rig.build() == 3
    assert [rig.postmap.get(rig.text, key) for key in KEYS] == ["a value", "x", "OK", None]
    ours = rig.postmap.all(rig.text)
    rig.path.unlink()
    rig.postmap.make(rig.text)
    assert rig.postmap.all(rig.text) == ours


def test_postfix_goes_on_with_what_we_began(rig: Rig) -> None:
    rig.text.write_text("".join(f"user{number}@example.org {number}\n" for number in range(20_000)))
    assert rig.build() == 20_000
    rig.postmap.put(rig.text, "joe@example.org new\n")
    table = rig.open()
    assert table.get(b"joe@example.org") == b"new"
    assert table.get(b"user19999@example.org") == b"19999"
    del table
    rig.text.write_text(TEXT)
    rig.postmap.make(rig.text)
    assert values(rig.open()) == VALUES


def test_a_table_that_postfix_writes_to(rig: Rig) -> None:
    rig.postmap.make(rig.text)
    table = rig.open()
    assert values(table) == VALUES
    rig.postmap.put(rig.text, "jack@example.org y\njane@example.org z\n")
    assert values(table) == [b"a value", b"z", b"OK", b"y"]
    rig.postmap.delete(rig.text, "joe@example.org")
    assert values(table) == [None, b"z", b"OK", b"y"]
    before = rig.path.stat().st_ino
    many = "".join(f"user{number}@example.org {'x' * 100}{number}\n" for number in range(20_000))
    rig.text.write_text(TEXT + many)
    rig.postmap.make(rig.text)
    assert rig.path.stat().st_ino == before
    assert values(table) == VALUES
    assert table.get(b"user19999@example.org") == b"x" * 100 + b"19999"
    rig.text.write_text(TEXT)
    rig.postmap.make(rig.text)
    assert values(table) == VALUES
    assert table.get(b"user19999@example.org") is None


def test_while_postfix_writes_there_is_what_there_was(rig: Rig) -> None:
    rig.postmap.make(rig.text)
    table = rig.open()
    rig.text.unlink()
    os.mkfifo(rig.text)  # so that it takes as long as we like
    writing = rig.postmap.begin(rig.text)
    with rig.text.open("wb") as text:
        for number in range(2000):
            text.write(b"user%d@example.org x\n" % number)
            assert table.get(b"user0@example.org") is None
            assert table.get(b"joe@example.org") == b"a value"
    assert writing.wait(60) == 0
    assert table.get(b"user1999@example.org") == b"x"
    assert table.get(b"joe@example.org") is None
