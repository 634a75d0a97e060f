"""Parts of a message, whatever the pieces it comes in; lines for a terminal."""

import itertools
from collections.abc import Iterator

from hypothesis import given
from hypothesis import strategies as st

from mta import cli_cat
from mta.cli_cat import lines, part

_messages = st.lists(st.sampled_from([b"\r", b"\n", b"\r\n", b"a", b"b: c", b"\r\n\r\n"]), max_size=12).map(b"".join)


def pieces(message: bytes, cuts: list[int]) -> Iterator[bytes]:
    """A message cut somewhere."""
    places = sorted({0, len(message), *(cut % (len(message) + 1) for cut in cuts)})
    return (message[start:stop] for start, stop in itertools.pairwise(places))


@given(_messages, st.lists(st.integers(0, 50)))
def test_parts(message: bytes, cuts: list[int]) -> None:
    head, middle, body = message.partition(b"\r\n\r\n")
    head += middle[:2]
    assert b"".join(part(pieces(message, cuts), header=True, body=True)) == message
    assert b"".join(part(pieces(message, cuts), header=True, body=False)) == head
    assert b"".join(part(pieces(message, cuts), header=False, body=True)) == body


def test_a_header_without_an_end() -> None:
    """It is not gathered for ever."""
    size = 4 * cli_cat.HEADER_BYTES
    taken = 0

    def endless() -> Iterator[bytes]:
        nonlocal taken
        for _ in range(size // 65536):
            taken += 65536
            yield b"x" * 65536

    first = next(part(endless(), header=True, body=True))
    assert len(first) == taken <= cli_cat.HEADER_BYTES + 65536
    assert sum(map(len, part(endless(), header=True, body=True))) == size


@given(_messages, st.lists(st.integers(0, 50)))
def test_lines(message: bytes, cuts: list[int]) -> None:
    found = list(lines(pieces(message, cuts)))
    assert b"".join(found) == message
    assert all(line.find(b"\n") in (-1, len(line) - 1) for line in found)


def test_long_lines_come_in_parts() -> None:
    assert max(map(len, lines([b"x" * 40_000] * 10))) <= 2 * cli_cat.LINE_BYTES
