"""TLS to next hops, over real sockets: what is spoken at which level, and what becomes of what goes wrong."""

import socket
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest
from gevent import ssl

from mta import log
from mta.config import Log
from mta.errors import ConfigError
from mta.smtp.client import Client, Encryption, Protocol, Step
from tests.support.certificates import Authority, Pair
from tests.support.deliveries import FakeMessage, mail
from tests.support.nexthop import EXTENSIONS, Hop, Polite
from tests.support.relaying import BODY, Relaying
from tests.support.tlshop import Encrypting, context

FALSE_WORDS = (b"250-mx\r\n", b"250 mx\r\n", b"2", b"hello\n", b"421 4.3.2 bye\r\n", b"\x15\x03\x03")


@pytest.fixture
def relaying() -> Iterator[Relaying]:
    made = Relaying()
    yield made
    made.close()


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def pair(authority: Authority) -> Pair:
    """For the address that next hops of tests have, and for a name."""
    return authority.server("127.0.0.1", "mx.example.org")


@pytest.fixture(scope="module")
def tls(pair: Pair) -> ssl.SSLContext:
    return context(pair)


def result(relaying: Relaying) -> tuple[str, str, bool]:
    """Code, text, and whether the destination counts as down, of one work that was deferred."""
    (outcome,) = relaying.deliver()
    (found,) = outcome.results
    assert found.status == 4
    return found.code, found.text, outcome.destination_down


@pytest.mark.parametrize("level", ["default", "optional", "required"])
@pytest.mark.parametrize("version", [None, ssl.TLSVersion.TLSv1_2])
def test_tls_is_spoken(relaying: Relaying, pair: Pair, level: str, version: ssl.TLSVersion | None) -> None:
    """What was announced before is forgotten, and the connection is used again."""
    server = Encrypting(context(pair, version), extensions=("SIZE 1000",))
    hop = relaying.play(server, tls=level)
    assert relaying.one() == []
    assert relaying.one() == []
    relaying.transport.close()
    hop.wait_open(0)
    mails = [b"MAIL FROM:<a@example.net> SIZE=27", b"RCPT TO:<joe@example.org>", b"DATA"]
    assert server.commands == [b"EHLO me.example", b"STARTTLS", b"EHLO me.example", *mails, *mails, b"QUIT"]
    assert (hop.connections, server.encrypted) == (1, 1)


def test_the_log_tells_version_and_cipher(relaying: Relaying, pair: Pair, tmp_path: Path) -> None:
    log.setup("deliver", 0, Log(file=str(tmp_path / "log")))
    try:
        relaying.play(Encrypting(context(pair, ssl.TLSVersion.TLSv1_3)))
        assert relaying.one() == []
        relaying.play(Polite())
        assert relaying.one() == []
    finally:
        log.setup("deliver", 0, Log())
    first, second = (tmp_path / "log").read_text().splitlines()
    assert ' tls="TLSv1.3 TLS_AES_' in first
    assert ' tls="" ' in second


def test_lmtp_is_plain_unless_it_is_told(relaying: Relaying, tls: ssl.SSLContext) -> None:
    server = Encrypting(tls)
    relaying.play(server, kind="lmtp")
    assert relaying.one() == []
    assert server.encrypted == 0
    server = Encrypting(tls)
    relaying.play(server, kind="lmtp", tls="required")
    assert relaying.one() == []
    assert server.encrypted == 1
    assert server.commands[:3] == [b"LHLO me.example", b"STARTTLS", b"LHLO me.example"]


def test_none_is_none(relaying: Relaying, tls: ssl.SSLContext) -> None:
    server = Encrypting(tls)
    relaying.play(server, tls="none")
    assert relaying.one() == []
    assert b"STARTTLS" not in server.commands


@pytest.mark.parametrize("chunks", [(b"x" * 3_000_000 + b"\r\n",), (b"line\r\n" * 20_000,) * 40])
def test_large_content(relaying: Relaying, tls: ssl.SSLContext, chunks: tuple[bytes, ...]) -> None:
    server = Encrypting(tls, extensions=(*EXTENSIONS, "CHUNKING"))
    relaying.play(server, tls="required")
    relaying.messages[1] = FakeMessage(mail("joe@example.org"), *chunks)
    assert relaying.one() == []
    assert [content for _, _, content in server.received] == [b"".join(chunks)]


# ---------------------------------------------------------------------------------------------------------------------
# Where TLS is not to be had


