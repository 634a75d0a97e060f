"""The compiled parsers against the oracle: equal results for any input, however it is split.

Compared after every piece and not at the end only, so that a result that comes too early or too late is a difference.
"""

from itertools import zip_longest
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from wire.corpus import FACTS, Case, cases, octets, splits

from mta import _fastparse, _fastparse_py

# What a stream is made of: everything that means something, and text of lengths around that of the blocks.
EVENTS = [
    b"\r",
    b"\n",
    b".",
    b"\0",
    b"\xff",
    b"R",
    b"x",
    b"\r\n",
    b"\r\n.",
    b"\r\n..",
    b"\r\n.\r",
    b"\r\n\r\n",
    b"\r\n.\r\n",
]
NAMES = [b"Received:", b"\r\nreceived: ", b"\r\n.RECEIVED:", b"\r\nReceive"]
LENGTHS = st.sampled_from([1, 7, 31, 61, 62, 63, 64, 65, 76, 126, 127, 128, 200])
TEXT = LENGTHS.map(lambda length: b"t" * length)
LINES = st.tuples(LENGTHS, st.integers(1, 12)).map(lambda shape: (b"l" * shape[0] + b"\r\n") * shape[1])
STREAMS = st.one_of(
    st.lists(st.sampled_from(EVENTS + NAMES), max_size=30).map(b"".join),
    st.lists(st.sampled_from(EVENTS + NAMES) | TEXT | LINES, max_size=30).map(b"".join),
    st.lists(LINES, max_size=12).map(b"".join),
    st.binary(max_size=300),
)


@st.composite
def pieces(draw: st.DrawFn) -> list[bytes]:
    """A stream in pieces."""
    stream = draw(STREAMS)
    cuts = sorted(draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    return [stream[begin:end] for begin, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)]


def facts(unstuffer: Any) -> dict[str, Any]:
    return {name: getattr(unstuffer, name) for name in (*FACTS, "consumed")}


def assert_unstuff_equal(stream: list[bytes], limit_bytes: int, *, stuffed: bool) -> None:
    compiled, oracle = _fastparse.Unstuffer(limit_bytes, stuffed), _fastparse_py.Unstuffer(limit_bytes, stuffed)
    for piece in stream:
        assert compiled.feed(piece) == oracle.feed(piece)
        assert facts(compiled) == facts(oracle)
        if oracle.done:
            break
    compiled.end()
    oracle.end()
    assert facts(compiled) == facts(oracle)


def assert_lines_equal(stream: list[bytes], limit_bytes: int) -> None:
    compiled, oracle = _fastparse.LineSplitter(limit_bytes), _fastparse_py.LineSplitter(limit_bytes)
    for piece in stream:
        compiled.feed(piece)
        oracle.feed(piece)
        line: bytes | int | None = b""
        while line is not None:
            line = oracle.next_line()
            assert compiled.next_line() == line
            assert compiled.pending == oracle.pending
    assert compiled.take(limit_bytes) == oracle.take(limit_bytes)
    assert compiled.pending == oracle.pending


def assert_taken_equal(stream: list[bytes], limit_bytes: int, takes: list[int]) -> None:
    """Lines, and bytes in between that are none, as commands and chunks come."""
    compiled, oracle = _fastparse.LineSplitter(limit_bytes), _fastparse_py.LineSplitter(limit_bytes)
    for piece, count in zip_longest(stream, takes[: len(stream)], fillvalue=0):
        compiled.feed(piece)
        oracle.feed(piece)
        for _ in range(2):
            assert compiled.next_line() == oracle.next_line()
            assert compiled.take(count) == oracle.take(count)
            assert compiled.pending == oracle.pending


def assert_stuff_equal(stream: list[bytes]) -> None:
    compiled, oracle = _fastparse.Stuffer(), _fastparse_py.Stuffer()
    for piece in stream:
        assert compiled.feed(piece) == oracle.feed(piece)
    assert compiled.finish() == oracle.finish()


@pytest.mark.parametrize("case", [*cases("data"), *cases("lines")], ids=lambda case: case.name)
def test_the_corpus_in_every_split(case: Case) -> None:
    for ends in splits(len(case.wire)):
        stream = [case.wire[begin:end] for begin, end in zip((0, *ends), ends, strict=False)]
        if "content" in case.expected:
            for stuffed in (True, False):
                assert_unstuff_equal(stream, case.limit_bytes(1_000_000), stuffed=stuffed)
        else:
            assert_lines_equal(stream, case.limit_bytes(512))


@given(stream=pieces(), limit_bytes=st.sampled_from([0, 1, 63, 64, 200, 1_000_000]), stuffed=st.booleans())
def test_unstuff(stream: list[bytes], limit_bytes: int, stuffed: bool) -> None:
    assert_unstuff_equal(stream, limit_bytes, stuffed=stuffed)


