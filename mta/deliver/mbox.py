"""The transport that appends to mbox files.

A batch is sorted by file. Each file is locked, gets all its messages, is synced once, and only then the outcomes are
reported. A message that cannot be written whole is taken out again, by cutting the file to where it was; when the sync
fails, everything of this batch is. Files that another program has locked are tried again until `LOCK_S` have passed.

A process that is killed between write and sync leaves what it has written, perhaps half a message; it is delivered
again, whole, behind that. Nothing that was reported as delivered is touched by it.
"""

import errno
import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from time import monotonic, sleep, time

from mta.deliver.attempt import DELIVERED_CODE, Work
from mta.deliver.disk import Disk
from mta.deliver.fields import envelope_fields
from mta.deliver.mailbox import Folders, Layout, open_root
from mta.deliver.mbox_format import Quoter, separator
from mta.deliver.mbox_lock import DotLock, NotAMailbox, open_mailbox
from mta.deliver.messages import Message, Messages
from mta.deliver.threads import Ended, Threads
from mta.envelope import Envelope
from mta.errors import SpoolError
from mta.ipc import DEFERRED, DELIVERED, Result

THREADS = 2  # one writes while the other syncs
BATCH = 64  # recipients
LOCK_S = 5.0  # a batch waits so long, at most, for files that others have locked
LOCK_PAUSE_S = 0.05

# What can be wrong with a mailbox or its disk; anything else is 4.3.0.
_ERROR_CODES = {
    errno.ENOSPC: "4.3.1",
    errno.EDQUOT: "4.2.2",
    errno.EFBIG: "4.2.2",
    errno.ENOTDIR: "4.3.5",
    errno.EISDIR: "4.3.5",
    errno.ELOOP: "4.3.5",
    errno.ENAMETOOLONG: "4.3.5",
    errno.EACCES: "4.3.5",
}

Place = tuple[tuple[str, ...], str]
"""A mailbox: the folders down from the root, and the name of the file."""


class _Item:
    """One message for one recipient; `result` or `error` stands when its file is through with it."""

    __slots__ = ("error", "message", "recipient", "result")

    def __init__(self, message: Message, recipient: int) -> None:
        self.message = message
        self.recipient = recipient
        self.result: Result | None = None
        self.error: SpoolError | None = None

    def deferred(self, code: str, text: str) -> None:
        """Another attempt may do better."""
        self.result = Result(self.recipient, DEFERRED, code, f"mailbox: {text}")


class Places:
    """Where the mailbox of a recipient is."""

    def __init__(self, template: str, home: str) -> None:
        """`template` is absolute; its last component names the file. `home` is the domain of those who name none."""
        self._fixed: Place | None = None
        if "{" in template:
            self._layout = Layout(template, home)
            self.root = self._layout.root
        else:
            self.root, name = os.path.split(template)
            self._fixed = ((), name)

    def of(self, recipient: bytes) -> Place:
        """The mailbox; every component is a safe file name."""
        if self._fixed is not None:
            return self._fixed
        *folders, name = self._layout.folders(recipient)
        if name.endswith(".lock"):  # joe.lock is the lock of joe
            name = name.removesuffix(".lock") + "%2elock"
        return tuple(folders), name