@pytest.mark.parametrize("answer", ["454 4.7.0 TLS not available", "502 5.5.1 what"])
def test_a_refused_starttls_is_no_obstacle_where_it_is_optional(
    relaying: Relaying, tls: ssl.SSLContext, answer: str
) -> None:
    server = Encrypting(tls, {"STARTTLS": answer})
    hop = relaying.play(server)
    assert relaying.one() == []
    assert hop.connections == 1


@pytest.mark.parametrize("level", ["required", "verify"])
def test_a_refused_starttls_defers_where_it_is_not(relaying: Relaying, tls: ssl.SSLContext, level: str) -> None:
    server = Encrypting(tls, {"STARTTLS": "454 4.7.0 not now"})
    relaying.play(server, tls=level)
    assert result(relaying) == ("4.7.4", "TLS is required, and the next hop refuses it: 454 4.7.0 not now", True)
    assert server.received == []


@pytest.mark.parametrize("level", ["required", "verify"])
@pytest.mark.parametrize("replies", [{}, {"EHLO": "500 what"}], ids=["EHLO", "HELO"])
def test_no_starttls_defers_where_it_is_needed(relaying: Relaying, level: str, replies: dict[str, str]) -> None:
    server = Polite(replies)
    relaying.play(server, tls=level)
    assert result(relaying) == ("4.7.4", "TLS is required, and the next hop does not offer it", True)
    assert server.received == []


def test_a_starttls_that_ends_the_connection(relaying: Relaying, tls: ssl.SSLContext) -> None:
    relaying.play(Encrypting(tls, {"STARTTLS": "421 4.3.2 bye"}))
    assert result(relaying)[0] == "4.3.2"


# ---------------------------------------------------------------------------------------------------------------------
# Handshakes that fail


class Broken(Encrypting):
    """Does something else than a handshake, the first `times`."""

    def __init__(self, tls: ssl.SSLContext, instead: Callable[[Hop], None], times: int = 1000) -> None:
        super().__init__(tls)
        self._instead = instead
        self._times = times
        self.broken = 0

    def handshake(self, hop: Hop) -> None:
        if self.broken == self._times:
            super().handshake(hop)
            return
        self.broken += 1
        self._instead(hop)
        raise ConnectionError


def nonsense(hop: Hop) -> None:
    """Plain text where the handshake belongs."""
    hop.socket.recv(10)
    hop.say("220 what?")
    hop.linger()


def alert(hop: Hop) -> None:
    """An alert of TLS: handshake_failure."""
    hop.socket.recv(10000)
    hop.socket.sendall(struct.pack(">BHHBB", 21, 0x0303, 2, 2, 40))


def endless(hop: Hop) -> None:
    """A handshake message that is never whole."""
    hop.socket.recv(10000)
    record = struct.pack(">BHH", 22, 0x0303, 16000) + b"\x02\x00\xff\xff" + b"x" * 15996
    for _ in range(100):
        hop.socket.sendall(record)


BREAKS: list[Callable[[Hop], None]] = [nonsense, alert, endless, Hop.close, Hop.reset]


@pytest.mark.parametrize("instead", BREAKS)
def test_broken_tls_becomes_plain_text_where_it_is_optional(
    relaying: Relaying, tls: ssl.SSLContext, instead: Callable[[Hop], None]
) -> None:
    """At once, by a connection of its own; and the next one does not try again."""
    server = Broken(tls, instead)
    hop = relaying.play(server)
    assert relaying.one() == []
    assert (hop.connections, server.broken) == (2, 1)
    relaying.transport.close()
    assert relaying.one() == []
    assert (hop.connections, server.broken) == (3, 1)
    assert len(server.received) == 2


@pytest.mark.parametrize("level", ["required", "verify"])
@pytest.mark.parametrize("instead", BREAKS)
def test_broken_tls_defers_where_it_is_not(
    relaying: Relaying, tls: ssl.SSLContext, instead: Callable[[Hop], None], level: str
) -> None:
    server = Broken(tls, instead)
    hop = relaying.play(server, tls=level)
    code, text, down = result(relaying)
    assert (code, down) == ("4.7.5", True)
    assert text.startswith("TLS failed: ")
    assert text.isprintable()
    assert hop.connections == 1


