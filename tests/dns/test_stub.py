"""Look-ups over real sockets, against name servers that behave and such that do not.

Where a server has to be silent, the time for a look-up is short; nothing is measured.
"""

import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dns.flags
import dns.message
import gevent
import pytest
from gevent.event import Event

from mta.dns.answer import Answer, Status
from mta.dns.cache import FAILURE_S
from mta.dns.exchange import STRANGE
from mta.dns.message import Mx, Tlsa, Type
from mta.dns.settings import Dns
from mta.dns.stub import ROUNDS, Resolver
from mta.dns.upstreams import FAILED_S, PLAIN_S, STRIKES
from tests.support.nameserver import HOST, Asked, NameServer, Script, respond

PATIENCE_S = 30  # far more than anything here takes
SHORT_S = 0.8  # for a look-up that meets nothing but silence; its first question then waits a tenth of a second
WHILE_S = 4.0  # for one that meets silence first; half a second
SOA = "example.org 900 IN SOA ns.example.org. admin.example.org. 1 2 3 4 600"
NAME = b"mx.example.org"
RECORD = "mx.example.org 300 IN A 192.0.2.1"
FORMERR, SERVFAIL, NXDOMAIN, NOTIMP, REFUSED, BADVERS = 1, 2, 3, 4, 5, 16


class Clock:
    """Time that only the test moves."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


class Net:
    """Name servers, and a resolver that asks them in the order in which they were started."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.servers: list[NameServer] = []
        self._resolvers: list[Resolver] = []

    def serve(self, script: Script, *, tcp: bool = True) -> NameServer:
        """One more name server."""
        server = NameServer(script, tcp=tcp).__enter__()
        self.servers.append(server)
        return server

    def resolver(
        self, *, addresses: list[str] | None = None, timeout_s: float = PATIENCE_S, **settings: Any
    ) -> Resolver:
        """A resolver for the name servers, or for other addresses."""
        servers = [server.address for server in self.servers] if addresses is None else addresses
        made = Resolver(Dns(servers=servers, timeout_s=timeout_s, **settings), self.clock)
        self._resolvers.append(made)
        return made

    def close(self) -> None:
        """Everything ends."""
        for resolver in self._resolvers:
            resolver.close()
        for server in self.servers:
            server.__exit__()


@pytest.fixture
def net() -> Iterator[Net]:
    made = Net()
    with gevent.Timeout(4 * PATIENCE_S):
        yield made
    made.close()


def good(asked: Asked) -> None:
    asked.answer(RECORD)


def good_for_any(asked: Asked) -> None:
    asked.answer(f"{asked.name} 300 IN A 192.0.2.1")


def silent(asked: Asked) -> None:
    """Says nothing."""


def with_code(rcode: int) -> Script:
    return lambda asked: asked.answer(rcode=rcode)


def address(status: Status = Status.OK) -> Answer[str]:
    return Answer(status, ("192.0.2.1",), False, 300, NAME)


# --- that it works


@pytest.mark.parametrize(
    ("rtype", "text", "data"),
    [
        (Type.A, "192.0.2.1", "192.0.2.1"),
        (Type.AAAA, "2001:db8::1", "2001:db8::1"),
        (Type.MX, "10 a.example.", Mx(10, b"a.example")),
        (Type.TXT, '"v=spf1" " -all"', b"v=spf1 -all"),
        (Type.TLSA, "3 1 1 " + "ab" * 32, Tlsa(3, 1, 1, b"\xab" * 32)),
        (Type.PTR, "Host.example.", b"host.example"),
        (Type.CNAME, "Host.example.", b"host.example"),
    ],
)
def test_each_type(net: Net, rtype: Type, text: str, data: object) -> None:
    server = net.serve(lambda asked: asked.answer(f"mx.example.org 300 IN {rtype.name} {text}"))
    answer = net.resolver().lookup(b"MX.example.org.", rtype)
    assert answer == Answer(Status.OK, (data,), False, 300, NAME)
    assert server.questions == [("mx.example.org", rtype.name, "udp")]
    assert server.asked[0].has_edns
    assert not server.asked[0].message.flags & dns.flags.AD


