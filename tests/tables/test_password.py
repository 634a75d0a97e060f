"""Passwords in files."""

from pathlib import Path

import pytest

from mta.errors import TableDown
from mta.tables.password import read_password


@pytest.mark.parametrize(
    ("content", "password"),
    [(b"a b", "a b"), (b" a \n", " a "), (b"a\r\nb\n", "a"), ("ä%/\n".encode(), "ä%/")],
)
def test_good(tmp_path: Path, content: bytes, password: str) -> None:
    (tmp_path / "file").write_bytes(content)
    assert read_password(str(tmp_path / "file")) == password


def test_none() -> None:
    assert read_password("") == ""


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "No such file or directory"),
        (b"", "has no password"),
        (b"\nx", "has no password"),
        (b"a\0b\n", "has no password"),
        (b"\xff\n", "is no UTF-8"),
    ],
)
def test_bad(tmp_path: Path, content: bytes | None, reason: str) -> None:
    path = tmp_path / "file"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(TableDown) as caught:
        read_password(str(path))
    assert caught.value.reason.startswith(f"{path}: {reason}")
