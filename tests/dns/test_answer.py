"""What responses mean: aliases, records of others, that there is nothing; made by dnspython."""

from itertools import pairwise

import dns.flags
import dns.message
import pytest

from mta.dns.answer import ALIASES, Link, Status, conclude
from mta.dns.message import BadMessage, Mx, Query, Type, parse
from mta.dns.name import to_text, to_wire
from tests.support.nameserver import respond

ORG = "org 900 IN SOA ns.org. admin.org. 1 2 3 4 600"
NXDOMAIN, AD, AA, QR = 3, dns.flags.AD, dns.flags.AA, dns.flags.QR


def link(*records: str, rtype: Type = Type.A, name: bytes = b"www.example.org", **options: object) -> Link:
    """What a response with these records means."""
    query = Query(1, to_wire(name), rtype, True)
    response = respond(dns.message.from_wire(query.wire(asks_authentic=True)), *records, **options)
    return conclude(parse(response.to_wire(), query), query.name, rtype)


def test_records() -> None:
    found = link("www.example.org 300 IN A 192.0.2.2", "www.example.org 60 IN A 192.0.2.1")
    assert found == Link(Status.OK, ("192.0.2.2", "192.0.2.1"), False, 60, to_wire(b"www.example.org"), 0, True)


def test_authentic() -> None:
    assert link("www.example.org 300 IN A 192.0.2.2", flags=AD).authentic
    assert link(authority=[ORG], rcode=NXDOMAIN, flags=AD).authentic


def test_the_same_record_twice_is_one() -> None:
    records = ["www.example.org 300 IN A 192.0.2.2", "WWW.example.org 60 IN A 192.0.2.2"]
    assert link(*records).records == ("192.0.2.2",)


def test_records_of_other_names_do_not_count() -> None:
    found = link(
        "example.org 300 IN A 192.0.2.6",
        "www.example.org 300 IN A 192.0.2.1",
        "www.example.org.evil.example 300 IN A 192.0.2.6",
    )
    assert found.records == ("192.0.2.1",)
    with pytest.raises(BadMessage):
        link("example.org 300 IN A 192.0.2.6", recursion=False)
    found = link("example.org 300 IN A 192.0.2.6")
    assert (found.status, found.records, found.ttl_s) == (Status.NODATA, (), 0)


def test_records_of_other_types_do_not_count() -> None:
    assert link("www.example.org 300 IN TXT x", authority=[ORG]).status is Status.NODATA


CHAIN = [
    "www.example.org 300 IN CNAME Web.example.org.",
    "web.example.org 50 IN CNAME host.example.net.",
    "host.example.net 600 IN A 192.0.2.1",
]


@pytest.mark.parametrize("records", [CHAIN, CHAIN[::-1]])
def test_aliases_are_followed_in_any_order(records: list[str]) -> None:
    found = link(*records)
    assert found == Link(Status.OK, ("192.0.2.1",), False, 50, to_wire(b"host.example.net"), 2, True)


def test_records_beside_an_alias_count() -> None:
    found = link("www.example.org 300 IN CNAME other.example.", "www.example.org 300 IN A 192.0.2.1")
    assert (found.records, found.aliases) == (("192.0.2.1",), 0)


def test_an_alias_asked_for_is_not_followed() -> None:
    found = link(*CHAIN, rtype=Type.CNAME)
    assert (found.records, found.canonical) == ((b"web.example.org",), to_wire(b"www.example.org"))


def test_names_are_text() -> None:
    (found,) = link(
        r"1.2.0.192.in-addr.arpa 9 IN PTR a\010b.Example.", rtype=Type.PTR, name=b"1.2.0.192.in-addr.arpa"
    ).records
    assert found == rb"a\010b.example"


