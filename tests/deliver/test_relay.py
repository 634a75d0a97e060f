"""SMTP and LMTP transports against next hops of every kind, over real sockets."""

from collections.abc import Callable, Iterator
from pathlib import Path

import gevent
import pytest
from gevent.event import Event

from mta.config import Transport as Settings
from mta.deliver import peer, relay
from mta.deliver.endpoint import Endpoint
from mta.deliver.relay import Relay
from mta.errors import ConfigError, SpoolCorrupt
from mta.ipc import Outcome
from tests.support.deliveries import FakeMessage, FakeMessages, Outcomes, mail
from tests.support.nexthop import EXTENSIONS, Hop, NextHop, Polite, Script

DEADLINE_S = 10
BODY = b"Subject: x\r\n\r\n.dot\r\nhello\r\n"
WIRE = b"Subject: x\r\n\r\n..dot\r\nhello\r\n"


class Bench:
    """A transport, its next hop, a spool and the outcomes."""

    def __init__(self) -> None:
        self.messages: dict[int, FakeMessage] = {1: FakeMessage(mail("joe@example.org"), BODY)}
        self._changed = Event()
        self.outcomes = Outcomes(self._changed.set)
        self._closing: list[Callable[[], None]] = []
        self.transport: Relay

    def connect(
        self,
        script: Script | str,
        *,
        kind: str = "smtp",
        timeout_s: float = DEADLINE_S,
        concurrency: int = 20,
        unix_path: Path | None = None,
    ) -> NextHop:
        """Start a next hop (or name an address where there is none), and a transport for it."""
        hop = NextHop(script if callable(script) else Polite(), unix_path)
        self._closing.append(hop.close)
        host = script if isinstance(script, str) else hop.host
        settings = Settings(kind, host=host, timeout_s=timeout_s, connect_timeout_s=timeout_s, concurrency=concurrency)  # type: ignore[arg-type]
        self.transport = relay.make(settings, "me.example", FakeMessages(self.messages))
        self._closing.append(self.transport.close)
        return hop

    def deliver(self, *works: tuple[int, tuple[int, ...]]) -> list[Outcome]:
        """Hand out works (location, recipients), one packet; returns their outcomes."""
        made = [self.outcomes.work(location, recipients) for location, recipients in works or [(1, (0,))]]
        self.transport.take(made)
        return self.wait([work.job.number for work in made])

    def wait(self, numbers: list[int]) -> list[Outcome]:
        """Until the jobs of those numbers have ended."""
        with gevent.Timeout(DEADLINE_S):
            while any(number not in self.outcomes.ended for number in numbers):
                self._changed.clear()
                self._changed.wait()
        ended = [self.outcomes.ended[number] for number in numbers]
        return [outcome for outcome in ended if outcome]

    def one(self, location: int = 1, recipients: tuple[int, ...] = (0,)) -> list[tuple[int, str]]:
        """Deliver one work; status and code of each recipient, empty when all have it."""
        (outcome,) = self.deliver((location, recipients))
        return [(result.status, result.code) for result in outcome.results]

    def close(self) -> None:
        for close in reversed(self._closing):
            close()


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench()
    yield made
    made.close()


def test_content_arrives_and_the_connection_is_used_again(bench: Bench) -> None:
    server = Polite()
    hop = bench.connect(server)
    assert bench.one() == []
    assert bench.one() == []
    assert hop.connections == 1
    assert server.received == [(b"MAIL FROM:<a@example.net> SIZE=27", [b"RCPT TO:<joe@example.org>"], WIRE)] * 2
    assert server.commands[0] == b"EHLO me.example"


def test_mail_recipients_and_data_come_in_one_piece(bench: Bench) -> None:
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

    bench.connect(script)
    bench.messages[1] = FakeMessage(mail("joe@example.org", "jim@example.org"), BODY)
    assert bench.one(recipients=(0, 1)) == []
    assert seen == [3]


@pytest.mark.parametrize("extensions", [EXTENSIONS, ("HELP",)], ids=["pipelining", "plain"])
@pytest.mark.parametrize("chunks", [(BODY,), (BODY[:15], BODY[15:]), (b"", BODY), ()], ids=len)
def test_chunks(bench: Bench, extensions: tuple[str, ...], chunks: tuple[bytes, ...]) -> None:
    server = Polite(extensions=extensions)
    bench.connect(server)
    bench.messages[1] = FakeMessage(mail("joe@example.org"), *chunks)
    assert bench.one() == []
    assert [content for _, _, content in server.received] == [WIRE if chunks else b""]


def test_a_large_message_and_many_recipients_to_a_slow_reader(bench: Bench) -> None:
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

    bench.connect(script)
    bench.messages[1] = FakeMessage(mail(*recipients), *[body[i : i + 262144] for i in range(0, len(body), 262144)])
    assert bench.one(recipients=tuple(range(5000))) == []
    assert hop_bodies == [len(body)]


