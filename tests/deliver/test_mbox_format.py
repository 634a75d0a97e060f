"""mboxrd: what goes in comes out, however it is cut."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mta.deliver.mbox_format import Quoter, separator

PIECES = st.lists(
    st.sampled_from([b"\r\n", b"\n", b"\r", b">", b"From ", b"Fro", b"m ", b"F", b" ", b"x", b">>From y"])
)


def quoted(*pieces: bytes) -> bytes:
    quoter = Quoter()
    return b"".join([*(quoter.feed(piece) for piece in pieces), quoter.finish()])


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", b"\n"),
        (b"a\r\n", b"a\n\n"),
        (b"a", b"a\n\n"),
        (b"a\r", b"a\r\n\n"),
        (b"From x\r\n", b">From x\n\n"),
        (b"a\r\nFrom x\r\n>From y\r\n>>From z\r\n", b"a\n>From x\n>>From y\n>>>From z\n\n"),
        (b"a\r\n From x\r\nFrom: x\r\nfrom x\r\n> From x\r\n", b"a\n From x\nFrom: x\nfrom x\n> From x\n\n"),
        (b"a\nFrom x\n", b"a\n>From x\n\n"),
        (b"a\rFrom x\r\n", b"a\rFrom x\n\n"),
        (b"From ", b">From \n\n"),
        (b"From", b"From\n\n"),
        (b">>>", b">>>\n\n"),
    ],
)
def test_quoting(content: bytes, expected: bytes) -> None:
    assert quoted(content) == expected
    assert quoted(*(content[n : n + 1] for n in range(len(content)))) == expected


@given(PIECES)
def test_every_cut_gives_the_same_and_a_reader_gets_it_back(pieces: list[bytes]) -> None:
    whole = b"".join(pieces)
    stored = quoted(*pieces)
    assert stored == quoted(whole) == quoted(*(whole[n : n + 1] for n in range(len(whole))))
    assert not re.search(rb"(?m)^From ", stored)
    lines = whole.replace(b"\r\n", b"\n")
    back = re.sub(rb"(?m)^>(>*From )", rb"\1", stored)
    assert back == lines + (b"\n" if lines.endswith(b"\n") or not lines else b"\n\n")


def test_nothing_grows_while_a_line_goes_on() -> None:
    """What is held back is no more than a word, however long a line of > is."""
    quoter = Quoter()
    assert all(len(quoter.feed(b">" * 1000)) == 1000 for _ in range(100))


@pytest.mark.parametrize(
    ("sender", "expected"),
    [
        (b"a@example.net", b"From a@example.net Mon May  4 08:15:00 2026\n"),
        (b"", b"From MAILER-DAEMON Mon May  4 08:15:00 2026\n"),
        (b'"a\nFrom b"@x', b'From "a_From_b"@x Mon May  4 08:15:00 2026\n'),
    ],
)
def test_separator(sender: bytes, expected: bytes) -> None:
    assert separator(sender, 1777882500.7) == expected
