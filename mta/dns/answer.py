"""What a response means for the name and type that were asked for: aliases followed, strangers' records left out."""

from enum import Enum
from typing import Generic, NamedTuple, TypeVar

from mta.dns import name
from mta.dns.message import (
    AUTHENTIC,
    AUTHORITATIVE,
    RECURSION_AVAILABLE,
    BadMessage,
    Rcode,
    Record,
    Response,
    Type,
)

ALIASES = 16
"""Most aliases (CNAME) between a name and its records; resolvers have the same bound or a lower one."""

DataT_co = TypeVar("DataT_co", covariant=True)


class Status(Enum):
    """What came of a look-up."""

    OK = "ok"
    NXDOMAIN = "nxdomain"  # there is no such name
    NODATA = "nodata"  # the name, or that at the end of its aliases, has no such records
    FAILED = "failed"  # nobody knows; trying again later may help


class Answer(NamedTuple, Generic[DataT_co]):
    """The result of a look-up.

    `records` are in the order of the response, without duplicates: `str` for A and AAAA, `message.Mx`, `message.Tlsa`,
    names as `bytes` for CNAME and PTR, `bytes` for TXT (its strings joined). There are some if and only if the status
    is OK. `authentic`: a trusted resolver says that the answer, be it that there is nothing, is signed. `ttl_s`: how
    much longer it may be believed, in seconds. `canonical`: the name at the end of the aliases, as text; the one asked
    for when there are none; empty where that cannot be a name. `reason`: why it failed, for people; printable.
    """

    status: Status
    records: tuple[DataT_co, ...]
    authentic: bool
    ttl_s: int
    canonical: bytes
    reason: str = ""


class Link(NamedTuple):
    """What one response says. `is_whole` is False where it ends with an alias, whose target has to be asked for.

    `canonical` is the name at the end of the aliases, on the wire; `aliases` says how many there were.
    """

    status: Status
    records: tuple[object, ...]
    authentic: bool
    ttl_s: int
    canonical: bytes
    aliases: int
    is_whole: bool


def conclude(response: Response, asked: bytes, rtype: Type) -> Link:
    """Follow the aliases from `asked` (on the wire, lower case) to its records, or to where there are none.

    Raises `BadMessage` where the response contradicts itself, or where the server cannot know. The response is not
    truncated, and its code is NOERROR or NXDOMAIN.
    """
    found: dict[bytes, list[Record]] = {}
    alias: dict[bytes, Record] = {}
    for record in response.records:
        if record.rtype == rtype:
            found.setdefault(record.name, []).append(record)
        elif record.rtype == Type.CNAME and alias.setdefault(record.name, record).data != record.data:
            raise BadMessage("two aliases for one name")  # it has one (RFC 2181 section 10.1)
    ttl_s = 0x7FFF_FFFF
    at, aliases = asked, 0
    while at not in found and at in alias:
        link = alias[at]
        assert isinstance(link.data, bytes)
        ttl_s = min(ttl_s, link.ttl_s)
        at = link.data
        aliases += 1
        if aliases > ALIASES:
            raise BadMessage("a loop of aliases, or too many")
    authentic = bool(response.flags & AUTHENTIC)
    if at in found:
        if response.rcode == Rcode.NXDOMAIN:
            raise BadMessage("records of a name that is said not to exist")
        ttl_s = min(ttl_s, *(record.ttl_s for record in found[at]))
        data = tuple(dict.fromkeys(_shown(record) for record in found[at]))
        return Link(Status.OK, data, authentic, ttl_s, at, aliases, True)
    if response.zone and name.is_within(at, response.zone):
        ttl_s = min(ttl_s, response.negative_ttl_s)
    elif response.rcode == Rcode.NOERROR and aliases:
        return Link(Status.NODATA, (), authentic, ttl_s, at, aliases, False)
    elif not response.flags & (RECURSION_AVAILABLE | AUTHORITATIVE):
        raise BadMessage("the server knows nothing of the name, and asks nobody")
    else:
        ttl_s = 0  # a proof would have an SOA; without it, it is not to be believed for long (RFC 2308 section 5)
    # With aliases, the code is about the name at their end (RFC 6604 section 3).
    status = Status.NXDOMAIN if response.rcode == Rcode.NXDOMAIN else Status.NODATA
    return Link(status, (), authentic, ttl_s, at, aliases, True)


def _shown(record: Record) -> object:
    """The data of a record as others see it: names as text."""
    data = record.data
    if record.rtype in (Type.CNAME, Type.PTR):
        assert isinstance(data, bytes)
        return name.to_text(data)
    return data
