"""Segments as their writer sees them: making, sealing and giving back files; and a supply of them, made ahead."""

import contextlib
import errno
import os
import threading
from collections.abc import Callable
from pathlib import Path

from mta.spool import layout
from mta.spool.claim import Claim
from mta.spool.layout import SegmentName
from mta.spool.record import Identity

PROBE = bytes(4096)  # written to a new file, so that a full disk shows before a message is taken
FILL = bytes(1024 * 1024)  # one write of many, when a file is filled ahead of its records


class SegmentFile:
    """A segment open for writing, and how far it is.

    `end` is where the next record goes, `committed` up to where all is synced (bytes), `messages` how many of them.
    `left` is set when nothing more comes for it, `abandoned` when that is because a write failed. `grows` tells that
    its file has no blocks yet where the next records go, which makes each sync dearer.
    """

    __slots__ = ("abandoned", "committed", "end", "fd", "grows", "identity", "left", "messages", "path", "recycled")

    def __init__(self, path: Path, identity: Identity, fd: int, *, recycled: bool) -> None:
        self.path = path
        self.identity = identity
        self.fd = fd
        self.recycled = recycled
        self.grows = not recycled
        self.end = 0
        self.committed = 0
        self.messages = 0
        self.left = False
        self.abandoned = False

    @classmethod
    def absent(cls, claim: Claim) -> "SegmentFile":
        """What a writer has instead of a segment when none can be made."""
        segment = cls(claim.folder, Identity(claim.shard, 0, 0), -1, recycled=False)
        segment.abandoned = True
        return segment

    @classmethod
    def create(cls, claim: Claim, *, fill_bytes: int = 0, is_urgent: Callable[[], bool] = bool) -> "SegmentFile":
        """The next segment of a claimed shard, in a free file where there is one. Its name will last.

        A new file is filled with `fill_bytes` of zeros, so that records overwrite instead of growing it; where there
        is no room for that, or `is_urgent` says that there is no time, it grows. Blocks for disk writes; raises
        `OSError` and then leaves nothing behind.
        """
        name = SegmentName(claim.next_number(), int.from_bytes(os.urandom(8), "little"))
        path = claim.folder / name.file
        recycled = _take_free(claim.root, path)
        flags = os.O_WRONLY | os.O_CLOEXEC | (0 if recycled else os.O_CREAT | os.O_EXCL)
        identity = Identity(claim.shard, name.number, name.seed)
        segment = cls(path, identity, os.open(path, flags, 0o600), recycled=recycled)
        try:
            if not recycled:
                _write_whole(segment.fd, PROBE, 0)
                segment.grows = not (fill_bytes and _fill(segment.fd, fill_bytes, is_urgent))
                os.fdatasync(segment.fd)
            layout.sync_folder(claim.folder)
        except OSError:
            segment.discard(claim.root)
            raise
        return segment

    def end_marker(self) -> bytes:
        """The record that says: nothing behind what is committed now."""
        return self.identity.end(self.messages, self.committed)

    def seal(self) -> None:
        """Make sure that nothing behind the committed end is ever read, and close. Blocks; raises `OSError`.

        Where the marker cannot be written, the file is cut instead.
        """
        try:
            _write_whole(self.fd, self.end_marker(), self.committed)
            os.fdatasync(self.fd)
        except OSError:
            os.ftruncate(self.fd, self.committed)
            os.fsync(self.fd)
        self.close()

    def discard(self, root: Path) -> None:
        """Close a segment in which nothing is committed, and give its file back. Does not sync."""
        self.close()
        if self.recycled:
            os.rename(self.path, layout.free_folder(root) / layout.free_segment_name())
        else:
            os.unlink(self.path)

    def close(self) -> None:
        """Close the file."""
        os.close(self.fd)


