"""Look-ups through Unbound, which validates what NSD serves: zones that are signed, not signed, and wrongly signed."""

from collections.abc import Iterator
from pathlib import Path
from time import monotonic

import gevent
import pytest

from mta.dns.answer import Answer, Status
from mta.dns.message import Mx, Tlsa, Type
from mta.dns.settings import Dns
from mta.dns.stub import Resolver
from mta.policy.sender import Standing
from mta.server.senders import SenderDomains
from tests.support.front import need
from tests.support.server import free_port
from tests.support.unbound import Servers, Zone, resolving, validator

pytestmark = pytest.mark.interop

HASH = "ab" * 32
SIGNED = f"""\
@ IN MX 10 mx
@ IN MX 20 mx.plain.example.
@ IN TXT "v=spf1" " -all"
mx IN A 192.0.2.1
mx IN AAAA 2001:db8::1
_25._tcp.mx IN TLSA 3 1 1 {HASH}
alias IN CNAME mx
_25._tcp.alias IN CNAME _25._tcp.mx
away IN CNAME mx.plain.example.
nowhere IN CNAME none.signed.example.
null IN MX 0 .
a\\.b IN A 192.0.2.3
short 1 IN A 192.0.2.4
*.wild IN A 192.0.2.5
""" + "".join(f'large IN TXT "{"x" * 200}{number}"\n' for number in range(40))
PLAIN = f"""\
@ IN MX 10 mx
mx IN A 192.0.2.2
_25._tcp.mx IN TLSA 3 1 1 {HASH}
"""
ZONES = {
    "signed.example": Zone(SIGNED, is_signed=True),
    "plain.example": Zone(PLAIN),
    "bogus.example": Zone(PLAIN, is_bogus=True),
}
TLSA = Tlsa(3, 1, 1, bytes.fromhex(HASH))
PATIENCE_S = 20.0


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    """Both, for all tests."""
    with resolving(tmp_path_factory.mktemp("dns"), ZONES) as servers:
        yield servers


def resolver(*addresses: str, trust_ad: bool = True) -> Resolver:
    return Resolver(Dns(servers=list(addresses), trust_ad=trust_ad, timeout_s=PATIENCE_S), monotonic)


@pytest.fixture(scope="module")
def trusting(servers: Servers) -> Resolver:
    """A resolver that believes Unbound."""
    return resolver(servers.unbound.address)


def test_records(trusting: Resolver) -> None:
    mx = trusting.lookup(b"signed.example", Type.MX)
    assert (mx.status, mx.authentic, mx.canonical) == (Status.OK, True, b"signed.example")
    assert sorted(mx.records) == [Mx(10, b"mx.signed.example"), Mx(20, b"mx.plain.example")]
    assert 0 < mx.ttl_s <= 300
    assert trusting.lookup(b"mx.signed.example", Type.A).records == ("192.0.2.1",)
    assert trusting.lookup(b"MX.Signed.Example.", Type.AAAA).records == ("2001:db8::1",)
    assert trusting.lookup(b"signed.example", Type.TXT).records == (b"v=spf1 -all",)
    assert trusting.lookup(b"_25._tcp.mx.signed.example", Type.TLSA)[:3] == (Status.OK, (TLSA,), True)
    assert trusting.lookup(b"null.signed.example", Type.MX).records == (Mx(0, b"."),)
    assert trusting.lookup(rb"a\.b.signed.example", Type.A).records == ("192.0.2.3",)
    assert trusting.lookup(b"any.wild.signed.example", Type.A)[:3] == (Status.OK, ("192.0.2.5",), True)


def test_aliases(trusting: Resolver) -> None:
    found = trusting.lookup(b"alias.signed.example", Type.A)
    assert (found.records, found.authentic, found.canonical) == (("192.0.2.1",), True, b"mx.signed.example")
    found = trusting.lookup(b"_25._tcp.alias.signed.example", Type.TLSA)
    assert (found.records, found.authentic, found.canonical) == ((TLSA,), True, b"_25._tcp.mx.signed.example")
    assert trusting.lookup(b"alias.signed.example", Type.CNAME).records == (b"mx.signed.example",)
    found = trusting.lookup(b"nowhere.signed.example", Type.A)
    assert (found.status, found.authentic, found.canonical) == (Status.NXDOMAIN, True, b"none.signed.example")


def test_a_chain_is_as_authentic_as_its_weakest_link(trusting: Resolver) -> None:
    found = trusting.lookup(b"away.signed.example", Type.A)
    assert (found.records, found.authentic, found.canonical) == (("192.0.2.2",), False, b"mx.plain.example")


