"""Messages of the DNS, made by dnspython and read by us, and the other way round; whole, cut, bent and random."""

import struct
from ipaddress import IPv4Address, IPv6Address

import dns.edns
import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mta.dns.message import (
    AUTHENTIC,
    RECORDS,
    RECURSION_AVAILABLE,
    BadMessage,
    Mx,
    Query,
    Rcode,
    Record,
    Response,
    Tlsa,
    Type,
    parse,
)
from mta.dns.name import to_wire
from tests.support.nameserver import respond

NAME = to_wire(b"example.org")
SOA = "example.org 3600 IN SOA ns.example.org. admin.example.org. 1 7200 900 1209600 300"


def ask(rtype: Type = Type.MX, name: bytes = NAME, *, has_edns: bool = True) -> tuple[Query, dns.message.Message]:
    """A query of ours, and what dnspython makes of it."""
    query = Query(4711, name, rtype, has_edns)
    return query, dns.message.from_wire(query.wire(asks_authentic=True))


@pytest.mark.parametrize("has_edns", [True, False])
@pytest.mark.parametrize("asks_authentic", [True, False])
@pytest.mark.parametrize("rtype", list(Type))
def test_queries_as_dnspython_reads_them(rtype: Type, has_edns: bool, asks_authentic: bool) -> None:
    wire = Query(0xBEEF, NAME, rtype, has_edns).wire(asks_authentic=asks_authentic)
    message = dns.message.from_wire(wire)
    assert message.id == 0xBEEF
    assert message.opcode() == 0
    assert message.flags == dns.flags.RD | (dns.flags.AD if asks_authentic else 0)
    assert [str(question) for question in message.question] == [f"example.org. IN {dns.rdatatype.to_text(rtype)}"]
    assert message.edns == (0 if has_edns else -1)
    assert message.payload == (1232 if has_edns else 0)
    assert not message.ednsflags


READ = [
    (Type.A, "192.0.2.1", "192.0.2.1"),
    (Type.AAAA, "2001:db8::1", "2001:db8::1"),
    (Type.AAAA, "::ffff:192.0.2.1", "::ffff:c000:201"),
    (Type.MX, "10 MX.example.org.", Mx(10, b"mx.example.org")),
    (Type.MX, "65535 .", Mx(65535, b".")),
    (Type.MX, r"0 a\.b\010.example.", Mx(0, rb"a\046b\010.example")),
    (Type.CNAME, "Other.example.org.", to_wire(b"other.example.org")),
    (Type.PTR, "host.example.net.", to_wire(b"host.example.net")),
    (Type.TXT, '"v=spf1 -all"', b"v=spf1 -all"),
    (Type.TXT, '"v=spf1 " "-all" ""', b"v=spf1 -all"),
    (Type.TXT, r'"\000\255"', b"\0\xff"),
    (Type.TXT, '""', b""),
    (Type.TLSA, "3 1 1 " + "ab" * 32, Tlsa(3, 1, 1, b"\xab" * 32)),
    (Type.TLSA, "0 0 0 00", Tlsa(0, 0, 0, b"\0")),
]


@pytest.mark.parametrize(("rtype", "text", "data"), READ)
def test_records(rtype: Type, text: str, data: object) -> None:
    query, message = ask(rtype)
    response = respond(message, f"example.org 300 IN {rtype.name} {text}", flags=dns.flags.AD)
    got = parse(response.to_wire(), query)
    assert got.records == (Record(NAME, rtype, 300, data),)
    assert got.rcode == Rcode.NOERROR
    assert got.flags & AUTHENTIC
    assert got.flags & RECURSION_AVAILABLE
    assert got.has_edns
    assert not got.is_truncated


def test_types_that_are_not_known_are_passed_over() -> None:
    query, message = ask()
    response = respond(
        message,
        "example.org 300 IN RRSIG MX 8 2 300 20300101000000 20200101000000 1 example.org. AAAA",
        "example.org 300 IN MX 10 mx.example.org.",
        "example.org 300 CH TXT other",
        authority=["example.org 1 IN NS ns.example.org.", SOA, "example.net 9 IN SOA a. b. 1 2 3 4 5"],
    )
    got = parse(response.to_wire(), query)
    assert [record.data for record in got.records] == [Mx(10, b"mx.example.org")]
    assert (got.zone, got.negative_ttl_s) == (NAME, 300)