def _write_whole(fd: int, data: bytes, offset: int) -> None:
    """Write a small piece; one that is cut short means that the disk is full."""
    if os.pwrite(fd, data, offset) != len(data):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _fill(fd: int, size_bytes: int, is_urgent: Callable[[], bool]) -> bool:
    """Fill a new file with zeros, in steps that each reach the disk, so that it can be stopped; whether all was filled.

    Where the disk has no room for it, all but the beginning is given back.
    """
    try:
        for offset in range(0, size_bytes, len(FILL)):
            if is_urgent():
                return False
            _write_whole(fd, FILL, offset)
            os.fdatasync(fd)
    except OSError:
        os.ftruncate(fd, len(PROBE))
        return False
    return True


def _take_free(root: Path, path: Path) -> bool:
    """Rename a free segment file to `path`; false where there is none. Others may take one at the same time."""
    for name in layout.free_segments(root):
        try:
            os.rename(layout.free_folder(root) / name, path)
        except FileNotFoundError:
            continue
        return True
    return False


class Supply:
    """The next segment, prepared on a thread of its own so that its owner never waits for names to reach the disk.

    It also seals segments in which a write failed: no new one is handed out before that is done. The methods belong to
    one thread and do not block, except where they say so.
    """

    def __init__(self, claim: Claim, fill_bytes: int = 0) -> None:
        """`fill_bytes`: how much of a new file is filled ahead."""
        self._claim = claim
        self._fill_bytes = fill_bytes
        self._thread: threading.Thread | None = None
        self._urgent = threading.Event()  # somebody waits
        self._ready: SegmentFile | None = None
        self._failure: OSError | None = None
        self._abandoned: list[SegmentFile] = []

    def start(self) -> None:
        """Begin to prepare a segment, unless that is under way or done. An earlier failure is forgotten."""
        if not self.busy() and (self._ready is None or self._abandoned):
            self._failure = None
            self._thread = threading.Thread(target=self._prepare, name="spool-supply", daemon=True)
            self._thread.start()

    def abandon(self, segment: SegmentFile) -> None:
        """Have a segment sealed by the next preparation; nobody else may use it from now on."""
        if not segment.abandoned:
            segment.abandoned = True
            self._abandoned.append(segment)

    def busy(self) -> bool:
        """Whether a preparation is under way."""
        if self._thread is not None and not self._thread.is_alive():
            self._thread.join()
            self._thread = None
        return self._thread is not None

    def is_ready(self) -> bool:
        """Whether `take` would give a segment."""
        return self._ready is not None and not self._abandoned and not self.busy()

    def wait(self, timeout_s: float) -> None:
        """Block until no preparation is under way, or for `timeout_s`. One that is filling a file leaves it at that."""
        if self._thread is not None:
            self._urgent.set()
            self._thread.join(timeout_s)
            self._urgent.clear()

    def take(self) -> SegmentFile | None:
        """The prepared segment, or None while there is none. Raises `OSError`, once, when preparing it failed."""
        if self.busy():
            return None
        if self._failure is not None:
            failure, self._failure = self._failure, None
            raise failure
        if self._abandoned:
            return None
        segment, self._ready = self._ready, None
        return segment

    def close(self) -> None:
        """Wait for the thread, try once more to seal what is not sealed, and give back what nobody took. Blocks."""
        if self._thread is not None:
            self._urgent.set()
            self._thread.join()
            self._thread = None
        for segment in self._abandoned:
            try:
                segment.seal()
            except OSError:
                segment.close()  # its tail counts as that of a crashed writer: the manual's crash table has it
        self._abandoned.clear()
        if self._ready is not None:
            with contextlib.suppress(OSError):  # an empty segment that stays behind does no harm
                self._ready.discard(self._claim.root)
            self._ready = None

    def _prepare(self) -> None:
        try:
            while self._abandoned:
                self._abandoned[0].seal()
                del self._abandoned[0]
            if self._ready is None:
                self._ready = SegmentFile.create(
                    self._claim, fill_bytes=self._fill_bytes, is_urgent=self._urgent.is_set
                )
        except OSError as error:
            self._failure = error
