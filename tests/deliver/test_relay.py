"""SMTP and LMTP transports against next hops of every kind, over real sockets."""

from collections.abc import Callable, Iterator
from pathlib import Path

import gevent
import pytest
from gevent.event import Event

from mta.deliver import peer, relay
from mta.deliver.endpoint import Endpoint
from mta.errors import ConfigError, SpoolCorrupt
from mta.ipc import Outcome
from tests.support.deliveries import FakeMessage, mail
from tests.support.nexthop import EXTENSIONS, Hop, NextHop, Polite, Script
from tests.support.relaying import BODY, DEADLINE_S, Relaying

WIRE = b"Subject: x\r\n\r\n..dot\r\nhello\r\n"


@pytest.fixture
def relaying() -> Iterator[Relaying]:
    made = Relaying()
    yield made
    made.close()


def test_content_arrives_and_the_connection_is_used_again(relaying: Relaying) -> None:
    server = Polite()
    hop = relaying.play(server)
    assert relaying.one() == []
    assert relaying.one() == []
    assert hop.connections == 1
    assert server.received == [(b"MAIL FROM:<a@example.net> SIZE=27", [b"RCPT TO:<joe@example.org>"], WIRE)] * 2
    assert server.commands[0] == b"EHLO me.example"


def test_mail_recipients_and_data_come_in_one_piece(relaying: Relaying) -> None:
    seen: list[int] = []

    def script(hop: Hop) -> None:
        hop.say("220 ok")
        hop.hear()
        hop.say("250-ok", "250 PIPELINING")
        hop.hear()
        seen.append(hop.pipelined())
        hop.say("250 ok", "250 ok", "250 ok", "354 go")
        hop.hear(), hop.hear(), hop.hear()
        hop.hear_content()
        hop.say("250 ok")
        hop.hear()

    relaying.play(script)
    relaying.messages[1] = FakeMessage(mail("joe@example.org", "jim@example.org"), BODY)
    assert relaying.one(recipients=(0, 1)) == []
    assert seen == [3]


@pytest.mark.parametrize("extensions", [EXTENSIONS, ("HELP",)], ids=["pipelining", "plain"])
@pytest.mark.parametrize("chunks", [(BODY,), (BODY[:15], BODY[15:]), (b"", BODY), ()], ids=len)
def test_chunks(relaying: Relaying, extensions: tuple[str, ...], chunks: tuple[bytes, ...]) -> None:
    server = Polite(extensions=extensions)
    relaying.play(server)
    relaying.messages[1] = FakeMessage(mail("joe@example.org"), *chunks)
    assert relaying.one() == []
    assert [content for _, _, content in server.received] == [WIRE if chunks else b""]


def test_a_large_message_and_many_recipients_to_a_slow_reader(relaying: Relaying) -> None:
    """More in both directions than the sockets hold, so that each side must read to be read."""
    recipients = tuple(f"{'x' * 50}{n}@{'y' * 60}.example.org" for n in range(5000))
    body = b"0123456789" * 300_000 + b"\r\n"
    hop_bodies: list[int] = []

    def script(hop: Hop) -> None:
        hop.say("220 ok")
        hop.hear()
        hop.say("250-ok", "250 PIPELINING")
        while not hop.hear().startswith(b"DATA"):
            hop.say("250 " + "z" * 400)
        hop.say("354 go")
        hop_bodies.append(len(hop.hear_content()))
        hop.say("250 ok")
        hop.hear()

    relaying.play(script)
    relaying.messages[1] = FakeMessage(mail(*recipients), *[body[i : i + 262144] for i in range(0, len(body), 262144)])
    assert relaying.one(recipients=tuple(range(5000))) == []
    assert hop_bodies == [len(body)]


def test_lmtp_over_a_unix_socket(relaying: Relaying, tmp_path: Path) -> None:
    server = Polite({"END RCPT TO:<jim@example.org>": "452 4.2.2 over quota"}, lmtp=True)
    relaying.play(server, kind="lmtp", unix_path=tmp_path / "lmtp")
    relaying.messages[1] = FakeMessage(mail("joe@example.org", "jim@example.org", "jan@example.org"), BODY)
    assert relaying.one(recipients=(0, 1, 2)) == [(2, "2.0.0"), (4, "4.2.2"), (2, "2.0.0")]
    assert relaying.one(recipients=(1,)) == [(4, "4.2.2")]
    assert relaying.one(recipients=(2, 0)) == []
    assert server.commands[0] == b"LHLO me.example"


