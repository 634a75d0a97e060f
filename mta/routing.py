"""Which transport takes a recipient: the ordered routes of the configuration, the first match wins.

A pattern is one of `*` (everyone), `*@example.org` (everyone there) or `user@example.org`; letters match in either
case. Answers are kept per domain, so a message for a known domain costs one look-up. No I/O; used by the queue manager
and by the check of a configuration.
"""

from collections.abc import Sequence

import msgspec

from mta.config import Config, Route
from mta.smtp.address import parse_domain

DOMAINS_KEPT = 10_000  # answers held; senders can name any number of domains under a `*` route, so there is an end


class Pattern(msgspec.Struct, frozen=True):
    """One recipient pattern, in lower case, its domain in A-labels; an empty part matches everything."""

    local: bytes
    domain: bytes


def parse_pattern(text: str) -> Pattern:
    """Read one pattern; raises `ValueError` saying what is allowed."""
    data = text.encode().lower()
    if data == b"*":
        return Pattern(b"", b"")
    local, at, domain = data.rpartition(b"@")
    if not at or not local or not domain or b"*" in domain or (b"*" in local and local != b"*"):
        raise ValueError(f'{text!r} is no recipient pattern: use "*", "*@example.org" or "user@example.org"')
    return Pattern(b"" if local == b"*" else local, parse_domain(domain))


class _Domain(msgspec.Struct, frozen=True):
    """The routes as one domain sees them: what is said of single users before what is said of everybody."""

    users: dict[bytes, str]
    others: str | None


class Router:
    """The routes, made quick to ask.

    `home` is the domain of a recipient that names none: `postmaster` alone is a valid recipient
    (RFC 5321 section 4.5.1). Raises `ValueError` when a pattern cannot be read.
    """

    def __init__(self, routes: Sequence[Route], *, home: str = "") -> None:
        self._rules = [(parse_pattern(text), route.transport) for route in routes for text in route.recipients]
        self._home = home.encode().lower()
        self._domains: dict[bytes, _Domain] = {}

    def transport(self, recipient: bytes) -> str | None:
        """The name of the transport for a recipient (no angle brackets); `None` when no route matches."""
        local, at, name = recipient.rpartition(b"@")
        if not at:
            local, name = name, b""
        domain = self._domains.get(name) or self._look_up(name)
        if domain.users:
            return domain.users.get(local.lower(), domain.others)
        return domain.others

    def _look_up(self, name: bytes) -> _Domain:
        """Work out what the routes say about a domain (in any case of letters), and keep it."""
        wanted = name.lower() or self._home
        users: dict[bytes, str] = {}
        others: str | None = None
        for pattern, transport in self._rules:
            if pattern.domain not in (b"", wanted):
                continue
            if not pattern.local:
                others = transport
                break
            users.setdefault(pattern.local, transport)
        if len(self._domains) >= DOMAINS_KEPT:
            self._domains.clear()
        answer = self._domains[name] = _Domain(users, others)
        return answer


def router(config: Config) -> Router:
    """The router of a configuration; a recipient without a domain belongs to the first local one."""
    return Router(config.route, home=next(iter(config.domains.local), config.hostname))
