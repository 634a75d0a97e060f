"""What of an original goes back."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mta.dsn import returned
from mta.dsn.returned import HEADER_BYTES


def test_header_alone() -> None:
    chunks = iter([b"A: 1\r\nMess", b"age-Id:\r\n <x@y>\r", b"\n\r", b"\nbody\r\n", b"never read"])
    found = returned.header(chunks)
    assert found.data == b"A: 1\r\nMessage-Id:\r\n <x@y>\r\n"
    assert not found.whole
    assert found.message_id() == "<x@y>"
    assert next(chunks) == b"never read"


@pytest.mark.parametrize("content", [b"", b"\r\nbody\r\n"])
def test_no_header(content: bytes) -> None:
    assert returned.header([content]).data == b""


def test_long_header_is_cut_at_a_line() -> None:
    line = b"X-Long: " + b"x" * 100 + b"\r\n"
    found = returned.header([line * 2000])
    assert HEADER_BYTES - len(line) <= len(found.data) <= HEADER_BYTES
    assert found.data.endswith(line)
    assert returned.header([b"x" * 200_000]).data == b""


def test_whole() -> None:
    assert returned.whole([b"A: 1\r\n\r\n", b"body"]) == returned.Returned(b"A: 1\r\n\r\nbody\r\n", True)


@pytest.mark.parametrize(
    ("header", "found"),
    [
        (b"Message-ID: <a@b>\r\n", "<a@b>"),
        (b"X: 1\r\nmessage-id:<a@b> \r\nMessage-ID: <c@d>\r\n", "<a@b>"),
        (b"X-Message-ID: <a@b>\r\n", ""),
        (b"Message-ID: <a@b> <c@d>\r\n", ""),
        (b"Message-ID: <a b>\r\n", ""),
        (b"Message-ID: <\xc3\xa4@b>\r\n", ""),
        (b"Message-ID: <" + b"a" * 2000 + b">\r\n", ""),
        (b"X: 1\r\n\r\nMessage-ID: <a@b>\r\n", ""),
    ],
)
def test_message_id(header: bytes, found: str) -> None:
    assert returned.Returned(header, False).message_id() == found


@given(st.lists(st.text("\r\n\0aA:", max_size=12).map(str.encode), max_size=6))
def test_any_content_gives_lines(chunks: list[bytes]) -> None:
    data = returned.header(chunks).data
    assert re.search(rb"\r(?!\n)|(?<!\r)\n|\0|\r\n\r\n", data) is None
    assert not data or data.endswith(b"\r\n")
