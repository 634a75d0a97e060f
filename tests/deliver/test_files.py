"""Many files in one call: what is written and moved, and what is left where that fails."""

import errno
import os
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest

from mta.deliver import _files


@pytest.fixture
def folder_fd(tmp_path: Path) -> Iterator[int]:
    fd = os.open(tmp_path, os.O_RDONLY)
    yield fd
    os.close(fd)


@pytest.fixture
def other_fd(tmp_path: Path) -> Iterator[int]:
    (tmp_path / "other").mkdir()
    fd = os.open(tmp_path / "other", os.O_RDONLY)
    yield fd
    os.close(fd)


@pytest.mark.parametrize("sync", [False, True])
@pytest.mark.parametrize(
    "pieces", [(b"", b""), (b"head", b""), (b"", b"body"), (b"head", b"body"), (b"h", b"b" * 300000)]
)
def test_files_are_written(tmp_path: Path, folder_fd: int, sync: bool, pieces: tuple[bytes, bytes]) -> None:
    wanted = [(folder_fd, f"{n}", *pieces) for n in range(5)]
    assert _files.store(wanted, sync) == [0] * 5
    for n in range(5):
        path = tmp_path / f"{n}"
        assert path.read_bytes() == b"".join(pieces)
        assert path.stat().st_mode & 0o777 == 0o600


def test_none_at_all() -> None:
    assert _files.store([], False) == []
    assert _files.move([]) == []


def test_what_exists_is_left_alone(tmp_path: Path, folder_fd: int) -> None:
    (tmp_path / "there").write_bytes(b"old")
    (tmp_path / "link").symlink_to("elsewhere")
    wanted = [(folder_fd, name, b"", b"new") for name in ("before", "there", "link", "behind")]
    assert _files.store(wanted, False) == [0, errno.EEXIST, errno.EEXIST, 0]
    assert (tmp_path / "there").read_bytes() == b"old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["before", "behind", "link", "there"]


def test_a_folder_that_is_none(tmp_path: Path, folder_fd: int) -> None:
    with (tmp_path / "file").open("wb") as file:
        wanted = [(file.fileno(), "a", b"", b""), (-1, "b", b"", b""), (folder_fd, "c", b"", b"")]
        assert _files.store(wanted, False) == [errno.ENOTDIR, errno.EBADF, 0]


def test_what_does_not_fit_is_removed_and_the_next_written(tmp_path: Path, folder_fd: int) -> None:
    """A limit on the size of files: the first write is short, the second fails."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    wanted = [
        (folder_fd, "small", b"x", b"y"),
        (folder_fd, "large", b"x" * 60, b"y" * 60),
        (folder_fd, "next", b"z", b""),
    ]
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, before[1]))
    try:
        assert _files.store(wanted, False) == [0, errno.EFBIG, 0]
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["next", "small"]


def test_no_descriptor_stays_open(folder_fd: int) -> None:
    before = len(os.listdir("/proc/self/fd"))
    _files.store([(folder_fd, name, b"", b"x") for name in ("a", "b", "a")], True)
    assert len(os.listdir("/proc/self/fd")) == before


def test_files_are_moved(tmp_path: Path, folder_fd: int, other_fd: int) -> None:
    for name in ("a", "b"):
        (tmp_path / name).write_text(name)
    wanted = [("a", folder_fd, other_fd), ("absent", folder_fd, other_fd), ("b", folder_fd, other_fd)]
    assert _files.move(wanted) == [0, errno.ENOENT, 0]
    assert [path.name for path in tmp_path.iterdir()] == ["other"]
    assert [(tmp_path / "other" / name).read_text() for name in ("a", "b")] == ["a", "b"]


@pytest.mark.parametrize("name", ["a\0b", "a\0", "\0"])
def test_a_name_with_nul_is_refused(tmp_path: Path, folder_fd: int, name: str) -> None:
    with pytest.raises(ValueError, match="NUL"):
        _files.store([(folder_fd, "first", b"", b""), (folder_fd, name, b"", b"")], False)
    with pytest.raises(ValueError, match="NUL"):
        _files.move([(name, folder_fd, folder_fd)])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "wrong",
    [
        ("fd", "name", b"", b""),
        (0, b"name", b"", b""),
        (0, "name", "", b""),
        (0, "name", b"", bytearray()),
        (0, "name", None, b""),
        [0, "name", b"", b""],
        None,
    ],
)
def test_what_is_no_file_is_refused(tmp_path: Path, folder_fd: int, wrong: object) -> None:
    with pytest.raises(TypeError):
        _files.store([(folder_fd, "first", b"", b""), wrong], False)  # type: ignore[list-item]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("wrong", [("name", 0), ("name", 0, 1, 2), ()])
def test_too_few_or_too_many(wrong: object) -> None:
    with pytest.raises(ValueError, match="unpack"):
        _files.move([wrong])  # type: ignore[list-item]
    with pytest.raises(ValueError, match="unpack"):
        _files.store([wrong[:3]], False)  # type: ignore[index]
