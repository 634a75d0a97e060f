"""`mta table build` as a process: databases of LMDB, and what to do where the package for them is missing."""

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from mta.cli_build import BUILD_FAILED
from mta.errors import EX_CONFIG, EX_OK, EX_USAGE
from tests.support.command import CONFIG, python

TABLES = """\
[table.users]
kind = "lmdb"
path = "users.lmdb"
[table.other]
kind = "lmdb"
path = "other"
[table.lines]
kind = "file"
path = "users"
"""
WITHOUT = ("-c", "import sys; sys.modules['lmdb'] = None; from mta.cli import main; main()")


def mta(config: Path, *words: str, program: Sequence[str] = ("-m", "mta")) -> subprocess.CompletedProcess[str]:
    return python(*program, *words, cwd=config.parent, MTA_CONFIG=str(config))


@pytest.fixture
def config(tmp_path: Path) -> Path:
    file = tmp_path / "mta.toml"
    file.write_text(CONFIG + TABLES)
    (tmp_path / "users").write_text("joe@example.org\ta value\njane@example.org\n")
    return file


def test_by_the_name_of_a_table(config: Path) -> None:
    done = mta(config, "table", "build", "users")
    assert (done.returncode, done.stderr) == (EX_OK, "")
    assert done.stdout == f"{config.parent}/users.lmdb: 2 keys\n"
    assert mta(config, "table", "get", "users", "JOE@example.org").stdout == "a value\n"
    assert mta(config, "table", "get", "users", "jack@example.org").returncode == 1
    done = mta(config, "table", "build", "other", "--source", "users")
    assert done.stdout == f"{config.parent}/other: 2 keys\n"


def test_by_the_name_of_a_file(config: Path) -> None:
    config.unlink()
    done = mta(config, "table", "build", "./users")
    assert (done.returncode, done.stdout, done.stderr) == (EX_OK, "./users.lmdb: 2 keys\n", "")
    done = mta(config, "table", "build", str(config.parent / "none"))
    assert done.returncode == BUILD_FAILED
    assert done.stderr == f"{config.parent}/none: No such file or directory\n"


def test_faults(config: Path) -> None:
    (config.parent / "users").write_text("joe\n\nJOE\n x\n")
    done = mta(config, "table", "build", "users")
    assert (done.returncode, done.stdout) == (BUILD_FAILED, "")
    assert done.stderr.splitlines() == [
        f"{config.parent}/users:3: 'joe' is there twice",
        f"{config.parent}/users:4: begins with a blank; an entry begins at the start of its line, and ends with it",
    ]
    assert sorted(os.listdir(config.parent)) == ["mta.toml", "users"]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("user", "there is no [table.user]; known: users, other, lines"),
        ("lines", "[table.lines] is of kind file, not lmdb"),
        ("other", "--source is needed: the path of [table.other] does not end in .lmdb"),
    ],
)
def test_tables_that_cannot_be_built(config: Path, name: str, words: str) -> None:
    done = mta(config, "table", "build", name)
    assert done.returncode == EX_USAGE
    assert words in done.stderr


def test_without_the_package(config: Path) -> None:
    done = mta(config, "table", "build", "./users", program=WITHOUT)
    assert done.returncode == EX_CONFIG
    words = "needs the Python package lmdb, which is not installed: pip install 'mta[lmdb]'"
    assert done.stderr == f"mta table build {words}\n"
    done = mta(config, "check", program=WITHOUT)
    assert done.returncode == 1
    assert done.stdout == (
        f"{config}:13: table.users.kind: lmdb {words}\n{config}:16: table.other.kind: lmdb {words}\n"
    )
