"""The client's conversation without a socket: what is sent, when, and what becomes of each recipient."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mta.smtp.client import Client, Protocol, Step
from mta.smtp.client_mail import Mail
from mta.smtp.client_reply import LINE_BYTES
from tests.support.sending import CHUNKING, MAIL, PIPELINING, PLAIN, TWO, begun, ready, verdicts


def test_one_write_with_pipelining() -> None:
    client = begun()
    assert client.take_output() == (
        b"MAIL FROM:<> SIZE=100\r\nRCPT TO:<joe@example.org>\r\nRCPT TO:<jim@example.org>\r\nDATA\r\n"
    )
    client.receive(b"250 ok\r\n250 ok\r\n250 ok\r\n354 go\r\n")
    assert client.step is Step.CONTENT
    client.content_sent()
    assert client.step is Step.READ
    client.receive(b"250 2.0.0 queued as 7\r\n")
    assert client.step is Step.READY
    assert [(verdict.status, verdict.code, verdict.text) for verdict in client.verdicts] == [
        (2, "2.0.0", "250 2.0.0 queued as 7")
    ] * 2


def test_one_command_at_a_time_without() -> None:
    client = begun(hello=PLAIN)
    for output, answer in [
        (b"MAIL FROM:<>\r\n", b"250 ok\r\n"),
        (b"RCPT TO:<joe@example.org>\r\n", b"550 no\r\n"),
        (b"RCPT TO:<jim@example.org>\r\n", b"250 ok\r\n"),
        (b"DATA\r\n", b"354 go\r\n"),
    ]:
        assert client.take_output() == output
        client.receive(answer)
    assert client.step is Step.CONTENT
    client.content_sent()
    client.receive(b"250 ok\r\n")
    assert verdicts(client) == [(5, "5.0.0"), (2, "2.0.0")]


def test_without_pipelining_data_is_not_sent_for_nobody() -> None:
    client = begun(hello=PLAIN)
    for answer in (b"250 ok\r\n", b"550 no\r\n", b"450 later\r\n"):
        client.take_output()
        client.receive(answer)
    assert client.step is Step.READY
    assert client.take_output() == b""
    assert verdicts(client) == [(5, "5.0.0"), (4, "4.0.0")]
    client.begin(MAIL)
    assert client.take_output() == b"RSET\r\n"
    client.receive(b"250 ok\r\n")
    assert client.take_output() == b"MAIL FROM:<a@example.net>\r\n"


def test_without_pipelining_a_refused_mail_ends_it() -> None:
    client = begun(hello=PLAIN)
    client.take_output()
    client.receive(b"451 4.7.1 greylisted\r\n")
    assert client.step is Step.READY
    assert verdicts(client) == [(4, "4.7.1")] * 2
    client.begin(MAIL)
    assert client.take_output() == b"MAIL FROM:<a@example.net>\r\n"


@pytest.mark.parametrize(
    ("hello", "mail", "line"),
    [
        (PIPELINING, Mail(b"a", (b"b",), 7, eight_bit=True), b"MAIL FROM:<a> SIZE=7 BODY=8BITMIME"),
        (PIPELINING, Mail(b"a", (b"b",), 7, smtputf8=True), b"MAIL FROM:<a> SIZE=7 SMTPUTF8"),
        (PLAIN, Mail(b"a", (b"b",), 7, eight_bit=True), b"MAIL FROM:<a>"),
        (
            b"250-mx\r\n250-size\r\n250 8bitmime\r\n",
            Mail(b"a", (b"b",), 7, True),
            b"MAIL FROM:<a> SIZE=7 BODY=8BITMIME",
        ),
        (b"250-mx\n250 SIZE 0\n", Mail(b"a", (b"b",), 7), b"MAIL FROM:<a> SIZE=7"),
    ],
)
def test_parameters(hello: bytes, mail: Mail, line: bytes) -> None:
    client = begun(mail, hello)
    assert client.take_output().split(b"\r\n")[0] == line


@pytest.mark.parametrize(
    ("hello", "mail", "code"),
    [
        (PIPELINING, Mail(b"a", (b"b", b"c"), 1001), "5.3.4"),
        (PLAIN, Mail(b"a", (b"b", b"c"), 1, smtputf8=True), "5.6.7"),
        (PIPELINING, Mail(b"a", (b"b", b"c"), 1, binary=True), "5.6.3"),
    ],
)
def test_announcements_that_rule_a_mail_out(hello: bytes, mail: Mail, code: str) -> None:
    client = begun(mail, hello)
    assert client.step is Step.READY
    assert client.take_output() == b""
    assert verdicts(client) == [(5, code)] * 2


@pytest.mark.parametrize(
    ("replies", "expected", "next_command"),
    [
        # all refused: DATA is refused too, and the transaction is still open there
        (b"250 ok\r\n550 5.1.1 no\r\n450 4.2.1 busy\r\n554 none\r\n", [(5, "5.1.1"), (4, "4.2.1")], b"RSET"),
        # MAIL refused: everything behind it is, whatever the codes
        (b"550 5.7.1 no\r\n503 mail first\r\n503 mail first\r\n503 no\r\n", [(5, "5.7.1")] * 2, b"MAIL"),
        (b"452 4.3.1 full\r\n250 ok\r\n250 ok\r\n503 no\r\n", [(4, "4.3.1")] * 2, b"MAIL"),
        # DATA refused
        (b"250 ok\r\n550 5.1.1 no\r\n250 ok\r\n451 4.3.0 no\r\n", [(5, "5.1.1"), (4, "4.3.0")], b"RSET"),
        # an enhanced code of another class than the reply is not believed
        (b"250 ok\r\n550 4.1.1 no\r\n550 5.9999.1 no\r\n554 no\r\n", [(5, "5.0.0"), (5, "5.0.0")], b"RSET"),
    ],
)
def test_refusals(replies: bytes, expected: list[tuple[int, str]], next_command: bytes) -> None:
    client = begun()
    client.take_output()
    client.receive(replies)
    assert client.step is Step.READY
    assert verdicts(client) == expected
    client.begin(MAIL)
    assert client.take_output().startswith(next_command)


def test_reset_is_pipelined_with_the_next_mail() -> None:
    client = begun(MAIL)
    client.take_output()
    client.receive(b"250 ok\r\n550 no\r\n554 no\r\n")
    client.begin(MAIL)
    assert client.take_output() == (
        b"RSET\r\nMAIL FROM:<a@example.net> SIZE=100\r\nRCPT TO:<joe@example.org>\r\nDATA\r\n"
    )
    client.receive(b"250 ok\r\n250 ok\r\n250 ok\r\n354 go\r\n")
    assert client.step is Step.CONTENT
    client.content_sent()
    client.receive(b"554 5.6.0 spam\r\n")
    assert verdicts(client) == [(5, "5.6.0")]
    client.begin(MAIL)  # the reply to the content ended the transaction
    assert client.take_output().startswith(b"MAIL")


def test_a_lone_dot_where_data_is_accepted_for_nobody() -> None:
    client = begun(MAIL)
    client.take_output()
    client.receive(b"250 ok\r\n550 5.1.1 no\r\n354 go on\r\n")
    assert client.step is Step.READ
    assert client.take_output() == b".\r\n"
    client.receive(b"250 ok, empty message accepted\r\n")
    assert client.step is Step.READY
    assert verdicts(client) == [(5, "5.1.1")]


def test_lmtp_closes_where_data_is_accepted_for_nobody() -> None:
    client = begun(MAIL, protocol=Protocol.LMTP)
    client.receive(b"250 ok\r\n550 5.1.1 no\r\n354 go on\r\n")
    assert client.step is Step.CLOSED
    assert verdicts(client) == [(5, "5.1.1")]


def test_lmtp_has_a_reply_for_each_accepted_recipient() -> None:
    mail = Mail(b"a", (b"one", b"two", b"three"), 10)
    client = begun(mail, protocol=Protocol.LMTP)
    client.receive(b"250 ok\r\n250 ok\r\n550 5.1.1 no two\r\n250 ok\r\n354 go\r\n")
    client.content_sent()
    client.receive(b"250 2.1.5 saved\r\n452")
    assert client.step is Step.READ
    client.receive(b" 4.2.2 over quota\r\n")
    assert client.step is Step.READY
    assert verdicts(client) == [(2, "2.1.5"), (5, "5.1.1"), (4, "4.2.2")]


def test_lmtp_lost_between_replies() -> None:
    client = begun(TWO, protocol=Protocol.LMTP)
    client.receive(b"250 ok\r\n250 ok\r\n250 ok\r\n354 go\r\n")
    client.content_sent()
    client.receive(b"250 2.1.5 saved\r\n")
    client.lost("4.4.2", "the connection was closed")
    assert verdicts(client) == [(2, "2.1.5"), (4, "4.4.2")]
    assert client.verdicts[1].text == "the connection was closed (waiting for the reply to the end of the message)"


def test_hello_where_the_extended_one_is_unknown() -> None:
    client = Client(b"me.example", Protocol.SMTP)
    client.receive(b"220 old\r\n")
    client.take_output()
    client.receive(b"500 what?\r\n")
    assert client.take_output() == b"HELO me.example\r\n"
    client.receive(b"250 old\r\n")
    assert client.step is Step.READY


@pytest.mark.parametrize(
    ("replies", "code"),
    [
        ([b"421 4.3.2 busy\r\n"], "4.3.2"),
        ([b"554 no service\r\n"], "4.3.2"),
        ([b"554 5.7.1 you are on a list\r\n"], "4.3.2"),
        ([b"451 4.7.0 later\r\n"], "4.7.0"),
        ([b"354 what\r\n"], "4.3.2"),
        ([b"220 ok\r\n", b"421 no\r\n"], "4.0.0"),
        ([b"220 ok\r\n", b"451 4.3.0 no\r\n"], "4.3.0"),
        ([b"220 ok\r\n", b"500 no\r\n", b"550 no\r\n"], "4.3.2"),
        ([b"220 ok\r\n", b"250 ok\r\n250 more\r\n"], "4.5.0"),
        ([b"SSH-2.0-OpenSSH_9.2\r\n"], "4.5.0"),
    ],
)
def test_greetings_that_refuse_defer(replies: list[bytes], code: str) -> None:
    client = Client(b"me.example", Protocol.SMTP)
    for reply in replies:
        client.receive(reply)
    assert client.step is Step.CLOSED
    assert client.failure is not None
    assert (client.failure.status, client.failure.code) == (4, code)


FOUR = [b"250 ok\r\n", b"250 ok\r\n", b"250 ok\r\n", b"354 go\r\n"]


@pytest.mark.parametrize("at", range(5))
@pytest.mark.parametrize("protocol", Protocol)
@pytest.mark.parametrize(
    ("reply", "code"),
    [
        (b"421 4.3.2 shutting down\r\n", "4.3.2"),
        (b"nonsense\r\n", "4.5.0"),
        (b"\r\n", "4.5.0"),
        (b"250", None),
        (b"250-go on\r\n251 but differently\r\n", "4.5.0"),
        (b"199 what\r\n", "4.5.0"),
        (b"x" * (LINE_BYTES + 1), "4.5.0"),
        (b"250-x\r\n" * 101, "4.5.0"),
    ],
)
def test_what_ends_a_conversation_anywhere(at: int, protocol: Protocol, reply: bytes, code: str | None) -> None:
    client = begun(TWO, protocol=protocol)
    client.take_output()
    client.receive(b"".join(FOUR[:at]))
    if at == 4:
        client.content_sent()
    client.receive(reply)
    if code is None:
        assert client.step is Step.READ
        client.lost("4.4.2", "timed out")
        code = "4.4.2"
    assert client.step is Step.CLOSED
    assert client.take_output() == b""
    assert verdicts(client) == [(4, code)] * 2
    assert client.untouched == (at == 0)


@pytest.mark.parametrize(
    ("at", "reply"),
    [(0, b"354 go\r\n"), (1, b"354 go\r\n"), (3, b"250 ok\r\n"), (4, b"354 go\r\n")],
    ids=["mail", "rcpt", "data", "end"],
)
def test_wrong_codes(at: int, reply: bytes) -> None:
    client = begun()
    client.receive(b"".join(FOUR[:at]))
    if at == 4:
        client.content_sent()
    client.receive(reply)
    assert client.step is Step.CLOSED
    assert verdicts(client) == [(4, "4.5.0")] * 2


@pytest.mark.parametrize(
    ("reply", "expected"),
    [(b"552 5.3.4 too big\r\n", (5, "5.3.4")), (b"451 4.3.0 no\r\n", (4, "4.3.0")), (b"250 thanks\r\n", (4, "4.5.0"))],
)
def test_a_reply_before_the_content_is_sent(reply: bytes, expected: tuple[int, str]) -> None:
    client = begun()
    client.receive(b"".join(FOUR))
    client.receive(reply)
    assert client.step is Step.CLOSED
    assert verdicts(client) == [expected] * 2


def test_an_unasked_reply_closes_an_idle_connection() -> None:
    client = ready()
    client.receive(b"250 hello?\r\n")
    assert client.step is Step.CLOSED


def test_an_address_cannot_smuggle_a_command() -> None:
    for mail in (Mail(b"a>\r\nQUIT", (b"b",), 1), Mail(b"a", (b"b\nRSET",), 1), Mail(b"a\rb", (b"b",), 1)):
        with pytest.raises(ValueError, match="line end"):
            ready().begin(mail)


def test_texts_are_one_line_of_printable_ascii() -> None:
    client = begun(MAIL)
    client.receive(b"250 ok\r\n550-5.1.1 no\x1b[31m such\r\n550 user \xff\x00\t!\r\n554 no\r\n")
    (verdict,) = client.verdicts
    assert verdict.code == "5.1.1"
    assert verdict.text == "550 5.1.1 no\\x1b[31m such user \\xff\\x00\\x09! (in reply to RCPT)"


@given(pieces=st.lists(st.binary(max_size=60) | st.sampled_from([*FOUR, b"550 no\r\n", b"421 no\r\n"]), max_size=12))
@pytest.mark.parametrize("hello", [PIPELINING, CHUNKING], ids=["data", "chunks"])
def test_any_bytes_end_in_order(hello: bytes, pieces: list[bytes]) -> None:
    """Whatever a server says, the client is in one of its steps, and a loss gives everybody a verdict."""
    client = begun(hello=hello)
    for piece in pieces:
        if client.step is Step.CLOSED:
            break
        if client.step is Step.CONTENT:
            client.content_sent()
        if client.step is Step.READY:
            client.begin(TWO)
        client.receive(piece)
    if client.step is not Step.READY:
        client.lost("4.4.2", "the connection was closed")
    assert len(client.verdicts) == 2
    assert all(verdict.text.isascii() and verdict.text.isprintable() for verdict in client.verdicts)
