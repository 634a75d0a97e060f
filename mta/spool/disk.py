"""The disk as the writing side sees it: what is used of the disk thread, and what its failures mean."""

import errno
from collections.abc import Iterable
from typing import Protocol

from mta.errors import SpoolError, SpoolFailed, SpoolFull

FULL_ERRORS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG})


class Disk(Protocol):
    """What is used of `mta.spool._disk.DiskThread`; tests put in one that fails."""

    def submit(
        self, fd: int, offset: int, buffers: Iterable[bytes], sync: int, publish: tuple[int, int, int] | None = None
    ) -> int:
        """Queue a job; returns its ticket."""

    def room(self) -> int:
        """How many more jobs fit in now."""

    def completions(self) -> list[tuple[int, int]]:
        """The jobs that ended, as (ticket, errno)."""

    def fileno(self) -> int:
        """Readable while there are completions."""

    def close(self) -> None:
        """Do what is queued and end."""


def translate(error: OSError) -> SpoolError:
    """What the system said, as an error of the spool."""
    kind = SpoolFull if error.errno in FULL_ERRORS else SpoolFailed
    name = errno.errorcode.get(error.errno or 0, "unknown")
    return kind(f"the spool cannot be written ({name})")