def test_lmtp_over_a_unix_socket(bench: Bench, tmp_path: Path) -> None:
    server = Polite({"END RCPT TO:<jim@example.org>": "452 4.2.2 over quota"}, lmtp=True)
    bench.connect(server, kind="lmtp", unix_path=tmp_path / "lmtp")
    bench.messages[1] = FakeMessage(mail("joe@example.org", "jim@example.org", "jan@example.org"), BODY)
    assert bench.one(recipients=(0, 1, 2)) == [(2, "2.0.0"), (4, "4.2.2"), (2, "2.0.0")]
    assert bench.one(recipients=(1,)) == [(4, "4.2.2")]
    assert bench.one(recipients=(2, 0)) == []
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
    bench: Bench, replies: dict[str, str], expected: list[tuple[int, str]], extensions: tuple[str, ...]
) -> None:
    server = Polite(replies, extensions=extensions)
    bench.connect(server)
    bench.messages[1] = FakeMessage(mail("joe@example.org", "jim@example.org"), BODY)
    assert bench.one(recipients=(0, 1)) == expected
    server.replies.clear()
    assert bench.one(recipients=(0, 1)) == []  # the transport goes on, on whichever connection


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
def test_silence_ends_by_deadline(bench: Bench, until: bytes, ending: bytes) -> None:
    bench.connect(hostile(until=until, ending=ending, then=Hop.linger), timeout_s=0.1)
    (outcome,) = bench.deliver()
    assert [(result.status, result.code) for result in outcome.results] == [(4, "4.4.2")]
    assert "timed out" in outcome.results[0].text
    assert outcome.destination_down == (until in (b"CONNECT", b"EHLO"))


@pytest.mark.parametrize("until", STAGES)
@pytest.mark.parametrize("then", [Hop.close, Hop.reset])
@pytest.mark.parametrize("ending", [b"", b"250-half\r\n"], ids=["nothing", "half a reply"])
def test_drops(bench: Bench, until: bytes, then: Callable[[Hop], None], ending: bytes) -> None:
    bench.connect(hostile(until=until, ending=ending, then=then))
    (outcome,) = bench.deliver()
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
def test_what_no_next_hop_should_say(bench: Bench, until: bytes, ending: bytes, code: str) -> None:
    hop = bench.connect(hostile(until=until, ending=ending, then=Hop.linger))
    assert bench.one() == [(4, code)]
    hop.wait_open(0)


def test_a_trickle_does_not_stretch_the_deadline(bench: Bench) -> None:
    def trickle(hop: Hop) -> None:
        while True:
            hop.socket.sendall(b"2")
            gevent.sleep(0.01)

    bench.connect(hostile(until=b"MAIL", then=trickle), timeout_s=0.15)
    (outcome,) = bench.deliver()
    assert "timed out" in outcome.results[0].text


def test_a_reader_that_stops_in_the_content(bench: Bench) -> None:
    def script(hop: Hop) -> None:
        hop.say("220 ok")
        hop.hear()
        hop.say("250-ok", "250 PIPELINING")
        hop.hear()
        hop.say("250 ok", "250 ok", "354 go")
        stopped.wait()

    stopped = Event()
    bench.connect(script, timeout_s=0.1)
    message = FakeMessage(mail("joe@example.org"), *[b"x" * 1_000_000] * 40)
    message.size_bytes = 100  # what counts for the deadline
    bench.messages[1] = message
    assert bench.one() == [(4, "4.4.2")]
    stopped.set()


def test_a_refusal_in_the_middle_of_the_content_is_heard(bench: Bench) -> None:
    def script(hop: Hop) -> None:
        hop.say("220 ok")
        hop.hear()
        hop.say("250-ok", "250 PIPELINING")
        hop.hear()
        hop.say("250 ok", "250 ok", "354 go")
        hop.hear(), hop.hear()
        hop.socket.recv(10)
        hop.say("552 5.3.4 far too much")

    bench.connect(script)
    bench.messages[1] = FakeMessage(mail("joe@example.org"), *[b"x" * 1_000_000] * 40)
    assert bench.one() in ([(5, "5.3.4")], [(4, "4.4.2")])  # the reset may overtake the reply


def test_a_reused_connection_that_died_is_replaced(bench: Bench) -> None:
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

    hop = bench.connect(script)
    assert [bench.one() for _ in range(3)] == [[], [], []]
    assert hop.connections == 3


def test_a_fresh_connection_that_dies_is_not_tried_again(bench: Bench) -> None:
    hop = bench.connect(hostile(until=b"MAIL", then=Hop.close))
    assert bench.one() == [(4, "4.4.2")]
    assert hop.connections == 1


def test_an_idle_connection_that_the_server_closes_is_dropped(bench: Bench) -> None:
    hops: list[Hop] = []

    def script(hop: Hop) -> None:
        hops.append(hop)
        Polite()(hop)

    hop = bench.connect(script)
    assert bench.one() == []
    hops[0].say("421 4.4.2 idle too long")
    hop.wait_open(0)
    assert bench.one() == []
    assert hop.connections == 2