@pytest.mark.parametrize(
    ("replies", "expected"),
    [
        ({"MAIL": "550 5.7.1 no"}, [(5, "5.7.1"), (5, "5.7.1")]),
        ({"RCPT TO:<jim@example.org>": "550 5.1.1 who"}, [(2, "2.0.0"), (5, "5.1.1")]),
        ({"RCPT": "450 4.2.1 busy"}, [(4, "4.2.1"), (4, "4.2.1")]),
        ({"DATA": "451 4.3.0 no"}, [(4, "4.3.0"), (4, "4.3.0")]),
        ({"DATA": "250 sure"}, [(4, "4.5.0"), (4, "4.5.0")]),
        ({"END": "554 5.6.0 spam"}, [(5, "5.6.0"), (5, "5.6.0")]),
        ({"END": "421 4.3.2 bye"}, [(4, "4.3.2"), (4, "4.3.2")]),
        ({"RCPT TO:<jim@example.org>": "421 4.3.2 bye"}, [(4, "4.3.2"), (4, "4.3.2")]),
    ],
)
@pytest.mark.parametrize("extensions", [EXTENSIONS, ("HELP",)], ids=["pipelining", "plain"])
def test_refusals(
    relaying: Relaying, replies: dict[str, str], expected: list[tuple[int, str]], extensions: tuple[str, ...]
) -> None:
    server = Polite(replies, extensions=extensions)
    relaying.play(server)
    relaying.messages[1] = FakeMessage(mail("joe@example.org", "jim@example.org"), BODY)
    assert relaying.one(recipients=(0, 1)) == expected
    server.replies.clear()
    assert relaying.one(recipients=(0, 1)) == []  # the transport goes on, on whichever connection


def hostile(*, until: bytes, then: Callable[[Hop], None], ending: bytes = b"") -> Script:
    """A server that is polite until a command, sends `ending` instead of the reply, and then does something."""

    def script(hop: Hop) -> None:
        if until == b"CONNECT":
            hop.socket.sendall(ending)
            then(hop)
            return
        hop.say("220 ok")
        while line := hop.hear():
            verb = line.split(b" ")[0]
            if verb == until:
                hop.socket.sendall(ending)
                then(hop)
                return
            if verb == b"EHLO":
                hop.say("250-ok", "250 PIPELINING")
            elif verb == b"DATA":
                hop.say("354 go")
                hop.hear_content()
                if until == b"END":
                    hop.socket.sendall(ending)
                    then(hop)
                    return
                hop.say("250 ok")
            else:
                hop.say("250 ok")

    return script


STAGES = [b"CONNECT", b"EHLO", b"MAIL", b"RCPT", b"DATA", b"END"]


@pytest.mark.parametrize("until", STAGES)
@pytest.mark.parametrize("ending", [b"", b"25", b"250-half\r\n"], ids=["silence", "half a line", "half a reply"])
def test_silence_ends_by_deadline(relaying: Relaying, until: bytes, ending: bytes) -> None:
    relaying.play(hostile(until=until, ending=ending, then=Hop.linger), timeout_s=0.1)
    (outcome,) = relaying.deliver()
    assert [(result.status, result.code) for result in outcome.results] == [(4, "4.4.2")]
    assert "timed out" in outcome.results[0].text
    assert outcome.destination_down == (until in (b"CONNECT", b"EHLO"))


@pytest.mark.parametrize("until", STAGES)
@pytest.mark.parametrize("then", [Hop.close, Hop.reset])
@pytest.mark.parametrize("ending", [b"", b"250-half\r\n"], ids=["nothing", "half a reply"])
def test_drops(relaying: Relaying, until: bytes, then: Callable[[Hop], None], ending: bytes) -> None:
    relaying.play(hostile(until=until, ending=ending, then=then))
    (outcome,) = relaying.deliver()
    assert [(result.status, result.code) for result in outcome.results] == [(4, "4.4.2")]
    assert outcome.destination_down == (until in (b"CONNECT", b"EHLO"))


@pytest.mark.parametrize("until", STAGES)
@pytest.mark.parametrize(
    ("ending", "code"),
    [
        (b"421 4.3.2 bye\r\n", "4.3.2"),
        (b"HTTP/1.1 400 Bad Request\r\n", "4.5.0"),
        (b"250 " + b"x" * 100_000, "4.5.0"),
        (b"250-x\r\n" * 1000, "4.5.0"),
    ],
    ids=["421", "garbage", "long line", "many lines"],
)
def test_what_no_next_hop_should_say(relaying: Relaying, until: bytes, ending: bytes, code: str) -> None:
    hop = relaying.play(hostile(until=until, ending=ending, then=Hop.linger))
    assert relaying.one() == [(4, code)]
    hop.wait_open(0)


