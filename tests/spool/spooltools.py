"""What the spool's tests share: messages to store, a disk that fails on demand, and reading everything back."""

import errno
import os
import struct
from collections.abc import Iterable
from pathlib import Path

from xxhash import xxh3_64_intdigest

from mta.errors import SpoolCorrupt
from mta.spool import reader
from mta.spool.recovery import Segment
from mta.spool.writer import SpoolWriter

ENVELOPE_BYTES = 40


def envelope_of(number: int) -> bytes:
    """A stand-in for an envelope: the spool does not look inside."""
    return b"envelope %-31d" % number


def body_of(number: int, size: int = 700) -> bytes:
    """A body that is different for every number."""
    return (b"%08d\r\n" % number * (size // 10 + 1))[:size]


def append(writer: SpoolWriter, number: int, size: int = 700) -> int:
    """Append message `number`, its body in two pieces."""
    body = body_of(number, size)
    return writer.append(
        envelope_of(number), [body[: size // 3], body[size // 3 :]], body_bytes=size, body_hash=xxh3_64_intdigest(body)
    )


class Found:
    """What could be read: numbers of the messages in order, where they are, and what was wrong."""

    def __init__(self) -> None:
        self.numbers: list[int] = []
        self.locations: list[int] = []
        self.problems: list[SpoolCorrupt] = []
        self.torn = 0

    def add(self, segment: Segment, stop: int | None = None) -> None:
        """Read a segment; every message must be whole."""
        for record in segment.records(0, stop):
            number = int(record.envelope.split()[1])
            assert record.envelope == envelope_of(number)
            if not record.body_file:
                assert segment.body(record) == body_of(number, record.body_bytes)
            self.numbers.append(number)
            self.locations.append(record.location)
        self.problems += segment.problems
        self.torn += len(segment.torn)
        segment.close()


def read_back(root: Path) -> Found:
    """Everything that may be read in a spool."""
    found = Found()
    for shard in reader.shards(root):
        follower = reader.ShardReader(root, shard)
        for readable in follower.readable():
            found.add(Segment.open(root, shard, readable.segment), readable.stop)
        follower.close()
    return found


class FakeDisk:
    """A disk thread without a thread: does each job at once, or fails it, or keeps it until it is let go.

    `failures` holds, for the next jobs with a sync, an errno and how many bytes of the job are written in spite of it.
    While `held` is set, jobs are done but nobody hears of it.
    """

    def __init__(self, *, wake_fd: int = -1, position: memoryview | None = None) -> None:
        self.failures: list[tuple[int, int]] = []
        self.held = False
        self.jobs = 0
        self._wake_fd = wake_fd
        self._position = position
        self._done: list[tuple[int, int]] = []
        self._fd = os.eventfd(0, os.EFD_NONBLOCK)

    def submit(
        self, fd: int, offset: int, buffers: Iterable[bytes], sync: int, publish: tuple[int, int, int] | None = None
    ) -> int:
        """Do the job, or fail it."""
        ticket = self.jobs
        self.jobs += 1
        data = b"".join(buffers)
        failure = 0
        if sync and self.failures:
            failure, written = self.failures.pop(0)
            data = data[:written]
        if data:
            os.pwrite(fd, data, offset)
        if not failure and publish is not None:
            if self._position is not None:
                struct.pack_into("3Q", self._position, 0, *publish)
            if self._wake_fd >= 0:
                os.eventfd_write(self._wake_fd, 1)
        self._done.append((ticket, failure))
        if not self.held:
            os.eventfd_write(self._fd, 1)
        return ticket

    def release(self) -> None:
        """Let go of what was held."""
        self.held = False
        os.eventfd_write(self._fd, 1)

    def room(self) -> int:
        """Always the same."""
        return 16

    def completions(self) -> list[tuple[int, int]]:
        """What ended."""
        if self.held:
            return []
        try:
            os.eventfd_read(self._fd)
        except BlockingIOError:
            return []
        done, self._done = self._done, []
        return done

    def fileno(self) -> int:
        """Readable while something ended."""
        return self._fd

    def close(self) -> None:
        """End."""
        os.close(self._fd)


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


FULL = (errno.ENOSPC, 0)
HALF_WRITTEN = (errno.EIO, 1000)
WRITTEN_NOT_SYNCED = (errno.EIO, 1 << 30)
