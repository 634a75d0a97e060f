"""The PROXY protocol: headers of both versions, whole, in pieces, and those that are none."""

import ipaddress
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mta.smtp.address import as_text
from mta.smtp.proxy import V1_BYTES, V2_BYTES, Endpoint, ProxyError, ProxyHeader, crc32c

Ip = ipaddress.IPv4Address | ipaddress.IPv6Address

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
FOUR = bytes((192, 0, 2, 1, 198, 51, 100, 2)) + struct.pack(">HH", 56324, 25)
SIX = bytes.fromhex("20010db800000000000000000000000120010db8000000000000000000000002") + struct.pack(">HH", 1, 2)


def v2(command: int, family: int, body: bytes = b"", length: int | None = None) -> bytes:
    return SIGNATURE + struct.pack(">BBH", command, family, len(body) if length is None else length) + body


def tlv(kind: int, value: bytes) -> bytes:
    return struct.pack(">BH", kind, len(value)) + value


def with_checksum(addresses: bytes, before: bytes = b"", after: bytes = b"", family: int = 0x11) -> bytes:
    """A header of version 2 with the right checksum between other extensions."""
    blank = v2(0x21, family, addresses + before + tlv(3, bytes(4)) + after)
    return v2(0x21, family, addresses + before + tlv(3, struct.pack(">I", crc32c(blank))) + after)


def read(data: bytes, sizes: list[int] | None = None) -> tuple[Endpoint | None, Endpoint | None, bytes]:
    """What a header says, and what follows it, when it comes in pieces of some sizes (None: at once)."""
    header = ProxyHeader()
    position = 0
    sizes = sizes or [len(data)]
    turn = 0
    while not header.done and position < len(data):
        size = max(1, sizes[turn % len(sizes)])
        header.feed(data[position : position + size])
        position += size
        turn += 1
    assert header.done, "not whole"
    return header.source, header.destination, header.rest + data[position:]


CLIENT, SERVER = ("192.0.2.1", 56324), ("198.51.100.2", 25)
HEADERS = [
    (b"PROXY TCP4 192.0.2.1 198.51.100.2 56324 25\r\n", CLIENT, SERVER),
    (b"PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n", *[("255.255.255.255", 65535)] * 2),
    (b"PROXY TCP4 0.0.0.0 0.0.0.0 0 0\r\n", *[("0.0.0.0", 0)] * 2),
    (b"PROXY TCP6 2001:db8::1 2001:DB8:0::2 1 2\r\n", ("2001:db8::1", 1), ("2001:db8::2", 2)),
    (
        b"PROXY TCP6 %b %b 65535 65535\r\n" % ((b"ffff:" * 7 + b"ffff",) * 2),
        *[("ffff:" * 7 + "ffff", 65535)] * 2,
    ),
    (b"PROXY TCP6 ::ffff:192.0.2.1 ::1 56324 25\r\n", CLIENT, ("::1", 25)),
    (b"PROXY UNKNOWN\r\n", None, None),
    (b"PROXY UNKNOWN \r\n", None, None),
    (b"PROXY UNKNOWN 192.0.2.1 whatever \0 \xff\r\n", None, None),
    (b"PROXY UNKNOWN %b %b 65535 65535\r\n" % ((b"ffff:" * 7 + b"ffff",) * 2), None, None),  # 107 bytes
    (v2(0x21, 0x11, FOUR), CLIENT, SERVER),
    (v2(0x21, 0x21, SIX), ("2001:db8::1", 1), ("2001:db8::2", 2)),
    (v2(0x21, 0x11, FOUR + tlv(4, b"") + tlv(0x20, b"x" * 300)), CLIENT, SERVER),
    (v2(0x21, 0x11, FOUR + tlv(0xEE, b"y" * (V2_BYTES - 15))), CLIENT, SERVER),
    (with_checksum(FOUR), CLIENT, SERVER),
    (with_checksum(FOUR, tlv(4, b"abc"), tlv(2, b"mx.example.org")), CLIENT, SERVER),
    (with_checksum(SIX, family=0x21), ("2001:db8::1", 1), ("2001:db8::2", 2)),
    (v2(0x20, 0x00), None, None),
    (v2(0x20, 0x11, FOUR), None, None),  # LOCAL: the rest of it is ignored
    (v2(0x20, 0xFF, b"anything"), None, None),
    (v2(0x21, 0x00), None, None),
    (v2(0x21, 0x00, b"anything"), None, None),
    (v2(0x21, 0x10, FOUR), None, None),
    (v2(0x21, 0x01), None, None),
    (v2(0x21, 0x12, FOUR), None, None),  # UDP: not how this connection came
    (v2(0x21, 0x22, SIX), None, None),
    (v2(0x21, 0x31, bytes(216)), None, None),
    (with_checksum(bytes(216), family=0x31), None, None),
]