def test_the_end_of_the_aliases_has_to_be_asked_for() -> None:
    found = link(*CHAIN[:2])
    assert (found.status, found.is_whole, found.ttl_s) == (Status.NODATA, False, 50)
    assert to_text(found.canonical) == b"host.example.net"
    # That of another zone says nothing of it.
    assert not link(*CHAIN[:2], authority=[ORG]).is_whole


def test_nothing_at_the_end_of_the_aliases() -> None:
    """The code is about the last name (RFC 6604 section 3)."""
    net = "net 900 IN SOA ns.net. admin.net. 1 2 3 4 40"
    for rcode, status in ((0, Status.NODATA), (NXDOMAIN, Status.NXDOMAIN)):
        found = link(*CHAIN[:2], authority=[net], rcode=rcode)
        assert (found.status, found.is_whole, found.ttl_s) == (status, True, 40)
        assert to_text(found.canonical) == b"host.example.net"
    assert link(*CHAIN[:2], rcode=NXDOMAIN).status is Status.NXDOMAIN


@pytest.mark.parametrize("length", [ALIASES, ALIASES + 1])
def test_as_many_aliases_as_may_be(length: int) -> None:
    names = ["www.example.org", *(f"n{at}.example.org" for at in range(length))]
    records = [f"{at} 9 IN CNAME {to}." for at, to in pairwise(names)]
    records.append(f"{names[-1]} 9 IN A 192.0.2.1")
    if length <= ALIASES:
        assert link(*records).aliases == length
    else:
        with pytest.raises(BadMessage, match="too many"):
            link(*records)


@pytest.mark.parametrize(
    "records",
    [
        ["www.example.org 9 IN CNAME www.example.org."],
        ["www.example.org 9 IN CNAME a.example.", "a.example 9 IN CNAME www.example.org."],
        ["www.example.org 9 IN CNAME a.example.", "a.example 9 IN CNAME b.example.", "b.example 9 IN CNAME a.example."],
    ],
)
def test_loops(records: list[str]) -> None:
    with pytest.raises(BadMessage, match="loop"):
        link(*records)


def test_two_aliases() -> None:
    with pytest.raises(BadMessage, match="two aliases"):
        link("www.example.org 9 IN CNAME a.example.", "www.example.org 9 IN CNAME b.example.")
    assert link("www.example.org 9 IN CNAME a.example.", "www.example.org 8 IN CNAME a.example.").aliases == 1


def test_nothing() -> None:
    found = link(authority=[ORG], rcode=NXDOMAIN)
    assert found == Link(Status.NXDOMAIN, (), False, 600, to_wire(b"www.example.org"), 0, True)
    assert link(authority=[ORG]) == found._replace(status=Status.NODATA)


@pytest.mark.parametrize("authority", [[], ["com 900 IN SOA ns.com. a.com. 1 2 3 4 600"]])
def test_nothing_without_a_proof_is_not_believed_for_long(authority: list[str]) -> None:
    for rcode, status in ((0, Status.NODATA), (NXDOMAIN, Status.NXDOMAIN)):
        found = link(authority=authority, rcode=rcode)
        assert (found.status, found.ttl_s) == (status, 0)


def test_a_server_that_knows_nothing() -> None:
    """It asks nobody, and it is not its zone: a referral."""
    referral = ["org 900 IN NS ns.org."]
    with pytest.raises(BadMessage, match="knows nothing"):
        link(authority=referral, recursion=False)
    assert link(authority=[ORG], recursion=False).status is Status.NODATA
    assert link(authority=referral, recursion=False, flags=AA).status is Status.NODATA


def test_a_contradiction() -> None:
    with pytest.raises(BadMessage, match="not to exist"):
        link("www.example.org 300 IN A 192.0.2.1", rcode=NXDOMAIN)


def test_mx() -> None:
    found = link("www.example.org 5 IN MX 20 B.example.", "www.example.org 5 IN MX 10 a.example.", rtype=Type.MX)
    assert found.records == (Mx(20, b"b.example"), Mx(10, b"a.example"))