class MboxWriter:
    """Writes batches. One native thread's own."""

    def __init__(self, places: Places, root_fd: int, messages: Messages, disk: Disk) -> None:
        """`root_fd` stays the caller's."""
        self._places = places
        self._root_fd = root_fd
        self._messages = messages
        self._disk = disk

    def deliver(self, works: list[Work]) -> list[Ended]:
        """Deliver every work to all its recipients. Blocks for disk and locks; raises nothing that a disk can cause."""
        files: dict[Place, list[_Item]] = {}
        begun: list[tuple[Work, Envelope | None, list[_Item], SpoolError | None]] = []
        for work in works:
            items: list[_Item] = []
            try:
                message = self._messages.read(work.job.location)
            except SpoolError as error:
                begun.append((work, None, items, error))
                continue
            for index in work.job.recipients:
                item = _Item(message, index)
                items.append(item)
                files.setdefault(self._places.of(message.envelope.recipients[index]), []).append(item)
            begun.append((work, message.envelope, items, None))
        self._write(files)
        return [_ended(*one) for one in begun]

    def stop(self) -> None:
        """A batch ends by itself, or is done again."""

    def _write(self, files: dict[Place, list[_Item]]) -> None:
        """All files; those that are locked come last."""
        give_up_at = monotonic() + LOCK_S
        folders = Folders(self._disk, self._root_fd)
        try:
            while True:
                files = {place: items for place, items in files.items() if not self._write_one(folders, place, items)}
                if not files or monotonic() >= give_up_at:
                    break
                sleep(LOCK_PAUSE_S)
        finally:
            folders.close()
        for items in files.values():
            for item in items:
                item.deferred("4.2.0", "locked by another program")

    def _write_one(self, folders: Folders, place: Place, items: list[_Item]) -> bool:
        """One file; False while it is locked."""
        names, name = place
        try:
            folder_fd = folders.open(names)
            lock = DotLock.take(name, folder_fd, time())
            if lock is None:
                return False
            try:
                fd = open_mailbox(name, folder_fd)
                if fd < 0:
                    return False
                try:
                    above = [folders.open(names[:depth]) for depth in range(len(names) + 1)]
                    self._append(fd, items, "/".join((*names, name)), above)
                finally:
                    self._disk.close(fd)
            finally:
                lock.release()
        except OSError as error:
            code = "4.3.5" if isinstance(error, NotAMailbox) else _ERROR_CODES.get(error.errno or 0, "4.3.0")
            for item in items:
                item.deferred(code, error.strerror or repr(error))
        return True

    def _append(self, fd: int, items: list[_Item], path: str, folder_fds: list[int]) -> None:
        """Write to an open and locked file, which is below these folders; raises `OSError` when nothing of it holds."""
        before = os.lseek(fd, 0, os.SEEK_END)
        end = before
        written: list[_Item] = []
        head = _missing_end(fd, before)
        for item in items:
            try:
                self._disk.write(fd, [head])
                for piece in _pieces(item):
                    self._disk.write(fd, [piece])
            except (OSError, SpoolError) as error:
                _cut(fd, end)
                if isinstance(error, SpoolError):
                    item.error = error
                else:
                    item.deferred(_ERROR_CODES.get(error.errno or 0, "4.3.0"), error.strerror or repr(error))
                continue
            head = b""
            end = os.lseek(fd, 0, os.SEEK_CUR)
            written.append(item)
        if not written:
            return
        try:
            self._disk.sync_file(fd)
            for folder_fd in () if before else folder_fds:  # the file, or folders, may be new
                self._disk.sync_folder(folder_fd)
        except OSError:  # nobody knows what of it is on disk
            _cut(fd, before)
            with suppress(OSError):
                self._disk.sync_file(fd)
            raise
        for item in written:
            item.result = Result(item.recipient, DELIVERED, DELIVERED_CODE, path)


def _pieces(item: _Item) -> Iterable[bytes]:
    """A message as the file gets it. Raises `SpoolError` when it is damaged."""
    envelope = item.message.envelope
    quoter = Quoter()
    held = separator(envelope.sender, envelope.received_wall) + quoter.feed(envelope_fields(envelope, item.recipient))
    for chunk in item.message.chunks():
        yield held + quoter.feed(chunk)
        held = b""
    yield held + quoter.finish()


def _missing_end(fd: int, size_bytes: int) -> bytes:
    """What is to be written before a message so that it begins behind an empty line, whoever wrote last."""
    tail = os.pread(fd, 2, max(size_bytes - 2, 0))
    if not tail or tail == b"\n\n":
        return b""
    return b"\n" if tail.endswith(b"\n") else b"\n\n"


def _cut(fd: int, size_bytes: int) -> None:
    os.ftruncate(fd, size_bytes)
    os.lseek(fd, size_bytes, os.SEEK_SET)


def _ended(work: Work, envelope: Envelope | None, items: list[_Item], error: SpoolError | None) -> Ended:
    results = [item.result for item in items if item.result is not None]
    return Ended(work, envelope, results, error or next((item.error for item in items if item.error), None))


def make(path: str, home: str, open_messages: Callable[[], Messages]) -> Threads:
    """The transport for mailboxes at `path`, a template. Creates the root; raises `ConfigError` or `OSError`."""
    places = Places(path, home)
    root_fd = open_root(places.root)
    return Threads([MboxWriter(places, root_fd, open_messages(), Disk()) for _ in range(THREADS)], "local", BATCH)