def test_a_trickle_does_not_stretch_the_deadline(relaying: Relaying) -> None:
    def trickle(hop: Hop) -> None:
        while True:
            hop.socket.sendall(b"2")
            gevent.sleep(0.01)

    relaying.play(hostile(until=b"MAIL", then=trickle), timeout_s=0.15)
    (outcome,) = relaying.deliver()
    assert "timed out" in outcome.results[0].text


def test_a_reader_that_stops_in_the_content(relaying: Relaying) -> None:
    def script(hop: Hop) -> None:
        hop.say("220 ok")
        hop.hear()
        hop.say("250-ok", "250 PIPELINING")
        hop.hear()
        hop.say("250 ok", "250 ok", "354 go")
        stopped.wait()

    stopped = Event()
    relaying.play(script, timeout_s=0.1)
    message = FakeMessage(mail("joe@example.org"), *[b"x" * 1_000_000] * 40)
    message.size_bytes = 100  # what counts for the deadline
    relaying.messages[1] = message
    assert relaying.one() == [(4, "4.4.2")]
    stopped.set()


def test_a_refusal_in_the_middle_of_the_content_is_heard(relaying: Relaying) -> None:
    def script(hop: Hop) -> None:
        hop.say("220 ok")
        hop.hear()
        hop.say("250-ok", "250 PIPELINING")
        hop.hear()
        hop.say("250 ok", "250 ok", "354 go")
        hop.hear(), hop.hear()
        hop.socket.recv(10)
        hop.say("552 5.3.4 far too much")

    relaying.play(script)
    relaying.messages[1] = FakeMessage(mail("joe@example.org"), *[b"x" * 1_000_000] * 40)
    assert relaying.one() in ([(5, "5.3.4")], [(4, "4.4.2")])  # the reset may overtake the reply


def test_a_reused_connection_that_died_is_replaced(relaying: Relaying) -> None:
    """Closed by the server while idle, or exactly when the next mail comes, or with 421."""
    closings: list[Callable[[Hop], None]] = [Hop.close, Hop.reset, lambda hop: hop.say("421 4.4.2 idle too long")]

    def script(hop: Hop) -> None:
        hop.say("220 ok")
        hop.hear()
        hop.say("250-ok", "250 PIPELINING")
        hop.hear(), hop.hear(), hop.hear()
        hop.say("250 ok", "250 ok", "354 go")
        hop.hear_content()
        hop.say("250 ok")
        hop.hear()  # the MAIL of the next one
        closings.pop(0)(hop)

    hop = relaying.play(script)
    assert [relaying.one() for _ in range(3)] == [[], [], []]
    assert hop.connections == 3


def test_a_fresh_connection_that_dies_is_not_tried_again(relaying: Relaying) -> None:
    hop = relaying.play(hostile(until=b"MAIL", then=Hop.close))
    assert relaying.one() == [(4, "4.4.2")]
    assert hop.connections == 1


def test_an_idle_connection_that_the_server_closes_is_dropped(relaying: Relaying) -> None:
    hops: list[Hop] = []

    def script(hop: Hop) -> None:
        hops.append(hop)
        Polite()(hop)

    hop = relaying.play(script)
    assert relaying.one() == []
    hops[0].say("421 4.4.2 idle too long")
    hop.wait_open(0)
    assert relaying.one() == []
    assert hop.connections == 2


def test_idle_connections_are_closed_with_quit(relaying: Relaying, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay, "IDLE_S", 0.0)
    monkeypatch.setattr(relay, "SWEEP_S", 0.01)
    server = Polite()
    hop = relaying.play(server)
    assert relaying.one() == []
    hop.wait_open(0)
    assert server.commands[-1] == b"QUIT"


def test_concurrency_is_bounded_and_connections_share_the_work(relaying: Relaying) -> None:
    gate = Event()
    server = Polite(before_end=gate.wait)
    hop = relaying.play(server, concurrency=3)
    works = [relaying.outcomes.work(1) for _ in range(12)]
    relaying.transport.take(works)
    hop.wait_open(3)
    gate.set()
    outcomes = relaying.wait([work.job.number for work in works])
    assert all(not outcome.results for outcome in outcomes)
    assert len(server.received) == 12
    assert hop.connections == 3


def test_nobody_listens(relaying: Relaying) -> None:
    hop = NextHop(Polite())
    hop.close()
    relaying.use(hop.host, concurrency=2)
    outcomes = relaying.deliver(*[(1, (0,))] * 9)
    assert [outcome.destination_down for outcome in outcomes] == [True] * 9
    assert {(result.status, result.code) for outcome in outcomes for result in outcome.results} == {(4, "4.4.1")}


