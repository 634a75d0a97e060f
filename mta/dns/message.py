"""Messages of the DNS: queries made, responses taken apart (RFC 1035 section 4), without I/O.

A response is looked at as far as a stub resolver needs it: the header, the question, the records of the answer whose
types are known here, the SOA of the authority, and EDNS. What is wrong in any of these makes the whole response bad.
"""

import ipaddress
import struct
from collections.abc import Callable
from enum import IntEnum
from typing import NamedTuple

from mta.dns import name
from mta.dns.name import BadName

UDP_BYTES = 1232
"""Largest response that we take over UDP with EDNS: what fits any path without fragments, which can be forged."""

RECORDS = 512
"""Most records in a message. A set of records over a quarter of that is unheard of in mail."""

IN = 1
SOA = 6
OPT = 41
EXTENDED_ERROR = 15  # an option of EDNS

# Bits of the header's second word (RFC 1035 section 4.1.1, RFC 6840 section 5.7).
RESPONSE = 0x8000
OPCODE = 0x7800
AUTHORITATIVE = 0x0400
TRUNCATED = 0x0200
RECURSION_DESIRED = 0x0100
RECURSION_AVAILABLE = 0x0080
AUTHENTIC = 0x0020

_HEADER = struct.Struct(">6H")
_QUESTION = struct.Struct(">2H")
_RECORD = struct.Struct(">HHIH")  # what follows a record's name: type, class, TTL, length of its data
_OPTION = struct.Struct(">2H")
_SOA = struct.Struct(">5I")

_ASKED = struct.pack(">H", 0xC000 | _HEADER.size)  # a pointer to the name in the question, as most records have it
_EDNS = bytes(1) + _RECORD.pack(OPT, UDP_BYTES, 0, 0)


class Type(IntEnum):
    """What may be looked up."""

    A = 1
    CNAME = 5
    PTR = 12
    MX = 15
    TXT = 16
    AAAA = 28
    TLSA = 52


class Rcode(IntEnum):
    """What a server says of a query; there are others."""

    NOERROR = 0
    FORMERR = 1
    SERVFAIL = 2
    NXDOMAIN = 3
    NOTIMP = 4
    REFUSED = 5
    BADVERS = 16


EXTENDED = {
    3: "Stale Answer",
    6: "DNSSEC Bogus",
    7: "Signature Expired",
    8: "Signature Not Yet Valid",
    9: "DNSKEY Missing",
    10: "RRSIGs Missing",
    12: "NSEC Missing",
    14: "Not Ready",
    15: "Blocked",
    16: "Censored",
    17: "Filtered",
    18: "Prohibited",
    20: "Not Authoritative",
    22: "No Reachable Authority",
    23: "Network Error",
    24: "Invalid Data",
}
"""What servers say behind a code, of use to who reads why a look-up failed (RFC 8914 section 4)."""


class BadMessage(ValueError):
    """No response to this query, or none that can be read; the text says why."""


class Mx(NamedTuple):
    """A host that takes mail for a domain. The exchange `.` says that the domain takes none."""

    preference: int
    exchange: bytes


class Tlsa(NamedTuple):
    """What a server's certificate has to match (RFC 6698 section 2.1)."""

    usage: int
    selector: int
    matching: int
    data: bytes


Data = str | bytes | Mx | Tlsa
"""What a record says: `str` is the address of A and AAAA; `bytes` are the name of CNAME and PTR, on the wire within
this package, or the strings of TXT, joined as SPF and DKIM read them."""


class Query(NamedTuple):
    """A question: its identifier, its name on the wire in lower case, its type, and whether it is asked with EDNS."""

    number: int
    name: bytes
    rtype: int
    has_edns: bool

    def wire(self, *, asks_authentic: bool) -> bytes:
        """The query as it is sent. `asks_authentic`: the server may tell whether its answer is signed."""
        flags = RECURSION_DESIRED | (AUTHENTIC if asks_authentic else 0)
        head = _HEADER.pack(self.number, flags, 1, 0, 0, 1 if self.has_edns else 0)
        return head + self.name + _QUESTION.pack(self.rtype, IN) + (_EDNS if self.has_edns else b"")