@given(stream=pieces(), limit_bytes=st.sampled_from([0, 1, 63, 64, 200, 1_000_000]))
def test_what_is_not_stuffed(stream: list[bytes], limit_bytes: int) -> None:
    """Nothing is taken away; and of lines that are whole the facts are those of the same content behind DATA."""
    content = b"".join(stream)
    for parser in (_fastparse, _fastparse_py):
        chunks, data = parser.Unstuffer(limit_bytes, stuffed=False), parser.Unstuffer(limit_bytes)
        assert b"".join([chunks.feed(piece) for piece in stream]) == content[:limit_bytes]
        chunks.end()
        data.feed(parser.stuff(content))
        unlike = {"done", "consumed"} if content.endswith(b"\r\n") or not content else {"done", "consumed", "size"}
        if "size" not in unlike or data.size <= limit_bytes or chunks.size > limit_bytes:
            found, wanted = facts(chunks), facts(data)
            assert {name for name in found if found[name] != wanted[name]} <= unlike
        assert not chunks.done


@given(stream=pieces(), limit_bytes=st.integers(2, 100))
def test_lines(stream: list[bytes], limit_bytes: int) -> None:
    assert_lines_equal(stream, limit_bytes)


@given(stream=pieces(), limit_bytes=st.integers(2, 100), takes=st.lists(st.integers(0, 30)))
def test_lines_and_bytes(stream: list[bytes], limit_bytes: int, takes: list[int]) -> None:
    assert_taken_equal(stream, limit_bytes, takes)


@given(stream=pieces())
def test_stuff(stream: list[bytes]) -> None:
    assert_stuff_equal(stream)


@given(stream=pieces())
def test_stuff_then_unstuff_is_the_identity(stream: list[bytes]) -> None:
    content = b"".join(stream)
    wire = _fastparse.stuff(content)
    assert wire == _fastparse_py.stuff(content)
    whole = content if content.endswith(b"\r\n") or not content else content + b"\r\n"
    for parser in (_fastparse, _fastparse_py):
        unstuffer = parser.Unstuffer(len(whole))
        assert unstuffer.feed(wire + b"QUIT\r\n") == whole
        assert (unstuffer.done, unstuffer.consumed, unstuffer.oversize) == (True, len(wire), False)


@given(stream=pieces())
def test_unstuff_then_stuff_is_the_identity(stream: list[bytes]) -> None:
    """The other direction: of a stream with no dot that stuffing would not have put there, all of it comes back."""
    wire = _fastparse_py.stuff(b"".join(stream))
    for parser in (_fastparse, _fastparse_py):
        assert parser.stuff(parser.Unstuffer(len(wire)).feed(wire)) == wire


# --- commands ---------------------------------------------------------------------------------------------------------

WORDS = [b"FROM", b"from", b"TO", b"MAIL", b"noop", b"SIZE=1", b"a", b"x-y", b"-", b"example.org", b"l" * 63, b"d" * 64]
SIGNS = [b":", b"<", b">", b"<>", b"@", b".", b" ", b"\t", b'"', b"\0", b"\r", b"\n", b"\xe9", b"\x7f", b"`", b"{"]
ARGUMENTS = st.one_of(
    st.lists(st.sampled_from(WORDS + SIGNS), max_size=12).map(b"".join),
    st.builds(
        b"FROM:<%b@%b>%b".__mod__,
        st.tuples(
            st.lists(st.sampled_from([*WORDS, b"."]), max_size=5).map(b"".join),
            st.lists(st.sampled_from([*WORDS, b"."]), max_size=9).map(b"".join),
            st.lists(st.sampled_from([*WORDS, b" "]), max_size=3).map(b"".join),
        ),
    ),
    st.binary(max_size=40),
)


@given(line=ARGUMENTS)
@example(line=b"\0MAIL")
def test_commands(line: bytes) -> None:
    assert _fastparse.parse_command(line) == _fastparse_py.parse_command(line)


@given(argument=ARGUMENTS, keyword=st.sampled_from([b"FROM", b"TO"]))
def test_paths(argument: bytes, keyword: bytes) -> None:
    assert _fastparse.parse_path(argument, keyword) == _fastparse_py.parse_path(argument, keyword)


def test_paths_byte_by_byte() -> None:
    """Every byte in every place of a path, and every length around the limits."""
    for case in cases("commands"):
        if case.expected.get("path") is None:
            continue
        argument, keyword = octets(case.expected["argument"]), octets(case.expected["keyword"])
        for at in range(len(argument)):
            for byte in range(256) if len(argument) < 64 else b".-@> x":
                changed = argument[:at] + bytes([byte]) + argument[at + 1 :]
                assert _fastparse.parse_path(changed, keyword) == _fastparse_py.parse_path(changed, keyword)
            for changed in (argument[:at], argument[:at] + argument[at + 1 :], argument[:at] + b"x" + argument[at:]):
                assert _fastparse.parse_path(changed, keyword) == _fastparse_py.parse_path(changed, keyword)