@pytest.mark.parametrize("level", ["optional", "required"])
def test_a_silent_handshake_ends_by_deadline(relaying: Relaying, tls: ssl.SSLContext, level: str) -> None:
    server = Broken(tls, Hop.linger, times=1)
    relaying.play(server, tls=level, timeout_s=0.1)
    (outcome,) = relaying.deliver()
    found = [(one.code, one.text) for one in outcome.results]
    assert found == ([] if level == "optional" else [("4.7.5", "TLS failed: timed out")])


@pytest.mark.parametrize("level", ["optional", "required"])
def test_a_server_that_wants_our_certificate(relaying: Relaying, authority: Authority, pair: Pair, level: str) -> None:
    """With TLS 1.3 it says so when the handshake is over for us."""
    wants = context(pair, ssl.TLSVersion.TLSv1_3)
    wants.load_verify_locations(authority.ca)
    wants.verify_mode = ssl.CERT_REQUIRED
    relaying.play(Encrypting(wants), tls=level)
    if level == "optional":
        assert relaying.one() == []
    else:
        code, text, _ = result(relaying)
        assert code in ("4.7.5", "4.4.2")  # the alert, or a reset that overtakes it
        assert text


@pytest.mark.parametrize("level", ["optional", "required"])
def test_an_old_version_is_not_spoken(relaying: Relaying, pair: Pair, level: str) -> None:
    server = Encrypting(context(pair, ssl.TLSVersion.TLSv1_1))
    relaying.play(server, tls=level)
    assert relaying.one() == ([] if level == "optional" else [(4, "4.7.5")])
    assert server.encrypted == 0


@pytest.mark.parametrize("behind", FALSE_WORDS)
@pytest.mark.parametrize("level", ["optional", "required", "verify"])
def test_bytes_behind_the_reply_to_starttls_end_it(
    relaying: Relaying, tls: ssl.SSLContext, behind: bytes, level: str
) -> None:
    """They are never taken for what was said inside, and nothing goes on in plain text."""
    server = Encrypting(tls, behind=behind)
    hop = relaying.play(server, tls=level)
    assert result(relaying) == ("4.5.0", "bytes in plain text behind the reply to STARTTLS", True)
    assert hop.connections == 1
    assert server.received == []


@pytest.mark.parametrize("behind", FALSE_WORDS)
def test_the_client_alone_sees_them_too(behind: bytes) -> None:
    client = Client(b"me.example", Protocol.SMTP, Encryption.OFFERED)
    client.receive(b"220 mx\r\n")
    client.receive(b"250-mx\r\n250 STARTTLS\r\n")
    client.receive(b"220 go\r\n" + behind)
    assert client.step is Step.CLOSED


# ---------------------------------------------------------------------------------------------------------------------
# Inside


@pytest.mark.parametrize("verb", ["EHLO", "MAIL", "RCPT", "DATA", "END"])
@pytest.mark.parametrize("end", ["cut", "close_notify", "garbage", "421"])
def test_ends_inside(relaying: Relaying, tls: ssl.SSLContext, verb: str, end: str) -> None:
    class Ending(Encrypting):
        def ends(self, hop: Hop) -> None:
            if end == "421":
                hop.say("421 4.3.2 bye")
            elif end == "close_notify":
                hop.socket.unwrap()
            elif end == "garbage":
                with socket.socket(fileno=hop.socket.detach()) as raw:
                    raw.setblocking(True)
                    raw.sendall(b"\x17\x03\x03\x00\x30" + b"x" * 48)
                raise ConnectionError
            raise ConnectionError

        def _answer(self, line: bytes, said: str) -> str:
            if said == verb and self.encrypted:
                self.ends(self.hop)
            return super()._answer(line, said)

        def _end(self, hop: Hop, *rest: object) -> None:
            if verb == "END":
                self.ends(hop)

        def handshake(self, hop: Hop) -> None:
            super().handshake(hop)
            self.hop = hop

    relaying.play(Ending(tls), tls="required")
    expected = {"cut": "4.4.2", "close_notify": "4.4.2", "garbage": "4.7.5", "421": "4.3.2"}
    assert result(relaying)[0] == expected[end]


def test_an_idle_connection_that_ends_is_replaced(relaying: Relaying, tls: ssl.SSLContext) -> None:
    hops: list[Hop] = []

    class Kept(Encrypting):
        def handshake(self, hop: Hop) -> None:
            super().handshake(hop)
            hops.append(hop)

    hop = relaying.play(Kept(tls), tls="required")
    assert relaying.one() == []
    hops[0].say("421 4.4.2 idle too long")
    hop.wait_open(0)
    assert relaying.one() == []
    assert hop.connections == 2


