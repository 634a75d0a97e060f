"""The memory file of full transports: a reader has one whole state, the last one it could read."""

import os
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mta import sinks_file
from mta.errors import IpcError
from mta.sinks_file import Reader, Writer

NAMES = ["store", "relay", "archive", "é"]


@pytest.fixture
def fd() -> Iterator[int]:
    fd = sinks_file.create()
    yield fd
    os.close(fd)


def test_nothing_is_full_at_first(fd: int) -> None:
    assert Reader(fd, NAMES).full() == frozenset()


@given(st.lists(st.sets(st.sampled_from([*NAMES, "unknown"]))))
def test_a_reader_has_what_was_written_last(states: list[set[str]]) -> None:
    fd = sinks_file.create()
    reader, writer = Reader(fd, NAMES), Writer(fd)
    for names in states:
        writer.write(names)
        assert reader.full() == names & set(NAMES)
        assert writer.is_current()
    os.close(fd)


def test_a_state_that_is_being_written_is_not_read(fd: int) -> None:
    """Not even when the writer died over it; its successor begins anew."""
    reader, writer = Reader(fd, NAMES), Writer(fd)
    writer.write({"store"})
    assert reader.full() == {"store"}
    words = writer._words
    words[sinks_file._GENERATION] += 1
    words[sinks_file._FIRST] = 7
    assert reader.full() == {"store"}
    Writer(fd).write({"relay"})
    assert reader.full() == {"relay"}
    assert not writer.is_current()


def test_more_than_there_is_place_for(fd: int) -> None:
    names = {f"t{number}" for number in range(sinks_file.SLOTS + 10)}
    reader = Reader(fd, names)
    Writer(fd).write(names)
    assert len(reader.full()) == sinks_file.SLOTS
    Writer(fd).write(())
    assert reader.full() == frozenset()


def test_another_file(fd: int) -> None:
    os.pwrite(fd, b"mta-snk9", 0)
    with pytest.raises(IpcError, match="another version"):
        Reader(fd, NAMES)
    os.ftruncate(fd, 0)
    with pytest.raises(IpcError, match="cannot be used"):
        Writer(fd)
