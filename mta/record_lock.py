"""Locks on an open file, or on a range of its bytes, that belong to the open file (F_OFD_SETLK) and not to the process.

They conflict with those that other programs take with fcntl or lockf, and work between our own threads. Closing another
descriptor of the same file does not lose them; closing this one, or the end of the process, does. Nothing waits here. A
`length` of 0 is all that is behind `start`.
"""

import fcntl
import os
import struct

_FLOCK = struct.Struct("hhqqi4x")  # struct flock of 64-bit Linux
_UNLOCKED = struct.pack("h", fcntl.F_UNLCK)


def lock(fd: int, start: int = 0, length: int = 0) -> bool:
    """Lock for ourselves alone; returns whether it could be. Raises `OSError` where there are no locks."""
    return _set(fd, fcntl.F_WRLCK, start, length)


def lock_shared(fd: int) -> bool:
    """Lock the whole file for all who do the same; returns whether it could be. Raises as `lock` does."""
    return _set(fd, fcntl.F_RDLCK, 0, 0)


def unlock(fd: int, start: int = 0, length: int = 0) -> None:
    """Let go of it."""
    _set(fd, fcntl.F_UNLCK, start, length)


def is_locked(fd: int, start: int = 0, length: int = 0) -> bool:
    """Whether somebody else has a lock of any kind on one of the bytes."""
    asked = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, start, length, 0)
    return not fcntl.fcntl(fd, fcntl.F_OFD_GETLK, asked).startswith(_UNLOCKED)


def _set(fd: int, kind: int, start: int, length: int) -> bool:
    try:
        fcntl.fcntl(fd, fcntl.F_OFD_SETLK, _FLOCK.pack(kind, os.SEEK_SET, start, length, 0))
    except (BlockingIOError, PermissionError):  # EAGAIN or EACCES, as POSIX leaves open: somebody else has it
        return False
    return True
