"""Tables in files, which change."""

import os
from pathlib import Path

import gevent
import pytest

from mta.errors import TableDown
from mta.tables.lines import MAKERS
from mta.tables.watched import CHECK_S, SETTLED_S, WatchedTable

WALL = 1_700_000_000.0


class Rig:
    """A file and its table, with clocks that stand still."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "users"
        self.now = 0.0
        self.reports: list[str] = []

    def open(self, kind: str = "file") -> WatchedTable:
        return WatchedTable(
            str(self.path),
            MAKERS[kind],
            self.reports.append,
            clock=lambda: self.now,
            wall=lambda: WALL + self.now,
        )

    def write(self, text: str | bytes, age_s: float = 60.0) -> None:
        """In place; last written to `age_s` ago."""
        self.path.write_bytes(text if isinstance(text, bytes) else text.encode())
        written = WALL + self.now - age_s
        os.utime(self.path, (written, written))

    def wait(self, seconds: float = CHECK_S) -> None:
        self.now += seconds


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path)


def test_a_changed_file_is_read_again(rig: Rig) -> None:
    rig.write("joe x\n")
    table = rig.open()
    assert table.get(b"joe") == b"x"
    rig.write("joe y\r\njane\r\n", age_s=50.0)
    assert table.get(b"joe") == b"x"  # looked at once a second
    rig.wait()
    assert table.get(b"joe") == b"y"
    assert table.get(b"jane") == b""
    assert rig.reports == []


def test_a_file_put_in_place(rig: Rig, tmp_path: Path) -> None:
    rig.write("joe x\n")
    table = rig.open()
    new = tmp_path / "new"
    new.write_text("jane x\n")
    os.utime(new, (WALL - 3600, WALL - 3600))
    new.rename(rig.path)
    rig.wait()
    assert table.get(b"jane") == b"x"
    assert table.get(b"joe") is None


def test_a_file_that_is_being_written_is_not_read_yet(rig: Rig) -> None:
    rig.write("joe x\njane x\n")
    table = rig.open()
    rig.wait()
    rig.write("", age_s=0.1)
    assert table.get(b"jane") == b"x"
    rig.wait(SETTLED_S / 2)
    assert table.get(b"jane") == b"x"
    rig.write("joe x\njack x\n", age_s=0.0)
    rig.wait(SETTLED_S)
    assert table.get(b"jane") is None
    assert table.get(b"jack") == b"x"


def test_faults_change_nothing_and_are_told_once(rig: Rig) -> None:
    rig.write("joe x\n")
    table = rig.open()
    rig.write("joe y\n\njoe z\n bad\n", age_s=50)
    for _ in range(3):
        rig.wait()
        assert table.get(b"joe") == b"x"
    assert rig.reports == [
        f"{rig.path}:3: 'joe' is there twice",
        f"{rig.path}:4: begins with a blank; an entry begins at the start of its line, and ends with it",
    ]
    rig.write("joe good\n", age_s=40)
    rig.wait()
    assert table.get(b"joe") == b"good"
    rig.write("joe y\njoe z\n", age_s=30)
    rig.wait()
    assert table.get(b"joe") == b"good"
    assert len(rig.reports) == 3


def test_a_file_that_goes_away(rig: Rig) -> None:
    rig.write("joe x\n")
    table = rig.open()
    rig.path.unlink()
    for _ in range(2):
        rig.wait()
        assert table.get(b"joe") == b"x"
    assert rig.reports == [f"{rig.path}: cannot be read: No such file or directory"]
    rig.write("jane x\n")
    rig.wait()
    assert table.get(b"jane") == b"x"


@pytest.mark.parametrize("content", [None, b"joe\njoe\n", b"joe\0", "folder"])
def test_down_without_a_good_file(rig: Rig, content: bytes | str | None) -> None:
    if isinstance(content, bytes):
        rig.write(content)
    elif content is not None:
        rig.path.mkdir()
    table = rig.open()
    rig.wait()
    for _ in range(2):
        with pytest.raises(TableDown, match="users"):
            table.get(b"joe")
    assert len(rig.reports) == 1
    if content == "folder":
        rig.path.rmdir()
    rig.write("joe x\n", age_s=0.1)  # nothing to lose: it is read at once
    rig.wait()
    assert table.get(b"joe") == b"x"


def test_others_do_not_wait_for_the_reading(rig: Rig) -> None:
    rig.write("joe x\n")
    table = rig.open()
    rig.write("joe y\n", age_s=50)
    rig.wait()
    reading = gevent.spawn(table.get, b"joe")
    gevent.sleep(0)
    answers = [table.get(b"joe")]
    reading.join(10)
    assert reading.value == b"y"
    assert answers[0] in (b"x", b"y")
    assert table.get(b"joe") == b"y"


def test_a_pipe_is_no_file(rig: Rig) -> None:
    os.mkfifo(rig.path)
    rig.open()
    assert rig.reports == [f"{rig.path}: cannot be read: it is no regular file"]


def test_patterns_and_networks(rig: Rig) -> None:
    rig.write("^joe@ x\n")
    assert rig.open("regexp").get(b"joe@example.org") == b"x"
    rig.write("192.0.2.0/24 x\n")
    assert rig.open("cidr").get(b"192.0.2.9") == b"x"


def test_faults_are_reported_and_nothing_is_printed(rig: Rig, capfd: pytest.CaptureFixture[str]) -> None:
    """What is raised in a thread of gevent's pool would be printed, with a traceback."""
    rig.write("joe x\n")
    table = rig.open()
    rig.wait()
    rig.write("joe y\njoe z\n")
    assert table.get(b"joe") == b"x"
    assert rig.reports == [f"{rig.path}:2: 'joe' is there twice"]
    assert capfd.readouterr() == ("", "")
