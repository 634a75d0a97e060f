"""The conversation with a server that offers PIPELINING and CHUNKING: small content goes with MAIL, unasked."""

import msgspec
import pytest

from mta.smtp import limits
from mta.smtp.client import Client, Protocol, Step
from mta.smtp.client_mail import Mail
from tests.support.sending import CHUNKING, MAIL, TWO, begun, ready, verdicts

BOTH = pytest.mark.parametrize("protocol", Protocol)


def sent(mail: Mail = TWO, protocol: Protocol = Protocol.SMTP) -> Client:
    """A client that has sent all there is."""
    client = begun(mail, CHUNKING, protocol)
    client.take_output()
    client.content_sent()
    return client


@BOTH
def test_all_of_it_is_one_write(protocol: Protocol) -> None:
    client = begun(hello=CHUNKING, protocol=protocol)
    assert (client.step, client.chunked, client.is_all_sent) == (Step.CONTENT, True, False)
    assert client.take_output() == (
        b"MAIL FROM:<>\r\nRCPT TO:<joe@example.org>\r\nRCPT TO:<jim@example.org>\r\nBDAT 100 LAST\r\n"
    )
    client.content_sent()
    assert (client.step, client.is_all_sent, client.untouched) == (Step.READ, True, True)
    client.receive(b"250 ok\r\n250 ok\r\n250 ok\r\n")
    assert (client.step, client.untouched) == (Step.READ, False)
    client.receive(b"250 2.0.0 taken\r\n" * (2 if protocol is Protocol.LMTP else 1))
    assert client.step is Step.READY
    assert verdicts(client) == [(2, "2.0.0")] * 2
    client.begin(MAIL)
    assert client.take_output().startswith(b"MAIL")


@pytest.mark.parametrize("size_bytes", [0, limits.UNASKED_BYTES, limits.UNASKED_BYTES + 1])
def test_how_much_goes_unasked(size_bytes: int) -> None:
    client = begun(msgspec.structs.replace(MAIL, size_bytes=size_bytes), CHUNKING)
    assert client.take_output().endswith(b"LAST\r\n") == (size_bytes <= limits.UNASKED_BYTES)
    assert (client.step is Step.CONTENT) == (size_bytes <= limits.UNASKED_BYTES)


@pytest.mark.parametrize("hello", [b"250-mx\r\n250 CHUNKING\r\n", b"250-mx\r\n250-PIPELINING\r\n250 SIZE\r\n"])
def test_only_with_both_extensions(hello: bytes) -> None:
    assert begun(MAIL, hello).step is Step.READ


def test_only_what_is_announced_with_its_length() -> None:
    assert begun(msgspec.structs.replace(MAIL, bare_newlines=True), CHUNKING).step is Step.READ
    assert begun(msgspec.structs.replace(MAIL, bare_newlines=True, binary=True), CHUNKING).step is Step.CONTENT


REFUSALS = [
    # MAIL refused, and whatever is said to what follows it
    (b"550 5.7.1 no\r\n503 no\r\n503 no\r\n503 no\r\n", [(5, "5.7.1")] * 2, b"MAIL"),
    (b"452 4.3.1 full\r\n250 ok\r\n250 ok\r\n503 no\r\n", [(4, "4.3.1")] * 2, b"MAIL"),
    # all are refused
    (b"250 ok\r\n550 5.1.1 no\r\n450 4.2.1 busy\r\n503 5.5.1 nobody\r\n", [(5, "5.1.1"), (4, "4.2.1")], b"RSET"),
    (b"250 ok\r\n550 5.1.1 no\r\n450 4.2.1 busy\r\n451 4.3.0 no\r\n", [(5, "5.1.1"), (4, "4.2.1")], b"RSET"),
]


@BOTH
@pytest.mark.parametrize(("replies", "expected", "next_command"), REFUSALS)
def test_content_for_nobody(
    protocol: Protocol, replies: bytes, expected: list[tuple[int, str]], next_command: bytes
) -> None:
    """What is said to it changes nothing; by LMTP it is said once."""
    client = sent(protocol=protocol)
    client.receive(replies)
    assert client.step is Step.READY
    assert verdicts(client) == expected
    client.begin(MAIL)
    assert client.take_output().startswith(next_command)


@BOTH
@pytest.mark.parametrize(("replies", "expected"), [(replies, expected) for replies, expected, _ in REFUSALS])
@pytest.mark.parametrize("last", [b"250 2.0.0 taken\r\n", b"354 go\r\n"])
def test_content_that_is_taken_for_nobody(
    protocol: Protocol, replies: bytes, expected: list[tuple[int, str]], last: bytes
) -> None:
    """Who knows what is delivered to whom: everybody stays refused, and the connection is not used again."""
    client = sent(protocol=protocol)
    client.receive(b"".join(replies.splitlines(keepends=True)[:-1]) + last)
    assert client.step is Step.CLOSED
    assert verdicts(client) == expected


@pytest.mark.parametrize(
    ("last", "expected", "next_command"),
    [
        (b"250 2.0.0 ok\r\n", [(5, "5.1.1"), (2, "2.0.0")], b"MAIL"),
        (b"552 5.3.4 too big\r\n", [(5, "5.1.1"), (5, "5.3.4")], b"RSET"),
        (b"451 4.3.0 no\r\n", [(5, "5.1.1"), (4, "4.3.0")], b"RSET"),
        (b"503 what\r\n", [(5, "5.1.1"), (5, "5.0.0")], b"RSET"),
    ],
)
def test_content_for_some(last: bytes, expected: list[tuple[int, str]], next_command: bytes) -> None:
    """Behind a refusal a server may have its transaction open."""
    client = sent()
    client.receive(b"250 ok\r\n550 5.1.1 no\r\n250 ok\r\n" + last)
    assert client.step is Step.READY
    assert verdicts(client) == expected
    client.begin(MAIL)
    assert client.take_output().startswith(next_command)