@pytest.mark.parametrize("rest", [b"", b"\n", b"EHLO a.example\r\n", b"PROXY TCP4 1.1.1.1 1.1.1.1 1 1\r\n", SIGNATURE])
@pytest.mark.parametrize(("data", "source", "destination"), HEADERS, ids=lambda value: repr(value)[:50])
def test_header(data: bytes, source: Endpoint | None, destination: Endpoint | None, rest: bytes) -> None:
    for sizes in (None, [1], [5, 11], [len(data)], [16, 4096]):
        assert read(data + rest, sizes) == (source, destination, rest)


def test_longest_line() -> None:
    assert max(len(data) for data, _, _ in HEADERS if data.startswith(b"PROXY")) == V1_BYTES


@pytest.mark.parametrize(("data", "source", "destination"), HEADERS, ids=lambda value: repr(value)[:50])
def test_half_a_header(data: bytes, source: Endpoint | None, destination: Endpoint | None) -> None:
    """A beginning is neither a header nor an error, however long it stays one."""
    for end in range(len(data)) if len(data) < 400 else (0, 1, 11, 12, 15, 16, 17, len(data) - 1):
        header = ProxyHeader()
        header.feed(data[:end])
        assert (header.done, header.source, header.destination, header.rest) == (False, None, None, b"")


WRONG_CHECKSUM = bytearray(with_checksum(FOUR))
WRONG_CHECKSUM[-1] ^= 1
WRONG_ADDRESS = bytearray(with_checksum(FOUR))
WRONG_ADDRESS[16] ^= 1

