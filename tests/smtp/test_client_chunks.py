"""The conversation with a server that offers CHUNKING: content by BDAT, when it is known who gets it."""

import msgspec
import pytest

from mta.smtp import limits
from mta.smtp.client import Protocol, Step
from mta.smtp.client_mail import Mail
from tests.support.sending import CHUNKING, MAIL, TWO, begun, ready, verdicts

LARGE = msgspec.structs.replace(TWO, size_bytes=limits.UNASKED_BYTES + 1)


@pytest.mark.parametrize("hello", [CHUNKING, b"250-mx\r\n250 CHUNKING\r\n"], ids=["pipelining", "plain"])
def test_a_chunk_follows_when_it_is_known_who_gets_it(hello: bytes) -> None:
    client = begun(LARGE, hello)
    output = b""
    for answer in (b"250 ok\r\n", b"550 5.1.1 no\r\n", b"250 ok\r\n"):
        assert client.step is Step.READ
        output += client.take_output()
        client.receive(answer)
    assert output == b"MAIL FROM:<>\r\nRCPT TO:<joe@example.org>\r\nRCPT TO:<jim@example.org>\r\n"
    assert (client.step, client.chunked) == (Step.CONTENT, True)
    assert client.take_output() == b"BDAT 65537 LAST\r\n"
    client.content_sent()
    client.receive(b"250 2.6.0 taken\r\n")
    assert client.step is Step.READY
    assert verdicts(client) == [(5, "5.1.1"), (2, "2.6.0")]
    client.begin(MAIL)
    assert client.take_output().startswith(b"MAIL")


@pytest.mark.parametrize("protocol", Protocol)
@pytest.mark.parametrize(
    ("replies", "expected", "next_command"),
    [
        (b"250 ok\r\n550 5.1.1 no\r\n450 4.2.1 busy\r\n", [(5, "5.1.1"), (4, "4.2.1")], b"RSET"),
        (b"550 5.7.1 no\r\n503 mail first\r\n503 mail first\r\n", [(5, "5.7.1")] * 2, b"MAIL"),
        (b"452 4.3.1 full\r\n250 ok\r\n250 ok\r\n", [(4, "4.3.1")] * 2, b"MAIL"),
    ],
)
def test_no_chunk_for_nobody(
    protocol: Protocol, replies: bytes, expected: list[tuple[int, str]], next_command: bytes
) -> None:
    client = begun(LARGE, CHUNKING, protocol)
    client.take_output()
    client.receive(replies)
    assert (client.step, client.take_output()) == (Step.READY, b"")
    assert verdicts(client) == expected
    client.begin(MAIL)
    assert client.take_output().startswith(next_command)


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (b"552 5.3.4 too big\r\n", [(5, "5.3.4")] * 2),
        (b"451 4.3.0 no\r\n", [(4, "4.3.0")] * 2),
        (b"354 go\r\n", [(4, "4.5.0")] * 2),
    ],
)
def test_a_refused_chunk(reply: bytes, expected: list[tuple[int, str]]) -> None:
    """Before it is sent this ends the connection, as in DATA: what was sent of it would be taken for commands."""
    for sent in (False, True):
        client = begun(LARGE, CHUNKING)
        client.receive(b"250 ok\r\n" * 3)
        client.take_output()
        if sent:
            client.content_sent()
        client.receive(reply)
        assert client.step is (Step.READY if sent and reply[:3] != b"354" else Step.CLOSED)
        assert client.take_output() == b""
        assert verdicts(client) == expected


def test_lmtp_has_a_reply_to_the_chunk_for_each_accepted_recipient() -> None:
    client = begun(Mail(b"a", (b"one", b"two", b"three"), 100_000), CHUNKING, Protocol.LMTP)
    client.receive(b"250 ok\r\n250 ok\r\n550 5.1.1 no two\r\n250 ok\r\n")
    client.content_sent()
    client.receive(b"250 2.1.5 saved\r\n")
    assert client.step is Step.READ
    client.receive(b"452 4.2.2 over quota\r\n")
    assert verdicts(client) == [(2, "2.1.5"), (5, "5.1.1"), (4, "4.2.2")]


def test_chunks_and_data_on_one_connection() -> None:
    """What has to be normalised goes by DATA, and what follows it by BDAT again."""
    client = ready(CHUNKING)
    large = msgspec.structs.replace(MAIL, size_bytes=100_000)
    for mail, chunked in ((large, True), (Mail(b"", (b"b",), 9, bare_newlines=True), False), (large, True)):
        client.begin(mail)
        assert client.take_output().endswith(b"DATA\r\n") != chunked
        client.receive(b"250 ok\r\n250 ok\r\n" if chunked else b"250 ok\r\n250 ok\r\n354 go\r\n")
        assert (client.step, client.chunked) == (Step.CONTENT, chunked)
        assert client.take_output() == (b"BDAT 100000 LAST\r\n" if chunked else b"")
        client.content_sent()
        client.receive(b"250 ok\r\n")
        assert verdicts(client) == [(2, "2.0.0")]
