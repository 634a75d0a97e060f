"""Clients before their first command: who they are, whether they may stay, and whether they can wait."""

from contextlib import suppress

import gevent
import pytest

from mta.errors import SpoolFull
from mta.server.connection import NEWCOMER_S
from mta.server.deadlines import Deadlines
from tests.support.hub import in_hub

GREETING = b"220 mx.example.org ESMTP\r\n"
BALANCER = "198.51.100.9"
MAIL = b"EHLO c.example\r\nMAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.org>\r\n"


def deliver(peer) -> None:
    """One message over a connection that was not greeted yet."""
    peer.read_until(GREETING)
    peer.send(b"EHLO c.example\r\n")
    peer.read_until(b"250 HELP\r\n")
    peer.send(b"MAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.org>\r\nBDAT 3 LAST\r\nx\r\n")
    assert peer.read_lines(3)[2].startswith(b"250 2.0.0 OK queued as ")


# Those who do not wait -----------------------------------------------------------------------------------------------


def test_talking_before_the_greeting_is_refused(bench):
    peer = bench.connect(first=MAIL)
    assert peer.read_to_end() == b"554 5.5.0 You did not wait for our reply, closing the connection [early-talker]\r\n"


def test_talking_before_the_greeting_is_put_up_with_where_that_is_wanted(bench):
    bench.with_listener(refuse_early=[])
    peer = bench.connect(first=b"EHLO c.example\r\nQUIT\r\n")
    said = peer.read_to_end()
    assert said.startswith(GREETING + b"250-mx.example.org\r\n")
    assert said.endswith(b"250 HELP\r\n221 2.0.0 Bye\r\n")


# Load balancers ------------------------------------------------------------------------------------------------------


@pytest.fixture(name="balanced")
def _balanced(bench):
    bench.with_listener(proxy_protocol=[f"{BALANCER}/32"])
    return bench


def test_the_client_is_whom_the_header_names(balanced):
    peer = balanced.connect(BALANCER)
    peer.send(b"PROXY TCP4 203.0.113.5 192.0.2.25 4321 25\r\n")
    deliver(peer)
    envelope = balanced.envelopes()[0]
    assert envelope.client == "203.0.113.5:4321"
    assert b"([203.0.113.5])" in envelope.trace
    assert peer.connection.client.text == "203.0.113.5:4321"


def test_a_header_comes_in_any_pieces(balanced):
    peer = balanced.connect(BALANCER)
    for byte in b"PROXY TCP6 2001:db8::5 2001:db8::25 4321 25\r\n":
        peer.send(bytes([byte]))
        gevent.sleep(0)
    deliver(peer)
    assert balanced.envelopes()[0].client == "[2001:db8::5]:4321"


def test_a_balancer_that_speaks_for_nobody_is_the_client(balanced):
    peer = balanced.connect(BALANCER)
    peer.send(b"PROXY UNKNOWN\r\n")
    peer.read_until(GREETING)
    assert peer.connection.client.text == f"{BALANCER}:999"


@pytest.mark.parametrize(
    "first", [b"EHLO c.example\r\n", b"PROXY TCP4 203.0.113.5\r\n", b"PROXY " + b"x" * 200, b"\x16\x03\x01\x02\x00\x01"]
)
def test_a_bad_header_ends_the_connection_without_a_word(balanced, first):
    peer = balanced.connect(BALANCER)
    peer.send(first)
    with suppress(ConnectionResetError):  # closed with input unread
        assert peer.read_to_end() == b""


def test_talking_behind_the_header_is_talking_before_the_greeting(balanced):
    peer = balanced.connect(BALANCER)
    peer.send(b"PROXY TCP4 203.0.113.5 192.0.2.25 4321 25\r\nEHLO c.example\r\n")
    assert peer.read_to_end().startswith(b"554 5.5.0 ")


def test_nobody_else_may_say_whom_he_stands_for(balanced):
    peer = balanced.connect("203.0.113.77")
    peer.read_until(GREETING)
    assert peer.ask(b"PROXY TCP4 127.0.0.1 192.0.2.25 4321 25").startswith(b"500 5.5.1 ")
    assert peer.connection.client.host == "203.0.113.77"


# Filters -------------------------------------------------------------------------------------------------------------


def test_xclient_changes_who_the_client_is(bench):
    bench.with_listener(xclient=["192.0.2.0/24"])
    peer = bench.connect()
    peer.read_until(GREETING)
    peer.send(b"EHLO filter.example\r\n")
    assert b"250-XCLIENT NAME " in peer.read_until(b"250 HELP\r\n")
    peer.send(b"XCLIENT NAME=c.example ADDR=IPV6:2001:db8::7 PORT=77 HELO=real.example PROTO=ESMTP\r\n")
    deliver(peer)
    envelope = bench.envelopes()[0]
    assert (envelope.client, envelope.helo, envelope.protocol) == ("[2001:db8::7]:77", b"real.example", "ESMTP")
    assert b"from real.example\r\n\t(c.example [IPv6:2001:db8::7])" in envelope.trace


