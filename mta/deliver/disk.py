"""The file operations of mailboxes, one method each, so that a test can see their order and make one fail.

All take names relative to an open folder and follow no symbolic link at the last component. All block; all raise
`OSError`, but those for many files, which return an errno for each: 0 where it went well.
"""

import ctypes
import errno
import os
from collections.abc import Sequence
from contextlib import suppress

from mta.deliver import _files
from mta.deliver._files import FILE_MODE

FOLDER_MODE = 0o700

_libc = ctypes.CDLL(None, use_errno=True)


class Disk:
    """The real thing. Stateless; any thread may use it."""

    def open_folder(self, name: str, parent_fd: int) -> int:
        """A descriptor of the folder `name`; a symbolic link is refused with ENOTDIR."""
        return os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent_fd)

    def make_folder(self, name: str, parent_fd: int) -> None:
        """Create a folder; one that exists already is no error."""
        with suppress(FileExistsError):
            os.mkdir(name, FOLDER_MODE, dir_fd=parent_fd)

    def store(self, files: Sequence[tuple[int, str, bytes, bytes]], *, sync: bool) -> list[int]:
        """Write a new file for each (descriptor of its folder, name, what comes first, what follows).

        With `sync` the content of each is put on disk. A file that fails is removed.
        """
        return _files.store(files, sync)

    def move(self, files: Sequence[tuple[str, int, int]]) -> list[int]:
        """Move each (name, descriptor of the folder it is in, of the one it goes to) within a file system."""
        return _files.move(files)

    def create(self, name: str, folder_fd: int) -> int:
        """Create the file `name`, which must not exist, and open it for writing."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        return os.open(name, flags, FILE_MODE, dir_fd=folder_fd)

    def write(self, fd: int, pieces: Sequence[bytes]) -> None:
        """Write all of `pieces` at the current position."""
        wanted = sum(map(len, pieces))
        written = os.writev(fd, pieces)
        if written < wanted:  # the disk is nearly full, or a signal came: go on, and learn which
            rest = memoryview(b"".join(pieces))[written:]
            while rest:
                count = os.write(fd, rest)
                if not count:
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                rest = rest[count:]

    def sync_file(self, fd: int) -> None:
        """Put the content of one file on disk."""
        os.fdatasync(fd)

    def sync_filesystem(self, fd: int) -> None:
        """Put everything on disk that was written to the file system of `fd`, names included.

        Reports a failed write-back of any file since `fd` was opened (Linux 5.8; before, failures go unseen).
        """
        if _libc.syncfs(fd):
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))

    def sync_folder(self, fd: int) -> None:
        """Put the names in a folder on disk."""
        os.fsync(fd)

    def unlink(self, name: str, folder_fd: int) -> None:
        """Remove a file."""
        os.unlink(name, dir_fd=folder_fd)

    def close(self, fd: int) -> None:
        """Close a descriptor."""
        os.close(fd)
