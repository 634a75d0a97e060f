"""How often a mail waits for the next hop, and calls the system: counted, not timed."""

import socket
from collections import Counter
from collections.abc import Iterator
from typing import Any

import gevent
import pytest
from gevent.event import Event

from mta.deliver.peer import Connection
from mta.deliver.turns import Turns
from mta.smtp.client import Client, Protocol, Step
from mta.smtp.client_mail import Mail
from tests.support.deliveries import FakeMessage, mail
from tests.support.nexthop import Hop, NextHop, Polite
from tests.support.relaying import BODY, DEADLINE_S, Relaying

Calls = Counter[str]
BOTH = ("PIPELINING", "CHUNKING")


class Counting(socket.socket):
    """Notes its calls; those that found nothing to receive are `nothing`."""

    calls: Calls

    def sendmsg(self, *arguments: Any) -> int:  # type: ignore[override]
        self.calls["send"] += 1
        return super().sendmsg(*arguments)

    def send(self, *arguments: Any) -> int:  # type: ignore[override]
        self.calls["send"] += 1
        return super().send(*arguments)

    def recv(self, *arguments: Any) -> bytes:
        try:
            data = super().recv(*arguments)
        except BlockingIOError:
            self.calls["nothing"] += 1
            raise
        self.calls["receive"] += 1
        return data


class Grouped(Polite):
    """Answers what has come in one piece with one piece."""

    def serve(self, hop: Hop) -> None:
        said: list[str] = []
        say = hop.say

        def gather(*lines: str) -> None:
            said.extend(lines)
            if not hop.pipelined() or any(line.startswith("354") for line in lines):
                say(*said)
                said.clear()

        hop.say = gather  # type: ignore[method-assign]
        super().serve(hop)


@pytest.fixture
def calls() -> Calls:
    return Counter()


def connected(hop: NextHop, calls: Calls, protocol: Protocol) -> Connection:
    """A connection whose calls are counted, behind the greetings."""
    host, _, port = hop.host.rpartition(":")
    sock = Counting()
    sock.calls = calls
    sock.connect((host, int(port)))
    sock.setblocking(False)
    connection = Connection(sock, Client(b"me.example", protocol), DEADLINE_S, Turns())
    connection.greet()
    assert connection.client.step is Step.READY
    calls.clear()
    return connection


@pytest.fixture
def hops() -> Iterator[list[NextHop]]:
    made: list[NextHop] = []
    yield made
    for hop in made:
        hop.close()


@pytest.mark.parametrize("protocol", Protocol)
@pytest.mark.parametrize(
    ("extensions", "size_bytes", "trips"),
    [
        (BOTH, 0, 1),
        (BOTH, 5000, 1),
        (BOTH, 100_000, 2),
        (("PIPELINING",), 5000, 2),
        (("CHUNKING",), 5000, 3),
        ((), 5000, 4),
    ],
    ids=["unasked, empty", "unasked", "asked", "DATA", "BDAT, no PIPELINING", "plain"],
)
def test_round_trips(
    hops: list[NextHop],
    calls: Calls,
    protocol: Protocol,
    extensions: tuple[str, ...],
    size_bytes: int,
    trips: int,
) -> None:
    """Each is one call to send and one to receive, also for the second mail of a connection."""
    server = Grouped(extensions=(*extensions, "HELP"), lmtp=protocol is Protocol.LMTP)
    hops.append(NextHop(server))
    connection = connected(hops[0], calls, protocol)
    content = b"x" * (size_bytes - 2) + b"\r\n" if size_bytes else b""
    with gevent.Timeout(DEADLINE_S):
        for _ in range(2):
            connection.transact(Mail(b"a@example.net", (b"joe@example.org",), size_bytes), lambda: iter((content,)))
            assert [verdict.status for verdict in connection.client.verdicts] == [2]
            assert calls["receive"] == trips
            if size_bytes < 10_000:  # more than a socket takes at once is sent as it takes it
                assert calls == {"send": trips, "receive": trips}
            calls.clear()
    connection.close()
    assert len(server.received) == 2


def test_a_reused_connection_is_looked_at_without_waiting(hops: list[NextHop], calls: Calls) -> None:
    hops.append(NextHop(Grouped(extensions=BOTH)))
    connection = connected(hops[0], calls, Protocol.SMTP)
    with gevent.Timeout(DEADLINE_S):
        connection.transact(Mail(b"a@example.net", (b"joe@example.org",), 4), lambda: iter((b"x\r\n\r\n"[:4],)))
        calls.clear()
        assert connection.is_quiet()
    assert calls == {"nothing": 1}
    connection.close()


