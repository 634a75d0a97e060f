"""What modes of files tell of another user."""

import errno
import os
import shutil
import struct
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from mta.permissions import EXECUTE, READ, refusal

STRANGER = 4_000_001
GROUP = 4_000_002


@pytest.fixture
def folder() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="mta-"))  # pytest's own are closed to others
    folder.chmod(0o755)
    yield folder
    folder.chmod(0o755)
    shutil.rmtree(folder)


@pytest.fixture
def file(folder: Path) -> Path:
    (folder / "sub").mkdir(mode=0o755)
    file = folder / "sub" / "file"
    file.write_text("x")
    return file


@pytest.mark.parametrize(
    ("mode", "readers", "runners"),
    [
        (0o000, "", ""),
        (0o400, "owner", ""),
        (0o040, "group", ""),
        (0o004, "other", ""),
        (0o644, "owner group other", ""),
        (0o755, "owner group other", "owner group other"),
        (0o710, "owner", "owner group"),
        (0o077, "group other", "group other"),
    ],
)
def test_modes(file: Path, mode: int, readers: str, runners: str) -> None:
    """The owner has the owner's bits, whatever the others are; and so a member of the group."""
    file.chmod(mode)
    status = file.stat()
    who = {
        "owner": (status.st_uid or STRANGER, {status.st_gid}),
        "group": (STRANGER, {GROUP, status.st_gid}),
        "other": (STRANGER, {GROUP}),
    }
    if status.st_uid == 0:  # to root's own files other rules apply
        os.chown(file, STRANGER + 1, -1)
        who["owner"] = (STRANGER + 1, {GROUP})
    for name, (uid, groups) in who.items():
        assert refusal(str(file), uid, groups, READ) == ("" if name in readers.split() else str(file))
        assert refusal(str(file), uid, groups, EXECUTE) == ("" if name in runners.split() else str(file))


def test_root(file: Path) -> None:
    file.chmod(0o000)
    assert refusal(str(file), 0, {0}, READ) == ""
    assert refusal(str(file), 0, {0}, EXECUTE) == str(file)
    file.chmod(0o001)
    assert refusal(str(file), 0, {0}, EXECUTE) == ""


def test_folders_on_the_way(folder: Path, file: Path) -> None:
    link = folder / "link"
    link.symlink_to(file)
    file.chmod(0o644)
    assert refusal(str(link), STRANGER, {GROUP}, READ) == ""
    file.parent.chmod(0o744)
    assert refusal(str(link), STRANGER, {GROUP}, READ) == str(file.parent)
    folder.chmod(0o700)
    assert refusal(str(file), STRANGER, {GROUP}, READ) == str(folder)


def test_what_is_not_there(folder: Path) -> None:
    with pytest.raises(FileNotFoundError):
        refusal(str(folder / "none"), STRANGER, {GROUP}, READ)


def test_a_list_is_taken_for_allowed(file: Path) -> None:
    file.chmod(0o600)
    # Version 2, then tag, permissions and id: the owner rw, the stranger r, the group none, the mask r, others none.
    entries = ((0x01, 6, ~0), (0x02, READ, STRANGER), (0x04, 0, ~0), (0x10, READ, ~0), (0x20, 0, ~0))
    data = struct.pack("<I", 2) + b"".join(struct.pack("<HHI", tag, may, who & 0xFFFFFFFF) for tag, may, who in entries)
    try:
        os.setxattr(file, "system.posix_acl_access", data)
    except OSError as error:
        if error.errno != errno.ENOTSUP:
            raise
        pytest.skip("a file system without access control lists")
    assert refusal(str(file), STRANGER, {GROUP}, READ) == ""
