"""A connection that changes over to TLS, or begins with it: what is kept, what is dropped, what is never said."""

import gevent
import gevent.ssl
import pytest

from mta.server.stream import DeadlineExceeded, Draining
from tests.support.certificates import Authority
from tests.support.hub import in_hub
from tests.support.tls import contexts

GREETING = b"220 mx.example.org ESMTP\r\n"
MAIL = b"MAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.org>\r\n"


@pytest.fixture(name="authority", scope="module")
def _authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(name="secured")
def _secured(bench, authority):
    bench.shared.tls = contexts(authority.server())
    return bench


def change_over(peer, authority) -> None:
    """The client's handshake; the peer speaks TLS afterwards."""
    context = gevent.ssl.SSLContext(gevent.ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(authority.ca)
    with gevent.Timeout(20):
        peer.socket = context.wrap_socket(peer.socket, server_hostname="mx.example.org")


def start_tls(peer, authority) -> None:
    """EHLO, STARTTLS, handshake, EHLO."""
    peer.read_until(GREETING)
    peer.send(b"EHLO c.example\r\n")
    assert b"250-STARTTLS\r\n" in peer.read_until(b"250 HELP\r\n")
    assert peer.ask(b"STARTTLS") == b"220 2.0.0 Ready to start TLS\r\n"
    change_over(peer, authority)


def test_a_message_under_tls_says_so(secured, authority):
    peer = secured.connect()
    start_tls(peer, authority)
    assert peer.ask(b"MAIL FROM:<a@example.com>").startswith(b"503 5.5.1 "), "what was said in the clear is forgotten"
    peer.send(b"EHLO c.example\r\n")
    said = peer.read_until(b"250 HELP\r\n")
    assert b"STARTTLS" not in said
    assert b"250-REQUIRETLS\r\n" in said
    peer.send(MAIL + b"BDAT 3 LAST\r\nx\r\n")
    assert peer.read_lines(3)[2].startswith(b"250 2.0.0 OK queued as ")
    envelope = secured.envelopes()[0]
    assert envelope.protocol == "ESMTPS"
    assert b"(using TLSv1.3 with cipher TLS_" in envelope.trace
    assert b" with ESMTPS id " in envelope.trace.replace(b"\r\n\t", b" ")
    assert peer.ask(b"STARTTLS").startswith(b"503 5.5.1 TLS is active")


def test_words_behind_starttls_end_the_connection(secured):
    peer = secured.connect()
    peer.read_until(GREETING)
    peer.send(b"EHLO c.example\r\n")
    peer.read_until(b"250 HELP\r\n")
    peer.send(b"STARTTLS\r\nMAIL FROM:<evil@example.com>\r\n")
    assert peer.read_to_end().startswith(b"554 5.5.0 Nothing may follow STARTTLS")


def test_mail_needs_tls_where_that_is_demanded(secured, authority):
    secured.with_listener(tls="required")
    peer = secured.connect()
    peer.read_until(GREETING)
    peer.send(b"EHLO c.example\r\n")
    peer.read_until(b"250 HELP\r\n")
    assert peer.ask(b"MAIL FROM:<a@example.com>").startswith(b"530 5.7.0 Send STARTTLS first")
    assert peer.ask(b"STARTTLS").startswith(b"220 ")
    change_over(peer, authority)
    peer.send(b"EHLO c.example\r\n")
    peer.read_until(b"250 HELP\r\n")
    assert peer.ask(b"MAIL FROM:<a@example.com>").startswith(b"250 ")


def test_tls_from_the_first_byte(secured, authority):
    secured.with_listener(tls="implicit")
    peer = secured.connect()
    change_over(peer, authority)
    peer.read_until(GREETING)
    peer.send(b"EHLO c.example\r\n")
    assert b"STARTTLS" not in peer.read_until(b"250 HELP\r\n")
    assert peer.ask(b"QUIT").startswith(b"221 ")
    assert peer.read_to_end() == b""


@pytest.mark.parametrize("error", [DeadlineExceeded, Draining])
def test_nothing_is_said_into_a_handshake(secured, error):
    secured.with_listener(tls="implicit")
    peer = secured.connect()
    with gevent.Timeout(20):
        while not peer.connection.stream.is_parked:
            gevent.sleep(0)
    in_hub(peer.connection.stream.wake, error())
    assert peer.read_to_end() == b""


def test_whoever_speaks_no_tls_is_cut_off(secured):
    secured.with_listener(tls="implicit")
    peer = secured.connect()
    peer.send(b"EHLO c.example\r\n")
    assert b"220" not in peer.read_to_end()


def test_a_client_too_many_is_not_greeted_in_the_clear(secured):
    secured.with_listener(tls="implicit")
    secured.with_limits(client_connections=1)
    secured.connect()
    assert secured.connect().read_to_end() == b""


def test_starttls_is_not_offered_without_a_certificate(bench):
    peer = bench.connect()
    peer.read_until(GREETING)
    peer.send(b"EHLO c.example\r\n")
    assert b"STARTTLS" not in peer.read_until(b"250 HELP\r\n")
    assert peer.ask(b"STARTTLS").startswith(b"502 5.5.1 ")


def test_a_balancer_passes_tls_through(secured, authority):
    secured.with_listener(tls="implicit", proxy_protocol=["198.51.100.9/32"])
    peer = secured.connect("198.51.100.9")
    peer.send(b"PROXY TCP4 203.0.113.5 192.0.2.25 4321 465\r\n")
    change_over(peer, authority)
    peer.read_until(GREETING)
    assert peer.connection.client.text == "203.0.113.5:4321"
