"""Looks up, for many domains at once, where they want their reports."""

from collections.abc import Iterable, Iterator
from time import monotonic
from typing import NamedTuple

from gevent.pool import Pool

from mta.dns.answer import Status
from mta.dns.message import Type
from mta.dns.settings import Dns
from mta.dns.stub import Resolver
from mta.tlsrpt import record

AT_ONCE = 100  # look-ups


class Found(NamedTuple):
    """Where a domain wants its reports; `trouble` says why nobody knows."""

    domain: str
    uris: tuple[str, ...]
    trouble: str = ""


def places(settings: Dns, domains: Iterable[str]) -> Iterator[Found]:
    """One for each domain, in their order. Waits for the DNS; raises `ValueError` for settings that are wrong."""
    resolver = Resolver(settings, monotonic)

    def look(domain: str) -> Found:
        answer = resolver.lookup(b"_smtp._tls." + domain.encode(), Type.TXT)
        if answer.status is Status.FAILED:
            return Found(domain, (), answer.reason)
        return Found(domain, record.places(answer.records))

    yield from Pool(AT_ONCE).imap(look, domains)