@pytest.mark.parametrize(
    ("ttl_s", "minimum", "expected"), [(60, 300, 60), (300, 60, 60), (300, 2**31, 0), (2**31, 300, 0), (0, 5, 0)]
)
def test_time_of_nothing(ttl_s: int, minimum: int, expected: int) -> None:
    """The lesser of the SOA's own TTL and its last field (RFC 2308 section 5)."""
    query, message = ask()
    response = respond(message, authority=[f"example.org 7777 IN SOA a. b. 1 2 3 4 {minimum}"], rcode=3)
    wire = response.to_wire().replace(struct.pack(">I", 7777), struct.pack(">I", ttl_s))
    got = parse(wire, query)
    assert got.rcode == Rcode.NXDOMAIN
    assert got.negative_ttl_s == expected


def test_a_ttl_with_its_highest_bit_is_none() -> None:
    query, message = ask()
    wire = respond(message, "example.org 7777 IN MX 1 a.").to_wire()
    assert parse(wire.replace(struct.pack(">I", 7777), struct.pack(">I", 2**31)), query).records[0].ttl_s == 0
    assert (
        parse(wire.replace(struct.pack(">I", 7777), struct.pack(">I", 2**31 - 1)), query).records[0].ttl_s == 2**31 - 1
    )


@pytest.mark.parametrize(
    ("rcode", "has_edns"), [(0, False), (2, False), (3, True), (5, True), (dns.rcode.BADVERS, True), (23, True)]
)
def test_codes(rcode: int, has_edns: bool) -> None:
    query, message = ask()
    got = parse(respond(message, rcode=rcode, has_edns=has_edns).to_wire(), query)
    assert (got.rcode, got.has_edns, got.records, got.zone) == (rcode, has_edns, (), b"")


@pytest.mark.parametrize("rcode", [Rcode.FORMERR, Rcode.NOTIMP])
def test_a_header_alone_may_refuse(rcode: Rcode) -> None:
    query, _ = ask()
    head = struct.pack(">6H", query.number, 0x8000 | rcode, 0, 0, 0, 0)
    assert parse(head, query) == Response(rcode, 0x8000 | rcode)
    with pytest.raises(BadMessage):
        parse(struct.pack(">6H", query.number, 0x8000 | Rcode.SERVFAIL, 0, 0, 0, 0), query)
    with pytest.raises(BadMessage):
        parse(struct.pack(">6H", query.number ^ 1, 0x8000 | rcode, 0, 0, 0, 0), query)


def test_of_a_truncated_response_nothing_is_read() -> None:
    query, message = ask()
    response = respond(message, *(f"example.org 300 IN MX {at} mx.example.org." for at in range(9)), flags=dns.flags.TC)
    wire = response.to_wire()
    for size in range(29, len(wire) + 1):
        got = parse(wire[:size], query)
        assert got.is_truncated
        assert got.records == ()


@pytest.mark.parametrize("has_edns", [True, False])
def test_whole_or_nothing(has_edns: bool) -> None:
    """A message that is cut off anywhere is bad."""
    query, message = ask(has_edns=has_edns)
    records = ["example.org 300 IN MX 10 mx.example.org.", "example.org 300 IN MX 20 mx.example.net."]
    wire = respond(message, *records, authority=[SOA], has_edns=has_edns).to_wire()
    assert len(parse(wire, query).records) == 2
    for size in range(len(wire)):
        with pytest.raises(BadMessage):
            parse(wire[:size], query)


MESSAGE = respond(ask()[1], "example.org 300 IN MX 10 mx.example.org.", authority=[SOA]).to_wire()


def put(offset: int, value: int) -> bytes:
    """The message with a word of its header changed."""
    return MESSAGE[:offset] + struct.pack(">H", value) + MESSAGE[offset + 2 :]


@pytest.mark.parametrize(
    ("wire", "why"),
    [
        (b"", "shorter"),
        (put(0, 4712), "identifier"),
        (put(2, 0x0100), "identifier"),  # a query
        (put(2, 0xA800), "identifier"),  # another kind of message
        (put(4, 0), "question"),
        (put(4, 2), "question"),
        (put(6, 0), "more than"),
        (put(6, 2), "cut off"),
        (put(6, 65535), "too many"),
        (put(8, RECORDS), "too many"),
        (put(10, 2), "cut off"),
        (put(10, 0), "more than"),
        (MESSAGE + b"\0", "more than"),
        (MESSAGE.replace(b"\x07example\x03org\0\0\x0f", b"\x07example\x03com\0\0\x0f", 1), "question"),
        (MESSAGE.replace(b"\x03org\0\0\x0f\0\x01", b"\x03org\0\0\x01\0\x01", 1), "question"),
        (MESSAGE.replace(b"\x03org\0\0\x0f\0\x01", b"\x03org\0\0\x0f\0\x03", 1), "question"),
        (MESSAGE.replace(b"\x07example", b"\xc0\x0cample", 1), "question"),
    ],
)
def test_bad_messages(wire: bytes, why: str) -> None:
    with pytest.raises(BadMessage, match=why):
        parse(wire, ask()[0])


