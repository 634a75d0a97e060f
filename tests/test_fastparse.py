"""The parsers, both implementations: the wire corpus in every split, and how callers use them."""

from types import ModuleType
from typing import Any

import pytest
from wire.corpus import FACTS, Case, cases, octets, splits

from mta import _fastparse, _fastparse_py

IMPLEMENTATIONS = {"cython": _fastparse, "python": _fastparse_py}
NAMES = (
    *("LINE_TOO_LONG", "LINE_BARE_LF", "parse_command", "parse_path"),
    *("LineSplitter", "Unstuffer", "Stuffer", "stuff"),
)


@pytest.fixture(params=list(IMPLEMENTATIONS))
def parser(request: pytest.FixtureRequest) -> Any:
    """One implementation after the other."""
    return IMPLEMENTATIONS[request.param]


def each_case(folder: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("case", cases(folder), ids=lambda case: case.name)


def unstuff(
    parser: ModuleType, limit_bytes: int, wire: bytes, ends: tuple[int, ...]
) -> tuple[bytes, int, dict[str, Any]]:
    """Content, index in the stream behind what was consumed, and facts, as a server has them after those pieces.

    As in a server, all pieces are received into the same buffer, which has other bytes behind what was received.
    """
    unstuffer = parser.Unstuffer(limit_bytes)
    buffer = memoryview(bytearray(b"\r\n.\r\n" * (len(wire) // 5 + 3)))
    content = b""
    begin = 0
    for end in ends:
        buffer[5 : 5 + end - begin] = wire[begin:end]
        content += unstuffer.feed(buffer, 5, 5 + end - begin)
        begin += unstuffer.consumed - 5
        if unstuffer.done:
            break
        assert begin == end
    return content, begin, {name: getattr(unstuffer, name) for name in FACTS}


# --- the DATA stream --------------------------------------------------------------------------------------------------


@each_case("data")
def test_data(parser: ModuleType, case: Case) -> None:
    expected = octets(case.expected["content"]), len(case.wire) - len(case.expected["rest"]), case.facts()
    for ends in splits(len(case.wire)):
        assert unstuff(parser, case.limit_bytes(1_000_000), case.wire, ends) == expected, ends


@each_case("data")
def test_stuffing_is_undone(parser: ModuleType, case: Case) -> None:
    content = octets(case.expected["content"])
    wire = parser.stuff(content)
    whole = content if content.endswith(b"\r\n") or not content else content + b"\r\n"
    assert unstuff(parser, len(whole), wire + b"QUIT\r\n", (len(wire) + 6,))[:2] == (whole, len(wire))
    for ends in splits(len(content)):
        stuffer = parser.Stuffer()
        begins = (0, *ends)
        pieces = [stuffer.feed(content[begin:end]) for begin, end in zip(begins, ends, strict=False)]
        assert b"".join(pieces) + stuffer.finish() == wire


@pytest.mark.parametrize(
    "near",
    [
        *(
            b"\n.\n",
            b"\n.\r\n",
            b"\r\n.\n",
            b"\r.\r",
            b"\r\n.\r",
            b"\r.\r\n",
            b"\r\n.\r\r",
            b"\r\n.\n\r\n",
            b"\n\r.\r\n",
        ),
        *(b"\r\n. \r\n", b"\r\n.\t\r\n", b"\r\n .\r\n", b"\r\n.\0\r\n", b"\r\n\0.\r\n", b"\r\n..\r\n", b"\r\n.\r.\n"),
        *(b"\r\n.\x0b\r\n", b"\r\n.\x85\r\n", b"\r\n.\r\0\n", b"\r\0\n.\r\n", b"\r\n\xae\r\n", b"\x8d\x8a.\x8d\x8a"),
    ],
)
def test_no_false_end(parser: ModuleType, near: bytes) -> None:
    """Whatever resembles the end is content: in every split, at the first bytes and elsewhere, also over the limit."""
    command = b"MAIL FROM:<smuggled@example.org>\r\n"
    for before in (b"", b"text\r\n", b"text"):
        wire = before + near + command + b".\r\nQUIT\r\n"
        for limit_bytes in (0, 7, 1_000_000):
            for ends in ((len(wire),), tuple(range(1, len(wire) + 1)), *((cut, len(wire)) for cut in range(len(wire)))):
                content, consumed, facts = unstuff(parser, limit_bytes, wire, ends)
                assert facts["done"]
                assert wire[consumed:] == b"QUIT\r\n"
                assert facts["oversize"] or content.endswith(command)


@each_case("data")
def test_chunks(parser: ModuleType, case: Case) -> None:
    """Behind BDAT every byte is content, whatever it would be behind DATA, and nothing is the end."""
    for ends in splits(len(case.wire)):
        unstuffer = parser.Unstuffer(1_000_000, stuffed=False)
        pieces = [unstuffer.feed(case.wire, begin, end) for begin, end in zip((0, *ends), ends, strict=False)]
        assert b"".join(pieces) == case.wire
        assert (unstuffer.done, unstuffer.size, unstuffer.consumed) == (False, len(case.wire), len(case.wire))


@pytest.mark.parametrize("last", [b"", b"\r\n", b"\n", b"x"])
def test_a_cr_between_chunks(parser: ModuleType, last: bytes) -> None:
    """It is bare once it is known that no LF follows: by the next byte, or by the end."""
    unstuffer = parser.Unstuffer(100, stuffed=False)
    unstuffer.feed(b"text\r")
    assert (unstuffer.bare_cr, unstuffer.longest_line) == (False, 4)
    unstuffer.feed(last)
    unstuffer.end()
    expected = {b"": (True, 5), b"\r\n": (True, 5), b"\n": (False, 4), b"x": (True, 6)}[last]
    assert (unstuffer.bare_cr, unstuffer.longest_line, unstuffer.bare_lf) == (*expected, False)


def test_content_stays_when_the_buffer_is_used_again(parser: ModuleType) -> None:
    buffer = bytearray(b"first line\r\n.\r\n")
    content = parser.Unstuffer(100).feed(memoryview(buffer))
    buffer[:] = bytes(len(buffer))
    assert content == b"first line\r\n"
    assert type(content) is bytes


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_a_part_of_the_data(parser: ModuleType, kind: Any) -> None:
    data = kind(b"DATA\r\nhello\r\n.\r\nQUIT\r\n")
    unstuffer = parser.Unstuffer(100)
    assert unstuffer.feed(data, 6, 10) == b"hell"
    assert (unstuffer.consumed, unstuffer.done) == (10, False)
    assert unstuffer.feed(data, 10) == b"o\r\n"
    assert (unstuffer.consumed, unstuffer.done) == (16, True)
    splitter = parser.LineSplitter(100)
    splitter.feed(data, unstuffer.consumed, len(data) - 2)
    assert (splitter.next_line(), splitter.pending) == (None, 4)
    splitter.feed(data, len(data) - 2, -1)
    assert splitter.next_line() == b"QUIT"


@pytest.mark.parametrize(("start", "end"), [(-1, -1), (1, 0), (0, 4), (4, 4), (4, -1)])
def test_bounds_are_checked(parser: ModuleType, start: int, end: int) -> None:
    unstuffer, splitter = parser.Unstuffer(100), parser.LineSplitter(100)
    for feed in (unstuffer.feed, splitter.feed):
        with pytest.raises(ValueError, match="not within 3 bytes"):
            feed(b"abc", start, end)
        with pytest.raises(ValueError, match="not within 3 bytes"):
            feed(memoryview(b"abc"), start, end)
    assert unstuffer.feed(b".\r\n") == b""
    assert unstuffer.done


def test_wrong_use_is_an_error(parser: ModuleType) -> None:
    unstuffer = parser.Unstuffer(100)
    unstuffer.feed(b".\r\n")
    with pytest.raises(ValueError, match="ended"):
        unstuffer.feed(b"")
    for stuffed in (True, False):
        ended = parser.Unstuffer(100, stuffed)
        ended.end()
        ended.end()
        with pytest.raises(ValueError, match="ended"):
            ended.feed(b"x")
    with pytest.raises(ValueError, match="negative"):
        parser.Unstuffer(-1)
    with pytest.raises(ValueError, match="room"):
        parser.LineSplitter(1)
    for feed in (parser.Unstuffer(100).feed, parser.LineSplitter(100).feed, parser.Stuffer().feed, parser.stuff):
        with pytest.raises(TypeError):
            feed("text")
        with pytest.raises(TypeError):
            feed(None)


def test_unchanged_bytes_are_not_copied() -> None:
    """Of the compiled stuffer only: large bodies pass through it."""
    content = b"no dot begins a line.\r\n" * 100
    assert _fastparse.Stuffer().feed(content) is content
    assert type(_fastparse.Stuffer().feed(memoryview(content))) is bytes


@pytest.mark.parametrize("shift", range(-2, 2))
@pytest.mark.parametrize("dot", [b"", b"."])
def test_received_is_counted_near_the_top_only(parser: ModuleType, shift: int, dot: bytes) -> None:
    before = b"X: y\r\n" * 21_800
    before += b"x" * (131072 + shift - 2 - len(before)) + b"\r\n"
    wire = before + dot + b"Received: at the border\r\n" + b"Received: behind it\r\n\r\n.\r\n"
    _, _, facts = unstuff(parser, 1_000_000, wire, (len(wire),))
    assert facts["received_count"] == (1 if len(before) < 131072 else 0)
    assert facts["header_end"] == len(wire) - len(dot) - 3


# --- lines ------------------------------------------------------------------------------------------------------------


@each_case("lines")
def test_lines(parser: ModuleType, case: Case) -> None:
    problems = {name: getattr(parser, name) for name in ("LINE_TOO_LONG", "LINE_BARE_LF")}
    expected = [octets(line) if isinstance(line, str) else problems[line["problem"]] for line in case.expected["lines"]]
    rest = octets(case.expected["rest"])
    for ends in splits(len(case.wire)):
        splitter = parser.LineSplitter(case.limit_bytes(512))
        found = []
        for begin, end in zip((0, *ends), ends, strict=False):
            splitter.feed(memoryview(case.wire)[begin:end])
            while (line := splitter.next_line()) is not None:
                found.append(line)
            assert splitter.pending < case.limit_bytes(512)
        assert (found, splitter.pending) == (expected, len(rest))
        assert (splitter.take(1000000), splitter.pending) == (rest, 0)
        splitter.feed(b"NOOP\r\n")
        assert (splitter.next_line(), splitter.pending) == (b"NOOP" if case.limit_bytes(512) > 5 else 1, 0)


def test_lines_may_wait(parser: ModuleType) -> None:
    """A caller that feeds before it has asked for all lines loses none."""
    splitter = parser.LineSplitter(16)
    for number in range(1000):
        splitter.feed(b"NOOP %d\r\n" % number)
    splitter.feed(b"QUIT")
    assert [splitter.next_line() for _ in range(1000)] == [b"NOOP %d" % number for number in range(1000)]
    assert (splitter.next_line(), splitter.pending, splitter.take(4)) == (None, 4, b"QUIT")


def test_rest_of_an_over_long_line(parser: ModuleType) -> None:
    """After `take` a splitter is as new: what was dropped before says nothing of what comes."""
    splitter = parser.LineSplitter(8)
    splitter.feed(b"x" * 20)
    assert splitter.next_line() is None
    assert splitter.take(8) == b""
    splitter.feed(b"NOOP\r\n")
    assert splitter.next_line() == b"NOOP"


def test_bytes_between_lines(parser: ModuleType) -> None:
    """What `take` leaves is cut into lines."""
    splitter = parser.LineSplitter(16)
    splitter.feed(b"BDAT 5\r\na\r\nb\nNOOP\r\nQU")
    assert splitter.next_line() == b"BDAT 5"
    assert (splitter.take(5), splitter.next_line(), splitter.take(100)) == (b"a\r\nb\n", b"NOOP", b"QU")
    with pytest.raises(ValueError, match="negative"):
        splitter.take(-1)


# --- commands ---------------------------------------------------------------------------------------------------------


@each_case("commands")
def test_commands(parser: ModuleType, case: Case) -> None:
    verb, argument = parser.parse_command(case.wire)
    assert (verb, argument) == (octets(case.expected["verb"]), octets(case.expected["argument"]))
    if "keyword" not in case.expected:
        return
    path = case.expected["path"]
    wanted = path and tuple(octets(path[name]) for name in ("local", "domain", "parameters"))
    assert parser.parse_path(argument, octets(case.expected["keyword"])) == wanted


def test_known_verbs_are_the_same_object(parser: ModuleType) -> None:
    for verb in (b"MAIL", b"RCPT", b"DATA", b"QUIT", b"STARTTLS", b"XFORWARD"):
        assert parser.parse_command(verb + b" x")[0] is parser.parse_command(verb.lower())[0]


def test_only_bytes_are_commands(parser: ModuleType) -> None:
    for wrong in (None, "NOOP", bytearray(b"NOOP")):
        with pytest.raises(TypeError):
            parser.parse_command(wrong)
        with pytest.raises(TypeError):
            parser.parse_path(wrong, b"FROM")


def test_the_implementations_offer_the_same(parser: ModuleType) -> None:
    for name in NAMES:
        assert hasattr(parser, name)
    for name in ("LINE_TOO_LONG", "LINE_BARE_LF"):
        assert type(getattr(parser, name)) is int
        assert getattr(parser, name) == getattr(_fastparse, name)
