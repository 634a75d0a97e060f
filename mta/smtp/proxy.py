"""The PROXY protocol, versions 1 and 2: the header by which a load balancer says whom it stands for.

As `doc/proxy-protocol.txt` of HAProxy specifies it. Bytes in, facts out: no I/O, nothing blocks. A header is whole or
it is refused; no more than its own bytes are looked at, and what follows them is handed back untouched. Who may send
one is not decided here.
"""

import ipaddress
import re
from functools import lru_cache
from typing import NamedTuple

from mta.smtp.address import as_text, parse_ip

Endpoint = tuple[str, int]
"""An IP address, as `address.parse_ip` writes it, and a port."""

V1_BYTES = 107
"""Longest header of version 1, with its CR LF (section 2.1 of the specification)."""

V2_BYTES = 4096
"""Longest that a header of version 2 may be behind its first 16 bytes; the specification has 65535, but also wants it
to fit a packet. HAProxy sends less than 600."""

_V1_START = b"PROXY "
_V2_START = b"\r\n\r\n\0\r\nQUIT\n"
_V2_FIXED_BYTES = 16

_V1_TCP = re.compile(rb"PROXY TCP([46]) ([0-9A-Fa-f.:]{2,45}) ([0-9A-Fa-f.:]{2,45}) (0|[1-9]\d{0,4}) (0|[1-9]\d{0,4})")
_V1_UNKNOWN = re.compile(rb"PROXY UNKNOWN(?: [^\r\n]*)?")

# The first byte behind the signature: version and command. The second: family of addresses and kind of transport.
_LOCAL, _PROXY = 0x20, 0x21
_FAMILY_BYTES = {0x1: 12, 0x2: 36, 0x3: 216}  # IPv4, IPv6, UNIX: two addresses, two ports
_TCP4, _TCP6 = 0x11, 0x21
_CRC32C = 0x03


class ProxyError(ValueError):
    """The connection does not begin with a proper header; the text says why."""


class _Found(NamedTuple):
    end: int
    source: Endpoint | None
    destination: Endpoint | None


class ProxyHeader:
    """The header at the start of a connection, put together from pieces.

    Once `done`, `source` is the client and `destination` the address it connected to; both are None where the load
    balancer speaks for itself (a health check) or cannot tell, and the socket's own addresses hold. `rest` is what
    followed the header.
    """

    __slots__ = ("_data", "destination", "done", "rest", "source")

    def __init__(self) -> None:
        self._data = b""
        self.done = False
        self.rest = b""
        self.source: Endpoint | None = None
        self.destination: Endpoint | None = None

    def feed(self, data: bytes | memoryview) -> None:
        """Take the next piece, of any size, while not `done`; raises `ProxyError` as soon as it cannot be a header."""
        assert not self.done
        self._data += data
        found = _find(self._data)
        if found is not None:
            self.done = True
            self.rest = self._data[found.end :]
            self.source, self.destination = found.source, found.destination
            self._data = b""


def _find(data: bytes) -> _Found | None:
    """The header at the start of `data`, None while it is not whole."""
    if data[: len(_V1_START)] == _V1_START[: len(data)]:
        return _find_v1(data)
    if data[: len(_V2_START)] == _V2_START[: len(data)]:
        return _find_v2(data)
    raise ProxyError("no PROXY header")


def _find_v1(data: bytes) -> _Found | None:
    end = data.find(b"\n", 0, V1_BYTES) + 1
    if not end:
        if len(data) >= V1_BYTES:
            raise ProxyError("PROXY line too long")
        return None
    if data[end - 2 : end] != b"\r\n":
        raise ProxyError("PROXY line without CR LF")
    line = data[: end - 2]
    if _V1_UNKNOWN.fullmatch(line):
        return _Found(end, None, None)
    match = _V1_TCP.fullmatch(line)
    if match is None:
        raise ProxyError("malformed PROXY line")
    is_ipv6 = match[1] == b"6"
    return _Found(end, _endpoint(match[2], match[4], is_ipv6), _endpoint(match[3], match[5], is_ipv6))


def _endpoint(host: bytes, port: bytes, is_ipv6: bool) -> Endpoint:
    number = int(port)
    if number > 65535 or (b":" in host) is not is_ipv6:
        raise ProxyError("bad port or family in the PROXY line")
    try:
        return parse_ip(host.decode()), number
    except ValueError:
        raise ProxyError("bad address in the PROXY line") from None


def _find_v2(data: bytes) -> _Found | None:
    if len(data) < _V2_FIXED_BYTES:
        return None
    command, family = data[12], data[13]
    end = _V2_FIXED_BYTES + int.from_bytes(data[14:16], "big")
    if command not in (_LOCAL, _PROXY):
        raise ProxyError("unknown version or command in the PROXY header")
    if end > _V2_FIXED_BYTES + V2_BYTES:
        raise ProxyError("PROXY header too long")
    if command == _PROXY and (family >> 4 > 3 or family & 0xF > 2):
        raise ProxyError("unknown family in the PROXY header")
    if len(data) < end:
        return None
    if command == _LOCAL or not (family >> 4 and family & 0xF):
        return _Found(end, None, None)  # what else it holds has no form that could be checked
    tail = _V2_FIXED_BYTES + _FAMILY_BYTES[family >> 4]
    if end < tail:
        raise ProxyError("addresses missing in the PROXY header")
    _check_extensions(data[:end], tail)
    if family not in (_TCP4, _TCP6):
        return _Found(end, None, None)
    size = 4 if family == _TCP4 else 16
    source, destination = (
        (
            as_text(ipaddress.ip_address(data[16 + index * size : 16 + (index + 1) * size])),
            int.from_bytes(data[tail - 4 + index * 2 : tail - 2 + index * 2], "big"),
        )
        for index in (0, 1)
    )
    return _Found(end, source, destination)


def _check_extensions(header: bytes, start: int) -> None:
    """Walk the extensions (type, length, value) that begin at `start`; of all that there are, the checksum concerns us.

    It covers the whole header, with zeroes in its own place (section 2.2.3 of the specification).
    """
    has_checksum = False
    while start < len(header):
        value = start + 3
        end = value + int.from_bytes(header[start + 1 : value], "big")
        if max(value, end) > len(header):
            raise ProxyError("an extension reaches beyond the PROXY header")
        if header[start] == _CRC32C:
            if has_checksum or end - value != 4:
                raise ProxyError("malformed checksum in the PROXY header")
            has_checksum = True
            if crc32c(header[:value] + bytes(4) + header[end:]).to_bytes(4, "big") != header[value:end]:
                raise ProxyError("the checksum of the PROXY header is wrong")
        start = end


def crc32c(data: bytes) -> int:
    """The CRC with the polynomial of Castagnoli (RFC 4960 appendix B), for some hundred bytes once a connection."""
    table = _crc32c_table()
    crc = 0xFFFFFFFF
    for byte in data:
        crc = table[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    return crc ^ 0xFFFFFFFF


@lru_cache(maxsize=1)
def _crc32c_table() -> tuple[int, ...]:
    def entry(value: int) -> int:
        for _ in range(8):
            value = (value >> 1) ^ (0x82F63B78 if value & 1 else 0)
        return value

    return tuple(entry(value) for value in range(256))
