"""`mta check` as a process: what a configuration names is opened, and what is wrong with it is told with its line."""

import os
import shutil
import sqlite3
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from mta.errors import EX_OK
from mta.tables.lmdb_build import build
from tests.support.certificates import Authority
from tests.support.command import mta

HEAD = """\
hostname = "mx.example.org"
spool = "spool"
{user}
[[listen]]
address = "127.0.0.1:0"
[domains]
local = ["example.org"]
[[route]]
recipients = ["*"]
transport = "store"
[transport.store]
kind = "discard"
"""
FIRST = HEAD.count("\n") + 1


class Rig:
    """A folder with a configuration in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.user = ""

    def write(self, name: str, content: str = "x\n", mode: int = 0o644) -> Path:
        """Another file beside it."""
        path = self.folder / name
        path.write_text(content)
        path.chmod(mode)
        return path

    def faults(self, lines: str) -> list[str]:
        """What is said of these lines, whose first is 1; where a fault is in them, that is not said of the file."""
        config = self.write("mta.toml", HEAD.format(user=self.user) + lines)
        done = mta("check", "-c", config)
        assert done.stderr == ""
        if done.returncode == EX_OK:
            assert done.stdout == f"{config}: fine\n"
            return []
        assert done.returncode == 1
        return [self._shown(line.replace(f"{self.folder}/", "")) for line in done.stdout.splitlines()]

    @staticmethod
    def _shown(fault: str) -> str:
        name, line, words = fault.split(":", 2)
        return f"{int(line) - FIRST + 1}:{words}" if name == "mta.toml" else fault


@pytest.fixture
def rig() -> Iterator[Rig]:
    folder = Path(tempfile.mkdtemp(prefix="mta-"))  # pytest's own are closed to others
    folder.chmod(0o755)
    yield Rig(folder)
    shutil.rmtree(folder)


PIPE = '[transport.x]\nkind = "pipe"\ncommand = [\n"{program}",\n"-f"]\n'
KEYED = '[transport.x]\nkind = "http"\nurl = "https://127.0.0.1/"\nkey_file = "key"\ntls_ca = "ca.pem"\n'


def test_programs(rig: Rig) -> None:
    assert rig.faults(PIPE.format(program=sys.executable)) == []
    program = rig.folder / "program"
    key = "4: transport.x.command[0]: program: cannot be run: "
    lines = PIPE.format(program=program)
    assert rig.faults(lines) == [key + "No such file or directory"]
    program.mkdir()
    assert rig.faults(lines) == [key + "it is no program"]
    program.rmdir()
    rig.write("program", "#!/bin/sh\n", 0o644)
    assert rig.faults(lines) == [key + "it is no program"]
    program.chmod(0o755)
    assert rig.faults(lines) == []


def test_keys_and_authorities(rig: Rig) -> None:
    assert rig.faults(KEYED) == [
        "4: transport.x.key_file: key: cannot be read: No such file or directory",
        "5: transport.x.tls_ca: ca.pem: cannot be read: No such file or directory",
    ]
    rig.write("key", " \n")
    rig.write("ca.pem")
    assert rig.faults(KEYED) == [
        "4: transport.x.key_file: key: there is no key in it",
        "5: transport.x.tls_ca: ca.pem: holds no certificate in PEM form",
    ]
    rig.write("key")
    rig.write("ca.pem", Authority(rig.folder / "authority").ca.read_text())
    assert rig.faults(KEYED) == []
    (rig.folder / "key").unlink()
    os.mkfifo(rig.folder / "key")
    assert rig.faults(KEYED) == ["4: transport.x.key_file: key: cannot be read: it is no regular file"]


def test_templates(rig: Rig) -> None:
    lines = '[bounces]\ntemplates = "texts"\n'
    assert rig.faults(lines) == ["2: bounces.templates: texts: there is no such folder"]
    (rig.folder / "texts").mkdir()
    assert rig.faults(lines) == []
    rig.write("texts/delay.txt", "no subject\n")
    (fault,) = rig.faults(lines)
    assert fault == '2: bounces.templates: texts/delay.txt: the first line is not "Subject: ..."'


def test_tables(rig: Rig) -> None:
    lines = (
        '[table.a]\nkind = "lmdb"\npath = "users.lmdb"\n'
        '[table.b]\nkind = "sqlite"\npath = "users.db"\nquery = "SELECT x FROM users WHERE name = ?"\n'
        '[table.c]\nkind = "http"\nurl = "https://127.0.0.1/{key}"\nkey_file = "token"\n'
        '[table.d]\nkind = "file"\npath = "users"\n'
        '[table.e]\nkind = "ldap"\nurl = "ldaps://127.0.0.1"\nbase = "dc=x"\nfilter = "(mail={key})"\nattribute = "a"\n'
        'bind_dn = "cn=x"\npassword_file = "password"\n'
    )
    assert rig.faults(lines) == [
        "3: table.a.path: users.lmdb: No such file or directory",
        "6: table.b.path: users.db: unable to open database file",
        "11: table.c.key_file: token: cannot be read: No such file or directory",
        "22: table.e.password_file: password: cannot be read: No such file or directory",
        "users: cannot be read: No such file or directory",
    ]
    rig.write("users.lmdb")
    rig.write("users.db", "x" * 1000)
    rig.write("token", "\nx\n")
    rig.write("password")
    rig.write("users", "joe x\n")
    assert rig.faults(lines) == [
        "3: table.a.path: users.lmdb: it is no database of LMDB",
        "6: table.b.path: users.db: file is not a database",
        "11: table.c.key_file: token: has no password in its first line",
    ]
    rig.write("token")
    build(str(rig.folder / "users"), str(rig.folder / "users.lmdb"), lambda _seen, _total: None)
    (rig.folder / "users.db").unlink()
    with closing(sqlite3.connect(rig.folder / "users.db")) as database, database:
        database.execute("CREATE TABLE users (name TEXT)")
    assert rig.faults(lines) == ["7: table.b.query: cannot be asked: no such column: x"]
    with closing(sqlite3.connect(rig.folder / "users.db")) as database, database:
        database.execute("ALTER TABLE users ADD COLUMN x TEXT")
    assert rig.faults(lines) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, who starts workers as somebody else")
def test_for_the_user_that_workers_run_as(rig: Rig) -> None:
    rig.user = 'user = "nobody"'
    program = rig.write("program", "#!/bin/sh\n", 0o700)
    rig.write("key", mode=0o600)
    rig.write("ca.pem", Authority(rig.folder / "authority").ca.read_text(), 0o640)
    rig.write("users", "joe\n", 0o600)
    lines = KEYED + PIPE.format(program=program).replace("[transport.x]", "[transport.y]")
    lines += '[table.a]\nkind = "file"\npath = "users"\n[table.b]\nkind = "lmdb"\npath = "users.lmdb"\n'
    build(str(rig.folder / "users"), str(rig.folder / "users.lmdb"), lambda _seen, _total: None)
    assert rig.faults(lines) == [
        "4: transport.x.key_file: key: nobody may not read it",
        "5: transport.x.tls_ca: ca.pem: nobody may not read it",
        "9: transport.y.command[0]: program: nobody may not run it",
        "13: table.a.path: users: nobody may not read it",
        "16: table.b.path: users.lmdb: nobody may not read it",
    ]
    rig.user = ""
    assert rig.faults(lines) == []
    rig.user = 'user = "nobody"'
    for name, mode in (("key", 0o644), ("ca.pem", 0o644), ("program", 0o755), ("users", 0o644), ("users.lmdb", 0o644)):
        (rig.folder / name).chmod(mode)
    assert rig.faults(lines) == []
    (rig.folder / "closed").mkdir(mode=0o700)
    (rig.folder / "key").rename(rig.folder / "closed" / "key")
    told = rig.faults(lines.replace('"key"', '"closed/key"'))
    assert told == ["4: transport.x.key_file: closed/key: nobody has no way through closed"]
