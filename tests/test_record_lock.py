"""Locks of open files, seen through another open file and by those that lock in another way."""

import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from mta.record_lock import is_locked, lock, lock_shared, unlock


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(b"")
    return path


@pytest.fixture
def pair(path: Path) -> Iterator[tuple[int, int]]:
    """Two open files of the same content."""
    with path.open("r+b") as one, path.open("r+b") as two:
        yield one.fileno(), two.fileno()


def test_one_has_it_and_the_other_has_not(pair: tuple[int, int]) -> None:
    one, two = pair
    assert lock(one)
    assert lock(one)
    assert not lock(two)
    assert not lock_shared(two)
    unlock(two)
    assert not lock(two)
    unlock(one)
    assert lock(two)


def test_several_share_it(pair: tuple[int, int]) -> None:
    one, two = pair
    assert lock_shared(one)
    assert lock_shared(two)
    assert not lock(one)
    unlock(two)
    assert lock(one)
    assert not lock_shared(two)


def test_bytes_of_their_own(pair: tuple[int, int]) -> None:
    one, two = pair
    assert lock(one, 1, 1)
    assert lock(two, 0, 1)
    assert lock(two, 2)
    assert not lock(one, 0, 1)
    assert not lock(one, 1000, 1)
    assert not lock(two, 1, 1)
    unlock(two, 2)
    assert lock(one, 1000, 1)
    unlock(one, 1, 1)
    assert lock(two, 1, 1)


def test_it_is_seen_by_others_only(pair: tuple[int, int]) -> None:
    one, two = pair
    assert lock(one, 1, 1)
    assert lock(one, 5, 1)
    assert [is_locked(two, start, 1) for start in range(3)] == [False, True, False]
    assert is_locked(two)
    assert is_locked(two, 2)
    assert not is_locked(two, 6)
    assert not is_locked(one)
    unlock(one)
    assert not is_locked(two)
    assert lock_shared(one)
    assert is_locked(two)


def test_it_ends_with_its_own_descriptor_and_no_other(path: Path, pair: tuple[int, int]) -> None:
    one, two = pair
    with path.open("r+b") as third:
        assert lock(third.fileno())
        os.close(os.open(path, os.O_RDWR))
        assert not lock(one)
    assert lock(two)


def test_who_locks_for_a_process_sees_it(path: Path, pair: tuple[int, int]) -> None:
    assert lock(pair[0])
    with path.open("r+b") as file, pytest.raises(BlockingIOError):
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_what_has_no_locks_is_an_error(path: Path) -> None:
    with path.open("rb") as file, pytest.raises(OSError, match="Bad file descriptor"):
        lock(file.fileno())
