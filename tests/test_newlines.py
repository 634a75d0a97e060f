"""Normalised content: against an oracle that goes byte by byte, in every split."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wire.corpus import Case, cases, splits

from mta import fastparse
from mta.newlines import Normaliser
from tests.support.smuggling import FALSE_ENDS, LENIENT_END, SMUGGLED


def oracle(data: bytes) -> bytes:
    """The same, written another way."""
    wanted = bytearray()
    for at, byte in enumerate(data):
        if byte == 0:
            wanted += b" "
        elif byte == 13:
            wanted += b"\r" if data[at + 1 : at + 2] == b"\n" else b" "
        elif byte == 10:
            wanted += b"\n" if at and data[at - 1] == 13 else b"\r\n"
        else:
            wanted.append(byte)
    return bytes(wanted)


def normalised(data: bytes, ends: tuple[int, ...]) -> bytes:
    """The data in those pieces, through a normaliser."""
    normaliser = Normaliser()
    pieces = [normaliser.feed(data[begin:end]) for begin, end in zip((0, *ends), ends, strict=False)]
    return b"".join([*pieces, normaliser.finish()])


@pytest.mark.parametrize(
    ("data", "wanted"),
    [
        (b"", b""),
        (b"a\r\nb\r\n", b"a\r\nb\r\n"),
        (b"a\nb\n", b"a\r\nb\r\n"),
        (b"a\rb\r", b"a b "),
        (b"\r\r\n\n\r", b" \r\n\r\n "),
        (b"\n\r\n\r\n\r", b"\r\n\r\n\r\n "),
        (b"a\0b\r\0\n", b"a b  \r\n"),
    ],
)
def test_what_becomes_of_it(data: bytes, wanted: bytes) -> None:
    assert oracle(data) == wanted
    for ends in splits(len(data)):
        assert normalised(data, ends) == wanted


@pytest.mark.parametrize("case", cases("data"), ids=lambda case: case.name)
def test_the_corpus_in_every_split(case: Case) -> None:
    wanted = oracle(case.wire)
    assert all(normalised(case.wire, ends) == wanted for ends in splits(len(case.wire)))


@given(
    data=st.lists(st.sampled_from([b"\r", b"\n", b"\r\n", b"\0", b".", b"x", b"\xff"]), max_size=30).map(b"".join),
    cuts=st.lists(st.integers(0, 60), max_size=6),
)
def test_any_content_in_any_split(data: bytes, cuts: list[int]) -> None:
    found = normalised(data, (*sorted(min(cut, len(data)) for cut in cuts), len(data)))
    assert found == oracle(data)
    facts = fastparse.Unstuffer(1000, stuffed=False)
    facts.feed(found)
    facts.end()
    assert (facts.bare_cr, facts.bare_lf, facts.nul) == (False, False, False)
    assert normalised(found, (len(found),)) == found


def test_what_is_in_order_is_not_copied() -> None:
    normaliser = Normaliser()
    for piece in (b"one\r\ntwo\r\n", b"", b"three", b"\xff\r\n" * 1000):
        assert normaliser.feed(piece) is piece
    assert normaliser.finish() == b""


@pytest.mark.parametrize("false_end", FALSE_ENDS)
@pytest.mark.parametrize("before", [b"", b"text"], ids=["at once", "behind text"])
def test_nobody_sees_a_second_message(false_end: bytes, before: bytes) -> None:
    """Normalised and stuffed, in every split, it ends where it ends for any server, however lenient."""
    content = before + false_end + SMUGGLED + false_end
    assert LENIENT_END.search(content)
    for ends in splits(len(content)):
        normaliser, stuffer = Normaliser(), fastparse.Stuffer()
        pieces = [content[begin:end] for begin, end in zip((0, *ends), ends, strict=False)]
        stuffed = [stuffer.feed(normaliser.feed(piece)) for piece in pieces]
        wire = b"".join([*stuffed, stuffer.feed(normaliser.finish()), stuffer.finish()])
        assert [found.end() for found in LENIENT_END.finditer(wire)] == [len(wire)]
