"""A disk that fails: nothing is half accepted, nothing refused comes back, and the writer heals by itself."""

import contextlib
import errno
import os
import resource
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from spooltools import FULL, HALF_WRITTEN, WRITTEN_NOT_SYNCED, Clock, FakeDisk, append, read_back

from mta.errors import SpoolError, SpoolFailed, SpoolFull
from mta.spool import layout, reader
from mta.spool.writer import RETRY_S, SpoolWriter

Until = Callable[[Callable[[], object]], None]


class Failing:
    """A writer over a disk that fails on demand."""

    def __init__(self, root: Path, **options: int) -> None:
        self.clock = Clock()
        self.disks: list[FakeDisk] = []
        self.writer = SpoolWriter(root, clock=self.clock, make_disk=self._make, **options)
        self.disk = self.disks[0]

    def _make(self, **arguments: object) -> FakeDisk:
        self.disks.append(FakeDisk(**arguments))
        return self.disks[-1]

    def heal(self, until: Until) -> None:
        """Let the time pass that it takes to heal."""
        self.clock.now += RETRY_S
        until(lambda: self.writer.unhealthy() is None)


@contextlib.contextmanager
def largest_file(size: int) -> Iterator[None]:
    """No file of this process can be written beyond `size` bytes: EFBIG, as good as a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("fault", [FULL, HALF_WRITTEN, WRITTEN_NOT_SYNCED, (errno.EROFS, 64), (errno.EDQUOT, 800)])
@pytest.mark.parametrize("before", [0, 3])
def test_a_failed_batch(tmp_path: Path, until: Until, fault: tuple[int, int], before: int) -> None:
    failing = Failing(tmp_path)
    writer = failing.writer
    for number in range(before):
        append(writer, number)
        writer.commit()
    failing.disk.failures = [fault]
    failing.disk.held = True
    append(writer, 100)
    append(writer, 101)
    writer.submit()
    append(writer, 102)
    failing.disk.release()
    ended = writer.collect()
    assert ended is not None
    assert ended[0] == 3, "what was appended behind the batch fails with it"
    kind = SpoolFailed if fault[0] == errno.EIO else SpoolFull
    assert type(ended[1]) is kind
    assert type(writer.unhealthy()) is kind
    for refused in (writer.next_location, lambda: append(writer, 103)):
        with pytest.raises(kind, match=errno.errorcode[fault[0]]):
            refused()
    assert not writer.submit()

    failing.heal(until)
    append(writer, 104)
    writer.commit()
    assert read_back(tmp_path).numbers == [*range(before), 104]
    writer.close()
    found = read_back(tmp_path)
    assert found.numbers == [*range(before), 104]
    assert not found.problems


def test_retries_come_once_a_second(tmp_path: Path, until: Until) -> None:
    failing = Failing(tmp_path)
    writer = failing.writer
    failing.disk.failures = [FULL] * 3
    for _ in range(3):
        append(writer, 0)
        with pytest.raises(SpoolFull):
            writer.commit()
        segments = reader.segments(tmp_path, 0)
        failing.clock.now += RETRY_S * 0.99
        assert writer.unhealthy()
        assert reader.segments(tmp_path, 0) == segments
        failing.heal(until)
        assert len(reader.segments(tmp_path, 0)) == len(segments) + 1
    append(writer, 1)
    writer.close()
    assert read_back(tmp_path).numbers == [1]


def test_batches_waiting_in_several_segments_fail_together(tmp_path: Path, until: Until) -> None:
    failing = Failing(tmp_path, segment_bytes=2048)
    writer = failing.writer
    append(writer, 0)
    writer.commit()
    failing.disk.failures = [WRITTEN_NOT_SYNCED]
    failing.disk.held = True
    append(writer, 1)
    writer.submit()
    for number in range(2, 12):
        append(writer, number)
    failing.disk.release()
    ended = writer.collect()
    assert ended is not None
    assert ended[0] == 11
    failing.heal(until)
    append(writer, 12)
    writer.close()
    found = read_back(tmp_path)
    assert found.numbers == [0, 12]
    assert not found.problems
    assert not found.torn


def test_closing_while_unhealthy(tmp_path: Path) -> None:
    failing = Failing(tmp_path)
    append(failing.writer, 0)
    failing.writer.commit()
    failing.disk.failures = [WRITTEN_NOT_SYNCED]
    append(failing.writer, 1)
    with pytest.raises(SpoolFailed):
        failing.writer.close()
    assert read_back(tmp_path).numbers == [0]
    assert not reader.is_claimed(tmp_path, 0)


def test_a_segment_that_cannot_be_sealed_keeps_the_writer_unhealthy(tmp_path: Path, until: Until) -> None:
    """The records of the failed batch stand in it, whole: to go on would be to accept them."""
    failing = Failing(tmp_path)
    writer = failing.writer
    append(writer, 0)
    writer.commit()
    failing.disk.failures = [WRITTEN_NOT_SYNCED]
    append(writer, 1)
    with pytest.raises(SpoolFailed):
        writer.commit()
    path = segment_path(tmp_path)
    fd = next(fd for fd in map(int, os.listdir("/proc/self/fd")) if is_open(fd, path))
    kept = os.dup(fd)
    unwritable = os.open(path, os.O_RDONLY)
    os.dup2(unwritable, fd)
    failing.clock.now += RETRY_S
    assert writer.unhealthy()
    until(lambda: "EINVAL" in str(writer.unhealthy()))  # what cutting a file says that is open for reading only
    assert len(reader.segments(tmp_path, 0)) == 1
    os.dup2(kept, fd)
    failing.heal(until)
    append(writer, 2)
    writer.close()
    assert read_back(tmp_path).numbers == [0, 2]


def is_open(fd: int, path: Path) -> bool:
    """Whether the descriptor is that of the file."""
    with contextlib.suppress(FileNotFoundError):
        return os.readlink(f"/proc/self/fd/{fd}") == str(path)
    return False


def segment_path(root: Path) -> Path:
    """The file of the one segment there is."""
    folder = layout.shard_folder(root, 0)
    (name,) = layout.segment_names(folder)
    return folder / name.file


def test_a_real_limit_in_the_middle_of_a_batch(tmp_path: Path, until: Until) -> None:
    clock = Clock()
    writer = SpoolWriter(tmp_path, clock=clock)
    accepted: list[int] = []
    number = 0
    with largest_file(20_000):
        for _ in range(3):
            error: SpoolError | None = None
            while error is None:
                batch = [number, number + 1, number + 2]
                number += 3
                for each in batch:
                    append(writer, each)
                try:
                    writer.commit()
                    accepted += batch
                except SpoolFull as full:
                    error = full
            clock.now += RETRY_S
            until(lambda: writer.unhealthy() is None)
    append(writer, number)
    writer.close()
    assert len(accepted) > 50
    found = read_back(tmp_path)
    assert found.numbers == [*accepted, number]
    assert not found.problems


def test_no_next_segment(tmp_path: Path, until: Until) -> None:
    """What fits in the present segment is kept; more is refused until there is room for another."""
    clock = Clock()
    writer = SpoolWriter(tmp_path, segment_bytes=2048, clock=clock)
    with largest_file(3000):  # less than is written to a new segment to try it
        for number in range(3):
            append(writer, number)
        with pytest.raises(SpoolFull, match="ENOSPC"):
            append(writer, 99)
        assert isinstance(writer.unhealthy(), SpoolFull)
        writer.commit()
        assert read_back(tmp_path).numbers == [0, 1, 2]
        clock.now += RETRY_S
        assert writer.unhealthy()
        until(lambda: not writer._supply.busy())
        assert isinstance(writer.unhealthy(), SpoolFull)
    clock.now += RETRY_S
    until(lambda: writer.unhealthy() is None)
    append(writer, 3)
    writer.close()
    found = read_back(tmp_path)
    assert found.numbers == [0, 1, 2, 3]
    assert len(reader.segments(tmp_path, 0)) == 2
    segment = reader.Segment.open(tmp_path, 0, reader.segments(tmp_path, 0)[0])
    assert len(list(segment.records())) == 3
    assert segment.sealed
    segment.close()


def test_a_next_segment_that_failed_is_tried_again_when_it_is_needed(tmp_path: Path, until: Until) -> None:
    writer = SpoolWriter(tmp_path, segment_bytes=4096)
    with largest_file(3000):
        for number in range(4):  # beyond the middle: the next segment is prepared, in vain
            append(writer, number)
        until(lambda: not writer._supply.busy())
    for number in range(4, 10):
        append(writer, number)
    writer.close()
    assert read_back(tmp_path).numbers == list(range(10))
    assert len(reader.segments(tmp_path, 0)) == 2


def test_beginning_on_a_full_disk(tmp_path: Path, until: Until) -> None:
    SpoolWriter(tmp_path).close()
    clock = Clock()
    with largest_file(100):
        writer = SpoolWriter(tmp_path, clock=clock)
        assert isinstance(writer.unhealthy(), SpoolFull)
        with pytest.raises(SpoolFull):
            append(writer, 0)
    clock.now += RETRY_S
    until(lambda: writer.unhealthy() is None)
    append(writer, 1)
    writer.close()
    assert read_back(tmp_path).numbers == [1]


def test_a_large_body_of_a_failed_batch_is_given_up(tmp_path: Path, until: Until) -> None:
    failing = Failing(tmp_path)
    body = failing.writer.bodies.open()
    body.write([b"x" * 1000])
    body.finish(1)
    while not body.durable:
        failing.writer.bodies.collect()
    assert len(layout.body_numbers(tmp_path)) == 1
    failing.disk.failures = [FULL]
    failing.writer.append_large(b"envelope", body)
    with pytest.raises(SpoolFull):
        failing.writer.commit()
    assert layout.body_numbers(tmp_path) == []
    failing.writer.close()
