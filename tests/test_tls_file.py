"""The memory file with certificates: what readers see while it is written, and when it is not what it should be."""

import os
import threading
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mta import tls_file
from mta.errors import IpcError
from mta.tls_file import Identity, Reader, Secrets


def secrets(mark: int = 0, bulk: int = 10) -> Secrets:
    identity = Identity(b"certificate %d" % mark * bulk, b"key %d" % mark * bulk, ("mx.example.org",), "ecdsa", 1.5)
    return Secrets([identity], b"authorities", mark.to_bytes(48, "big"))


@pytest.fixture
def fd() -> Iterator[int]:
    fd = tls_file.create()
    yield fd
    os.close(fd)


def test_each_state_is_read_once(fd: int) -> None:
    reader = Reader(fd)
    for mark in range(5):
        tls_file.write(fd, secrets(mark))
        assert reader.read() == secrets(mark)
        assert reader.read() is None


def test_only_the_last_of_several_states_is_read(fd: int) -> None:
    reader = Reader(fd)
    for mark in range(5):
        tls_file.write(fd, secrets(mark, bulk=100 - 20 * mark))
    assert reader.read() == secrets(4, bulk=20)


def test_another_reader_begins_with_what_is_there(fd: int) -> None:
    tls_file.write(fd, secrets(1))
    assert Reader(fd).read() == Reader(fd).read() == secrets(1)


def test_an_empty_file_is_a_fault(fd: int) -> None:
    with pytest.raises(IpcError, match="nothing whole"):
        Reader(fd).read()


def test_what_is_too_large_is_not_written(fd: int) -> None:
    tls_file.write(fd, secrets(1))
    with pytest.raises(ValueError, match="at most"):
        tls_file.write(fd, Secrets([], bytes(tls_file.BODY_BYTES), b""))
    assert Reader(fd).read() == secrets(1)


def test_a_workers_descriptor_cannot_write(fd: int) -> None:
    tls_file.write(fd, secrets(1))
    given = tls_file.read_only(fd)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.pwrite(given, b"x", 0)
    assert Reader(given).read() == secrets(1)
    os.close(given)


def test_nobody_else_may_open_it(fd: int) -> None:
    assert os.fstat(fd).st_mode & 0o777 == 0o600


@given(st.integers(0, 200), st.integers(1, 255))
def test_a_changed_byte_is_never_taken_for_content(offset: int, change: int) -> None:
    """Wherever it is: in the head it may hide the new state, then the one before is read, but nothing else."""
    fd = tls_file.create()
    try:
        tls_file.write(fd, secrets(1))
        tls_file.write(fd, secrets(2))
        place = offset + 64 if offset < 32 else tls_file._BODY_OFFSETS[1] + offset - 32
        byte = os.pread(fd, 1, place)[0]
        os.pwrite(fd, bytes([byte ^ change]), place)
        try:
            found = Reader(fd).read()
        except IpcError:
            return
        assert found == secrets(1)
    finally:
        os.close(fd)


def test_a_reader_never_sees_half_of_a_state(fd: int) -> None:
    tls_file.write(fd, secrets(0, bulk=5000))

    def write() -> None:
        for mark in range(1, 300):
            tls_file.write(fd, secrets(mark, bulk=1 + mark * 37 % 5000))

    writer = threading.Thread(target=write)
    writer.start()
    reader = Reader(fd)
    last = -1
    while last < 299:
        try:
            found = reader.read()
        except IpcError:  # overtaken twice while reading; a real reader asks again a second later
            continue
        if found is not None:
            mark = int.from_bytes(found.ticket_secret, "big")
            assert mark > last
            assert found == secrets(mark, bulk=1 + mark * 37 % 5000 if mark else 5000)
            last = mark
    writer.join()