class Record(NamedTuple):
    """A record of the answer; the name is on the wire in lower case."""

    name: bytes
    rtype: int
    ttl_s: int
    data: Data


class Response(NamedTuple):
    """What a response says. Of a truncated one only the header is read."""

    rcode: int
    flags: int
    has_edns: bool = False
    records: tuple[Record, ...] = ()
    zone: bytes = b""  # whose SOA is in the authority, on the wire; empty without
    negative_ttl_s: int = 0  # how long that SOA lets one believe that there is nothing
    extended: int | None = None  # the number of an extended error; its text is the server's own, and not looked at

    @property
    def is_truncated(self) -> bool:
        """Whether there is more, to be asked for over TCP."""
        return bool(self.flags & TRUNCATED)


def parse(data: bytes, query: Query) -> Response:
    """Take a response apart; raises `BadMessage` where it is none to this query, or cannot be read.

    Takes time in proportion to the size, which is bounded by the largest message (65535 bytes) and by `RECORDS`.
    """
    try:
        return _parse(data, query)
    except BadName as error:
        raise BadMessage(f"a name is {error}") from None


def _parse(data: bytes, query: Query) -> Response:
    if len(data) < _HEADER.size:
        raise BadMessage("shorter than a header")
    number, flags, questions, answers, authorities, additionals = _HEADER.unpack_from(data)
    rcode = flags & 0xF
    if number != query.number or not flags & RESPONSE or flags & OPCODE:
        raise BadMessage("another identifier, or no response")
    if not questions and not answers and rcode in (Rcode.FORMERR, Rcode.NOTIMP):
        return Response(rcode, flags & ~TRUNCATED)  # a server that did not understand so much as the question
    end = _HEADER.size + len(query.name)
    asked = data[_HEADER.size : end].lower() + data[end : end + _QUESTION.size]
    if questions != 1 or asked != query.name + _QUESTION.pack(query.rtype, IN):
        raise BadMessage("another question")
    if flags & TRUNCATED:
        return Response(rcode, flags)
    if answers + authorities + additionals > RECORDS:
        raise BadMessage("too many records")
    records, offset = _read_answers(data, end + _QUESTION.size, answers, query.name)
    zone, negative_ttl_s, offset = _read_authorities(data, offset, authorities)
    edns, extended, offset = _read_additionals(data, offset, additionals)
    if offset != len(data):
        raise BadMessage("more than its header says")
    if edns is not None:
        rcode |= edns >> 24 << 4  # the upper bits of the code (RFC 6891 section 6.1.3)
    return Response(rcode, flags, edns is not None, tuple(records), zone, negative_ttl_s, extended)


def _read_answers(data: bytes, offset: int, count: int, asked: bytes) -> tuple[list[Record], int]:
    """The records of types that we know, and the offset behind all. `asked`: the name in the question."""
    records = []
    for _ in range(count):
        start = offset
        rtype, rclass, ttl_s, offset, end = _fixed(data, name.skip(data, offset))
        read = _READERS.get(rtype)
        if read is not None and rclass == IN:
            owner = asked if data.startswith(_ASKED, start) else name.read(data, start)[0]
            records.append(Record(owner, rtype, ttl_s, read(data, offset, end)))
        offset = end
    return records, offset


def _read_authorities(data: bytes, offset: int, count: int) -> tuple[bytes, int, int]:
    """The zone of the SOA, how long it lets one believe in nothing (RFC 2308 section 5), and the offset behind all."""
    zone, negative_ttl_s = b"", 0
    for _ in range(count):
        start = offset
        rtype, rclass, ttl_s, offset, end = _fixed(data, name.skip(data, offset))
        if rtype == SOA and rclass == IN and not zone:
            numbers = name.skip(data, name.skip(data, offset))  # behind the server and the person
            if numbers + _SOA.size != end:
                raise BadMessage("SOA of a wrong size")
            zone, _ = name.read(data, start)
            negative_ttl_s = min(ttl_s, _sane_ttl(_SOA.unpack_from(data, numbers)[4]))
        offset = end
    return zone, negative_ttl_s, offset