def test_that_there_is_nothing_is_signed_too(trusting: Resolver) -> None:
    assert trusting.lookup(b"none.signed.example", Type.A)[:3] == (Status.NXDOMAIN, (), True)
    assert trusting.lookup(b"mx.signed.example", Type.MX)[:3] == (Status.NODATA, (), True)
    assert trusting.lookup(b"_25._tcp.signed.example", Type.TLSA)[:3] == (Status.NXDOMAIN, (), True)
    assert 0 < trusting.lookup(b"none.signed.example", Type.A).ttl_s <= 60


def test_zones_without_signatures(trusting: Resolver) -> None:
    assert trusting.lookup(b"_25._tcp.mx.plain.example", Type.TLSA)[:3] == (Status.OK, (TLSA,), False)
    assert trusting.lookup(b"none.plain.example", Type.A)[:3] == (Status.NXDOMAIN, (), False)


def test_wrong_signatures(servers: Servers, trusting: Resolver) -> None:
    for name, rtype in ((b"_25._tcp.mx.bogus.example", Type.TLSA), (b"none.bogus.example", Type.A)):
        found = trusting.lookup(name, rtype)
        assert (found.status, found.authentic) == (Status.FAILED, False)
        assert found.reason.startswith(f"{servers.unbound.address}: SERVFAIL (DNS")  # SEC Bogus, or KEY Missing


def test_who_does_not_trust_believes_nothing(servers: Servers) -> None:
    found = resolver(servers.unbound.address, trust_ad=False).lookup(b"_25._tcp.mx.signed.example", Type.TLSA)
    assert found[:3] == (Status.OK, (TLSA,), False)


def test_domains_of_senders(servers: Servers) -> None:
    """Real answers that there is nothing, with and without signatures; and what a validator does not believe."""
    domains = SenderDomains(lambda: resolver(servers.unbound.address))
    expected = {
        b"signed.example": Standing.TAKES_MAIL,
        b"null.signed.example": Standing.NULL_MX,
        b"mx.signed.example": Standing.TAKES_MAIL,  # by its address
        b"alias.signed.example": Standing.TAKES_MAIL,
        b"nowhere.signed.example": Standing.UNKNOWN,
        b"none.plain.example": Standing.UNKNOWN,
        b"_25._tcp.mx.plain.example": Standing.UNKNOWN,  # it is there, and has neither
        b"bogus.example": Standing.UNCLEAR,
    }
    assert {domain: domains.standing(domain, asks_addresses=True) for domain in expected} == expected


def test_large_answers(trusting: Resolver) -> None:
    found = trusting.lookup(b"large.signed.example", Type.TXT)
    assert len(found.records) == 40
    assert found.authentic


def test_who_knows_is_asked_itself(servers: Servers) -> None:
    """NSD asks nobody, so it refuses what it does not know; of an alias it knows what is in its zones."""
    direct = resolver(servers.nsd.address)
    found = direct.lookup(b"mx.signed.example", Type.A)
    assert found == Answer(Status.OK, ("192.0.2.1",), False, 300, b"mx.signed.example")
    assert direct.lookup(b"away.signed.example", Type.A).canonical == b"mx.plain.example"
    assert direct.lookup(b"away.signed.example", Type.A).records == ("192.0.2.2",)
    refused = f"{servers.nsd.address}: REFUSED (Not Authoritative)"
    assert direct.lookup(b"mx.elsewhere.example", Type.A).reason == refused
    both = resolver(servers.nsd.address, servers.unbound.address)
    assert both.lookup(b"mx.elsewhere.example", Type.A).reason == f"{servers.unbound.address}: REFUSED"


def test_a_resolver_that_dies(servers: Servers, tmp_path: Path) -> None:
    other = validator(need("unbound"), tmp_path, free_port(), ZONES, servers.nsd.port, [])
    both = resolver(other.address, servers.unbound.address)
    with other:
        assert both.lookup(b"mx.signed.example", Type.A)[:3] == (Status.OK, ("192.0.2.1",), False)
    assert both.lookup(b"_25._tcp.mx.signed.example", Type.TLSA)[:3] == (Status.OK, (TLSA,), True)
    with other:
        assert resolver(other.address).lookup(b"signed.example", Type.MX).status is Status.OK


def test_many_at_once(trusting: Resolver) -> None:
    """More than are at work at once; each gets its own answer."""
    names = [b"n%d.wild.signed.example" % number for number in range(1500)] + [b"mx.signed.example"] * 500
    greenlets = [gevent.spawn(trusting.lookup, name, Type.A) for name in names]
    gevent.joinall(greenlets, raise_error=True)
    assert [(greenlet.value.status, greenlet.value.canonical) for greenlet in greenlets] == [
        (Status.OK, name) for name in names
    ]