def test_xclient_and_xforward_are_for_those_who_are_listed(bench):
    bench.with_listener(xclient=["198.51.100.0/24"], xforward=["198.51.100.0/24"])
    peer = bench.connect()
    peer.read_until(GREETING)
    peer.send(b"EHLO c.example\r\n")
    said = peer.read_until(b"250 HELP\r\n")
    assert b"XCLIENT" not in said
    assert b"XFORWARD" not in said
    assert peer.ask(b"XCLIENT ADDR=127.0.0.1").startswith(b"550 5.7.0 ")
    assert peer.ask(b"XFORWARD ADDR=127.0.0.1").startswith(b"550 5.7.0 ")
    assert peer.connection.client.host == "192.0.2.1"


def test_xforward_changes_nothing_but_the_log(bench):
    bench.with_listener(xforward=["192.0.2.0/24"])
    peer = bench.connect()
    peer.read_until(GREETING)
    assert peer.ask(b"XFORWARD NAME=far.example ADDR=203.0.113.9").startswith(b"250 ")
    assert peer.connection.client.host == "192.0.2.1"


# Too many ------------------------------------------------------------------------------------------------------------


def test_a_network_has_so_many_connections_and_no_more(bench):
    bench.with_limits(client_connections=2, client_ipv4_prefix=24)
    first, second = bench.connect("192.0.2.1"), bench.connect("192.0.2.200")
    third, other = bench.connect("192.0.2.3"), bench.connect("192.0.3.1")
    assert third.read_to_end().startswith(b"421 4.7.0 Too many connections from your network")
    for peer in (first, second, other):
        peer.read_until(GREETING)
    first.send(b"QUIT\r\n")
    first.read_to_end()
    bench.connect("192.0.2.4").read_until(GREETING)


def test_some_networks_are_not_counted(bench):
    bench.with_limits(client_connections=1, client_exempt=["192.0.2.0/24"])
    for _ in range(3):
        bench.connect("192.0.2.1").read_until(GREETING)


def test_a_worker_without_memory_or_spool_takes_nobody(bench, monkeypatch):
    bench.shared.held_bytes = bench.limits.memory_bytes
    assert bench.connect().read_to_end().startswith(b"421 4.3.2 Out of memory")
    bench.shared.held_bytes = 0
    with monkeypatch.context() as patch:
        patch.setattr(bench.writer, "unhealthy", lambda: SpoolFull("full"))
        assert bench.connect().read_to_end().startswith(b"421 4.3.1 Out of storage")
    bench.connect().read_until(GREETING)


def test_a_message_that_the_disk_has_no_room_for_is_refused_before_it_comes(bench, greeted):
    peer = greeted()
    deadlines = Deadlines(bench.shared)
    in_hub(deadlines.sweep)
    deadlines.stop()
    assert 0 < bench.shared.free_bytes < 1 << 60
    bench.shared.free_bytes = 5000
    assert peer.ask(b"MAIL FROM:<a@example.com> SIZE=5001").startswith(b"452 4.3.1 Out of storage")
    assert peer.ask(b"MAIL FROM:<a@example.com> SIZE=5000").startswith(b"250 ")


def test_stress_sends_the_idle_away_and_passes(bench):
    bench.with_limits(connections=4, stress_timeout_s=10.0)
    deadlines = Deadlines(bench.shared)
    peers = [bench.connect() for _ in range(3)]
    for peer in peers:
        peer.read_until(GREETING)
    gevent.sleep(0)
    assert all(peer.connection.stream.deadline_at > bench.shared.clock.now_s + 200 for peer in peers)
    in_hub(deadlines.sweep)
    assert bench.shared.is_stressed
    assert all(peer.connection.stream.deadline_at <= bench.shared.clock.now_s + 10 for peer in peers)
    peers[0].connection.stream.deadline_at = 0.0
    in_hub(deadlines.sweep)
    assert peers[0].read_to_end().startswith(b"421 4.4.2 ")
    in_hub(deadlines.sweep)
    assert not bench.shared.is_stressed
    deadlines.stop()


# Errors --------------------------------------------------------------------------------------------------------------


def test_errors_over_the_soft_limit_are_delayed(bench, greeted, monkeypatch):
    bench.with_limits(soft_errors=2, errors=20, error_delay_s=2.0)
    pauses = []
    monkeypatch.setattr("mta.server.stream.Stream.pause", lambda stream, seconds: pauses.append(seconds))
    peer = greeted()
    for _ in range(2):
        assert peer.ask(b"X").startswith(b"500 ")
    assert pauses == []
    assert peer.ask(b"X").startswith(b"500 ")
    assert pauses == [2.0]
    peer.send(b"X\r\n" * 3)
    assert len(peer.read_lines(3)) == 3
    assert pauses == [2.0, 6.0]
    assert peer.ask(b"NOOP").startswith(b"250 ")
    assert pauses == [2.0, 6.0]


def test_a_pause_is_one(bench, greeted):
    bench.with_limits(soft_errors=1, error_delay_s=0.001)
    peer = greeted()
    peer.send(b"X\r\n" * 3 + b"NOOP\r\n")
    assert [line[:3] for line in peer.read_lines(4)] == [b"500", b"500", b"500", b"250"]


def test_who_has_just_come_is_not_idle(bench, greeted):
    peer = greeted()
    gevent.sleep(0)
    assert not peer.connection.is_idle()
    bench.shared.clock.now_s += NEWCOMER_S
    assert peer.connection.is_idle()
