"""Regular files, and what else may have their names."""

import os
from pathlib import Path

import pytest

from mta.regular_file import NotRegular, open_regular, without_waiting


def test_a_regular_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"text")
    (tmp_path / "link").symlink_to("file")
    for name in ("file", "link"):
        with open_regular(str(tmp_path / name)) as file:
            assert file.read() == b"text"
            assert not os.get_inheritable(file.fileno())


def test_what_is_no_regular_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (str(tmp_path / "pipe"), "/dev/null"):
        with pytest.raises(NotRegular) as caught, open_regular(path):
            pass
        assert caught.value.strerror == "it is no regular file"


def test_what_the_system_refuses(tmp_path: Path) -> None:
    for path, error in ((tmp_path, IsADirectoryError), (tmp_path / "nothing", FileNotFoundError)):
        with pytest.raises(error), open_regular(str(path)):
            pass


def test_nobody_has_to_write_to_a_pipe(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with open(tmp_path / "pipe", "rb", opener=without_waiting) as file:
        assert file.read() == b""
