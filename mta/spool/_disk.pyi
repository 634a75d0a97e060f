"""The disk thread, for callers and for mypy; how it works stands in `_disk.pyx`."""

from collections.abc import Iterable

from typing_extensions import Buffer

NO_SYNC: int  # write only
RANGE_SYNC: int  # what this job writes is on the disk, with all that is needed to read it back (RWF_DSYNC)
DATA_SYNC: int  # everything ever written to the file is (fdatasync)
FULL_SYNC: int  # fsync: for folders, whose entries fdatasync may leave out
CAPACITY: int  # jobs that fit in at once, uncollected ones included

class DiskThread:
    """A native thread that writes and syncs, one job after the other.

    `wake_fd` is an eventfd that is written after each published position (-1: none). `position` is writable memory of
    at least three aligned 8-byte words. All methods belong to one Python thread; none blocks but `close`.
    """

    def __init__(self, *, wake_fd: int = -1, position: Buffer | None = None) -> None: ...
    def submit(
        self, fd: int, offset: int, buffers: Iterable[bytes], sync: int, publish: tuple[int, int, int] | None = None
    ) -> int:
        """Queue a job and return its ticket (they count up from 0). Nothing is copied but pointers.

        Writes `buffers` one behind the other at `offset` (bytes), then syncs as `sync` says; without buffers it only
        syncs. After success, and only then, stores `publish` into the position and wakes. Buffers are kept alive until
        the completion has been collected; the caller keeps `fd` open until then. Raises `BlockingIOError` when the ring
        is full and `ValueError` when the thread is closed.
        """

    def room(self) -> int:
        """How many more jobs fit in now."""

    def completions(self) -> list[tuple[int, int]]:
        """The jobs that ended since the last call, in order, as (ticket, errno); errno 0 is success."""

    def fileno(self) -> int:
        """An eventfd that is readable while completions wait to be collected."""

    def close(self) -> None:
        """Do what is queued, end the thread, let go of the position. Blocks. Uncollected completions are dropped."""

def load(words: Buffer, index: int) -> int:
    """One 8-byte word of a mapped position, read in one piece and with acquire order."""
