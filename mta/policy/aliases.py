"""Aliases: what a recipient comes to, followed through a table to its end.

As Postfix does with `virtual_alias_maps`: the value of a recipient is one address or several, each of which may be in
the table again, and so on; `@other.example` keeps the local part; an extension that was left out to find the recipient
is carried on to each target. Addresses in domains that are not ours are final. So is one that names itself, which keeps
it beside others.

Otherwise than there, who exists by name goes before the alias of everybody in a domain (`@example.org`), and all is
known at RCPT: a target of ours that does not exist is left out and reported, and a recipient who comes to nobody is
refused. An alias that leads back to itself by way of others is a fault, not an end. Faults put mail off, they refuse
nothing for good; each has words for the administrator.
"""

import msgspec

from mta.errors import TableDown
from mta.policy.recipient import NO_USER, RELAY, TABLE_DOWN, KnownRecipients, LocalDomains, Table, is_postmaster
from mta.policy.verdict import ACCEPT, Verdict, refuse
from mta.smtp import replies
from mta.smtp.address import AddressError
from mta.tables.key import everybody_key, folded, names
from mta.tables.targets import place, words

DEPTH = 20
"""Aliases behind each other. Nobody sees through more; each costs a look-up while the client waits."""

TARGETS = 1000
"""Addresses that one recipient comes to, as in Postfix (virtual_alias_expansion_limit)."""

VISITS = 2 * TARGETS
"""Addresses looked at for one recipient, those on the way included."""

PROBLEMS = 10
"""Problems of one recipient that are told: a list whose members have all gone would fill the log each time."""

LOOP = refuse(replies.R451_ALIAS_LOOP)
BAD = refuse(replies.R451_ALIAS)


class Problem(msgspec.Struct, frozen=True):
    """Something for the administrator: what is wrong, and the address that it is about."""

    words: str
    address: bytes


class Expansion(msgspec.Struct, frozen=True):
    """What a recipient comes to: `targets` if the verdict is `ACCEPT`, each once."""

    verdict: Verdict
    targets: tuple[bytes, ...] = ()
    problems: tuple[Problem, ...] = ()


class Aliases:
    """The table of aliases, among those who exist. Holds nothing of any recipient."""

    def __init__(
        self, table: Table, domains: LocalDomains, known: KnownRecipients | None = None, extension: bytes = b""
    ) -> None:
        """Without `known` everybody in the domains exists; `extension` begins one, or is empty."""
        self.domains = domains
        self._table = table
        self._known = known
        self._extension = extension

    def expand(self, local: bytes, domain: bytes) -> Expansion:
        """What a recipient of one of our domains comes to. Waits as tables do, for each address on the way."""
        walk = _Walk(self)
        try:
            walk.visit(local, domain, ())
        except _Stopped as stop:
            problems = (*walk.problems, stop.problem) if stop.problem is not None else tuple(walk.problems)
            return Expansion(stop.verdict, (), problems)
        targets = tuple(walk.targets.values())
        return Expansion(ACCEPT if targets else NO_USER, targets, tuple(walk.problems))

    def value(self, local: bytes, domain: bytes) -> tuple[bytes, bytes] | None:
        """The value for an address of ours, and the extension to carry on; None where it has no alias.

        Raises `TableDown`.
        """
        for name in names(local, domain, self._extension):
            value = self._table.get(name.key)
            if value is not None:
                return value, name.extension
        if self._exists_by_name(local, domain):
            return None
        value = self._table.get(everybody_key(domain))
        return None if value is None else (value, b"")

    def exists(self, local: bytes, domain: bytes) -> bool:
        """Whether an address of ours can be delivered to; raises `TableDown`."""
        if self._known is None or is_postmaster(local):
            return True
        return self._known.has_name(local, domain) or self._known.has_everybody(domain)

    def _exists_by_name(self, local: bytes, domain: bytes) -> bool:
        if self._known is None:
            return False
        try:
            return self._known.has_name(local, domain)
        except TableDown:
            if is_postmaster(local):  # who always exists, and is to be told that the table is down
                return True
            raise


class _Stopped(Exception):
    """Nothing comes of this recipient."""

    def __init__(self, verdict: Verdict, problem: Problem | None = None) -> None:
        super().__init__(verdict.reason)
        self.verdict = verdict
        self.problem = problem


class _Walk:
    """One expansion. Addresses are known by their keys: in lower case."""

    def __init__(self, aliases: Aliases) -> None:
        self._aliases = aliases
        self._seen: set[bytes] = set()  # followed to their end, or known to name themselves
        self._visits = 0
        self.targets: dict[bytes, bytes] = {}
        self.problems: list[Problem] = []

    def visit(self, local: bytes, domain: bytes, path: tuple[bytes, ...]) -> None:
        """Follow one address; `path` are the keys of those that led here. Raises `_Stopped`."""
        address = local + b"@" + domain
        key = folded(address)
        if key in self._seen:
            return
        if key in path:
            circle = path[path.index(key) :]
            if not self._seen.isdisjoint(circle):  # one in it names itself, and is where it ends
                return
            raise _Stopped(LOOP, Problem("an alias leads back to itself", b" -> ".join([*circle, key])))
        self._visits += 1
        if len(path) > DEPTH or self._visits > VISITS:
            raise _Stopped(BAD, Problem("an alias takes too many steps", path[0]))
        verdict = self._aliases.domains.check(domain)
        if verdict is TABLE_DOWN:
            raise _Stopped(TABLE_DOWN)
        if verdict is RELAY:  # in other hands: the table says so, not the client
            self._end(key, address, path)
            return
        try:
            found = self._aliases.value(local, domain)
            if found is None:
                self._end_here(key, local, domain, path)
                return
            value, extension = found
            places = self._places(value, extension, local, key)
            if any(folded(b"%b@%b" % one) == key for one in places):
                self._end_here(key, local, domain, path)
        except TableDown:  # which the table has told of
            raise _Stopped(TABLE_DOWN) from None
        for one in places:
            self.visit(*one, (*path, key))
        self._seen.add(key)

    def _places(self, value: bytes, extension: bytes, local: bytes, key: bytes) -> list[tuple[bytes, bytes]]:
        """Local part and domain of each address in a value."""
        try:
            return [place(word, extension, local) for word in words(value)]
        except AddressError as error:
            raise _Stopped(BAD, Problem(f"an alias has a value that is no address: {error}", key)) from None

    def _end_here(self, key: bytes, local: bytes, domain: bytes, path: tuple[bytes, ...]) -> None:
        """An address of ours is final; raises `TableDown`."""
        if self._aliases.exists(local, domain):
            self._end(key, local + b"@" + domain, path)
            return
        self._seen.add(key)
        if path and len(self.problems) < PROBLEMS:
            self.problems.append(Problem("an alias leads to an address that does not exist", key))

    def _end(self, key: bytes, address: bytes, path: tuple[bytes, ...]) -> None:
        self._seen.add(key)
        self.targets[key] = address
        if len(self.targets) > TARGETS:
            raise _Stopped(BAD, Problem(f"an alias comes to more than {TARGETS} addresses", path[0]))