def test_idle_connections_are_closed_with_quit(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay, "IDLE_S", 0.0)
    monkeypatch.setattr(relay, "SWEEP_S", 0.01)
    server = Polite()
    hop = bench.connect(server)
    assert bench.one() == []
    hop.wait_open(0)
    assert server.commands[-1] == b"QUIT"


def test_concurrency_is_bounded_and_connections_share_the_work(bench: Bench) -> None:
    gate = Event()
    server = Polite(before_end=gate.wait)
    hop = bench.connect(server, concurrency=3)
    works = [bench.outcomes.work(1) for _ in range(12)]
    bench.transport.take(works)
    hop.wait_open(3)
    gate.set()
    outcomes = bench.wait([work.job.number for work in works])
    assert all(not outcome.results for outcome in outcomes)
    assert len(server.received) == 12
    assert hop.connections == 3


def test_nobody_listens(bench: Bench) -> None:
    hop = NextHop(Polite())
    hop.close()
    bench.connect(hop.host, concurrency=2)
    outcomes = bench.deliver(*[(1, (0,))] * 9)
    assert [outcome.destination_down for outcome in outcomes] == [True] * 9
    assert {(result.status, result.code) for outcome in outcomes for result in outcome.results} == {(4, "4.4.1")}


def test_a_name_that_does_not_resolve(bench: Bench) -> None:
    bench.connect("nowhere.invalid:25")
    (outcome,) = bench.deliver()
    assert outcome.destination_down
    assert outcome.results[0].code == "4.4.3"


def test_a_destination_that_limits_connections_is_not_down(bench: Bench) -> None:
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

    hop_counter = bench.connect(script, concurrency=4)
    first = bench.outcomes.work(1)
    bench.transport.take([first])
    hop_counter.wait_open(1)
    with gevent.Timeout(DEADLINE_S):
        while not any(line.startswith(b"DATA") for line in server.commands):
            gevent.sleep(0)
    outcomes = bench.deliver(*[(1, (0,))] * 5)
    assert [outcome.results for outcome in outcomes] == [()] * 5
    assert len(refused) <= 3


def test_smtputf8_only_where_it_is_needed(bench: Bench) -> None:
    bench.messages = {
        1: FakeMessage(mail("joe@example.org", smtputf8=True), BODY),
        2: FakeMessage(mail("jürgen@example.org", smtputf8=True), BODY),
        3: FakeMessage(mail("joe@example.org", smtputf8=True), "Subject: ü\r\n\r\nx\r\n".encode()),
        4: FakeMessage(mail("joe@example.org", smtputf8=True), "Subject: x\r\n\r\nü\r\n".encode()),
    }
    server = Polite(extensions=("PIPELINING",))
    bench.connect(server)
    assert [bench.one(location) for location in (1, 2, 3, 4)] == [[], [(5, "5.6.7")], [(5, "5.6.7")], []]
    server = Polite()
    bench.connect(server)
    assert bench.one(2) == []
    assert server.received[0][0].endswith(b" SMTPUTF8")


def test_a_damaged_message_is_never_finished(bench: Bench) -> None:
    server = Polite()
    bench.connect(server)
    damage = SpoolCorrupt("bodies/1.body", 0, "checksum")
    bench.messages[2] = FakeMessage(mail("joe@example.org"), BODY, BODY, damage=damage)
    assert bench.one(2) == [(5, "5.3.0")]
    assert bench.one(3) == [(4, "4.3.0")]
    assert bench.one(1) == []
    # The first content broke off without its end: a server does not take it.
    assert [content for _, _, content in server.received][1:] == [WIRE]


def test_a_fault_of_ours_defers_and_the_transport_goes_on(bench: Bench) -> None:
    bench.connect(Polite(), concurrency=1)
    bench.messages[2] = FakeMessage(mail("joe\r\nRSET@example.org"), BODY)
    first, second = bench.deliver((2, (0,)), (1, (0,)))
    assert [(result.status, result.code) for result in first.results] == [(4, "4.3.0")]
    assert second.results == ()


def test_abandoned_works_are_forgotten(bench: Bench) -> None:
    gate = Event()
    hop = bench.connect(Polite(before_end=gate.wait), concurrency=1)
    works = [bench.outcomes.work(1) for _ in range(3)]
    bench.transport.take(works)
    hop.wait_open(1)
    bench.transport.abandon()
    gate.set()
    bench.wait([work.job.number for work in works])
    assert [bench.outcomes.ended[work.job.number] for work in works] == [Outcome(1), None, None]


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


@pytest.mark.parametrize("host", ["", "127.0.0.1", "127.0.0.1:", "127.0.0.1:x", "127.0.0.1:0", ":25", "unix:relative"])
def test_endpoints_that_are_none(host: str) -> None:
    with pytest.raises(ConfigError):
        Endpoint(host)
