"""Databases of LMDB for reading: forms of keys, locks, and files that are not what they should be."""

import fcntl
import os
import shutil
import struct
import tempfile
from pathlib import Path

import lmdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mta.errors import TableDown
from mta.tables.answer import VALUE_BYTES
from mta.tables.lmdb_file import Database, Locked, check_file, open_database

EXCLUSIVE = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
NOBODY = 65534
FREE = struct.pack("hhqqi4x", fcntl.F_UNLCK, os.SEEK_SET, 0, 0, 0)

Entries = dict[bytes, bytes]


def make(path: Path, entries: Entries) -> None:
    """Put entries into a database, which is made where there is none; in place, as `postmap` does."""
    environment = lmdb.open(str(path), subdir=False, lock=False, sync=False, map_size=1 << 28)
    with environment, environment.begin(write=True) as transaction:
        for key, value in entries.items():
            transaction.put(key, value)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "users.lmdb"
    make(path, {b"joe@example.org\0": b"a value\0", b"jane@example.org": b"x", b"empty\0": b"\0", b"bare": b""})
    return path


def fault(path: Path) -> str:
    """What is wrong with a file that cannot be opened."""
    with pytest.raises(OSError) as caught:  # noqa: PT011 - its text is what matters
        Database(str(path))
    return caught.value.strerror or ""


def test_with_nul_and_without(path: Path) -> None:
    database = Database(str(path))
    assert database.get(b"joe@example.org") == b"a value"
    assert database.get(b"jane@example.org") == b"x"
    assert database.get(b"empty") == b""
    assert database.get(b"bare") == b""
    assert database.get(b"jack@example.org") is None
    assert database.get(b"joe@example.or") is None


@pytest.mark.parametrize("key", [b"", b"x" * 510, b"x" * 511, b"x" * 5000, b"\xff", b"a\0b"])
def test_keys_that_cannot_be_there(path: Path, key: bytes) -> None:
    assert Database(str(path)).get(key) is None


def test_the_longest_key(path: Path) -> None:
    make(path, {b"x" * 510 + b"\0": b"long\0"})
    assert Database(str(path)).get(b"x" * 510) == b"long"


def test_too_long_a_value(path: Path) -> None:
    make(path, {b"most\0": b"x" * VALUE_BYTES, b"more\0": b"x" * (VALUE_BYTES + 1)})
    database = Database(str(path))
    assert database.get(b"most") == b"x" * VALUE_BYTES
    with pytest.raises(TableDown, match="a value of more than 65536 bytes"):
        database.get(b"more")
    assert database.get(b"joe@example.org") == b"a value"


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30, deadline=None)
@given(st.dictionaries(st.binary(min_size=1, max_size=100).filter(lambda key: b"\0" not in key), st.binary()))
def test_what_was_put_is_found(tmp_path: Path, entries: Entries) -> None:
    path = tmp_path / "any"
    path.unlink(missing_ok=True)
    make(path, {key + b"\0": value + b"\0" for key, value in entries.items()})
    database = Database(str(path))
    assert {key: database.get(key) for key in entries} == entries
    assert all(database.get(key + b"x") == entries.get(key + b"x") for key in entries)


def test_a_change_in_place_is_seen(path: Path) -> None:
    database = Database(str(path))
    before = path.stat().st_size
    del database  # LMDB opens no file twice in a process
    make(path, {b"user%d\0" % number: b"x\0" for number in range(20_000)})
    assert path.stat().st_size > before
    assert Database(str(path)).get(b"user19999") == b"x"