def test_a_name_that_does_not_resolve(relaying: Relaying) -> None:
    relaying.use("nowhere.invalid:25")
    (outcome,) = relaying.deliver()
    assert outcome.destination_down
    assert outcome.results[0].code == "4.4.3"


def test_a_destination_that_limits_connections_is_not_down(relaying: Relaying) -> None:
    """The first connection works, the others are refused: all mail goes by the first."""
    gate = Event()
    server = Polite(before_end=gate.wait)
    refused: list[int] = []

    def script(hop: Hop) -> None:
        if hop_counter.open > 1:
            refused.append(1)
            hop.say("421 4.7.0 too many connections")
            gate.set()
            return
        server(hop)

    hop_counter = relaying.play(script, concurrency=4)
    first = relaying.outcomes.work(1)
    relaying.transport.take([first])
    hop_counter.wait_open(1)
    with gevent.Timeout(DEADLINE_S):
        while not any(line.startswith(b"DATA") for line in server.commands):
            gevent.sleep(0)
    outcomes = relaying.deliver(*[(1, (0,))] * 5)
    assert [outcome.results for outcome in outcomes] == [()] * 5
    assert len(refused) <= 3


def test_smtputf8_only_where_it_is_needed(relaying: Relaying) -> None:
    relaying.messages = {
        1: FakeMessage(mail("joe@example.org", smtputf8=True), BODY),
        2: FakeMessage(mail("jürgen@example.org", smtputf8=True), BODY),
        3: FakeMessage(mail("joe@example.org", smtputf8=True), "Subject: ü\r\n\r\nx\r\n".encode()),
        4: FakeMessage(mail("joe@example.org", smtputf8=True), "Subject: x\r\n\r\nü\r\n".encode()),
    }
    server = Polite(extensions=("PIPELINING",))
    relaying.play(server)
    assert [relaying.one(location) for location in (1, 2, 3, 4)] == [[], [(5, "5.6.7")], [(5, "5.6.7")], []]
    server = Polite()
    relaying.play(server)
    assert relaying.one(2) == []
    assert server.received[0][0].endswith(b" SMTPUTF8")


def test_a_damaged_message_is_never_finished(relaying: Relaying) -> None:
    server = Polite()
    relaying.play(server)
    damage = SpoolCorrupt("bodies/1.body", 0, "checksum")
    relaying.messages[2] = FakeMessage(mail("joe@example.org"), BODY, BODY, damage=damage)
    assert relaying.one(2) == [(5, "5.3.0")]
    assert relaying.one(3) == [(4, "4.3.0")]
    assert relaying.one(1) == []
    # The first content broke off without its end: a server does not take it.
    assert [content for _, _, content in server.received][1:] == [WIRE]


def test_a_fault_of_ours_defers_and_the_transport_goes_on(relaying: Relaying) -> None:
    relaying.play(Polite(), concurrency=1)
    relaying.messages[2] = FakeMessage(mail("joe\r\nRSET@example.org"), BODY)
    first, second = relaying.deliver((2, (0,)), (1, (0,)))
    assert [(result.status, result.code) for result in first.results] == [(4, "4.3.0")]
    assert second.results == ()


def test_abandoned_works_are_forgotten(relaying: Relaying) -> None:
    gate = Event()
    hop = relaying.play(Polite(before_end=gate.wait), concurrency=1)
    works = [relaying.outcomes.work(1) for _ in range(3)]
    relaying.transport.take(works)
    hop.wait_open(1)
    relaying.transport.abandon()
    gate.set()
    relaying.wait([work.job.number for work in works])
    assert [relaying.outcomes.ended[work.job.number] for work in works] == [Outcome(1), None, None]


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1:2600", [peer.Address(2, ("127.0.0.1", 2600))]),
        ("[::1]:24", [peer.Address(10, ("::1", 24, 0, 0))]),
        ("unix:/run/lmtp", [peer.Address(1, "/run/lmtp")]),
    ],
)
def test_endpoints(host: str, expected: list[peer.Address]) -> None:
    assert Endpoint(host).addresses() == expected


@pytest.mark.parametrize("host", ["", "127.0.0.1", "127.0.0.1:", "127.0.0.1:x", "127.0.0.1:0", ":25", "unix:"])
def test_endpoints_that_are_none(host: str) -> None:
    with pytest.raises(ConfigError):
        Endpoint(host)