def test_lmtp_has_a_reply_for_each_accepted_recipient() -> None:
    client = sent(Mail(b"a", (b"one", b"two", b"three"), 10), Protocol.LMTP)
    client.receive(b"250 ok\r\n250 ok\r\n550 5.1.1 no two\r\n250 ok\r\n250 2.1.5 saved\r\n")
    assert client.step is Step.READ
    client.receive(b"452 4.2.2 over quota\r\n")
    assert client.step is Step.READY
    assert verdicts(client) == [(2, "2.1.5"), (5, "5.1.1"), (4, "4.2.2")]


def test_behind_a_reset_nothing_goes_unasked() -> None:
    """Where it goes wrong the mail is begun again elsewhere: then it had better not be on its way."""
    client = sent(MAIL)
    client.receive(b"250 ok\r\n550 no\r\n503 no\r\n")
    client.begin(MAIL)
    assert client.take_output() == b"RSET\r\nMAIL FROM:<a@example.net>\r\nRCPT TO:<joe@example.org>\r\n"
    assert (client.step, client.untouched) == (Step.READ, True)
    client.receive(b"250 ok\r\n")
    assert client.untouched
    client.receive(b"250 ok\r\n250 ok\r\n")
    assert client.take_output() == b"BDAT 100 LAST\r\n"
    client.content_sent()
    client.receive(b"250 ok\r\n")
    assert verdicts(client) == [(2, "2.0.0")]
    client.begin(MAIL)
    assert client.step is Step.CONTENT


@BOTH
@pytest.mark.parametrize("at", range(4))
@pytest.mark.parametrize("is_sent", [True, False])
def test_421_anywhere(protocol: Protocol, at: int, is_sent: bool) -> None:
    client = begun(TWO, CHUNKING, protocol)
    client.take_output()
    if is_sent:
        client.content_sent()
    client.receive(b"250 ok\r\n" * at + b"421 4.3.2 bye\r\n")
    assert client.step is Step.CLOSED
    assert verdicts(client) == [(4, "4.3.2")] * 2


@pytest.mark.parametrize("end", ["550 5.1.1 no", "250 ok"])
def test_replies_that_come_while_content_is_sent(end: str) -> None:
    """All of it is sent, whatever they say: the server counts the bytes. Nothing is said in between."""
    client = begun(MAIL, CHUNKING)
    client.take_output()
    client.receive(f"250 ok\r\n{end}\r\n".encode())
    assert (client.step, client.take_output()) == (Step.CONTENT, b"")
    client.content_sent()
    assert client.step is Step.READ
    client.receive(b"503 no\r\n" if end[0] == "5" else b"250 2.0.0 taken\r\n")
    assert client.step is Step.READY
    assert verdicts(client) == [(5, "5.1.1") if end[0] == "5" else (2, "2.0.0")]


@pytest.mark.parametrize(
    ("reply", "expected"),
    [(b"552 5.3.4 too big\r\n", (5, "5.3.4")), (b"250 2.0.0 taken\r\n", (4, "4.5.0")), (b"354 go\r\n", (4, "4.5.0"))],
)
def test_a_verdict_on_content_that_is_not_sent_yet(reply: bytes, expected: tuple[int, str]) -> None:
    client = begun(MAIL, CHUNKING)
    client.take_output()
    client.receive(b"250 ok\r\n250 ok\r\n" + reply)
    assert client.step is Step.CLOSED
    assert verdicts(client) == [expected]


def test_a_reply_too_many_ends_it() -> None:
    client = sent(MAIL)
    client.receive(b"250 ok\r\n" * 4)
    assert client.step is Step.CLOSED
    assert verdicts(client) == [(2, "2.0.0")]


@pytest.mark.parametrize("part", [b"2", b"250 ok", b"250-ok\r\n"])
def test_a_part_of_one_does_too(part: bytes) -> None:
    client = sent(MAIL)
    client.receive(b"250 ok\r\n" * 3 + part)
    assert client.step is Step.CLOSED
    assert verdicts(client) == [(2, "2.0.0")]


def test_an_address_cannot_smuggle_a_command() -> None:
    for mail in (Mail(b"a>\r\nQUIT", (b"b",), 1), Mail(b"a", (b"b\nRSET",), 1), Mail(b"a\rb", (b"b",), 1)):
        with pytest.raises(ValueError, match="line end"):
            ready(CHUNKING).begin(mail)


@pytest.mark.parametrize("at", [1, 2, 3])
def test_replies_before_their_commands_end_it(at: int) -> None:
    """Without PIPELINING: otherwise the second would be taken for the answer to a command that was not sent."""
    client = begun(hello=b"250 mx\r\n")
    for _ in range(at - 1):
        client.take_output()
        client.receive(b"250 ok\r\n")
    client.take_output()
    client.receive(b"250 ok\r\n250 ok\r\n")
    assert client.step is Step.CLOSED
    assert verdicts(client) == [(4, "4.5.0")] * 2
    assert "too early" in client.verdicts[0].text
