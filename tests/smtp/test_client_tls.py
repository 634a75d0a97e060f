"""STARTTLS as the client sees it, without TLS: what is asked for when, and what is forgotten."""

import pytest

from mta.smtp.client import Client, Encryption, Protocol, Step
from mta.smtp.client_mail import Mail
from tests.support.sending import verdicts

GREETING = b"220 mx ESMTP\r\n"
OFFER = b"250-mx\r\n250-PIPELINING\r\n250-SIZE 10\r\n250 STARTTLS\r\n"
PLAIN = b"250-mx\r\n250 PIPELINING\r\n"
MAIL = Mail(b"a@example.net", (b"joe@example.org",), 100)


def greeted(encryption: Encryption, hello: bytes, protocol: Protocol = Protocol.SMTP) -> Client:
    """A client that was told what there is, and whose EHLO has been taken."""
    client = Client(b"me.example", protocol, encryption)
    client.receive(GREETING)
    assert client.take_output() == protocol.value + b" me.example\r\n"
    client.receive(hello)
    return client


@pytest.mark.parametrize("encryption", [Encryption.OFFERED, Encryption.ALWAYS])
@pytest.mark.parametrize("protocol", list(Protocol))
def test_everything_begins_anew_inside(encryption: Encryption, protocol: Protocol) -> None:
    """PIPELINING and SIZE were offered outside only, so they are not used."""
    client = greeted(encryption, OFFER, protocol)
    assert client.take_output() == b"STARTTLS\r\n"
    client.receive(b"220 go\r\n")
    assert (client.step, client.take_output()) == (Step.TLS, b"")
    client.secured()
    assert client.encrypted
    assert client.take_output() == protocol.value + b" me.example\r\n"
    client.receive(b"250-mx\r\n250 STARTTLS\r\n")  # offered once more: it makes no difference
    assert client.step is Step.READY
    client.begin(MAIL)
    assert client.take_output() == b"MAIL FROM:<a@example.net>\r\n"


def test_it_is_not_asked_for_where_it_is_not_wanted() -> None:
    client = greeted(Encryption.NEVER, OFFER)
    assert (client.step, client.take_output()) == (Step.READY, b"")


@pytest.mark.parametrize("hello", [PLAIN, b"250 mx\r\n"])
def test_without_an_offer(hello: bytes) -> None:
    assert greeted(Encryption.OFFERED, hello).step is Step.READY
    client = greeted(Encryption.ALWAYS, hello)
    assert client.step is Step.CLOSED
    assert client.failure is not None
    assert client.failure.code == "4.7.4"


def test_an_old_server_has_no_tls() -> None:
    for encryption, step in ((Encryption.OFFERED, Step.READY), (Encryption.ALWAYS, Step.CLOSED)):
        client = greeted(encryption, b"500 what\r\n")
        assert client.take_output() == b"HELO me.example\r\n"
        client.receive(b"250 mx\r\n")
        assert client.step is step


@pytest.mark.parametrize("reply", [b"454 4.7.0 no\r\n", b"501 no\r\n", b"503 no\r\n"])
def test_a_refusal(reply: bytes) -> None:
    """Where TLS is optional, what was announced still counts."""
    client = greeted(Encryption.OFFERED, OFFER)
    client.take_output()
    client.receive(reply)
    assert client.step is Step.READY
    client.begin(MAIL)
    assert verdicts(client) == [(5, "5.3.4")]
    client = greeted(Encryption.ALWAYS, OFFER)
    client.receive(reply)
    assert client.failure is not None
    assert (client.failure.status, client.failure.code) == (4, "4.7.4")


@pytest.mark.parametrize("reply", [b"354 go\r\n", b"what\r\n", b"421 bye\r\n"])
@pytest.mark.parametrize("encryption", [Encryption.OFFERED, Encryption.ALWAYS])
def test_what_is_no_answer_ends_it(encryption: Encryption, reply: bytes) -> None:
    client = greeted(encryption, OFFER)
    client.receive(reply)
    assert client.step is Step.CLOSED


def test_inside_there_is_no_helo() -> None:
    """A server that takes STARTTLS and then knows no EHLO is not the one it was."""
    client = greeted(Encryption.OFFERED, OFFER)
    client.receive(b"220 go\r\n")
    client.secured()
    client.take_output()
    client.receive(b"500 what\r\n")
    assert (client.step, client.take_output()) == (Step.CLOSED, b"")


@pytest.mark.parametrize("behind", [b"x", b"\r\n", b"250 ok\r\n", b"250-ok\r\n", b"220 go\r\n", b"\x16\x03\x01"])
@pytest.mark.parametrize("at", [1, 7, 8])
def test_nothing_may_stand_behind_the_reply(behind: bytes, at: int) -> None:
    """However the reply itself is cut."""
    client = greeted(Encryption.OFFERED, OFFER)
    reply = b"220 go\r\n"
    client.receive(reply[:at] if at < len(reply) else b"")
    client.receive(reply[at:] + behind if at < len(reply) else reply + behind)
    assert client.step is Step.CLOSED
    assert client.failure is not None
    assert "plain text" in client.failure.text


def test_requiretls_is_asked_for_where_it_is_offered() -> None:
    mail = Mail(b"a@example.net", (b"joe@example.org",), 1, require_tls=True)
    for hello, expected in ((b"250-mx\r\n250 REQUIRETLS\r\n", []), (b"250 mx\r\n", [(5, "5.7.30")])):
        client = greeted(Encryption.OFFERED, OFFER)
        client.receive(b"220 go\r\n")
        client.secured()
        client.receive(hello)
        client.take_output()
        client.begin(mail)
        assert verdicts(client) == expected
        if not expected:
            assert client.take_output() == b"MAIL FROM:<a@example.net> REQUIRETLS\r\n"
