"""Which hosts take the mail of a domain (RFC 5321 section 5.1): answers of the DNS in, an order or a failure out.

Pure: whoever asks is `mta.deliver.hosts`. First `hosts` makes the list of hosts from the answer for the domain's MX;
when their addresses are known, `addresses` makes the order in which to try them.

Hosts go by preference, those with the same in any order. A domain without MX is its own host, at preference 0
(implicit MX); one whose only MX is `.` takes no mail (RFC 7505 section 3). Where we are among the hosts, by name or by
address, those with our preference and behind are left out, since mail would come back; where none is before us, the
domain is not set up for mail at all. Of a host with both kinds of addresses they are tried in turns, IPv6 first.
"""

import ipaddress
import random
from collections.abc import Callable, Sequence
from itertools import zip_longest
from typing import NamedTuple

from mta.dns.answer import Answer, Status
from mta.dns.message import Mx
from mta.ipc import DEFERRED, FAILED

HOSTS = 20  # of a domain that are looked at; the largest have some 5
ADDRESSES = 8  # that are tried in an attempt, over all hosts (Postfix: smtp_mx_address_limit, 5)
HOST_ADDRESSES = 4  # of one host, so that others have their turn


class Failure(NamedTuple):
    """There is nowhere to go: the first digit of the status, the enhanced code, a line of printable ASCII."""

    status: int
    code: str
    text: str


class Host(NamedTuple):
    """A host that takes mail; the name is in lower case, without a dot at the end."""

    preference: int
    name: bytes


class Located(NamedTuple):
    """A host and what the DNS says of its addresses. `trouble` is why nobody knows them, or empty."""

    host: Host
    ipv4: Sequence[str]
    ipv6: Sequence[str]
    trouble: str = ""


def literal(domain: bytes) -> str | None:
    """The address that an address literal (`[192.0.2.1]`, `[IPv6:2001:db8::1]`) stands for; None if it is none.

    Raises `ValueError` for brackets around something else (RFC 5321 section 4.1.3).
    """
    if not domain.startswith(b"["):
        return None
    text = domain[1:-1].decode("ascii", "replace")
    if text[:5].lower() == "ipv6:":
        return str(ipaddress.IPv6Address(text[5:]))
    return str(ipaddress.IPv4Address(text))


def hosts(domain: bytes, answer: Answer[Mx], own_name: bytes, rng: random.Random) -> list[Host] | Failure:
    """The hosts of a domain, best first. `answer` is for its MX, `own_name` our name; all names in lower case."""
    shown = domain.decode("ascii", "backslashreplace")
    if answer.status is Status.FAILED:
        return Failure(DEFERRED, "4.4.3", f"cannot look up the MX of {shown}: {answer.reason}")
    if answer.status is Status.NXDOMAIN:
        return Failure(FAILED, "5.1.2", f"there is no domain {shown}")
    if answer.status is Status.NODATA:
        found = [Host(0, domain)]
    else:
        found = [Host(mx.preference, mx.exchange.lower()) for mx in answer.records if mx.exchange != b"."]
        if not found:  # RFC 7505 section 4.2
            return Failure(FAILED, "5.1.10", f"{shown} takes no mail (null MX)")
    rng.shuffle(found)
    found.sort(key=_preference)  # keeps the order of equals
    kept = before(found, {host.preference for host in found if host.name == own_name})
    return kept[:HOSTS] or _loop(shown)


def before(found: list[Host], own: set[int]) -> list[Host]:
    """The hosts that are better than the best preference of ours; all when there is none."""
    limit = min(own, default=None)
    return found if limit is None else [host for host in found if host.preference < limit]


def addresses(
    domain: bytes, located: Sequence[Located], is_own: Callable[[str], bool]
) -> list[tuple[Host, str]] | Failure:
    """What to try, in that order: hosts as they come, each with an address. `is_own` tells which addresses are ours."""
    shown = domain.decode("ascii", "backslashreplace")
    own = {one.host.preference for one in located if any(map(is_own, (*one.ipv4, *one.ipv6)))}
    kept = set(before([one.host for one in located], own))
    if not kept:
        return _loop(shown)
    candidates: list[tuple[Host, str]] = []
    for one in located:
        if one.host in kept:
            turns = zip_longest(one.ipv6, one.ipv4)
            mixed = [address for pair in turns for address in pair if address is not None]
            candidates += [(one.host, address) for address in mixed[:HOST_ADDRESSES]]
    if candidates:
        return candidates
    for one in located:
        if one.trouble:
            name = one.host.name.decode("ascii", "backslashreplace")
            return Failure(DEFERRED, "4.4.3", f"cannot look up the address of {name}: {one.trouble}")
    if len(located) == 1 and located[0].host.name == domain:
        return Failure(FAILED, "5.1.2", f"{shown} has neither an MX nor an address")
    return Failure(FAILED, "5.4.4", f"no MX of {shown} has an address")


def dead_last(candidates: list[tuple[Host, str]], is_dead: Callable[[str], bool]) -> list[tuple[Host, str]]:
    """The same, those behind that did not answer lately; cut to what is tried in an attempt."""
    return sorted(candidates, key=lambda candidate: is_dead(candidate[1]))[:ADDRESSES]


def _preference(host: Host) -> int:
    return host.preference


def _loop(shown: str) -> Failure:
    return Failure(FAILED, "5.4.6", f"mail for {shown} loops back to us: we are its best MX")