def test_letters_of_the_question_may_change_their_case() -> None:
    assert parse(MESSAGE.replace(b"\x07example\x03org", b"\x07eXAMPle\x03ORG", 1), ask()[0]).records


def record(rtype: int, data: bytes, owner: bytes = b"\xc0\x0c", size: int | None = None) -> bytes:
    return owner + struct.pack(">HHIH", rtype, 1, 300, len(data) if size is None else size) + data


@pytest.mark.parametrize(
    ("rtype", "data"),
    [
        (Type.A, b""),
        (Type.A, b"abc"),
        (Type.A, b"abcde"),
        (Type.AAAA, b"a" * 15),
        (Type.AAAA, b"a" * 17),
        (Type.MX, b""),
        (Type.MX, b"\0\x0a"),
        (Type.MX, b"\0\x0a\x01a\0\0"),  # something behind the name
        (Type.MX, b"\0\x0a\x02a"),
        (Type.MX, b"\0\x0a\xc0"),
        (Type.MX, b"\0\x0a\xc0\xff"),
        (Type.CNAME, b""),
        (Type.CNAME, b"\x01a\0\0"),
        (Type.PTR, b"\x01a"),
        (Type.TXT, b""),
        (Type.TXT, b"\x05abc"),
        (Type.TXT, b"\x03abc\x01"),
        (Type.TLSA, b"\x03\x01"),
    ],
)
def test_bad_data(rtype: Type, data: bytes) -> None:
    query = Query(1, NAME, rtype, False)
    head = struct.pack(">6H", 1, 0x8180, 1, 1, 0, 0) + NAME + struct.pack(">2H", rtype, 1)
    with pytest.raises(BadMessage):
        parse(head + record(rtype, data) + bytes(300), query)


@pytest.mark.parametrize(
    ("authority", "additional"),
    [
        ([record(6, b"\0\0" + bytes(19))], []),
        ([record(6, b"\0\0" + bytes(21))], []),
        ([record(6, b"\xc0\x0c\xc0")], []),
        ([], [record(41, b"", b"\x01a\0")]),
        ([], [record(41, b"", b"\0"), record(41, b"", b"\0")]),
        ([], [record(41, b"", b"\0", 1)]),
        ([], [record(41, b"\0\x0f\0", b"\0")]),
        ([], [record(41, b"\0\x0f\0\3\0\6", b"\0")]),
    ],
)
def test_bad_authority_and_edns(authority: list[bytes], additional: list[bytes]) -> None:
    head = struct.pack(">6H", 1, 0x8180, 1, 0, len(authority), len(additional)) + NAME + struct.pack(">2H", 15, 1)
    with pytest.raises(BadMessage):
        parse(head + b"".join(authority + additional), Query(1, NAME, 15, False))


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (b"", None),
        (b"\0\x0f\0\2\0\6", 6),
        (b"\0\x0f\0\5\0\6abc", 6),
        (b"\0\x0a\0\x08cookie!!" + b"\0\x0f\0\2\1\0" + b"\0\x0f\0\2\0\6", 256),
        (b"\0\x0f\0\1\0", None),
    ],
)
def test_extended_errors(options: bytes, expected: int | None) -> None:
    head = struct.pack(">6H", 1, 0x8182, 1, 0, 0, 1) + NAME + struct.pack(">2H", 15, 1)
    assert parse(head + record(41, options, b"\0"), Query(1, NAME, 15, True)).extended == expected


def test_the_costliest_message_is_read_or_refused() -> None:
    """As many records as may be, each with the longest chain of pointers that a message can hold."""
    # A name with a label for each pointer: 127 of them; every owner points to its end.
    chain = NAME + struct.pack(">2H", Type.A, 1)
    pad = b"\x01x\0"
    base = 12 + len(chain)
    first = record(99, pad + b"".join(b"\x01x" + struct.pack(">H", 0xC000 | _link(base, at)) for at in range(126)))
    owner = struct.pack(">H", 0xC000 | _link(base, 126))
    count = RECORDS - 1
    head = struct.pack(">6H", 1, 0x8180, 1, count + 1, 0, 0)
    wire = head + chain + first + record(Type.A, b"abcd", owner) * count
    got = parse(wire, Query(1, NAME, Type.A, False))
    assert len(got.records) == count
    assert len(got.records[-1].name) == 255


