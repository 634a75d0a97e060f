"""How long a connection waits for what: by its deadline, which somebody else keeps."""

from collections.abc import Iterator

import gevent
import pytest
from gevent.event import Event

from mta.deliver import peer
from mta.deliver.peer import Connection, connect
from mta.deliver.turns import Turns
from mta.smtp.client import Client, Protocol, Step
from mta.smtp.client_mail import Mail
from tests.support.nexthop import Hop, NextHop
from tests.support.relaying import DEADLINE_S

TIMEOUT_S = 10.0
NOW = 1000.0


class Halting:
    """A server that offers PIPELINING, and CHUNKING perhaps; `replies` are said at once, when a mail has come."""

    def __init__(self, replies: list[str], *, chunking: bool) -> None:
        self._replies = replies
        self._chunking = chunking
        self.said = Event()

    def __call__(self, hop: Hop) -> None:
        hop.say("220 ok")
        hop.hear()
        hop.say("250-ok", "250-CHUNKING" if self._chunking else "250-HELP", "250 PIPELINING")
        hop.hear()
        hop.say(*self._replies)
        if not self._chunking:
            hop.hear(), hop.hear()
            if any(reply.startswith("354") for reply in self._replies):
                hop.hear_content()
        self.said.set()
        hop.linger()


@pytest.fixture
def hops(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[NextHop]]:
    """Time stands still."""
    monkeypatch.setattr(peer, "monotonic", lambda: NOW)
    made: list[NextHop] = []
    yield made
    for hop in made:
        hop.close()


@pytest.mark.parametrize(
    ("chunking", "replies", "factor"),
    [
        (True, ["250 mail"], 2),
        (True, ["250 mail", "250 rcpt"], 2),
        (False, ["250 mail"], 1),
        (False, ["250 mail", "250 rcpt"], 1),
        (False, ["250 mail", "250 rcpt", "354 go"], 2),
    ],
)
def test_once_content_has_been_sent_a_reply_has_twice_the_time(
    hops: list[NextHop], chunking: bool, replies: list[str], factor: int
) -> None:
    """A server that pipelines may hold all its replies back until it has taken the mail (RFC 2920 section 3.2)."""
    server = Halting(replies, chunking=chunking)
    hops.append(NextHop(server))
    host, _, port = hops[0].host.rpartition(":")
    client = Client(b"me.example", Protocol.SMTP)
    connection = Connection(connect(peer.Address(2, (host, int(port))), DEADLINE_S), client, TIMEOUT_S, Turns())
    with gevent.Timeout(DEADLINE_S):
        connection.greet()
        before = client.replies
        mail = Mail(b"a@example.net", (b"joe@example.org",), 4)
        talking = gevent.spawn(connection.transact, mail, lambda: iter((b"hi\r\n",)))
        server.said.wait()
        while client.replies < before + len(replies):
            gevent.sleep(0)
        assert client.step is Step.READ
        assert not connection.overdue(NOW + factor * TIMEOUT_S - 0.1)
        assert connection.overdue(NOW + factor * TIMEOUT_S + 0.1)
        connection.expire()
        talking.get()
    assert [(verdict.status, verdict.code) for verdict in client.verdicts] == [(4, "4.4.2")]
    connection.close()