@pytest.mark.parametrize(("rcode", "status"), [(0, Status.NODATA), (NXDOMAIN, Status.NXDOMAIN)])
def test_nothing_is_remembered_as_long_as_the_zone_says(net: Net, rcode: int, status: Status) -> None:
    server = net.serve(lambda asked: asked.answer(authority=[SOA], rcode=rcode))
    resolver = net.resolver()
    assert resolver.lookup(NAME, Type.A) == Answer(status, (), False, 600, NAME)
    net.clock.now += 599
    assert resolver.lookup(NAME, Type.A).status is status
    assert len(server.asked) == 1
    net.clock.now += 1
    assert resolver.lookup(NAME, Type.A).ttl_s == 600
    assert len(server.asked) == 2


@pytest.mark.parametrize("name", [b"", b"a..b", b"a" * 64 + b".example", b"b\xc3\xbccher.example", b"a b.example"])
def test_names_that_cannot_be(net: Net, name: bytes) -> None:
    server = net.serve(good)
    answer = net.resolver().lookup(name, Type.A)
    assert answer.status is Status.NXDOMAIN
    assert answer.reason.startswith("a name ")
    assert answer.canonical == b"", "it is not fit to be shown"
    assert server.asked == []


def test_answers_come_from_the_cache(net: Net) -> None:
    server = net.serve(good)
    resolver = net.resolver()
    assert resolver.lookup(NAME, Type.A) == address()
    net.clock.now += 100
    assert resolver.lookup(b"MX.Example.ORG.", Type.A) == address()._replace(ttl_s=200)
    assert len(server.asked) == 1
    resolver.lookup(NAME, Type.AAAA)
    assert len(server.asked) == 2


def test_identifiers_and_ports_differ(net: Net) -> None:
    ports = set()

    def script(asked: Asked) -> None:
        ports.add(asked.client)
        good_for_any(asked)

    server = net.serve(script)
    resolver = net.resolver()
    for number in range(50):
        assert resolver.lookup(b"n%d.example.org" % number, Type.A).status is Status.OK
    assert len({asked.message.id for asked in server.asked}) > 40
    assert len(ports) > 40


# --- that the same is asked once


def test_the_same_lookup_is_on_its_way_once(net: Net) -> None:
    go = Event()

    def script(asked: Asked) -> None:
        go.wait()
        asked.answer(RECORD)

    server = net.serve(script)
    resolver = net.resolver()
    waiting = [gevent.spawn(resolver.lookup, name, Type.A) for name in (NAME, NAME, b"MX.example.org.")]
    while not server.asked:
        gevent.sleep(0)
    go.set()
    gevent.joinall(waiting)
    assert [greenlet.value for greenlet in waiting] == [address()] * 3
    assert len(server.asked) == 1


def test_one_gives_up_and_others_do_not(net: Net) -> None:
    go = Event()

    def script(asked: Asked) -> None:
        go.wait()
        asked.answer(RECORD)

    server = net.serve(script)
    resolver = net.resolver()
    waits = gevent.spawn(resolver.lookup, NAME, Type.A)
    killed = gevent.spawn(resolver.lookup, NAME, Type.A)
    assert resolver.lookup(NAME, Type.A, timeout_s=0.05) == Answer(Status.FAILED, (), False, 0, NAME, "timed out")
    killed.kill()
    with pytest.raises(gevent.Timeout), gevent.Timeout(0.05):  # of the caller's own making
        resolver.lookup(NAME, Type.A)
    go.set()
    assert waits.get() == address()
    assert resolver.lookup(NAME, Type.A, timeout_s=0.0) == address()
    assert len(server.asked) == 1