def _read_additionals(data: bytes, offset: int, count: int) -> tuple[int | None, int | None, int]:
    """The TTL of the OPT record (no time but flags; None without), the extended error, and the offset behind all."""
    found = extended = None
    for _ in range(count):
        is_root = data[offset : offset + 1] == name.ROOT
        offset = name.skip(data, offset)
        rtype, _, _, start, end = _fixed(data, offset)
        if rtype == OPT:
            if found is not None or not is_root:
                raise BadMessage("EDNS twice, or with a name")
            found = int.from_bytes(data[offset + 4 : offset + 8], "big")
            extended = _read_options(data, start, end)
        offset = end
    return found, extended, offset


def _read_options(data: bytes, start: int, end: int) -> int | None:
    """The first extended error among the options of EDNS (RFC 8914 section 2)."""
    found = None
    while start < end:
        behind = start + _OPTION.size
        if behind > end:
            raise BadMessage("an option of EDNS is cut off")
        code, size = _OPTION.unpack_from(data, start)
        start = behind + size
        if start > end:
            raise BadMessage("an option of EDNS is cut off")
        if code == EXTENDED_ERROR and size >= 2 and found is None:
            found = int.from_bytes(data[behind : behind + 2], "big")
    return found


def _fixed(data: bytes, offset: int) -> tuple[int, int, int, int, int]:
    """Behind a record's name: its type, class, TTL in seconds, and where its data begins and ends."""
    start = offset + _RECORD.size
    if start > len(data):
        raise BadMessage("a record is cut off")
    rtype, rclass, ttl_s, size = _RECORD.unpack_from(data, offset)
    if start + size > len(data):
        raise BadMessage("a record is cut off")
    return rtype, rclass, _sane_ttl(ttl_s), start, start + size


def _sane_ttl(ttl_s: int) -> int:
    """A TTL with its highest bit set is 0 (RFC 2181 section 8)."""
    return ttl_s if ttl_s < 0x8000_0000 else 0


# The data of records, by type: from its start to its end in the message.


def _read_a(data: bytes, start: int, end: int) -> str:
    if end - start != 4:
        raise BadMessage("A of a wrong size")
    return f"{data[start]}.{data[start + 1]}.{data[start + 2]}.{data[start + 3]}"


def _read_aaaa(data: bytes, start: int, end: int) -> str:
    if end - start != 16:
        raise BadMessage("AAAA of a wrong size")
    return str(ipaddress.IPv6Address(data[start:end]))


def _read_name(data: bytes, start: int, end: int) -> bytes:
    found, behind = name.read(data, start)
    if behind != end:
        raise BadMessage("a name of a wrong size")
    return found


def _read_mx(data: bytes, start: int, end: int) -> Mx:
    if end - start < 3:
        raise BadMessage("MX of a wrong size")
    return Mx(data[start] << 8 | data[start + 1], name.to_text(_read_name(data, start + 2, end)))


def _read_txt(data: bytes, start: int, end: int) -> bytes:
    pieces = []
    while start < end:
        behind = start + 1 + data[start]
        pieces.append(data[start + 1 : behind])
        start = behind
    if start != end or not pieces:
        raise BadMessage("TXT of a wrong size")
    return b"".join(pieces)


def _read_tlsa(data: bytes, start: int, end: int) -> Tlsa:
    if end - start < 3:
        raise BadMessage("TLSA of a wrong size")
    return Tlsa(data[start], data[start + 1], data[start + 2], data[start + 3 : end])


_READERS: dict[int, Callable[[bytes, int, int], Data]] = {
    Type.A: _read_a,
    Type.CNAME: _read_name,
    Type.PTR: _read_name,
    Type.MX: _read_mx,
    Type.TXT: _read_txt,
    Type.AAAA: _read_aaaa,
    Type.TLSA: _read_tlsa,
}