@pytest.mark.parametrize("extra", ["250 2.0.0 ok", "421 4.4.2 idle too long", "garbage", None])
def test_what_came_between_two_mails_is_no_answer(hops: list[NextHop], calls: Calls, extra: str | None) -> None:
    """A reply too many would make the answer to the second mail's last recipient that to its content."""
    said = Event()
    more = Event()

    class Talkative(Grouped):
        def _end(self, hop: Hop, *rest: Any) -> None:
            super()._end(hop, *rest)
            more.wait()
            if extra is None:
                hop.socket.shutdown(socket.SHUT_RDWR)
            else:
                hop.say(extra)
            said.set()

    hops.append(NextHop(Talkative(extensions=BOTH)))
    connection = connected(hops[0], calls, Protocol.SMTP)
    with gevent.Timeout(DEADLINE_S):
        connection.transact(Mail(b"a@example.net", (b"joe@example.org",), 2), lambda: iter((b"\r\n",)))
        more.set()
        said.wait()
        assert not connection.is_quiet()
    assert connection.client.step is Step.CLOSED
    connection.close()


def test_the_next_mail_goes_elsewhere_then() -> None:
    """With the relay around it: a server that answers each content twice gets a connection for each mail."""

    class Twice(Polite):
        def _end(self, hop: Hop, *rest: Any) -> None:
            super()._end(hop, *rest)
            hop.say("250 2.0.0 and once more")

    relaying = Relaying()
    server = Twice({"MAIL FROM:<b@example.net>": "550 5.7.1 no"}, extensions=BOTH)
    hop = relaying.play(server, concurrency=1)
    relaying.messages[2] = FakeMessage(mail("joe@example.org", sender="b@example.net"), BODY)
    outcomes = relaying.deliver((1, (0,)), (2, (0,)), (1, (0,)))
    assert [[result.code for result in outcome.results] for outcome in outcomes] == [[], ["5.7.1"], []]
    assert hop.connections >= 2
    relaying.close()


def test_a_reply_too_many_that_came_while_the_connection_was_idle() -> None:
    """It is there when the next mail begins, and nobody has looked yet: the mail goes by another connection."""
    hops: list[Hop] = []

    def script(hop: Hop) -> None:
        hops.append(hop)
        server(hop)

    relaying = Relaying()
    server = Polite(extensions=BOTH)
    counted = relaying.play(script)
    assert relaying.one() == []
    hops[0].say("250 2.0.0 and once more")  # goes at once; nobody else runs in between
    assert relaying.one() == []
    assert counted.connections == 2
    assert len(server.received) == 2
    relaying.close()


@pytest.mark.parametrize("recipients", [1, 5000])
def test_neither_side_waits_for_the_other(recipients: int) -> None:
    """A server that answers each command before it reads on, with more than the sockets hold in both directions."""
    bodies: list[int] = []

    def script(hop: Hop) -> None:
        hop.say("220 ok")
        hop.hear()
        hop.say("250-ok", "250-PIPELINING", "250 CHUNKING")
        while not (line := hop.hear()).startswith(b"BDAT"):
            hop.say("250 " + "z" * 1000)
        bodies.append(len(hop.hear_bytes(int(line.split()[1]))))
        hop.say("250 ok")
        hop.hear()

    relaying = Relaying()
    relaying.play(script)
    names = tuple(f"{'x' * 50}{number}@{'y' * 60}.example.org" for number in range(recipients))
    relaying.messages[1] = FakeMessage(mail(*names), *[b"x" * 8192] * 8)
    assert relaying.one(recipients=tuple(range(recipients))) == []
    assert bodies == [65536]
    relaying.close()


@pytest.mark.parametrize(
    ("replies", "expected", "connections"),
    [
        ({"RCPT": "550 5.1.1 who", "END": "503 5.5.1 nobody"}, [(5, "5.1.1")], 1),
        ({"RCPT": "450 4.2.1 busy", "END": "250 2.0.0 thanks"}, [(4, "4.2.1")], 2),
        ({"MAIL": "550 5.7.1 no", "RCPT": "503 5.5.1 no", "END": "503 5.5.1 no"}, [(5, "5.7.1")], 1),
        ({"END": "552 5.3.4 too big"}, [(5, "5.3.4")], 1),
        ({"RCPT": "421 4.3.2 bye"}, [(4, "4.3.2")], 2),
    ],
    ids=["nobody", "taken for nobody", "MAIL", "content", "421"],
)
@pytest.mark.parametrize("kind", ["smtp", "lmtp"])
def test_what_follows_a_refusal(
    kind: Any, replies: dict[str, str], expected: list[tuple[int, str]], connections: int
) -> None:
    """The server discards the content, and the next mail finds the connection as it should be, or a new one."""

    class Discarding(Polite):
        def _end(self, hop: Hop, sender: bytes, recipients: list[bytes], content: bytes) -> None:
            if recipients:
                super()._end(hop, sender, recipients, content)
            else:
                hop.say(self.replies["END"])

    relaying = Relaying()
    server = Discarding(replies, extensions=BOTH, lmtp=kind == "lmtp")
    hop = relaying.play(server, kind=kind)
    assert relaying.one() == expected
    server.received.clear()
    server.replies.clear()
    assert relaying.one() == []
    assert [content for _, _, content in server.received] == [BODY]
    assert hop.connections == connections
    relaying.close()