def test_closing_ends_what_is_at_work(net: Net) -> None:
    server = net.serve(silent)
    resolver = net.resolver()
    waits = gevent.spawn(resolver.lookup, NAME, Type.A)
    while not server.asked:
        gevent.sleep(0)
    late = gevent.spawn(resolver.lookup, b"other.example", Type.A)
    gevent.sleep(0)
    resolver.close()
    for greenlet in (waits, late):
        assert (greenlet.get().status, greenlet.get().reason) == (Status.FAILED, "given up")


def test_more_lookups_than_may_be_open_wait(net: Net, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mta.dns.stub.OPEN_LOOKUPS", 2)
    most = 0

    def script(asked: Asked) -> None:
        nonlocal most
        most = max(most, len(server.asked) - answered)
        gevent.idle()
        count()
        good_for_any(asked)

    answered = 0

    def count() -> None:
        nonlocal answered
        answered += 1

    server = net.serve(script)
    resolver = net.resolver()
    waiting = [gevent.spawn(resolver.lookup, b"n%d.example.org" % number, Type.A) for number in range(9)]
    gevent.joinall(waiting)
    assert {greenlet.value.status for greenlet in waiting} == {Status.OK}
    assert most == 2


def test_waiting_for_others_has_an_end(net: Net, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mta.dns.stub.OPEN_LOOKUPS", 1)
    server = net.serve(good)
    resolver = net.resolver(timeout_s=SHORT_S)
    resolver._room.acquire()  # as a look-up does that is at work for longer
    assert resolver.lookup(NAME, Type.A).reason == "timed out"
    assert server.asked == []


# --- aliases


def test_aliases_that_the_server_does_not_follow(net: Net) -> None:
    records = {
        "mx.example.org": "mx.example.org 300 IN CNAME a.example.",
        "a.example": "a.example 20 IN CNAME B.example.",
        "b.example": "b.example 300 IN A 192.0.2.1",
    }
    server = net.serve(lambda asked: asked.answer(records[asked.name]))
    answer = net.resolver().lookup(NAME, Type.A)
    assert answer == Answer(Status.OK, ("192.0.2.1",), False, 20, b"b.example")
    assert [name for name, _, _ in server.questions] == list(records)


def test_aliases_without_an_end(net: Net) -> None:
    turn = iter(range(1000))
    server = net.serve(lambda asked: asked.answer(f"{asked.name} 300 IN CNAME n{next(turn)}.example."))
    answer = net.resolver().lookup(NAME, Type.A)
    assert (answer.status, answer.reason) == (Status.FAILED, "a loop of aliases, or too many")
    assert len(server.asked) == 16


# --- what is authentic


@pytest.mark.parametrize("trust_ad", [True, False])
@pytest.mark.parametrize("signed", [True, False])
def test_signed_answers_are_believed_from_trusted_servers(net: Net, trust_ad: bool, signed: bool) -> None:
    flags = dns.flags.AD if signed else 0
    server = net.serve(lambda asked: asked.answer(RECORD, flags=flags))
    resolver = net.resolver(trust_ad=trust_ad)
    for _ in range(2):  # from the server, and from the cache
        assert resolver.lookup(NAME, Type.A).authentic is (trust_ad and signed)
    assert bool(server.asked[0].message.flags & dns.flags.AD) is trust_ad


@pytest.mark.parametrize("signed", [{"mx.example.org", "a.example"}, {"a.example"}, {"mx.example.org"}])
def test_every_link_has_to_be_signed(net: Net, signed: set[str]) -> None:
    records = {"mx.example.org": "mx.example.org 300 IN CNAME a.example.", "a.example": "a.example 3 IN A 192.0.2.1"}
    net.serve(lambda asked: asked.answer(records[asked.name], flags=dns.flags.AD if asked.name in signed else 0))
    assert net.resolver(trust_ad=True).lookup(NAME, Type.A).authentic is (len(signed) == 2)


# --- TCP


def test_what_does_not_fit_comes_over_tcp(net: Net) -> None:
    records = [f"mx.example.org 300 IN TXT {'x' * 250}{number:03d}" for number in range(100)]

    def script(asked: Asked) -> None:
        if asked.via == "udp":
            asked.answer(records[0], flags=dns.flags.TC)
        else:
            asked.answer(*records)

    server = net.serve(script)
    answer = net.resolver().lookup(NAME, Type.TXT)
    assert len(answer.records) == 100
    assert server.questions == [("mx.example.org", "TXT", "udp"), ("mx.example.org", "TXT", "tcp")]


def test_an_answer_over_tcp_in_small_pieces(net: Net) -> None:
    def script(asked: Asked) -> None:
        if asked.via == "udp":
            asked.answer(flags=dns.flags.TC)
            return
        wire = respond(asked.message, RECORD).to_wire()
        for byte in len(wire).to_bytes(2, "big") + wire:
            asked.say_bytes(bytes((byte,)))
            gevent.idle()

    net.serve(script)
    assert net.resolver().lookup(NAME, Type.A) == address()


def hangs_up(asked: Asked) -> None:
    asked.say_bytes(b"\0")


def breaks_off(asked: Asked) -> None:
    asked.say_bytes(b"\0\x50abc")


def says_nothing_in_two_bytes(asked: Asked) -> None:
    asked.say_bytes(b"\0\0")


def says_garbage(asked: Asked) -> None:
    asked.say(b"garbage" * 9)


def truncates(asked: Asked) -> None:
    asked.answer(flags=dns.flags.TC)


def answers_another(asked: Asked) -> None:
    asked.say(another_number(asked))


@pytest.mark.parametrize(
    "script", [hangs_up, breaks_off, says_nothing_in_two_bytes, says_garbage, truncates, answers_another]
)
def test_tcp_that_fails_sends_to_the_next_server(net: Net, script: Script) -> None:
    bad = net.serve(lambda asked: truncates(asked) if asked.via == "udp" else script(asked))
    net.serve(good)
    assert net.resolver().lookup(NAME, Type.A) == address()
    assert [via for _, _, via in bad.questions] == ["udp", "tcp"]


def test_a_server_without_tcp(net: Net) -> None:
    net.serve(truncates, tcp=False)
    answer = net.resolver().lookup(NAME, Type.A)
    assert answer.status is Status.FAILED
    assert answer.reason == f"{net.servers[0].address}: Connection refused"


# --- servers that misbehave over UDP


def another_number(asked: Asked) -> bytes:
    wire = respond(asked.message, "mx.example.org 300 IN A 192.0.2.66").to_wire()
    return struct.pack(">H", struct.unpack_from(">H", wire)[0] ^ 1) + wire[2:]


def another_question(asked: Asked) -> bytes:
    query = dns.message.make_query("evil.example.org", "A", id=asked.message.id)
    return respond(query, "evil.example.org 300 IN A 192.0.2.66").to_wire()


def another_type(asked: Asked) -> bytes:
    query = dns.message.make_query("mx.example.org", "AAAA", id=asked.message.id)
    return respond(query, "mx.example.org 300 IN A 192.0.2.66").to_wire()


def no_question(asked: Asked) -> bytes:
    response = respond(asked.message, "mx.example.org 300 IN A 192.0.2.66")
    response.question.clear()
    return response.to_wire()


STRANGERS: dict[str, Callable[[Asked], bytes]] = {
    "number": another_number,
    "question": another_question,
    "type": another_type,
    "no question": no_question,
    "the query itself": lambda asked: asked.wire,
    "empty": lambda asked: b"",
    "garbage": lambda asked: b"\xff" * 100,
    "cut off": lambda asked: respond(asked.message, "mx.example.org 300 IN A 192.0.2.66").to_wire()[:-12],
    "loop": lambda asked: (
        asked.wire[:2] + b"\x81\x80\0\1\0\1\0\0\0\0" + asked.wire[12:32] + b"\xc0\x20\0\1\0\1" + bytes(6)
    ),
    "counts": lambda asked: asked.wire[:2] + b"\x81\x80\0\1\xff\xff\xff\xff\xff\xff" + asked.wire[12:],
    "too long": lambda asked: respond(asked.message, RECORD).to_wire() + bytes(3000),
}


@pytest.mark.parametrize("kind", STRANGERS)
def test_what_is_no_answer_is_passed_over(net: Net, kind: str) -> None:
    def script(asked: Asked) -> None:
        for _ in range(STRANGE - 1):
            asked.say(STRANGERS[kind](asked))
        asked.answer(RECORD)

    server = net.serve(script)
    assert net.resolver().lookup(NAME, Type.A) == address()
    assert server.questions == [("mx.example.org", "A", "udp")]


@pytest.mark.parametrize("kind", STRANGERS)
def test_a_flood_of_what_is_no_answer_leads_to_tcp(net: Net, kind: str) -> None:
    def script(asked: Asked) -> None:
        if asked.via == "tcp":
            asked.answer(RECORD)
            return
        for _ in range(STRANGE):
            asked.say(STRANGERS[kind](asked))

    server = net.serve(script)
    assert net.resolver().lookup(NAME, Type.A) == address()
    assert server.questions == [("mx.example.org", "A", "udp"), ("mx.example.org", "A", "tcp")]


def test_only_the_server_is_heard(net: Net) -> None:
    """A packet from elsewhere with the right number and question, to the right port."""
    with NameServer(silent) as stranger:

        def script(asked: Asked) -> None:
            forged = respond(asked.message, "mx.example.org 300 IN A 192.0.2.66").to_wire()
            stranger.send(forged, asked.client)
            asked.answer(RECORD)

        net.serve(script)
        assert net.resolver().lookup(NAME, Type.A) == address()


def test_silence_then_an_answer(net: Net) -> None:
    server = net.serve(lambda asked: asked.answer(RECORD) if len(server.asked) > 2 else None)
    assert net.resolver(timeout_s=WHILE_S).lookup(NAME, Type.A) == address()
    assert len(server.asked) == 3


def test_a_late_answer_is_not_taken_for_another(net: Net) -> None:
    def script(asked: Asked) -> None:
        if asked.name != "mx.example.org":
            late.answer(RECORD)
            asked.say(respond(late.message, RECORD))
            asked.answer("other.example 300 IN A 192.0.2.7")

    server = net.serve(script)
    resolver = net.resolver(timeout_s=WHILE_S)
    assert resolver.lookup(NAME, Type.A, timeout_s=0.05).status is Status.FAILED
    while not server.asked:
        gevent.sleep(0)
    late = server.asked[0]
    assert resolver.lookup(b"other.example", Type.A).records == ("192.0.2.7",)


def test_silence_everywhere(net: Net) -> None:
    net.serve(silent)
    net.serve(silent)
    resolver = net.resolver(timeout_s=SHORT_S)
    answer = resolver.lookup(NAME, Type.A)
    assert (answer.status, answer.records, answer.reason) == (Status.FAILED, (), "timed out")
    first, second = net.servers
    assert 2 <= len(first.asked) <= ROUNDS
    assert len(first.asked) - len(second.asked) in (0, 1)
    # That it failed is kept, too, so that a thousand messages do not wait for it in turn.
    before = len(first.asked)
    assert resolver.lookup(NAME, Type.A) == answer
    net.clock.now += FAILURE_S
    assert resolver.lookup(NAME, Type.A).status is Status.FAILED
    assert len(first.asked) > before


def test_a_silent_server_is_asked_last(net: Net) -> None:
    bad = net.serve(silent)
    net.serve(good_for_any)
    resolver = net.resolver(timeout_s=WHILE_S)
    for number in range(STRIKES + 5):
        assert resolver.lookup(b"n%d.example.org" % number, Type.A).status is Status.OK
    assert {asked.name for asked in bad.asked} <= {f"n{number}.example.org" for number in range(STRIKES)}
    net.clock.now += FAILED_S
    assert resolver.lookup(b"again.example.org", Type.A).status is Status.OK
    assert bad.asked[-1].name == "again.example.org"


def test_a_server_that_misses_some_is_not_asked_last(net: Net) -> None:
    flaky = net.serve(lambda asked: None if asked.name.startswith("lost") else good_for_any(asked))
    net.serve(good_for_any)
    resolver = net.resolver(timeout_s=WHILE_S)
    for number in range(STRIKES):
        for name in (b"lost%d.example", b"n%d.example"):
            assert resolver.lookup(name % number, Type.A).status is Status.OK
    assert len({asked.name for asked in flaky.asked}) == 2 * STRIKES


def test_nobody_is_there(net: Net) -> None:
    with NameServer(good) as gone:
        pass
    net.serve(good_for_any)
    resolver = net.resolver(addresses=[gone.address, net.servers[0].address])
    assert resolver.lookup(NAME, Type.A) == address()
    alone = net.resolver(addresses=[gone.address, f"{HOST}:{gone.port}"])
    answer = alone.lookup(NAME, Type.A)
    assert (answer.status, answer.reason) == (Status.FAILED, f"{gone.address}: Connection refused")


def test_an_interface_that_is_not_there(net: Net) -> None:
    answer = net.resolver(addresses=["[fe80::1%nosuchinterface]:53"]).lookup(NAME, Type.A)
    assert answer.status is Status.FAILED


@pytest.mark.parametrize("rcode", [SERVFAIL, REFUSED, NOTIMP, FORMERR, 23])
def test_a_server_that_cannot_sends_to_the_next(net: Net, rcode: int) -> None:
    bad = net.serve(with_code(rcode))
    net.serve(good_for_any)
    resolver = net.resolver()
    for number in range(STRIKES + 2):
        assert resolver.lookup(b"n%d.example.org" % number, Type.A).status is Status.OK
    names = [name for name, _, _ in bad.questions]
    assert len(set(names)) == STRIKES + 2, "it may be the domain's fault, so it stays the first"


@pytest.mark.parametrize(
    ("rcode", "text"), [(SERVFAIL, "SERVFAIL"), (REFUSED, "REFUSED"), (NOTIMP, "NOTIMP"), (23, "code 23")]
)
def test_no_server_can(net: Net, rcode: int, text: str) -> None:
    net.serve(with_code(SERVFAIL))
    net.serve(with_code(rcode))
    answer = net.resolver().lookup(NAME, Type.A)
    assert answer == Answer(Status.FAILED, (), False, FAILURE_S, NAME, f"{net.servers[1].address}: {text}")
    assert [len(server.asked) for server in net.servers] == [1, 2 if rcode == NOTIMP else 1]  # again without EDNS


@pytest.mark.parametrize(("extended", "text"), [(6, "SERVFAIL (DNSSEC Bogus)"), (9999, "SERVFAIL"), (None, "SERVFAIL")])
def test_servers_say_why(net: Net, extended: int | None, text: str) -> None:
    server = net.serve(lambda asked: asked.answer(rcode=SERVFAIL, extended=extended))
    assert net.resolver().lookup(NAME, Type.A).reason == f"{server.address}: {text}"


@pytest.mark.parametrize(
    "records",
    [
        ["mx.example.org 9 IN CNAME a.example.", "a.example 9 IN CNAME mx.example.org."],
        ["mx.example.org 9 IN CNAME a.example.", "mx.example.org 9 IN CNAME b.example."],
    ],
)
def test_answers_that_make_no_sense(net: Net, records: list[str]) -> None:
    net.serve(lambda asked: asked.answer(*records))
    net.serve(good)
    assert net.resolver().lookup(NAME, Type.A) == address()


def test_a_referral_is_no_answer(net: Net) -> None:
    net.serve(lambda asked: asked.answer(authority=["org 900 IN NS ns.org."], recursion=False))
    net.serve(good)
    assert net.resolver().lookup(NAME, Type.A) == address()


# --- EDNS


def header_alone(asked: Asked) -> bytes:
    return asked.wire[:2] + b"\x80\x01" + bytes(8)


@pytest.mark.parametrize("rcode", [FORMERR, NOTIMP, BADVERS, None])
def test_servers_without_edns(net: Net, rcode: int | None) -> None:
    def script(asked: Asked) -> None:
        if not asked.has_edns:
            good_for_any(asked)
        elif rcode is None:
            asked.say(header_alone(asked))
        else:
            asked.answer(rcode=rcode, has_edns=rcode == BADVERS)

    server = net.serve(script)
    resolver = net.resolver()
    for name in (b"a.example", b"b.example"):
        assert resolver.lookup(name, Type.A).status is Status.OK
    assert [asked.has_edns for asked in server.asked] == [True, False, False]
    net.clock.now += PLAIN_S
    assert resolver.lookup(b"c.example", Type.A).status is Status.OK
    assert [asked.has_edns for asked in server.asked][3:] == [True, False]


def test_silence_for_edns(net: Net) -> None:
    server = net.serve(lambda asked: None if asked.has_edns else good_for_any(asked))
    resolver = net.resolver(timeout_s=WHILE_S)
    for name in (b"a.example", b"b.example"):
        assert resolver.lookup(name, Type.A).status is Status.OK
    assert [asked.has_edns for asked in server.asked] == [True, False, False]


def test_silence_of_a_server_that_knows_edns(net: Net) -> None:
    lost = {"b.example"}

    def script(asked: Asked) -> None:
        if asked.name in lost:
            lost.discard(asked.name)
        else:
            good_for_any(asked)

    server = net.serve(script)
    resolver = net.resolver(timeout_s=WHILE_S)
    for name in (b"a.example", b"b.example"):
        assert resolver.lookup(name, Type.A).status is Status.OK
    assert [asked.has_edns for asked in server.asked] == [True, True, True]


# --- /etc/resolv.conf


def test_servers_of_the_machine(tmp_path: Path) -> None:
    file = tmp_path / "resolv.conf"
    file.write_text("nameserver fe80::1%nosuchinterface\n")
    answer = Resolver(Dns(timeout_s=SHORT_S), Clock(), resolv_conf=str(file)).lookup(NAME, Type.A)
    assert answer.status is Status.FAILED
    assert answer.reason.startswith("[fe80::1%nosuchinterface]: ")
    # The settings come first, and then the file need not be there; nor need it be at all.
    Resolver(Dns(servers=["127.0.0.1"]), Clock(), resolv_conf=str(tmp_path / "none"))
    Resolver(Dns(), Clock(), resolv_conf=str(tmp_path / "none"))


def test_servers_that_are_none() -> None:
    with pytest.raises(ValueError, match="an IP address"):
        Resolver(Dns(servers=["localhost"]), Clock())


class BrokenRandom:
    """A fault of ours in the middle of a look-up."""

    def getrandbits(self, k: int) -> int:
        raise ArithmeticError("no numbers left")


def test_a_fault_of_ours_is_told_to_all_who_wait(net: Net) -> None:
    """And not kept from them as silence, nor remembered."""
    server = net.serve(good)
    resolver = Resolver(Dns(servers=[server.address]), net.clock, rng=BrokenRandom())
    greenlets = [gevent.spawn(resolver.lookup, NAME, Type.A) for _ in range(2)]
    gevent.joinall(greenlets)
    assert [type(greenlet.exception) for greenlet in greenlets] == [ArithmeticError, ArithmeticError]
    with pytest.raises(ArithmeticError):
        resolver.lookup(NAME, Type.A)
    assert server.asked == []


def test_closed_before_it_began(net: Net) -> None:
    server = net.serve(good)
    resolver = net.resolver()
    greenlet = gevent.spawn(resolver.lookup, NAME, Type.A)
    gevent.spawn(resolver.close)
    assert greenlet.get().reason == "given up"
    assert server.asked == []
    assert resolver.lookup(NAME, Type.A).status is Status.OK
