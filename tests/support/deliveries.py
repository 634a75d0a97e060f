"""Stand-ins around the transports: a spool in memory, works whose outcomes are kept, a disk that notes its calls."""

from collections.abc import Callable, Iterator, Sequence

from mta.deliver.attempt import Work
from mta.deliver.disk import Disk
from mta.envelope import Envelope
from mta.errors import SpoolError, SpoolFailed
from mta.ipc import Job, Outcome


class FakeMessage:
    """A message as from a spool; `damage` is raised behind its last chunk, where it is not `in_memory`."""

    def __init__(
        self, envelope: Envelope, *chunks: bytes, damage: SpoolError | None = None, in_memory: bool = False
    ) -> None:
        self.envelope = envelope
        self.size_bytes = sum(map(len, chunks))
        self.content = b"".join(chunks) if in_memory else None
        self._chunks = chunks
        self._damage = damage

    def chunks(self) -> Iterator[bytes]:
        yield from self._chunks
        if self._damage:
            raise self._damage


class FakeMessages:
    """A spool in memory: messages by location."""

    def __init__(self, messages: dict[int, FakeMessage]) -> None:
        self.messages = messages

    def read(self, location: int) -> FakeMessage:
        if location not in self.messages:
            raise SpoolFailed(f"nothing at {location}")
        return self.messages[location]

    def close(self) -> None:
        pass


class Outcomes:
    """Makes works and keeps what becomes of them."""

    def __init__(self, changed: Callable[[], None] = lambda: None) -> None:
        self.ended: dict[int, Outcome | None] = {}
        self._changed = changed
        self._number = 0

    def work(self, location: int, recipients: Sequence[int] = (0,), transport: str = "test") -> Work:
        self._number += 1
        job = Job(self._number, location, location, transport, tuple(recipients), 1)
        return Work(job, self._report)

    def _report(self, job: Job, outcome: Outcome | None) -> None:
        assert job.number not in self.ended, "a work ended twice"
        self.ended[job.number] = outcome
        self._changed()


def mail(*recipients: str, sender: str = "a@example.net", smtputf8: bool = False) -> Envelope:
    """An envelope."""
    return Envelope(
        sender.encode(), tuple(name.encode() for name in recipients), received_wall=1e9, session="s1", smtputf8=smtputf8
    )


class NotingDisk(Disk):
    """The real disk; notes every call, and fails those that `fail` names with the error number given."""

    def __init__(self, fail: Callable[[str, str], int] = lambda call, name: 0) -> None:
        self.calls: list[tuple[str, str]] = []
        self._fail = fail
        self._names: dict[int, str] = {}

    def _note(self, call: str, name: str) -> None:
        number = self._fail(call, name)
        if number:
            raise OSError(number, "made to fail")
        self.calls.append((call, name))

    def open_folder(self, name: str, parent_fd: int) -> int:
        fd = super().open_folder(name, parent_fd)
        self._names[fd] = name
        return fd

    def make_folder(self, name: str, parent_fd: int) -> None:
        self._note("make_folder", name)
        super().make_folder(name, parent_fd)

    def create(self, name: str, folder_fd: int) -> int:
        self._note("create", self._names[folder_fd])
        fd = super().create(name, folder_fd)
        self._names[fd] = "file"
        return fd

    def write(self, fd: int, pieces: Sequence[bytes]) -> None:
        self._note("write", b"".join(pieces).decode("latin-1"))
        super().write(fd, pieces)

    def sync_file(self, fd: int) -> None:
        self._note("sync_file", "")
        super().sync_file(fd)

    def sync_filesystem(self, fd: int) -> None:
        self._note("sync_filesystem", "")
        super().sync_filesystem(fd)

    def store(self, files: Sequence[tuple[int, str, bytes, bytes]], *, sync: bool) -> list[int]:
        return [self._one(self._store, file, sync) for file in files]

    def move(self, files: Sequence[tuple[str, int, int]]) -> list[int]:
        return [self._one(self._move, file) for file in files]

    def _store(self, file: tuple[int, str, bytes, bytes], sync: bool) -> list[int]:
        folder_fd, _, head, content = file
        self._note("create", self._names[folder_fd])
        self._note("write", (head + content).decode("latin-1"))
        if sync:
            self._note("sync_file", "")
        return super().store([file], sync=sync)

    def _move(self, file: tuple[str, int, int]) -> list[int]:
        _, from_fd, to_fd = file
        self._note("rename", f"{self._names[from_fd]} {self._names[to_fd]}")
        return super().move([file])

    def _one(self, call: Callable[..., list[int]], *arguments: object) -> int:
        """What a call that was made to fail gives, or the real one."""
        try:
            return call(*arguments)[0]
        except OSError as error:
            return error.errno or 0

    def sync_folder(self, fd: int) -> None:
        self._note("sync_folder", self._names.get(fd, "root"))
        super().sync_folder(fd)

    def unlink(self, name: str, folder_fd: int) -> None:
        self._note("unlink", self._names[folder_fd])
        super().unlink(name, folder_fd)
