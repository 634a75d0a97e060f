"""Large bodies: messages that stream into files of their own while they arrive.

How a server uses them, with `bodies = writer.bodies`:

1. `body = bodies.open()` when a message grows over the limit; then `body.write(chunks)` with what is there and, later,
   with what comes. Nothing is copied and nothing blocks. While `body.outstanding_bytes` is over your bound, wait.
2. Waiting is: `bodies.fileno()` becomes readable; call `bodies.collect()`, which returns the bodies that something
   happened to, each with its error or None; wake who waits for one of these. Then look again.
3. `body.finish(hash)` behind the last `write`; wait as in 2 until `body.durable`; then `writer.append_large`.
4. `body.abort()` at any time instead: the message is refused, the connection ends, the body has an error.

A body has at most one job in the disk thread; what is written meanwhile is the next one. Jobs of different bodies share
the thread.
"""

import enum
import fcntl
import os
from collections import deque
from collections.abc import Sequence
from pathlib import Path

from mta.errors import SpoolError
from mta.spool import layout
from mta.spool._disk import DATA_SYNC, FULL_SYNC, NO_SYNC
from mta.spool.disk import Disk, translate


class _Step(enum.Enum):
    OPEN = enum.auto()  # no job in the disk thread
    WRITING = enum.auto()
    SYNCING = enum.auto()  # what was left to write, and the sync of the file
    SYNCED = enum.auto()  # the file is, its name not yet
    NAMING = enum.auto()  # the sync of the folder, for a file that is new
    DURABLE = enum.auto()
    FAILED = enum.auto()
    CLOSED = enum.auto()


_BUSY = (_Step.WRITING, _Step.SYNCING, _Step.NAMING)


class LargeBody:
    """One body on its way to the disk. `number` is that of its file; `error` says why it failed."""

    def __init__(self, bodies: "LargeBodies", number: int, fd: int, *, recycled: bool) -> None:
        """Made by `LargeBodies.open` only."""
        self.number = number
        self.error: SpoolError | None = None
        self._bodies = bodies
        self._fd = fd
        self._recycled = recycled
        self._step = _Step.OPEN
        self._queued: list[bytes] = []
        self._queued_bytes = 0
        self._flight_bytes = 0
        self._written_bytes = 0
        self._hash: int | None = None
        self._aborted = False

    @property
    def outstanding_bytes(self) -> int:
        """Bytes given to `write` that are still held in memory."""
        return self._queued_bytes + self._flight_bytes

    @property
    def durable(self) -> bool:
        """Whether the whole body is on the disk, and its name too."""
        return self._step is _Step.DURABLE

    def write(self, chunks: Sequence[bytes]) -> None:
        """Add to the end of the body. The chunks are kept, not copied. Raises the body's error when it has failed."""
        self._check_open()
        self._queued += chunks
        self._queued_bytes += sum(map(len, chunks))
        self._bodies.advance(self)

    def finish(self, body_hash: int) -> None:
        """Nothing more comes: sync. `body_hash` is the xxh3_64 (intdigest) of the body. Raises as `write` does."""
        self._check_open()
        self._hash = body_hash
        self._bodies.advance(self)

    def abort(self) -> None:
        """Give the body up, and its file back as soon as no job needs it. Harmless when that was done before."""
        if self._step is not _Step.CLOSED and not self._aborted:
            self._aborted = True
            self._queued = []
            self._queued_bytes = 0
            self._bodies.advance(self)

    def facts(self) -> tuple[int, int, int]:
        """Length (bytes), file and hash, for the record; raises `ValueError` while the body is not durable."""
        if self._step is not _Step.DURABLE or self._hash is None:
            raise ValueError("a record names a durable body only")
        return self._written_bytes, self.number, self._hash

    def close(self) -> None:
        """Let go of the file: a record that is on the disk names it now."""
        if self._step is not _Step.CLOSED:
            self._step = _Step.CLOSED
            os.close(self._fd)

    def _check_open(self) -> None:
        if self.error is not None:
            raise self.error.with_traceback(None)
        if self._hash is not None or self._aborted or self._step is _Step.CLOSED:
            raise ValueError("this body has ended")


