"""Makes a database of LMDB from the lines that a table of kind file has. What it writes, Postfix's `lmdb:` can read.

The database is made beside the one that is there, is synced, and takes its place by a rename: who reads sees the old
one or the new one, whole. The new one belongs to whom the lines belong, and whoever may read them may read it.
"""

import os
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import BinaryIO

import lmdb

from mta.regular_file import NotRegular, open_regular
from mta.tables.key import folded
from mta.tables.lmdb_file import KEY_BYTES
from mta.tables.text import LINE_BYTES, gather, split

BATCH = 20_000
"""Keys in a transaction: what it changes lies in memory, a page of 4 KiB for each key at worst."""

PROGRESS_LINES = 10_000

MAP_BYTES = 67_108_864
MAP_FACTOR = 40
"""Room for the database, in sizes of its text: the shortest lines take 20 times theirs, pages that are half full and
copies of pages that were changed included."""

FORMAT = 0
"""That of LMDB 0.9, which Postfix reads; 1 would be that of 1.0."""

Progress = Callable[[int, int], None]
"""Told how many bytes of how many have been read."""


class BuildFailed(Exception):
    """No database came about; the message says why, and begins with the file."""


def build(source: str, database: str, progress: Progress) -> int:
    """Make `database` of the lines in `source`; returns how many keys it has. Blocks.

    Raises `BadTable` for faults in the lines, and `BuildFailed`; then what was there is there still.
    """
    folder, name = os.path.split(os.path.realpath(database))  # a link stays one
    try:
        with open_regular(source) as lines:
            return _build(lines, folder, name, progress)
    except NotRegular as error:
        raise BuildFailed(f"{source}: cannot be read: {error.strerror}") from None
    except OSError as error:
        raise BuildFailed(f"{error.filename or database}: {error.strerror or error}") from None
    except lmdb.Error as error:
        raise BuildFailed(f"{database}: cannot be written: {error}") from None


def _build(lines: BinaryIO, folder: str, name: str, progress: Progress) -> int:
    status = os.fstat(lines.fileno())
    fd, new = tempfile.mkstemp(prefix=f".{name}.", dir=folder)
    try:
        count = _write(lines, fd, new, progress)
        if os.geteuid() == 0:
            os.fchown(fd, status.st_uid, status.st_gid)
        os.fchmod(fd, stat.S_IMODE(status.st_mode) & 0o666)
        os.fsync(fd)
        os.rename(new, os.path.join(folder, name))
    except BaseException:
        with suppress(OSError):
            os.unlink(new)
        raise
    finally:
        os.close(fd)
    folder_fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder_fd)
    finally:
        os.close(folder_fd)
    return count


def _write(lines: BinaryIO, fd: int, new: str, progress: Progress) -> int:
    """Write a database to `fd`: without free pages, as a copy of one that has them and has no name any more."""
    scratch = f"{new}.scratch"
    size_bytes = MAP_BYTES + MAP_FACTOR * os.fstat(lines.fileno()).st_size
    try:
        environment = lmdb.open(
            scratch,
            subdir=False,
            lock=False,
            sync=False,
            mode=0o600,
            map_size=size_bytes,
            lib_version=FORMAT,
        )
    finally:
        with suppress(OSError):
            os.unlink(scratch)
    with environment:
        count = _Writer(environment).write(lines, progress)
        environment.copyfd(fd, compact=True)
    return count


class _Writer:
    """Puts entries into an environment, some thousands in a transaction."""

    def __init__(self, environment: lmdb.Environment) -> None:
        self._environment = environment
        self._transaction = environment.begin(write=True)
        self._count = 0

    def write(self, lines: BinaryIO, progress: Progress) -> int:
        """Put all lines; returns how many keys there are. Raises `BadTable`."""
        try:
            gather(_lines(lines, progress), self._take)
        except BaseException:
            self._transaction.abort()
            raise
        self._transaction.commit()
        return self._count

    def _take(self, text: bytes) -> str | None:
        if b"\0" in text:
            return "has a NUL; this is no text file"
        parts = split(text)
        if parts is None:
            return "has a quote that does not end"
        key = folded(parts[0])
        if len(key) >= KEY_BYTES:
            return f"has a key of more than {KEY_BYTES - 1} bytes"
        if not self._transaction.put(key + b"\0", parts[1] + b"\0", overwrite=False):
            return f"{key.decode('utf-8', 'backslashreplace')!r} is there twice"
        self._count += 1
        if self._count % BATCH == 0:
            self._transaction.commit()
            self._transaction = self._environment.begin(write=True)
        return None


def _lines(file: BinaryIO, progress: Progress) -> Iterator[bytes]:
    """The lines without their ends, one that is too long cut behind the bound."""
    total_bytes = os.fstat(file.fileno()).st_size
    seen_bytes = 0
    number = 0
    while line := file.readline(LINE_BYTES + 3):
        seen_bytes += len(line)
        yield line.removesuffix(b"\n").removesuffix(b"\r")
        while line and not line.endswith(b"\n"):
            line = file.readline(LINE_BYTES)
            seen_bytes += len(line)
        number += 1
        if number % PROGRESS_LINES == 0:
            progress(seen_bytes, total_bytes)
