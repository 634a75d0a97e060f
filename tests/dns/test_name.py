"""Names of the DNS: text, wire, compression; dnspython tells what is right."""

import dns.name
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mta.dns.name import BadName, is_within, read, skip, to_text, to_wire

LABELS = st.lists(st.binary(min_size=1, max_size=63), max_size=8).filter(
    lambda labels: sum(len(label) + 1 for label in labels) < 255
)


@pytest.mark.parametrize(
    ("text", "wire"),
    [
        (b"example.org", b"\x07example\x03org\0"),
        (b"example.org.", b"\x07example\x03org\0"),
        (b"EXAMPLE.Org", b"\x07example\x03org\0"),
        (b"_25._tcp.mx.example.org", b"\x03_25\x04_tcp\x02mx\x07example\x03org\0"),
        (b"xn--bcher-kva.example", b"\x0dxn--bcher-kva\x07example\0"),
        (b".", b"\0"),
        (rb"a\.b.c", b"\x03a.b\x01c\0"),
        (rb"a\\b.c.", b"\x03a\\b\x01c\0"),
        (rb"\000\255.c", b"\x02\0\xff\x01c\0"),
        (rb"\065.c", b"\x01a\x01c\0"),  # an A
        (b"a" * 63, b"\x3f" + b"a" * 63 + b"\0"),
        (b".".join([b"a" * 63] * 3 + [b"a" * 61]), (b"\x3f" + b"a" * 63) * 3 + b"\x3d" + b"a" * 61 + b"\0"),
    ],
)
def test_text_to_wire(text: bytes, wire: bytes) -> None:
    assert to_wire(text) == wire
    assert to_wire(to_text(wire)) == wire


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"..",
        b".a",
        b"a..b",
        b"a..",
        b"a b",
        b"a\0",
        b"a\n.b",
        b"b\xc3\xbccher.example",
        b"a" * 64,
        b".".join([b"a" * 63] * 3 + [b"a" * 62]),
        b"a.\\",
        rb"a\1",
        rb"a\12.b",
        rb"a\256",
        rb"\..a..b",
        rb"\046..",
        b"\\\xff",
        b"\\ ",
    ],
)
def test_no_names(text: bytes) -> None:
    with pytest.raises(BadName):
        to_wire(text)


@pytest.mark.parametrize(
    ("wire", "text"),
    [
        (b"\0", b"."),
        (b"\x03a.b\x01c\0", rb"a\046b.c"),
        (b"\x02\n\\\0", rb"\010\092"),
        (b"\x03a b\0", rb"a\032b"),
        (b"\x01\xff\0", rb"\255"),
        (b'\x05"@;()\0', b'"@;()'),
    ],
)
def test_wire_to_text(wire: bytes, text: bytes) -> None:
    assert to_text(wire) == text


@given(LABELS)
def test_any_name_there_and_back(labels: list[bytes]) -> None:
    wire = dns.name.Name([*labels, b""]).canonicalize().to_wire()
    text = to_text(wire)
    assert text.isascii()
    assert text.decode().isprintable()
    assert to_wire(text) == wire
    assert read(wire, 0) == (wire, len(wire))
    assert skip(wire, 0) == len(wire)
    assert dns.name.from_text(text.decode()).to_wire() == wire


@given(st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=80))
def test_texts_are_read_as_dnspython_reads_them(text: str) -> None:
    try:
        expected = dns.name.from_text(text, idna_codec=dns.name.IDNA_2003_Practical).canonicalize().to_wire()
    except (dns.exception.DNSException, ValueError):
        expected = None
    if not text or text == "@":
        return  # the origin, in a zone file
    if expected is None:
        with pytest.raises(BadName):
            to_wire(text.encode())
    else:
        assert to_wire(text.encode()) == expected


HEAD = bytes(12)


@pytest.mark.parametrize(
    ("tail", "offset", "wire", "end"),
    [
        (b"\x01a\0", 12, b"\x01a\0", 15),
        (b"\x01a\0\xc0\x0c", 15, b"\x01a\0", 17),
        (b"\x01a\0\x01B\xc0\x0c", 15, b"\x01b\x01a\0", 19),
        (b"\x01a\0\x01b\xc0\x0c\xc0\x0f", 19, b"\x01b\x01a\0", 21),
        (b"\x01a\0\xc0\x0c\xc0\x0f", 17, b"\x01a\0", 19),  # a pointer to a pointer
        (b"\x01a\0\x01b\xc0\x0c\x01c\xc0\x11", 19, b"\x01c\x01a\0", 23),  # into the middle of a name
    ],
)
def test_compression(tail: bytes, offset: int, wire: bytes, end: int) -> None:
    assert read(HEAD + tail, offset) == (wire, end)
    assert skip(HEAD + tail, offset) == end


@pytest.mark.parametrize(
    ("tail", "offset", "why"),
    [
        (b"", 12, "cut off"),
        (b"\x01", 12, "cut off"),
        (b"\x05abc", 12, "cut off"),
        (b"\x01a", 12, "cut off"),
        (b"\xc0", 12, "cut off"),
        (b"\xc0\x0c", 12, "backwards"),  # to itself
        (b"\x01a\xc0\x0c", 12, "backwards"),  # to its own start
        (b"\xc0\x0e\x01a\0", 12, "backwards"),  # forwards
        (b"\xc0\x0e\xc0\x0c", 14, "backwards"),  # each to the other
        (b"\x01a\xc0\x0c\x01b\xc0\x0c", 16, "backwards"),  # a loop behind a pointer that is fine
        (b"\xc0\x00", 12, "backwards"),  # into the header
        (b"\xff\xff", 12, "backwards"),
        (b"\x41a\0", 12, "unknown kind"),
        (b"\x80a\0", 12, "unknown kind"),
        ((b"\x3f" + b"a" * 63) * 4 + b"\0", 12, "255"),
    ],
)
def test_bad_names(tail: bytes, offset: int, why: str) -> None:
    with pytest.raises(BadName, match=why):
        read(HEAD + tail, offset)


def test_many_pointers() -> None:
    """A name may have a pointer behind each label, and no more."""
    chain = b"\0" + b"".join((0xC000 | (12 if at == 0 else 11 + 2 * at)).to_bytes(2, "big") for at in range(200))
    data = HEAD + chain
    assert read(data, 13 + 2 * 126) == (b"\0", 15 + 2 * 126)
    with pytest.raises(BadName, match="pointers"):
        read(data, 13 + 2 * 127)


@given(st.binary(max_size=300), st.integers(0, 310))
def test_any_bytes(data: bytes, offset: int) -> None:
    """Either a name or `BadName`; a name that can be read can be skipped, to the same place."""
    try:
        wire, end = read(data, offset)
    except BadName:
        return
    assert len(wire) <= 255
    assert skip(data, offset) == end <= len(data)
    assert to_wire(to_text(wire)) == wire


@pytest.mark.parametrize(
    ("name", "zone", "expected"),
    [
        (b"example.org", b"example.org", True),
        (b"a.example.org", b"example.org", True),
        (b"a.b.example.org", b"org", True),
        (b"a.b.example.org", b".", True),
        (b".", b".", True),
        (b"anexample.org", b"example.org", False),
        (b"org", b"example.org", False),
        (b"example.org", b"example.net", False),
        (rb"a\007example.org", b"example.org", False),  # a label that ends like the zone's wire form
    ],
)
def test_within(name: bytes, zone: bytes, expected: bool) -> None:
    assert is_within(to_wire(name), to_wire(zone)) is expected
