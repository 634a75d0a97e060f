"""Domains of senders in the DNS: does one take mail? The worker has one resolver, made when it is needed."""

from collections.abc import Callable

from mta.dns.answer import Status
from mta.dns.message import Type
from mta.dns.stub import Resolver
from mta.policy.sender import Standing

LOOKUP_S = 5.0
"""How long a client waits for a look-up, at most, of which a domain without MX takes up to three. A resolver at work
needs a fraction of a second; one that is dead must not hold every message up for long."""

LOOKUPS = 200
"""Domains that are looked up at once in a worker. Beyond it nobody knows: a flood of made-up domains must not take the
resolver's time from everybody."""


class SenderDomains:
    """What the DNS says of domains. One for a worker."""

    def __init__(self, make_resolver: Callable[[], Resolver]) -> None:
        """`make_resolver` is called with the first domain."""
        self._make_resolver = make_resolver
        self._resolver: Resolver | None = None
        self._at_work = 0

    def standing(self, domain: bytes, *, asks_addresses: bool) -> Standing:
        """What the DNS says of a domain in A-labels; switches greenlets where the cache does not know.

        Without `asks_addresses` the MX alone is looked up, and a domain without one is `UNCLEAR`.
        """
        if self._at_work >= LOOKUPS:
            return Standing.UNCLEAR
        if self._resolver is None:
            self._resolver = self._make_resolver()
        self._at_work += 1
        try:
            return _standing(self._resolver, domain, asks_addresses=asks_addresses)
        finally:
            self._at_work -= 1


def _standing(resolver: Resolver, domain: bytes, *, asks_addresses: bool) -> Standing:
    found = resolver.lookup(domain, Type.MX, timeout_s=LOOKUP_S)
    if found.status is Status.OK:
        # A null MX stands alone; with others beside it, it means nothing (RFC 7505 section 3).
        is_null = len(found.records) == 1 and found.records[0].exchange == b"."
        return Standing.NULL_MX if is_null else Standing.TAKES_MAIL
    if found.status is Status.NXDOMAIN:
        return Standing.UNKNOWN
    if found.status is Status.FAILED or not asks_addresses:
        return Standing.UNCLEAR
    # Without an MX, an address is as good (RFC 5321 section 5.1).
    statuses = set()
    for rtype in (Type.A, Type.AAAA):
        status = resolver.lookup(domain, rtype, timeout_s=LOOKUP_S).status
        if status is Status.OK:
            return Standing.TAKES_MAIL
        statuses.add(status)
    return Standing.UNCLEAR if Status.FAILED in statuses else Standing.UNKNOWN
