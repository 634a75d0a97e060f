"""Replies as a client reads them: whole ones under every split, and everything that is none."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mta.smtp.client_reply import LINE_BYTES, TEXT_CHARACTERS, Reply, ReplyReader, printable


@pytest.mark.parametrize(
    ("data", "replies"),
    [
        (b"250 ok\r\n", [Reply(250, (b"ok",))]),
        (b"250\r\n", [Reply(250, (b"",))]),
        (b"250-a\r\n250-\r\n250 c\r\n", [Reply(250, (b"a", b"", b"c"))]),
        (b"250 a\n354 b\n", [Reply(250, (b"a",)), Reply(354, (b"b",))]),
        (b"250 " + b"x" * 2000 + b"\r\n", [Reply(250, (b"x" * 2000,))]),
        (b"250-a\r\n250 b\r\n250 c\r\n", [Reply(250, (b"a", b"b")), Reply(250, (b"c",))]),
    ],
)
def test_replies_under_every_split(data: bytes, replies: list[Reply]) -> None:
    for cut in range(len(data) + 1):
        reader = ReplyReader()
        assert reader.feed(data[:cut]) + reader.feed(data[cut:]) == replies
        assert not reader.error


def test_replies_in_front_of_garbage_count() -> None:
    reader = ReplyReader()
    assert reader.feed(b"250 ok\r\ngarbage\r\n250 ok\r\n") == [Reply(250, (b"ok",))]
    assert reader.error == "no reply: garbage"


@pytest.mark.parametrize(
    "data",
    [
        b"25\r\n",
        b"2500 ok\r\n",
        b"250ok\r\n",
        b"650 ok\r\n",
        b"199 ok\r\n",
        b"abc ok\r\n",
        b" 250 ok\r\n",
        b"250-a\r\n354 b\r\n",
        b"250-a\r\n250" + b" " * LINE_BYTES + b"\r\n",
        b"250 " + b"x" * LINE_BYTES,
    ],
)
def test_no_replies(data: bytes) -> None:
    reader = ReplyReader()
    assert reader.feed(data) == []
    assert reader.error


@given(st.binary(max_size=1000))
def test_printable_is_printable_and_bounded(data: bytes) -> None:
    text = printable(data)
    assert text.isascii()
    assert text.isprintable()
    assert len(text) <= TEXT_CHARACTERS
