"""Locks of an mbox file: both kinds that programs respect, and what to do with those of the dead.

A dot lock is a file `NAME.lock` beside the mailbox, made with O_EXCL. One of ours is held open and locked itself, so
that the one of a process that died is known at once, and taken over; a foreign one counts as left behind after
`STALE_S`. A lock of fcntl is taken on the mailbox itself (`mta.record_lock`).
"""

import os
import stat
from contextlib import suppress

from mta.record_lock import lock

STALE_S = 500.0  # Postfix's stale_lock_time
OURS = b"mta\n"
MODE = 0o600
MAILBOX_FLAGS = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


class NotAMailbox(OSError):
    """What stands in the mailbox's place is no plain file of its own."""


class DotLock:
    """A dot lock that is held."""

    def __init__(self, name: str, folder_fd: int, fd: int) -> None:
        """Takes over `fd`, the locked lock file `name` in the folder."""
        self._name = name
        self._folder_fd = folder_fd
        self._fd = fd

    @classmethod
    def take(cls, mailbox: str, folder_fd: int, now_wall: float) -> "DotLock | None":
        """The lock of the mailbox, or None while another has it. Raises `OSError` where there can be none."""
        name = f"{mailbox}.lock"
        while True:
            try:
                return cls(name, folder_fd, _made(name, folder_fd))
            except FileExistsError:
                fd = _left_behind(name, folder_fd, now_wall)
            if fd != _GONE:
                return cls(name, folder_fd, fd) if fd >= 0 else None

    def release(self) -> None:
        """Let go of it."""
        with suppress(OSError):
            os.unlink(self._name, dir_fd=self._folder_fd)
        os.close(self._fd)


def _made(name: str, folder_fd: int) -> int:
    """A new lock file, locked. Raises `FileExistsError`, and other `OSError` where there can be none.

    It gets its name last: one that does not say yet that it is ours would count as a foreign one, should we be killed.
    """
    try:
        fd = os.open(".", os.O_RDWR | os.O_TMPFILE | os.O_CLOEXEC, MODE, dir_fd=folder_fd)
    except OSError:  # a file system that has no files without names
        return _made_at_once(name, folder_fd)
    try:
        _claim(fd)
        os.link(f"/proc/self/fd/{fd}", name, dst_dir_fd=folder_fd, follow_symlinks=True)
    except BaseException:
        os.close(fd)
        raise
    return fd


def _made_at_once(name: str, folder_fd: int) -> int:
    """As `_made`, the other way round."""
    fd = os.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, MODE, dir_fd=folder_fd)
    try:
        _claim(fd)
    except BaseException:
        DotLock(name, folder_fd, fd).release()
        raise
    return fd


def _claim(fd: int) -> None:
    if not lock(fd):  # nobody locks what does not say yet that it is ours
        raise BlockingIOError(0, "the lock file is locked")
    os.write(fd, OURS)


_GONE = -2  # there is no lock file any more
_HELD = -1


def _left_behind(name: str, folder_fd: int, now_wall: float) -> int:
    """A lock file that is nobody's, locked and ours from now on; `_HELD` or `_GONE` where it is not."""
    try:
        fd = os.open(name, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder_fd)
    except FileNotFoundError:
        return _GONE
    taken = False
    try:
        is_ours = stat.S_ISREG(os.fstat(fd).st_mode) and os.pread(fd, len(OURS) + 1, 0) == OURS
        if is_ours and lock(fd):
            taken = _is_at(fd, name, folder_fd)
            return fd if taken else _GONE
        if not is_ours and now_wall - os.fstat(fd).st_mtime > STALE_S and _is_at(fd, name, folder_fd):
            os.unlink(name, dir_fd=folder_fd)
            return _GONE
    except FileNotFoundError:
        return _GONE
    finally:
        if not taken:
            os.close(fd)
    return _HELD


def open_mailbox(name: str, folder_fd: int) -> int:
    """Open a mailbox, made where it is absent, and lock it. Returns its descriptor, or -1 while another has it locked.

    Raises `NotAMailbox` for links and anything but plain files with
    one name, other `OSError` as they come.
    """
    while True:
        fd = os.open(name, MAILBOX_FLAGS, MODE, dir_fd=folder_fd)
        try:
            found = os.fstat(fd)
            if not stat.S_ISREG(found.st_mode) or found.st_nlink > 1:
                raise NotAMailbox(0, "not a plain file with one name")
            if not lock(fd):
                os.close(fd)
                return -1
            if _is_at(fd, name, folder_fd):
                return fd
        except BaseException:
            os.close(fd)
            raise
        os.close(fd)  # replaced while we opened it


def _is_at(fd: int, name: str, folder_fd: int) -> bool:
    """Whether the name still is that of the open file."""
    try:
        found = os.stat(name, dir_fd=folder_fd, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return os.path.samestat(found, os.fstat(fd))
