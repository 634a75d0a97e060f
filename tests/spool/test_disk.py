"""The disk thread, native: order, syncs, errors, publishing, its end."""

import errno
import gc
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from mta.spool._disk import CAPACITY, DATA_SYNC, FULL_SYNC, NO_SYNC, RANGE_SYNC, DiskThread, load


@pytest.fixture
def file(tmp_path: Path) -> int:
    return os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT)


def results(disk: DiskThread, count: int, readable: Callable[[int], None]) -> list[tuple[int, int]]:
    """Wait for so many completions."""
    found: list[tuple[int, int]] = []
    while len(found) < count:
        readable(disk.fileno())
        found += disk.completions()
    return found


@pytest.mark.parametrize("sync", [NO_SYNC, RANGE_SYNC, DATA_SYNC, FULL_SYNC])
def test_buffers_are_written_in_order(file: int, sync: int, readable: Callable[[int], None]) -> None:
    disk = DiskThread()
    assert disk.submit(file, 3, [b"one ", b"", b"two ", b"three"], sync) == 0
    assert results(disk, 1, readable) == [(0, 0)]
    assert os.pread(file, 100, 0) == b"\0\0\0one two three"
    disk.close()


@pytest.mark.parametrize("count", [1023, 1024, 1025, 5000])
@pytest.mark.parametrize("sync", [NO_SYNC, RANGE_SYNC])
def test_more_buffers_than_one_call_takes(file: int, count: int, sync: int, readable: Callable[[int], None]) -> None:
    disk = DiskThread()
    pieces = [b"%d;" % i for i in range(count)]
    disk.submit(file, 0, pieces, sync)
    assert results(disk, 1, readable) == [(0, 0)]
    assert os.pread(file, 100000, 0) == b"".join(pieces)
    disk.close()


def test_a_sync_alone(file: int, tmp_path: Path, readable: Callable[[int], None]) -> None:
    folder = os.open(tmp_path, os.O_RDONLY)
    disk = DiskThread()
    disk.submit(folder, 0, (), FULL_SYNC)
    disk.submit(file, 0, [], DATA_SYNC)
    assert results(disk, 2, readable) == [(0, 0), (1, 0)]
    disk.close()


def test_errors_are_reported_and_publish_nothing(file: int, readable: Callable[[int], None]) -> None:
    position = bytearray(64)
    wake_fd = os.eventfd(0, os.EFD_NONBLOCK)
    disk = DiskThread(wake_fd=wake_fd, position=position)
    full = os.open("/dev/full", os.O_WRONLY)
    disk.submit(full, 0, [b"x"], RANGE_SYNC, (1, 2, 3))
    disk.submit(-1, 0, [b"x"], NO_SYNC, (1, 2, 3))
    disk.submit(-1, 0, [], DATA_SYNC, (1, 2, 3))
    assert results(disk, 3, readable) == [(0, errno.ENOSPC), (1, errno.EBADF), (2, errno.EBADF)]
    assert load(position, 0) == 0
    with pytest.raises(BlockingIOError):
        os.eventfd_read(wake_fd)
    disk.submit(file, 0, [b"x"], RANGE_SYNC, (1 << 63, 2, 3))
    assert results(disk, 1, readable) == [(3, 0)]
    assert [load(position, word) for word in range(4)] == [1 << 63, 2, 3, 0]
    assert os.eventfd_read(wake_fd) == 1
    disk.close()


def test_a_full_ring_is_refused_until_collected(readable: Callable[[int], None]) -> None:
    gate, inlet = os.pipe()  # positional writes to a pipe fail, but only when their turn comes
    disk = DiskThread()
    for ticket in range(CAPACITY):
        assert disk.submit(inlet, 0, [b"x"], NO_SYNC) == ticket
    assert disk.room() == 0
    with pytest.raises(BlockingIOError, match="no room"):
        disk.submit(inlet, 0, [b"x"], NO_SYNC)
    assert results(disk, CAPACITY, readable) == [(ticket, errno.ESPIPE) for ticket in range(CAPACITY)]
    assert disk.room() == CAPACITY
    assert disk.submit(inlet, 0, [b"x"], NO_SYNC) == CAPACITY
    os.close(gate)
    disk.close()


def test_buffers_live_until_collected(file: int, readable: Callable[[int], None]) -> None:
    disk = DiskThread()
    piece = bytes(bytearray(b"kept " * 100))
    before = sys.getrefcount(piece)
    pieces = [piece] * 10
    disk.submit(file, 0, pieces, RANGE_SYNC)
    pieces.clear()
    gc.collect()
    assert sys.getrefcount(piece) == before + 10
    results(disk, 1, readable)
    assert sys.getrefcount(piece) == before
    assert os.pread(file, 10000, 0) == b"kept " * 1000
    disk.close()


@pytest.mark.parametrize("buffers", [[bytearray(b"x")], ["x"], [memoryview(b"x")], [None]])
def test_only_bytes_are_taken(file: int, buffers: list[bytes], readable: Callable[[int], None]) -> None:
    disk = DiskThread()
    with pytest.raises(TypeError):
        disk.submit(file, 0, [b"y", *buffers], NO_SYNC)
    assert disk.submit(file, 0, [b"z"], NO_SYNC) == 0, "nothing was queued by the refused call"
    assert results(disk, 1, readable) == [(0, 0)]
    disk.close()


def test_close_does_what_is_queued(file: int) -> None:
    position = bytearray(24)
    disk = DiskThread(position=position)
    for number in range(100):
        disk.submit(file, number, [b"%d" % (number % 10)], RANGE_SYNC, (number, 0, 0))
    disk.close()
    disk.close()
    assert os.pread(file, 1000, 0) == b"0123456789" * 10
    position.clear()  # raises while anybody holds the memory
    assert disk.completions() == []
    with pytest.raises(ValueError, match="closed"):
        disk.submit(file, 0, [b"x"], NO_SYNC)
    with pytest.raises(ValueError, match="closed"):
        disk.fileno()


def test_a_forgotten_thread_ends() -> None:
    tasks = Path("/proc/self/task")
    before = len(list(tasks.iterdir()))
    disks = [DiskThread() for _ in range(5)]
    assert len(list(tasks.iterdir())) == before + 5
    del disks
    gc.collect()
    assert len(list(tasks.iterdir())) == before


@pytest.mark.parametrize("position", [bytearray(23), memoryview(bytearray(32))[1:]])
def test_positions_are_three_aligned_words(position: bytearray) -> None:
    with pytest.raises(ValueError, match="aligned"):
        DiskThread(position=position)


def test_words_are_loaded_whole(file: int, readable: Callable[[int], None]) -> None:
    """While one thread stores words with equal halves, another must never see unequal ones."""
    position = bytearray(24)
    disk = DiskThread(position=position)
    wrong: list[int] = []
    over = threading.Event()

    def look() -> None:
        while not over.is_set():
            word = load(position, 0)
            if word >> 32 != word & 0xFFFFFFFF:
                wrong.append(word)

    observer = threading.Thread(target=look)
    observer.start()
    for number in range(2000):
        disk.submit(file, 0, [b"x"], NO_SYNC, (number << 32 | number, 0, 0))
        results(disk, 1, readable)
    over.set()
    observer.join()
    assert not wrong
    disk.close()


@pytest.mark.parametrize("index", [-1, 3])
def test_load_stays_inside(index: int) -> None:
    with pytest.raises(ValueError, match="aligned word"):
        load(bytearray(24), index)
