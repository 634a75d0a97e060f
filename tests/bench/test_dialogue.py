"""What sessions of the load generator say, and how replies are held against what must come."""

import pytest

from bench.dialogue import Replies, Step, Style, UnexpectedReply, compose, content

OFFERS = b"250-mx.example.org\r\n250-PIPELINING\r\n250-SIZE 1000\r\n250 CHUNKING\r\n"
HELLO = Step(b"EHLO x\r\n", (b"250",), frozenset({b"PIPELINING", b"SIZE"}))


@pytest.mark.parametrize("size_bytes", [300, 4096, 4097, 4173, 1_000_000])
def test_content_has_the_size_that_was_asked_for(size_bytes: int) -> None:
    """Exactly, with a header, in lines that end in CR LF, and without one that begins with a dot."""
    text = content(size_bytes)
    assert len(text) == size_bytes
    assert text.count(b"\r\n\r\n") == 1
    assert text.endswith(b"\r\n")
    assert b"\r\n." not in text
    assert max(map(len, text.split(b"\r\n"))) < 998


def test_a_message_takes_two_writes_or_one() -> None:
    """MAIL, RCPT and DATA together, then the content; with BDAT everything at once."""
    commands, text = compose(Style.DATA, 500).message
    assert commands.data == b"MAIL FROM:<sender@example.com>\r\nRCPT TO:<user@example.org>\r\nDATA\r\n"
    assert commands.codes == (b"250", b"250", b"354")
    assert (text.data, text.codes) == (content(500) + b".\r\n", (b"250",))
    (whole,) = compose(Style.BDAT, 500).message
    assert whole.data.endswith(b"BDAT 500 LAST\r\n" + content(500))
    assert whole.codes == (b"250", b"250", b"250")


def test_many_recipients_are_many_addresses() -> None:
    """Each gets a reply of its own."""
    commands, _ = compose(Style.DATA, 500, 100).message
    assert len(set(commands.data.split(b"\r\n"))) == 103  # MAIL, 100 of RCPT, DATA and what is behind the last
    assert commands.codes == (b"250",) * 101 + (b"354",)


def test_starttls_begins_anew_behind_the_handshake() -> None:
    """EHLO before and after; PIPELINING must be offered after it."""
    greeting, hello, starttls, again = compose(Style.BDAT, 500, starttls=True).opening
    assert (greeting.data, greeting.codes) == (b"", (b"220",))
    assert (starttls.codes, starttls.then_tls) == ((b"220",), True)
    assert hello.keywords == {b"STARTTLS"}
    assert again.keywords == {b"PIPELINING", b"CHUNKING"}


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_replies_may_come_in_any_pieces(size: int) -> None:
    """The step is complete with the last byte and not before."""
    replies = Replies()
    replies.expect(HELLO)
    pieces = [OFFERS[at : at + size] for at in range(0, len(OFFERS), size)]
    assert [replies.feed(piece) for piece in pieces] == [False] * (len(pieces) - 1) + [True]


def test_replies_of_a_group_are_counted() -> None:
    """A step that takes three has not got them with two."""
    replies = Replies()
    replies.expect(compose(Style.DATA, 500).message[0])
    assert not replies.feed(b"250 2.1.0 Ok\r\n250 2.1.5 Ok\r\n")
    assert replies.feed(b"354 Go ahead\r\n")


@pytest.mark.parametrize(
    ("codes", "received"),
    [
        ((b"250",), b"451 4.3.0 later\r\n"),
        ((b"250",), b"451-4.3.0 later\r\n"),
        ((b"250", b"250", b"354"), b"250 ok\r\n550 no\r\n"),
        ((b"250",), b"250 ok\r\n250 one too many\r\n"),
        ((b"250",), b"\r\n"),
        ((), b"421 bye\r\n"),
    ],
)
def test_any_other_reply_is_an_error(codes: tuple[bytes, ...], received: bytes) -> None:
    """Also one that nobody asked for."""
    replies = Replies()
    replies.expect(Step(b"", codes))
    with pytest.raises(UnexpectedReply):
        replies.feed(received)


def test_part_of_a_reply_that_nobody_asked_for_is_an_error() -> None:
    """It is seen with the next step."""
    replies = Replies()
    replies.expect(HELLO)
    assert replies.feed(OFFERS + b"4")
    with pytest.raises(UnexpectedReply):
        replies.expect(HELLO)


def test_what_is_needed_must_be_offered_and_behind_tls_again() -> None:
    """A missing keyword is an error, and what was said before TLS does not count."""
    replies = Replies()
    replies.expect(HELLO)
    assert replies.feed(OFFERS)
    replies.forget_keywords()
    replies.expect(HELLO)
    with pytest.raises(UnexpectedReply, match="SIZE is not offered"):
        replies.feed(b"250-mx.example.org\r\n250 PIPELINING\r\n")