def test_growth_behind_the_map(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mta.tables.lmdb_file.MAP_BYTES", 1)
    child = path.with_name("grown")
    child.write_bytes(path.read_bytes())
    make(child, {b"user%d\0" % number: b"x\0" for number in range(20_000)})
    database = Database(str(path))
    assert database.get(b"joe@example.org") == b"a value"
    with path.open("r+b") as file:  # never shorter than it was, as LMDB writes it
        file.write(child.read_bytes())
    with pytest.raises(OSError, match="MAP_RESIZED"):
        database.get(b"user1")
    del database
    assert Database(str(path)).get(b"user19999") == b"x"


def test_a_writer_keeps_readers_out_for_a_moment(path: Path) -> None:
    database = Database(str(path))
    with path.open("r+b") as file:
        fcntl.fcntl(file, fcntl.F_OFD_SETLK, EXCLUSIVE)
        with pytest.raises(Locked):
            database.get(b"joe@example.org")
        fcntl.fcntl(file, fcntl.F_OFD_SETLK, FREE)
        assert database.get(b"joe@example.org") == b"a value"
        fcntl.fcntl(file, fcntl.F_OFD_SETLK, EXCLUSIVE)  # nothing is held between look-ups


def test_files_that_are_no_databases(path: Path, tmp_path: Path) -> None:
    whole = path.read_bytes()
    assert fault(tmp_path / "nothing") == "No such file or directory"
    assert fault(tmp_path) == "it is no regular file"
    os.mkfifo(tmp_path / "pipe")
    assert fault(tmp_path / "pipe") == "it is no regular file"
    bad = tmp_path / "bad"
    for content in (
        b"joe@example.org x\n",
        b"x" * 9000,
        b"\0" * 9000,
        whole[:4000],
        whole[:16] + bytes(16) + whole[32:],
    ):
        bad.write_bytes(content)
        assert fault(bad) == "it is no database of LMDB"
    bad.write_bytes(b"")
    assert fault(bad)


def test_a_file_that_is_cut(path: Path) -> None:
    make(path, {b"user%d\0" % number: b"x\0" for number in range(20_000)})
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    assert fault(path) == f"it is cut: {len(whole) // 2} bytes of {len(whole)}"
    path.write_bytes(whole[:8192])
    assert fault(path).startswith("it is cut: 8192 bytes of ")
    assert check_file(str(path)) == [f"{path}: it is cut: 8192 bytes of {len(whole)}"]
    path.write_bytes(whole)
    assert check_file(str(path)) == []


@pytest.mark.parametrize("size_bytes", [0, 100, 4096, 8192, 40_960])
def test_a_file_that_is_cut_while_it_is_in_use(path: Path, size_bytes: int) -> None:
    make(path, {b"user%d\0" % number: b"x\0" for number in range(20_000)})
    whole = path.read_bytes()
    database = Database(str(path))
    assert database.get(b"user7") == b"x"
    with path.open("r+b") as file:
        file.truncate(size_bytes)
    for number in (7, 8, 19_999):
        with pytest.raises(OSError, match="it was cut while it was in use" if number == 7 else "it was closed"):
            database.get(b"user%d" % number)
    assert database.is_closed
    path.write_bytes(whole)
    assert Database(str(path)).get(b"user7") == b"x"


def test_pages_that_are_none(path: Path) -> None:
    make(path, {b"user%d\0" % number: b"x\0" for number in range(20_000)})
    with path.open("r+b") as file:
        file.seek(8192)
        file.write(bytes(path.stat().st_size - 8192))
    database = Database(str(path))
    with pytest.raises(OSError, match="LMDB: "):
        database.get(b"user7")


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, who can be somebody else")
def test_who_may_read_it_needs_nothing_else() -> None:
    folder = Path(tempfile.mkdtemp(prefix="lmdb-"))  # pytest's own are closed to others
    try:
        make(folder / "users", {b"joe\0": b"x\0"})
        (folder / "users").chmod(0o444)
        folder.chmod(0o555)
        os.seteuid(NOBODY)
        try:
            assert Database(str(folder / "users")).get(b"joe") == b"x"
        finally:
            os.seteuid(0)
    finally:
        shutil.rmtree(folder)


def test_two_tables_may_have_the_same_file(path: Path) -> None:
    first = open_database(str(path))
    (path.parent / "link").symlink_to(path)
    assert open_database(str(path.parent / "link")) is first
    fresh = path.with_name("new")
    make(fresh, {b"joe@example.org\0": b"new\0"})
    fresh.rename(path)
    second = open_database(str(path))
    assert (first.get(b"joe@example.org"), second.get(b"joe@example.org")) == (b"a value", b"new")


def test_what_is_not_used_any_more_is_closed(path: Path) -> None:
    def is_mapped() -> bool:
        return str(path) in Path("/proc/self/maps").read_text()

    database = open_database(str(path))
    assert database.get(b"joe@example.org") == b"a value"
    assert is_mapped()
    del database
    assert not is_mapped()
