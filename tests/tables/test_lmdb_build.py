"""Databases made of lines."""

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mta.tables.key import folded
from mta.tables.lmdb_build import PROGRESS_LINES, BuildFailed, build
from mta.tables.lmdb_file import Database
from mta.tables.text import FAULTS, LINE_BYTES, BadTable, TextTable


class Rig:
    """A text and the database that is made of it."""

    def __init__(self, folder: Path) -> None:
        self.text = folder / "users"
        self.path = folder / "users.lmdb"
        self.progress: list[tuple[int, int]] = []

    def build(self, text: bytes) -> int:
        self.text.write_bytes(text)
        return build(str(self.text), str(self.path), lambda seen, total: self.progress.append((seen, total)))

    def faults(self, text: bytes) -> list[tuple[int, str]]:
        with pytest.raises(BadTable) as caught:
            self.build(text)
        return caught.value.faults

    def get(self, key: bytes) -> bytes | None:
        return Database(str(self.path)).get(key)


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path)


def test_lines(rig: Rig) -> None:
    text = 'JOE@Example.org  a value \n\n# none\r\n"a b"@example.org\tx\r\n@Bücher.example\njane@example.org y'
    assert rig.build(text.encode()) == 4
    assert rig.get(b"joe@example.org") == b"a value"
    assert rig.get(b'"a b"@example.org') == b"x"
    assert rig.get(b"@xn--bcher-kva.example") == b""
    assert rig.get(b"jane@example.org") == b"y"
    assert rig.get(b"# none") is None
    assert sorted(os.listdir(rig.path.parent)) == ["users", "users.lmdb"]


def test_none(rig: Rig) -> None:
    assert rig.build(b"# nobody\n") == 0
    assert rig.get(b"joe") is None


def test_many(rig: Rig) -> None:
    count = 2 * PROGRESS_LINES + 1
    assert rig.build(b"".join(b"user%d %d\n" % (number * 7919 % count, number) for number in range(count))) == count
    assert all(rig.get(b"user%d" % (number * 7919 % count)) == b"%d" % number for number in range(0, count, 997))
    size = rig.text.stat().st_size
    assert [total for _, total in rig.progress] == [size, size]
    assert 0 < rig.progress[0][0] < rig.progress[1][0] < size


def test_one_takes_the_place_of_another(rig: Rig) -> None:
    rig.build(b"joe x\n")
    used = Database(str(rig.path))
    rig.build(b"joe y\n")
    assert (used.get(b"joe"), rig.get(b"joe")) == (b"x", b"y")


def test_a_link_stays_one(rig: Rig) -> None:
    (rig.path.parent / "sub").mkdir()
    rig.path.symlink_to("sub/users")
    rig.build(b"joe x\n")
    assert rig.path.is_symlink()
    assert rig.get(b"joe") == b"x"
    assert os.listdir(rig.path.parent / "sub") == ["users"]


def test_faults_leave_what_was_there(rig: Rig) -> None:
    rig.build(b"joe x\n")
    long = b"x" * (LINE_BYTES + 1)
    text = b"jane x\n\n JANE y\nJane z\n%b\nlast\n" % long + long * 3 + b'\n"no end\na\0b\n' + b"k" * 511 + b" x\n"
    blank = "begins with a blank; an entry begins at the start of its line, and ends with it"
    assert rig.faults(text) == [
        (3, blank),
        (4, "'jane' is there twice"),
        (5, "is longer than 4096 bytes"),
        (7, "is longer than 4096 bytes"),
        (8, "has a quote that does not end"),
        (9, "has a NUL; this is no text file"),
        (10, "has a key of more than 510 bytes"),
    ]
    assert rig.get(b"joe") == b"x"
    assert sorted(os.listdir(rig.path.parent)) == ["users", "users.lmdb"]


def test_a_text_of_faults_is_not_read_to_its_end(rig: Rig) -> None:
    found = rig.faults(b" x\n" * 1000)
    assert len(found) == FAULTS + 1
    assert found[-1] == (FAULTS, "too many faults; the rest was not read")


def test_the_longest_line(rig: Rig) -> None:
    line = b"joe " + b"x" * (LINE_BYTES - 4)
    assert rig.build(line + b"\r\n" + b"jane y\n") == 2
    assert rig.get(b"joe") == line[4:]


def test_who_may_read_the_lines_may_read_the_database(rig: Rig) -> None:
    rig.text.write_bytes(b"")
    rig.text.chmod(0o640)
    rig.build(b"joe x\n")
    assert rig.path.stat().st_mode & 0o777 == 0o640
    if os.geteuid() == 0:
        os.chown(rig.text, 65534, 65534)
        rig.build(b"joe x\n")
        assert (rig.path.stat().st_uid, rig.path.stat().st_gid) == (65534, 65534)


def test_files_that_cannot_be(rig: Rig, tmp_path: Path) -> None:
    def words(source: Path, database: Path) -> str:
        with pytest.raises(BuildFailed) as caught:
            build(str(source), str(database), lambda _seen, _total: None)
        return str(caught.value)

    assert words(rig.text, rig.path) == f"{rig.text}: No such file or directory"
    assert words(tmp_path, rig.path) == f"{tmp_path}: Is a directory"
    os.mkfifo(tmp_path / "pipe")
    assert words(tmp_path / "pipe", rig.path) == f"{tmp_path}/pipe: cannot be read: it is no regular file"
    rig.text.write_bytes(b"joe x\n")
    assert "No such file or directory" in words(rig.text, tmp_path / "none" / "users.lmdb")


WORDS = st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=20).map(str.encode)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40, deadline=None)
@given(st.lists(st.tuples(WORDS, st.sampled_from([b" ", b"\t", b" \t "]), WORDS)))
def test_as_a_table_of_the_file_itself(tmp_path: Path, entries: list[tuple[bytes, bytes, bytes]]) -> None:
    """The same lines are the same table, or have the same faults."""
    rig = Rig(tmp_path)
    lines = [b"".join(entry) for entry in entries]
    text = b"\n".join(lines)
    faults: list[tuple[int, str]] = []
    try:
        table = TextTable(text.split(b"\n"))
    except BadTable as error:
        faults = error.faults
    if faults:
        assert rig.faults(text) == faults
        return
    assert rig.build(text) == len(table)
    database = Database(str(rig.path))
    for line in lines:
        key = folded(line.split(b" ")[0].split(b"\t")[0])
        assert database.get(key) == table.get(key)