NO_HEADERS = [
    b"E",
    b"EHLO a.example\r\n",
    b"proxy TCP4 192.0.2.1 192.0.2.2 1 2\r\n",
    b" PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n",
    b"\nPROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n",
    b"\r\nPROXY",
    b"PROXYTCP4 192.0.2.1 192.0.2.2 1 2\r\n",
    b"PROXY\r\n",
    b"PROXY \r\n",
    b"PROXY  TCP4 192.0.2.1 192.0.2.2 1 2\r\n",
    b"PROXY TCP4\r\n",
    b"PROXY TCP4 \r\n",
    b"PROXY TCP4 192.0.2.1\r\n",
    b"PROXY TCP4 192.0.2.1 192.0.2.2 1\r\n",
    b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2 \r\n",
    b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2 3\r\n",
    b"PROXY TCP4 192.0.2.1  192.0.2.2 1 2\r\n",
    b"PROXY TCP4\t192.0.2.1 192.0.2.2 1 2\r\n",
    b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\n",
    b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\r\n",
    b"PROXY TCP4 192.0.2.1\r 192.0.2.2 1 2\r\n",
    b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\0\r\n",
    b"PROXY TCP4 192.0.2.1 192.0.2.2 65536 2\r\n",
    b"PROXY TCP4 192.0.2.1 192.0.2.2 1 65536\r\n",
    b"PROXY TCP4 192.0.2.1 192.0.2.2 01 2\r\n",
    b"PROXY TCP4 192.0.2.1 192.0.2.2 -1 2\r\n",
    b"PROXY TCP4 192.0.2.1 192.0.2.2 +1 2\r\n",
    b"PROXY TCP4 192.0.2.256 192.0.2.2 1 2\r\n",
    b"PROXY TCP4 192.0.2.01 192.0.2.2 1 2\r\n",
    b"PROXY TCP4 192.0.2 192.0.2.2 1 2\r\n",
    b"PROXY TCP4 2001:db8::1 2001:db8::2 1 2\r\n",
    b"PROXY TCP4 192.0.2.1 2001:db8::2 1 2\r\n",
    b"PROXY TCP6 192.0.2.1 192.0.2.2 1 2\r\n",
    b"PROXY TCP6 2001:db8::1 192.0.2.2 1 2\r\n",
    b"PROXY TCP6 fe80::1%1 2001:db8::2 1 2\r\n",
    b"PROXY TCP6 2001:db8::1::2 2001:db8::2 1 2\r\n",
    b"PROXY TCP6 12345::1 2001:db8::2 1 2\r\n",
    b"PROXY TCP6 [2001:db8::1] 2001:db8::2 1 2\r\n",
    b"PROXY tcp4 192.0.2.1 192.0.2.2 1 2\r\n",
    b"PROXY TCP5 192.0.2.1 192.0.2.2 1 2\r\n",
    b"PROXY UDP4 192.0.2.1 192.0.2.2 1 2\r\n",
    b"PROXY UNKNOWNS\r\n",
    b"PROXY UNKNOWN\n",
    b"PROXY UNKNOWN a\rb\r\n",
    b"PROXY UNKNOWN a\nb\r\n",
    b"PROXY UNKNOWN" + b" " * (V1_BYTES - 13),
    b"PROXY UNKNOWN" + b" " * (V1_BYTES - 14) + b"\r\n",
    b"PROXY UNKNOWN" + b" " * 5000 + b"\r\n",
    SIGNATURE[:-1] + b"\r",
    v2(0x11, 0x11, FOUR),
    v2(0x31, 0x11, FOUR),
    v2(0x01, 0x11, FOUR),
    v2(0x22, 0x11, FOUR),
    v2(0x2F, 0x11, FOUR),
    v2(0x21, 0x41, FOUR),
    v2(0x21, 0xF1, FOUR),
    v2(0x21, 0x13, FOUR),
    v2(0x21, 0x03),
    v2(0x21, 0x11),
    v2(0x21, 0x11, FOUR[:-1]),
    v2(0x21, 0x21, FOUR),
    v2(0x21, 0x21, SIX[:-1]),
    v2(0x21, 0x31, bytes(215)),
    v2(0x21, 0x11, length=V2_BYTES + 1),
    v2(0x21, 0x11, length=0xFFFF),
    v2(0x20, 0x00, length=0xFFFF),
    v2(0x21, 0x11, FOUR + b"\x04"),
    v2(0x21, 0x11, FOUR + b"\x04\x00"),
    v2(0x21, 0x11, FOUR + b"\x04\x00\x01"),
    v2(0x21, 0x11, FOUR + b"\x04\xff\xff" + b"x" * 100),
    v2(0x21, 0x11, FOUR + tlv(4, b"") + b"\x04"),
    v2(0x21, 0x11, FOUR + tlv(3, b"")),
    v2(0x21, 0x11, FOUR + tlv(3, b"12345")),
    v2(0x21, 0x11, FOUR + tlv(3, bytes(4))),
    with_checksum(FOUR, before=tlv(3, bytes(4))),
    with_checksum(FOUR, after=tlv(3, bytes(4))),
    bytes(WRONG_CHECKSUM),
    bytes(WRONG_ADDRESS),
]


@pytest.mark.parametrize("data", NO_HEADERS, ids=lambda data: repr(data)[:50])
@pytest.mark.parametrize("sizes", [None, [1], [7]], ids=str)
def test_no_header(data: bytes, sizes: list[int] | None) -> None:
    with pytest.raises(ProxyError, match=r"."):
        read(data, sizes)