def _link(base: int, at: int) -> int:
    """Where the name begins that the `at`-th link of the chain points to."""
    data = base + 12
    return data if at == 0 else data + 3 + 4 * (at - 1)


LABEL = st.binary(min_size=1, max_size=20)
NAMES = st.lists(LABEL, max_size=5).map(lambda labels: dns.name.Name([*labels, b""]))
DATA = st.one_of(
    st.tuples(st.just("A"), st.integers(0, 2**32 - 1).map(lambda value: str(IPv4Address(value)))),
    st.tuples(st.just("AAAA"), st.integers(0, 2**128 - 1).map(lambda value: str(IPv6Address(value)))),
    st.tuples(st.just("MX"), st.tuples(st.integers(0, 65535), NAMES).map(lambda mx: f"{mx[0]} {mx[1]}")),
    st.tuples(st.just("PTR"), NAMES.map(str)),
    st.tuples(st.just("TLSA"), st.binary(min_size=1, max_size=64).map(lambda data: f"3 1 0 {data.hex()}")),
    st.tuples(
        st.just("TXT"),
        st.lists(st.binary(max_size=255), min_size=1, max_size=3).map(
            lambda strings: " ".join('"' + "".join(f"\\{byte:03d}" for byte in text) + '"' for text in strings)
        ),
    ),
)


@given(NAMES, st.lists(st.tuples(NAMES, st.integers(0, 2**31 - 1), DATA), max_size=8), st.booleans())
def test_what_dnspython_writes(
    asked: dns.name.Name, records: list[tuple[dns.name.Name, int, tuple[str, str]]], has_edns: bool
) -> None:
    """Any records in one message, with its compression, come out as they went in."""
    query, message = ask(Type.A, asked.canonicalize().to_wire(), has_edns=has_edns)
    response = dns.message.make_response(message)
    for owner, ttl_s, (rtype, text) in records:
        response.answer.append(dns.rrset.from_text(owner, ttl_s, "IN", rtype, text))
    got = parse(response.to_wire(), query)
    assert got.has_edns == has_edns
    expected = []
    for owner, ttl_s, (rtype, text) in records:
        (rdata,) = dns.rrset.from_text(owner, ttl_s, "IN", rtype, text)
        expected.append((owner.canonicalize().to_wire(), rtype, ttl_s, rdata))
    assert [(found.name, Type(found.rtype).name, found.ttl_s) for found in got.records] == [
        want[:3] for want in expected
    ]
    for found, (_, rtype, _, rdata) in zip(got.records, expected, strict=True):
        assert as_dnspython(rtype, found.data) == plain(rtype, rdata)


def as_dnspython(rtype: str, data: object) -> object:
    """Our data in the form of `plain`."""
    if rtype == "MX":
        assert isinstance(data, Mx)
        return data.preference, to_wire(data.exchange)
    return tuple(data) if isinstance(data, Tlsa) else data


def plain(rtype: str, rdata: object) -> object:
    """dnspython's data as plain values."""
    if rtype == "MX":
        return rdata.preference, rdata.exchange.canonicalize().to_wire()
    if rtype == "PTR":
        return rdata.target.canonicalize().to_wire()
    if rtype == "TLSA":
        return rdata.usage, rdata.selector, rdata.mtype, rdata.cert
    if rtype == "TXT":
        return b"".join(rdata.strings)
    return str(IPv6Address(rdata.address)) if rtype == "AAAA" else rdata.address


@given(st.binary(max_size=600))
@example(bytes(11))
def test_random_bytes(tail: bytes) -> None:
    """Whatever follows a proper question: a response, or `BadMessage`."""
    query = Query(1, NAME, Type.MX, True)
    head = struct.pack(">2H", 1, 0x8180)
    for wire in (tail, head + tail, head + bytes((0, 1)) + tail[:6] + NAME + b"\0\x0f\0\x01" + tail[6:]):
        try:
            parse(wire, query)
        except BadMessage:
            continue


@given(st.lists(st.tuples(st.integers(29, len(MESSAGE) - 1), st.integers(0, 255)), min_size=1, max_size=4))
def test_bent_messages(changes: list[tuple[int, int]]) -> None:
    """Some bytes behind the question changed: a response, or `BadMessage`; never a record of a wrong shape."""
    wire = bytearray(MESSAGE)
    for at, byte in changes:
        wire[at] = byte
    try:
        got = parse(bytes(wire), ask()[0])
    except BadMessage:
        return
    for found in got.records:
        assert 0 < len(found.name) <= 255
        assert 0 <= found.ttl_s < 2**31
