"""The parsers alone: `python -m pytest bench/bench_fastparse.py --benchmark-only`.

`python -m bench.bench_fastparse` is a shorter way. Both print ratios at the end, of least times within the run: what
else a machine does can only add to a time. memcpy is `bytes` of a bytearray, allocated anew as the unstuffer's result.
"""

import random
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from bench.timing import Benchmark, gathered, in_turn, run
from mta import _fastparse, _fastparse_py, fastparse

LINE = b"The quick brown fox jumps over the lazy dog, and then it does so once again.\r\n"
HEADER = (
    b"Received: from client.example.com (client.example.com [192.0.2.1])\r\n"
    b"\tby relay.example.net with ESMTP id 4F2A91B7\r\n\tfor <user@example.org>; Thu, 1 Jan 2026 00:00:00 +0000\r\n"
    b"Date: Thu, 1 Jan 2026 00:00:00 +0000\r\nFrom: Somebody <someone@example.com>\r\nTo: user@example.org\r\n"
    b"Subject: Foxes and dogs\r\nMessage-ID: <20260101000000.4F2A91B7@example.com>\r\nMIME-Version: 1.0\r\n"
    b"Content-Type: text/plain; charset=us-ascii\r\n\r\n"
)
END = b".\r\n"
LIMIT_BYTES = 52_428_800


def message(size_bytes: int, *, with_header: bool = True) -> bytes:
    """A message of that many bytes on the wire, in lines of 76 characters, its end included."""
    start = HEADER if with_header else b""
    text = (start + LINE * (size_bytes // len(LINE) + 1))[: size_bytes - len(END) - 2]
    return text.rstrip(b"\r\n").ljust(size_bytes - len(END) - 2, b".") + b"\r\n" + END


TEXT_1M = message(1 << 20)
TEXT_1M_NO_HEADER = message(1 << 20, with_header=False)
TEXT_64K = message(1 << 16)
TEXT_4K = message(1 << 12)
DOTS_1M = (b"..a dot at the start, which has to go, of a line in every ten\r\n" + LINE * 9) * (1 << 20 >> 10)
ANY_1M = random.Random(1).randbytes(1 << 20)
SHORT_LINES_1M = b"ab cd ef gh\r\n" * ((1 << 20) // 13)


def unstuff(parser: Any, wire: bytes, *, stuffed: bool = True) -> bytes:
    """A whole message as a worker takes it: a new object, one feed."""
    unstuffer = parser.Unstuffer(LIMIT_BYTES, stuffed)
    content: bytes = unstuffer.feed(wire)
    return content


def parse(line: bytes, keyword: bytes) -> object:
    """A command and its address."""
    _, argument = fastparse.parse_command(line)
    return fastparse.parse_path(argument, keyword)


def split(splitter: Any, data: bytes) -> None:
    """What a worker does with each receive."""
    splitter.feed(data)
    while splitter.next_line() is not None:
        pass


SPLITTER = fastparse.LineSplitter(2048)
MAIL, RCPT = b"MAIL FROM:<someone@example.org> SIZE=4096", b"RCPT TO:<user@example.org>"
BUFFER_1M, BUFFER_64K, BUFFER_4K = bytearray(TEXT_1M), bytearray(TEXT_64K), bytearray(TEXT_4K)

# Name -> what is timed. The group of a name is what is before its colon.
CASES: dict[str, Callable[[], object]] = {
    "1 MiB: memcpy": lambda: bytes(BUFFER_1M),
    "1 MiB: unstuff": lambda: unstuff(_fastparse, TEXT_1M),
    "1 MiB: unstuff, no header": lambda: unstuff(_fastparse, TEXT_1M_NO_HEADER),
    "1 MiB: unstuff, a dot in ten lines": lambda: unstuff(_fastparse, DOTS_1M),
    "1 MiB: unstuff, short lines": lambda: unstuff(_fastparse, SHORT_LINES_1M),
    "1 MiB: chunks, not stuffed": lambda: unstuff(_fastparse, TEXT_1M, stuffed=False),
    "1 MiB: chunks of any bytes": lambda: unstuff(_fastparse, ANY_1M, stuffed=False),
    "1 MiB: bytes.replace": lambda: TEXT_1M.replace(b"\r\n..", b"\r\n."),
    "1 MiB: stuff": lambda: fastparse.stuff(TEXT_1M),
    "64 KiB: memcpy": lambda: bytes(BUFFER_64K),
    "64 KiB: unstuff": lambda: unstuff(_fastparse, TEXT_64K),
    "64 KiB: bytes.replace": lambda: TEXT_64K.replace(b"\r\n..", b"\r\n."),
    "4 KiB: memcpy": lambda: bytes(BUFFER_4K),
    "4 KiB: unstuff": lambda: unstuff(_fastparse, TEXT_4K),
    "4 KiB: unstuff, the oracle": lambda: unstuff(_fastparse_py, TEXT_4K),
    "4 KiB: bytes.replace": lambda: TEXT_4K.replace(b"\r\n..", b"\r\n."),
    "4 KiB: stuff": lambda: fastparse.stuff(TEXT_4K),
    "command: MAIL, parsed with its address": lambda: parse(MAIL, b"FROM"),
    "command: RCPT, parsed with its address": lambda: parse(RCPT, b"TO"),
    "command: a line, split": lambda: split(SPLITTER, MAIL + b"\r\n"),
    "command: three pipelined lines, split": lambda: split(SPLITTER, MAIL + b"\r\n" + RCPT + b"\r\nDATA\r\n"),
}
# What is set against what: (title, the one that should be fast, the other).
RATIOS = [
    ("1 MiB, of memcpy's speed (at least 0.5)", "1 MiB: unstuff", "1 MiB: memcpy"),
    ("1 MiB with no header, of memcpy's speed", "1 MiB: unstuff, no header", "1 MiB: memcpy"),
    ("1 MiB, against bytes.replace", "1 MiB: unstuff", "1 MiB: bytes.replace"),
    ("64 KiB, of memcpy's speed", "64 KiB: unstuff", "64 KiB: memcpy"),
    ("64 KiB, against bytes.replace", "64 KiB: unstuff", "64 KiB: bytes.replace"),
    ("4 KiB, against bytes.replace", "4 KiB: unstuff", "4 KiB: bytes.replace"),
    ("4 KiB, against the oracle", "4 KiB: unstuff", "4 KiB: unstuff, the oracle"),
]


def ratios(least_s: dict[str, float]) -> Iterator[str]:
    """The ratios as lines of text; one whose two times are not there is left out."""
    for title, fast, other in RATIOS:
        if fast in least_s and other in least_s:
            yield f"{title:44s} {least_s[other] / least_s[fast]:8.2f}"


@pytest.fixture(scope="module")
def least_s(request: pytest.FixtureRequest) -> Iterator[dict[str, float]]:
    """The least time of each case that has run, in seconds."""
    with gathered(request, ratios) as found:
        yield found


@pytest.mark.parametrize("name", CASES)
def test_speed(benchmark: Benchmark, least_s: dict[str, float], name: str) -> None:
    """One case."""
    run(benchmark, least_s, name, CASES[name])


def main() -> None:
    """Time all cases in turn, ten times over, and print the least times and the ratios."""
    least_s = in_turn(CASES, 10)
    for name, seconds in least_s.items():
        print(f"{name:44s} {seconds * 1e6:10.2f} us")
    print(*ratios(least_s), sep="\n")


if __name__ == "__main__":
    sys.exit(main())
