"""An LMDB database in one file, for reading: what Postfix's `postmap lmdb:` and `mta table build` write.

Keys and values may end with a NUL, as Postfix writes them, or not. Pages are read where the system has them in memory,
once for all processes; what is not in memory is waited for, as with any page fault. Knows neither gevent nor a clock.

LMDB's own lock file is not used, nor is it by Postfix: readers would have to write to it. A writer that works in place
must not use pages anew that somebody still reads, and Postfix keeps it from that with a lock on the database: shared
for a look-up, exclusive for a moment before the writing begins. So does this module, with locks of `mta.record_lock`,
which nothing else in the process can lose.

LMDB trusts what it reads. A file that is cut while it is mapped ends the process that reads behind its end; so its size
is looked at before each look-up, and a file that is shorter than it says is not read. What is left is the instant
between the two, for those who copy over a database; to rename is safe. With content that was damaged otherwise, LMDB
mostly finds out, and sometimes reads nonsense.
"""

import os
import stat
import weakref

import lmdb

from mta.record_lock import lock_shared, unlock
from mta.regular_file import NotRegular, without_waiting
from mta.tables.answer import VALUE_BYTES, checked

KEY_BYTES = 511
"""Longest key of LMDB as it is built everywhere, the NUL included."""

MAP_BYTES = 67_108_864  # at least; one that is full is made anew, so that a database can grow where it is
TAIL_PAGES = 16
"""So many of the last pages may be missing: LMDB does not write what one transaction both took and gave back."""

Identity = tuple[int, int]


class Locked(Exception):
    """Somebody is about to write; a moment later this is over."""


class Database:
    """An open file. Not to be used in a process that was forked since."""

    def __init__(self, path: str) -> None:
        """Raises `OSError` where there is no database, or none that is whole. Blocks on the disk."""
        fd = without_waiting(path, os.O_RDONLY | os.O_CLOEXEC)
        self._fd = fd
        self._close_fd = weakref.finalize(self, os.close, fd)
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            raise NotRegular
        self.identity: Identity = (status.st_dev, status.st_ino)
        self._size_bytes = 0
        self._changed_ns = -1
        self._environment = _opened(fd, status.st_size)
        try:
            self._page_bytes = self._environment.stat()["psize"]
            self._check(status)
        except BaseException:
            self.close()
            raise

    def get(self, key: bytes) -> bytes | None:
        """The value of a key, without the NUL at its end. Takes microseconds, and a page fault where it must.

        Raises `Locked`; `TableDown` for a value that is too long; and `OSError` where the database is of no use any
        more. Then it is closed, and may be good when it is opened anew.
        """
        if not 0 < len(key) < KEY_BYTES:
            return None
        self._take_lock()
        try:
            status = os.fstat(self._fd)
            if status.st_mtime_ns != self._changed_ns or status.st_size != self._size_bytes:
                self._check(status)
            found = self._look_up(key)
            unlock(self._fd)
        except (OSError, lmdb.Error) as error:
            self.close()
            raise OSError(0, _words(error)) from None
        return None if found is None else checked(found)

    @property
    def is_closed(self) -> bool:
        """Whether it is of no use any more."""
        return not self._close_fd.alive

    def close(self) -> None:
        """Let go of the file, and of a lock."""
        self._environment.close()
        self._close_fd()

    def _look_up(self, key: bytes) -> bytes | None:
        with self._environment.begin(buffers=True) as transaction:
            found = transaction.get(key + b"\0")
            if found is None:
                found = transaction.get(key)
            return None if found is None else bytes(found[: VALUE_BYTES + 2]).removesuffix(b"\0")

    def _take_lock(self) -> None:
        if self.is_closed:  # by another table that has it
            raise OSError(0, "it was closed")
        if not lock_shared(self._fd):
            raise Locked

    def _check(self, status: os.stat_result) -> None:
        """Raise `OSError` unless the file is as long as it has to be; LMDB never makes one shorter."""
        size_bytes = status.st_size
        if size_bytes < max(self._size_bytes, 2 * self._page_bytes):
            raise OSError(0, "it was cut while it was in use")
        pages = self._environment.info()["last_pgno"] + 1
        if size_bytes < (pages - TAIL_PAGES) * self._page_bytes:
            raise OSError(0, f"it is cut: {size_bytes} bytes of {pages * self._page_bytes}")
        self._size_bytes = size_bytes
        self._changed_ns = status.st_mtime_ns


_OPEN: "weakref.WeakValueDictionary[Identity, Database]" = weakref.WeakValueDictionary()
"""What this process has open: LMDB opens no file twice, and two tables may have the same."""


def open_database(path: str) -> Database:
    """The database in a file; the same one as before while somebody uses it. Raises as `Database` does."""
    status = os.stat(path)
    database = _OPEN.get((status.st_dev, status.st_ino))
    if database is None or database.is_closed:
        database = Database(path)
        _OPEN[database.identity] = database
    return database


def check_file(path: str) -> list[str]:
    """What is wrong with a database, as `file: what is wrong`. Blocks."""
    try:
        open_database(path)
    except OSError as error:
        return [told(path, error)]
    return []


def told(path: str, error: OSError) -> str:
    """What is wrong, in a sentence that begins with the file."""
    return f"{path}: {error.strerror or error}"


def _opened(fd: int, size_bytes: int) -> lmdb.Environment:
    """The environment in an open file, whatever file has its name by now. Raises `OSError`."""
    try:
        return lmdb.open(
            f"/proc/self/fd/{fd}",
            subdir=False,
            readonly=True,
            create=False,
            lock=False,
            readahead=False,  # keys are all over the place
            max_spare_txns=1,
            map_size=max(MAP_BYTES, 2 * size_bytes),
        )
    except lmdb.Error as error:
        raise OSError(0, _words(error)) from None


def _words(error: OSError | lmdb.Error) -> str:
    """What is wrong, without the path that LMDB was told."""
    if isinstance(error, OSError):
        return error.strerror or str(error)
    if isinstance(error, lmdb.InvalidError | lmdb.VersionMismatchError):
        return "it is no database of LMDB"
    return f"LMDB: {str(error).rpartition('/')[2]}"