def test_checksum_of_haproxy() -> None:
    """A header that HAProxy 2.6 made, with `proxy-v2-options crc32c,unique-id,ssl`."""
    header = bytes.fromhex(
        "0d0a0d0a000d0a515549540a211100257f0000017f000001ea848ec503000477cce49f05000731303436372d362000050000000000"
    )
    assert read(header + b"EHLO a\r\n") == (("127.0.0.1", 60036), ("127.0.0.1", 36549), b"EHLO a\r\n")


def test_refused_at_the_first_wrong_byte() -> None:
    """Nothing is waited for that cannot become a header."""
    for wrong in (b"Q", b"PROXX", b"\r\n\r\n\1", b"PROXY TCP4\n", SIGNATURE + b"\x21\x11\xff\xff"):
        header = ProxyHeader()
        header.feed(wrong[:-1])
        with pytest.raises(ProxyError):
            header.feed(wrong[-1:])


def test_checksum_of_the_standard() -> None:
    assert crc32c(b"123456789") == 0xE3069283
    assert crc32c(bytes(32)) == 0x8A9136AA  # RFC 3720 appendix B.4
    assert crc32c(b"") == 0


ADDRESSES = st.one_of(
    st.tuples(st.ip_addresses(v=4), st.ip_addresses(v=4)), st.tuples(st.ip_addresses(v=6), st.ip_addresses(v=6))
)
PORTS = st.integers(0, 65535)
SIZES = st.lists(st.integers(1, 60), min_size=1, max_size=5)


@given(ADDRESSES, PORTS, PORTS, st.binary(max_size=50), SIZES)
def test_line_comes_back(pair: tuple[Ip, Ip], source: int, destination: int, rest: bytes, sizes: list[int]) -> None:
    one, two = pair
    data = f"PROXY TCP{one.version} {one} {two} {source} {destination}\r\n".encode()
    assert read(data + rest, sizes) == ((as_text(one), source), (as_text(two), destination), rest)


@given(
    ADDRESSES,
    PORTS,
    PORTS,
    st.lists(st.tuples(st.sampled_from([1, 2, 4, 5, 0x20, 0xE0]), st.binary(max_size=60))),
    SIZES,
)
def test_binary_comes_back(
    pair: tuple[Ip, Ip], source: int, destination: int, extensions: list[tuple[int, bytes]], sizes: list[int]
) -> None:
    one, two = pair
    body = one.packed + two.packed + struct.pack(">HH", source, destination)
    before = b"".join(tlv(kind, value) for kind, value in extensions)[:1000]
    family = 0x11 if one.version == 4 else 0x21
    expected = ((as_text(one), source), (as_text(two), destination), b"EHLO")
    if len(before) < 1000:
        assert read(v2(0x21, family, body + before) + b"EHLO", sizes) == expected
        assert read(with_checksum(body, before, family=family) + b"EHLO", sizes) == expected


PIECES = st.sampled_from(
    [b"PROXY ", b"TCP4 ", b"TCP6 ", b"UNKNOWN", b"1.2.3.4 ", b"::1 ", b"25 ", b"25", b"\r\n", b"\n"]
)
SHAPES = st.one_of(
    st.lists(PIECES | st.binary(max_size=5), max_size=12).map(b"".join),
    st.binary(max_size=60).map((SIGNATURE + b"\x21\x11\x00").__add__),
    st.binary(max_size=300).map((SIGNATURE + b"\x21").__add__),
    st.binary(max_size=60).map(b"PROXY ".__add__),
)


@given(SHAPES, SIZES)
def test_splits_change_nothing(data: bytes, sizes: list[int]) -> None:
    """The same answer, or the same refusal, for any split; never more kept than a header can have."""

    def outcome(sizes: list[int] | None) -> object:
        try:
            return read(data, sizes)
        except ProxyError:
            return "refused"
        except AssertionError:
            return "not whole"

    assert outcome(None) == outcome([1]) == outcome(sizes)