class LargeBodies:
    """The large bodies of one writer, and the disk thread that they share. Nothing here blocks for the disk but `open`
    (for a name in a folder) and `close`."""

    def __init__(self, root: Path, disk: Disk) -> None:
        self._root = root
        self._disk = disk
        self._folder_fd = os.open(layout.bodies_folder(root), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._jobs: dict[int, LargeBody] = {}
        self._waiting: deque[LargeBody] = deque()  # for room in the disk thread
        self._free: list[int] = []  # free files, as of the last look

    def open(self) -> LargeBody:
        """Begin a body, in a free file where there is one. Raises `SpoolError`."""
        try:
            return self._take_free() or self._create()
        except OSError as error:
            raise translate(error) from error

    def fileno(self) -> int:
        """An eventfd, readable when `collect` has something to do."""
        return self._disk.fileno()

    def collect(self) -> list[tuple[LargeBody, SpoolError | None]]:
        """Take note of what the disk thread has done; returns the bodies concerned, each with its error or None."""
        news: list[tuple[LargeBody, SpoolError | None]] = []
        for ticket, failure in self._disk.completions():
            body = self._jobs.pop(ticket)
            self._end_job(body, failure)
            self.advance(body)
            news.append((body, body.error))
        for _ in range(min(len(self._waiting), self._disk.room())):
            self.advance(self._waiting.popleft())
        return news

    def advance(self, body: LargeBody) -> None:
        """Submit the body's next job, if it has none in the disk thread and there is something to do."""
        if body._step in _BUSY:
            return
        if body._aborted:
            self._clear_away(body)
        elif body._step is _Step.SYNCED or (body._step is _Step.OPEN and (body._queued or body._hash is not None)):
            if self._disk.room():
                self._submit(body)
            elif body not in self._waiting:
                self._waiting.append(body)

    def close(self) -> None:
        """End the disk thread behind its last job. Bodies that no record names are given up."""
        self._disk.close()
        os.close(self._folder_fd)

    def _submit(self, body: LargeBody) -> None:
        if body._step is _Step.SYNCED:
            body._step = _Step.NAMING
            ticket = self._disk.submit(self._folder_fd, 0, (), FULL_SYNC)
        else:
            chunks, body._queued = body._queued, []
            body._flight_bytes, body._queued_bytes = body._queued_bytes, 0
            last = body._hash is not None
            body._step = _Step.SYNCING if last else _Step.WRITING
            ticket = self._disk.submit(body._fd, body._written_bytes, chunks, DATA_SYNC if last else NO_SYNC)
        self._jobs[ticket] = body

    def _end_job(self, body: LargeBody, failure: int) -> None:
        body._written_bytes += body._flight_bytes
        body._flight_bytes = 0
        if failure:
            body._step = _Step.FAILED
            body.error = translate(OSError(failure, ""))
            body._queued = []
            body._queued_bytes = 0
        elif body._step is _Step.WRITING:
            body._step = _Step.OPEN
        elif body._step is _Step.SYNCING and not body._recycled:
            body._step = _Step.SYNCED
        else:
            body._step = _Step.DURABLE

    def _take_free(self) -> LargeBody | None:
        """A body in a free file, or None when there is none.

        Only files freed during this boot: the name of another one may be a name from before the power failed.
        """
        stamp = layout.boot_stamp()
        if not self._free:
            self._free = [number for number, boot in layout.free_bodies(self._root) if boot == stamp]
        while self._free:
            number = self._free.pop()
            name = layout.free_body_name(number, stamp)
            body = self._take(number, layout.free_folder(self._root) / name, os.O_WRONLY, recycled=True)
            if body is not None:
                return body
        return None

    def _create(self) -> LargeBody:
        while True:
            number = int.from_bytes(os.urandom(8), "little") or 1
            path = layout.free_folder(self._root) / layout.new_body_name(number)
            body = self._take(number, path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, recycled=False)
            if body is not None:
                return body

    def _take(self, number: int, path: Path, flags: int, *, recycled: bool) -> LargeBody | None:
        """Open, lock and rename a file; None when somebody else was faster.

        The lock tells the queue manager that a body which no record names is not an orphan but has a writer. It is
        taken before the file gets its name among the bodies.
        """
        try:
            fd = os.open(path, flags | os.O_CLOEXEC, 0o600)
        except FileNotFoundError:
            return None
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.rename(path, layout.bodies_folder(self._root) / layout.body_name(number))
        except (BlockingIOError, FileNotFoundError):
            os.close(fd)
            return None
        except OSError:
            os.close(fd)
            raise
        return LargeBody(self, number, fd, recycled=recycled)

    def _clear_away(self, body: LargeBody) -> None:
        """Give back the file of a body that was given up.

        One that is new is deleted: only files whose names last may be used again without a sync of the folder.
        """
        if body._step is _Step.CLOSED:
            return
        path = layout.bodies_folder(self._root) / layout.body_name(body.number)
        try:
            if body._recycled and body.error is None:
                os.rename(
                    path, layout.free_folder(self._root) / layout.free_body_name(body.number, layout.boot_stamp())
                )
            else:
                os.unlink(path)
        except OSError:
            pass  # it stays as an orphan, which the queue manager clears away when it starts
        body.close()
