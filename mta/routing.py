"""Which transport takes a recipient: the ordered routes of the configuration, the first whose conditions hold wins.

A pattern is one of `*` (everyone), `*@example.org` (everyone there) or `user@example.org`; letters match in either
case. A route may also ask for certain senders, and for listeners that a message came in by. Answers are kept per
domain, so a message for a known domain costs one look-up; where routes have such conditions, there is a set of answers
for each combination of them that holds.

A route may have a table in place of a transport. It is asked when a recipient is accepted, and its answer goes with the
message; so there is a `chain` of rules for whoever can ask, and a `transport` for who only needs to know where the
other routes lead. No I/O; used by SMTP workers, the queue manager and the check of a configuration.
"""

from collections.abc import Sequence
from contextlib import suppress

import msgspec

from mta.config import Config, Route
from mta.smtp.address import parse_domain

DOMAINS_KEPT = 10_000  # answers held; senders can name any number of domains under a `*` route, so there is an end
VIEWS_KEPT = 32  # combinations of conditions, each with answers of its own


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


def parse_sender(text: str) -> Pattern | None:
    """As `parse_pattern`; `None` is the null sender, `<>`."""
    return None if text == "<>" else parse_pattern(text)


class Rule(msgspec.Struct, frozen=True):
    """What a route says of those it matches: a transport, or a table that may name one; and where copies go."""

    transport: str
    table: str = ""
    copy_to: tuple[str, ...] = ()


Chain = tuple[Rule, ...]
"""What the routes say of a recipient, in order: rules with tables, then one with a transport unless there is none."""


class _Domain(msgspec.Struct, frozen=True):
    """The routes as one domain sees them: what is said of single users, and what is said of everybody else."""

    users: dict[bytes, Chain]
    others: Chain


class _Condition:
    """What a route asks of a message beside its recipient."""

    def __init__(self, route: Route) -> None:
        """Raises `ValueError` when a pattern cannot be read."""
        self._listeners = frozenset(route.listeners)
        self._any_sender = not route.senders
        self._senders: set[bytes] = set()
        for text in route.senders:
            pattern = parse_sender(text)
            if pattern is None:
                self._senders.add(b"")
            elif pattern.domain:
                self._senders.add(b"%b@%b" % (pattern.local, pattern.domain))
            else:
                self._any_sender = True

    def __bool__(self) -> bool:
        return bool(self._listeners) or not self._any_sender

    def holds(self, sender: bytes, domain: bytes, listener: str) -> bool:
        """For a sender in lower case whose domain is in A-labels."""
        if self._listeners and listener not in self._listeners:
            return False
        return self._any_sender or sender in self._senders or (domain != b"" and b"@" + domain in self._senders)


class _View:
    """Those routes that hold for some messages, made quick to ask for a recipient."""

    def __init__(self, rules: list[tuple[Pattern, Rule]], home: bytes) -> None:
        self._rules = rules
        self._home = home
        self._domains: dict[bytes, _Domain] = {}

    def chain(self, recipient: bytes) -> Chain:
        """What the routes say of a recipient."""
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
        users: dict[bytes, Chain] = {}
        others: Chain = ()
        for pattern, rule in self._rules:
            if pattern.domain not in (b"", wanted):
                continue
            if pattern.local:
                users[pattern.local] = _longer(users.get(pattern.local, others), rule)
                continue
            users = {user: _longer(chain, rule) for user, chain in users.items()}
            others = _longer(others, rule)
            if not rule.table:
                break
        if len(self._domains) >= DOMAINS_KEPT:
            self._domains.clear()
        answer = self._domains[name] = _Domain(users, others)
        return answer


def _longer(chain: Chain, rule: Rule) -> Chain:
    """A chain with one more rule; what comes behind a transport is never asked, and no rule twice."""
    return chain if chain and (not chain[-1].table or chain[-1] is rule) else (*chain, rule)


class Router:
    """The routes, made quick to ask.

    `home` is the domain of a recipient that names none: `postmaster` alone is a valid recipient
    (RFC 5321 section 4.5.1). Raises `ValueError` when a pattern cannot be read.
    """

    def __init__(self, routes: Sequence[Route], *, home: str = "") -> None:
        self._routes = [
            (_Condition(route), [(parse_pattern(text), rule) for text in route.recipients])
            for route, rule in [(route, _rule(route)) for route in routes]
        ]
        self._home = home.encode().lower()
        self._conditions = [condition for condition, _ in self._routes if condition]
        self._views: dict[tuple[bool, ...], _View] = {}
        self._plain = self._view(())
        self._last_asked: tuple[bytes, str] | None = None  # all recipients of a message ask for the same
        self._last_view = self._plain

    def transport(self, recipient: bytes, sender: bytes = b"", listener: str = "") -> str | None:
        """The name of the transport for a recipient; `None` when no route matches. Routes with tables are passed over.

        Addresses are without angle brackets; `sender` and `listener` are empty for what we wrote ourselves.
        """
        view = self._plain if not self._conditions else self._chosen(sender, listener)
        chain = view.chain(recipient)
        return chain[-1].transport or None if chain else None

    def chain(self, recipient: bytes, sender: bytes = b"", listener: str = "") -> Chain:
        """All that the routes say of a recipient; arguments as for `transport`."""
        view = self._plain if not self._conditions else self._chosen(sender, listener)
        return view.chain(recipient)

    def _chosen(self, sender: bytes, listener: str) -> _View:
        """As `_choose`, which is asked once for all recipients of a message."""
        if self._last_asked != (sender, listener):
            self._last_view = self._choose(sender, listener)
            self._last_asked = (sender, listener)
        return self._last_view

    def _choose(self, sender: bytes, listener: str) -> _View:
        """The routes that hold for messages like this one."""
        sender = sender.lower()
        local, at, domain = sender.rpartition(b"@")
        if not at:
            domain = b""
        if not domain.isascii():
            with suppress(ValueError):  # else no pattern can be meant
                domain = parse_domain(domain)
                sender = b"%b@%b" % (local, domain)
        held = tuple([condition.holds(sender, domain, listener) for condition in self._conditions])
        view = self._views.get(held)
        return view or self._view(held)

    def _view(self, held: tuple[bool, ...]) -> _View:
        left = iter(held)
        rules: list[tuple[Pattern, Rule]] = []
        for condition, own in self._routes:
            if not condition or next(left, False):
                rules += own
        if len(self._views) >= VIEWS_KEPT:
            self._views.clear()
        view = self._views[held] = _View(rules, self._home)
        return view


def _rule(route: Route) -> Rule:
    return Rule(route.transport, route.table, tuple(route.copy_to))


def router(config: Config) -> Router:
    """The router of a configuration; a recipient without a domain belongs to the first local one."""
    return Router(config.route, home=next(iter(config.domains.local), config.hostname))