# ---------------------------------------------------------------------------------------------------------------------
# Certificates


def test_a_certificate_that_is_verified(relaying: Relaying, authority: Authority, tls: ssl.SSLContext) -> None:
    """For the host, or for the name that it is said to have."""
    for name in ("", "mx.example.org"):
        relaying.play(Encrypting(tls), tls="verify", tls_ca=str(authority.ca), tls_name=name)
        assert relaying.one() == []


@pytest.mark.parametrize("case", ["another name", "expired", "another authority", "the system's authorities"])
def test_a_certificate_that_is_not(relaying: Relaying, authority: Authority, tmp_path: Path, case: str) -> None:
    """Nothing of the message is sent, nor is it sent in plain text."""
    shown = authority.server("127.0.0.1", "mx.example.org")
    ca, name, word = str(authority.ca), "", "unable to get local issuer certificate"
    match case:
        case "another name":
            name, word = "mx.example.net", "Hostname mismatch"
        case "expired":
            shown, word = authority.expired("127.0.0.1"), "certificate has expired"
        case "another authority":
            ca = str(Authority(tmp_path, "Another").ca)
        case _:
            ca = ""
    server = Encrypting(context(shown))
    hop = relaying.play(server, tls="verify", tls_ca=ca, tls_name=name)
    code, text, down = result(relaying)
    assert (code, down) == ("4.7.5", True)
    assert text.startswith("TLS failed: certificate_verify_failed: ")
    assert word in text
    assert (hop.connections, server.received) == (1, [])


@pytest.mark.parametrize("level", ["optional", "required"])
def test_any_certificate_does_where_it_is_not_verified(relaying: Relaying, authority: Authority, level: str) -> None:
    server = Encrypting(context(authority.expired("elsewhere.example")))
    relaying.play(server, tls=level)
    assert relaying.one() == []
    assert server.encrypted == 1


def test_authorities_that_cannot_be_read(relaying: Relaying, tmp_path: Path) -> None:
    (tmp_path / "empty.pem").write_text("")
    for name in ("none.pem", "empty.pem"):
        with pytest.raises(ConfigError, match=name):
            relaying.use("127.0.0.1:25", tls="verify", tls_ca=str(tmp_path / name))


# ---------------------------------------------------------------------------------------------------------------------
# REQUIRETLS


@pytest.fixture
def secret(relaying: Relaying) -> None:
    """The message requires TLS."""
    envelope = msgspec.structs.replace(mail("joe@example.org"), require_tls=True)
    relaying.messages[1] = FakeMessage(envelope, BODY)


@pytest.mark.usefixtures("secret")
def test_requiretls_is_passed_on(relaying: Relaying, authority: Authority, tls: ssl.SSLContext) -> None:
    server = Encrypting(tls, extensions=(*EXTENSIONS, "REQUIRETLS"))
    relaying.play(server, tls="verify", tls_ca=str(authority.ca))
    assert relaying.one() == []
    assert server.received[0][0].endswith(b" REQUIRETLS")


@pytest.mark.usefixtures("secret")
def test_requiretls_fails_where_it_is_not_offered(
    relaying: Relaying, authority: Authority, tls: ssl.SSLContext
) -> None:
    server = Encrypting(tls)
    relaying.play(server, tls="verify", tls_ca=str(authority.ca))
    assert relaying.one() == [(5, "5.7.30")]
    assert server.received == []


@pytest.mark.usefixtures("secret")
@pytest.mark.parametrize("level", ["none", "optional", "required"])
def test_requiretls_fails_where_nothing_is_verified(relaying: Relaying, tls: ssl.SSLContext, level: str) -> None:
    server = Encrypting(tls, extensions=(*EXTENSIONS, "REQUIRETLS"))
    relaying.play(server, tls=level)
    assert relaying.one() == [(5, "5.7.30")]
    assert server.received == []


def test_requiretls_is_for_messages_that_ask_for_it(
    relaying: Relaying, authority: Authority, tls: ssl.SSLContext
) -> None:
    server = Encrypting(tls, extensions=(*EXTENSIONS, "REQUIRETLS"))
    relaying.play(server, tls="verify", tls_ca=str(authority.ca))
    assert relaying.one() == []
    assert b"REQUIRETLS" not in server.received[0][0]
