"""A shard, claimed for one writer: the lock, the numbers of its segments, the position file.

The lock is an flock and ends with the process, however that ends. The lock file's content is the highest segment number
ever used here, synced before that number is: a number is never used twice in a shard, not even when all its files have
been freed or a clock was set back.
"""

import contextlib
import fcntl
import os
import time
from pathlib import Path

from mta.errors import SpoolFailed
from mta.spool import layout, queueid
from mta.spool.layout import SegmentName
from mta.spool.position import PositionFile
from mta.spool.record import Identity

EPOCH_WALL = 1704067200  # 2024-01-01: segment numbers start as seconds since then, which 31 bits hold until 2092


class Claim:
    """One shard in the hands of this process until `release`."""

    def __init__(self, root: Path) -> None:
        """Claim the first free shard, made when needed. Blocks for disk writes; raises `OSError`, `SpoolError`."""
        layout.make_folders(root)
        self.root = root
        self.shard, self._lock_fd = _lock_first(root)
        self.folder = layout.shard_folder(root, self.shard)
        try:
            names = layout.segment_names(self.folder)
            self._used = self._highest_used(names)
            _seal_after_dead_writer(self.folder, self.shard, names)
            self.position = PositionFile.create(self.folder, self._used + 1)
        except OSError:
            os.close(self._lock_fd)
            raise

    def next_number(self) -> int:
        """A segment number that was never used in this shard. Blocks for a disk write; raises `OSError`."""
        number = self._used + 1
        os.pwrite(self._lock_fd, b"%020d\n" % number, 0)
        os.fdatasync(self._lock_fd)
        self._used = number
        return number

    def release(self) -> None:
        """Give the shard back. Everything that uses the position must have ended."""
        self.position.close()
        os.close(self._lock_fd)

    def _highest_used(self, names: list[SegmentName]) -> int:
        text = os.pread(self._lock_fd, 32, 0).strip()
        return max(
            int(text) if text.isdigit() else 0,
            names[-1].number if names else 0,
            int(time.time()) - EPOCH_WALL,
        )


def _lock_first(root: Path) -> tuple[int, int]:
    """The first shard that nobody holds, and the descriptor that holds it."""
    for shard in range(queueid.MAX_SHARD + 1):
        folder = layout.shard_folder(root, shard)
        layout.make_folder(folder)
        fd = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            continue
        return shard, fd
    raise SpoolFailed("every shard of the spool is taken")


def _seal_after_dead_writer(folder: Path, shard: int, names: list[SegmentName]) -> None:
    """Mark the end of what the last writer had committed, if it died during this boot.

    What stands behind was refused, or never answered, and its sender tries again. Where the marker cannot be written
    the message may arrive twice, which is no reason not to go on.
    """
    try:
        position = PositionFile.open(folder)
    except (FileNotFoundError, ValueError):
        return
    committed = position.read()
    position.close()
    if committed is None:
        return
    for name in names:
        identity = Identity(shard, name.number, name.seed)
        if name.number == committed.segment:
            offset, marker = committed.offset, identity.end(committed.messages, committed.offset)
        elif name.number > committed.segment:
            offset, marker = 0, identity.end(0, 0)
        else:
            continue
        with contextlib.suppress(OSError):
            _write_marker(folder / name.file, offset, marker)


def _write_marker(path: Path, offset: int, marker: bytes) -> None:
    fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        if os.pread(fd, len(marker), offset) != marker:
            os.pwrite(fd, marker, offset)
            os.fdatasync(fd)
    finally:
        os.close(fd)


def is_claimed(root: Path, shard: int) -> bool:
    """Whether a living writer holds the shard. Takes the lock for a moment only where nobody has it, shared.

    A writer that looks for a shard in that moment takes the next one, which does no harm.
    """
    try:
        return is_locked(layout.shard_folder(root, shard) / "lock")
    except FileNotFoundError:
        return False


def is_locked(path: Path) -> bool:
    """Whether somebody holds the lock on a file exclusively; raises `FileNotFoundError` where there is none."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False
