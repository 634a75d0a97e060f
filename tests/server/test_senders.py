"""What the DNS says of the domains of senders, by a name server of the test's own."""

from collections.abc import Iterator

import gevent
import pytest
from gevent.event import Event

from mta.dns.settings import Dns
from mta.dns.stub import Resolver
from mta.policy.sender import Standing
from mta.server import senders
from mta.server.senders import SenderDomains
from tests.support.nameserver import Asked, NameServer

PATIENCE_S = 20.0
SOA = "example.com 900 IN SOA ns.example.com. admin.example.com. 1 2 3 4 600"
SERVFAIL, NXDOMAIN = 2, 3
ZONE: dict[tuple[str, str], tuple[str, ...]] = {
    ("mx.test", "MX"): ("mx.test 300 IN MX 10 a.example.",),
    ("null.test", "MX"): ("null.test 300 IN MX 0 .",),
    ("odd.test", "MX"): ("odd.test 300 IN MX 0 .", "odd.test 300 IN MX 10 a.example."),
    ("a.test", "A"): ("a.test 300 IN A 192.0.2.1",),
    ("aaaa.test", "AAAA"): ("aaaa.test 300 IN AAAA 2001:db8::1",),
    ("nothing.test", "TXT"): ("nothing.test 300 IN TXT x",),
}


def zone(asked: Asked) -> None:
    """Answers by `ZONE`; fails for names that begin with fail, and for AAAA of half.test."""
    if asked.name.startswith("fail") or (asked.name, asked.rtype) == ("half.test", "AAAA"):
        asked.answer(rcode=SERVFAIL)
    elif (asked.name, asked.rtype) in ZONE:
        asked.answer(*ZONE[asked.name, asked.rtype])
    else:
        exists = asked.name == "half.test" or any(name == asked.name for name, _ in ZONE)
        asked.answer(authority=[SOA.replace("example.com", "test")], rcode=0 if exists else NXDOMAIN)


class Clock:
    """Time that stands still."""

    def __call__(self) -> float:
        return 1000.0


@pytest.fixture
def server() -> Iterator[NameServer]:
    with gevent.Timeout(4 * PATIENCE_S), NameServer(zone) as server:
        yield server


@pytest.fixture
def domains(server: NameServer) -> Iterator[SenderDomains]:
    made: list[Resolver] = []

    def make() -> Resolver:
        made.append(Resolver(Dns(servers=[server.address], timeout_s=PATIENCE_S), Clock()))
        return made[-1]

    yield SenderDomains(make)
    assert len(made) <= 1, "a worker has one"
    for resolver in made:
        resolver.close()


@pytest.mark.parametrize(
    ("domain", "standing", "asked"),
    [
        (b"mx.test", Standing.TAKES_MAIL, "MX"),
        (b"null.test", Standing.NULL_MX, "MX"),
        (b"odd.test", Standing.TAKES_MAIL, "MX"),
        (b"a.test", Standing.TAKES_MAIL, "MX A"),
        (b"aaaa.test", Standing.TAKES_MAIL, "MX A AAAA"),
        (b"nothing.test", Standing.UNKNOWN, "MX A AAAA"),
        (b"none.test", Standing.UNKNOWN, "MX"),
        (b"fail.test", Standing.UNCLEAR, "MX"),
        (b"half.test", Standing.UNCLEAR, "MX A AAAA"),
        (b"no name", Standing.UNKNOWN, ""),
    ],
)
def test_standing(server: NameServer, domains: SenderDomains, domain: bytes, standing: Standing, asked: str) -> None:
    """What is asked is what it costs; the second time, from the cache, nothing."""
    for _ in range(2):
        assert domains.standing(domain, asks_addresses=True) is standing
    assert [rtype for _, rtype, _ in server.questions] == asked.split()


@pytest.mark.parametrize(
    ("domain", "standing"),
    [(b"null.test", Standing.NULL_MX), (b"a.test", Standing.UNCLEAR), (b"nothing.test", Standing.UNCLEAR)],
)
def test_the_mx_alone(server: NameServer, domains: SenderDomains, domain: bytes, standing: Standing) -> None:
    assert domains.standing(domain, asks_addresses=False) is standing
    assert len(server.asked) == 1


def test_a_flood_of_domains(server: NameServer, domains: SenderDomains, monkeypatch: pytest.MonkeyPatch) -> None:
    """One more than is looked up at once is unclear, at once; when the others have ended there is room again."""
    monkeypatch.setattr(senders, "LOOKUPS", 3)
    may_answer = Event()

    def late(asked: Asked) -> None:
        may_answer.wait()
        zone(asked)

    server.script = late
    greenlets = [gevent.spawn(domains.standing, b"none%d.test" % number, asks_addresses=True) for number in range(3)]
    while len(server.asked) < 3:
        gevent.sleep(0)
    assert domains.standing(b"mx.test", asks_addresses=True) is Standing.UNCLEAR
    assert len(server.asked) == 3
    may_answer.set()
    gevent.joinall(greenlets, raise_error=True)
    assert {greenlet.value for greenlet in greenlets} == {Standing.UNKNOWN}
    assert domains.standing(b"mx.test", asks_addresses=True) is Standing.TAKES_MAIL


def test_silence_has_an_end(server: NameServer, domains: SenderDomains, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(senders, "LOOKUP_S", 0.1)
    server.script = lambda asked: None
    assert domains.standing(b"mx.test", asks_addresses=True) is Standing.UNCLEAR
