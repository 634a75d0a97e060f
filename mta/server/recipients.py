"""What becomes of a recipient at RCPT: refused, or taken for one target or several.

Aliases say which addresses it comes to, routes which transport takes each, and which get a copy. All of it is decided
here, before the client has its answer: what is taken has somewhere to go. Where nothing of the kind is configured, a
recipient is its own only target, and nobody asks the routes.
"""

from collections.abc import Collection, Mapping

from mta.errors import TableDown
from mta.policy.aliases import Aliases
from mta.policy.chain import Chain
from mta.policy.recipient import Table
from mta.routing import Router, Rule
from mta.server.complaints import Complaints
from mta.server.sinks import Sinks
from mta.smtp import replies
from mta.smtp.events import Recipient
from mta.smtp.replies import Reply
from mta.smtp.transaction import Target
from mta.tables.key import recipient_keys


class Routing:
    """The routes as a worker asks them, tables and copies included. One for a worker."""

    def __init__(
        self,
        router: Router,
        transports: Collection[str],
        tables: Mapping[str, Table],
        complaints: Complaints,
        extension: bytes = b"",
    ) -> None:
        """`tables` are those of the routes, by name; `extension` begins an extension in their keys, or is empty."""
        self._router = router
        self._transports = frozenset(transports)
        self._tables = tables
        self._complaints = complaints
        self._extension = extension

    def targets(self, address: bytes, sender: bytes, listener: str) -> Reply | list[Target]:
        """Where mail for an address goes, copies last; or the reply that puts it off. Waits where tables are asked."""
        for rule in self._router.chain(address, sender, listener):
            via = ""
            if rule.table:
                try:
                    found = self._ask(rule.table, address)
                except TableDown:  # which the table has told of
                    return replies.R451_TABLE_DOWN
                if found is None:
                    continue
                via = found.decode("ascii", "replace")
                if via not in self._transports:
                    words = f"[table.{rule.table}] names a transport that there is not"
                    self._complaints.tell(words, address, recipient=address)
                    return replies.R451_NO_ROUTE
            return _with_copies(address, rule, via)
        self._complaints.tell("there is no route for a recipient", address, recipient=address)
        return replies.R451_NO_ROUTE

    def _ask(self, name: str, address: bytes) -> bytes | None:
        local, _, domain = address.rpartition(b"@")
        for key in recipient_keys(local, domain, self._extension):
            value = self._tables[name].get(key)
            if value is not None:
                return value
        return None


def _with_copies(address: bytes, rule: Rule, via: str) -> list[Target]:
    transport = via or rule.transport
    targets = [Target(address, transport, via)]
    for name in rule.copy_to:
        if name != transport:
            targets.append(Target(address, name, name, is_copy=True))
    return targets


class Recipients:
    """The recipients of one listener. Holds nothing of any session."""

    __slots__ = ("_aliases", "_chain", "_complaints", "_listener", "_routing", "_sinks", "expands")

    def __init__(
        self,
        chain: Chain,
        listener: str,
        *,
        aliases: Aliases | None = None,
        routing: Routing | None = None,
        complaints: Complaints | None = None,
        sinks: Sinks | None = None,
    ) -> None:
        """`listener` is its address, as routes name it. Without `routing` nobody needs to know transports at RCPT.
        `sinks` says which of them have too much mail waiting.

        `expands` is whether a recipient may come to anything but itself. Who has `aliases` has the others, too.
        """
        self._chain = chain
        self._listener = listener
        self._aliases = aliases
        self._routing = routing
        self._complaints = complaints
        self._sinks = sinks
        self.expands = aliases is not None or routing is not None

    def expand(self, event: Recipient, sender: bytes) -> Reply | tuple[Target, ...]:
        """The targets of a recipient, at least one; or the reply that refuses it. Waits where tables are asked."""
        if self._aliases is not None:
            addresses = self._follow(self._aliases, event)
        else:
            addresses = self._chain.recipient(event.local, event.domain).reply or (self.address(event),)
        if isinstance(addresses, Reply):
            return addresses
        if self._routing is None:
            return (Target(addresses[0]),)
        targets: list[Target] = []
        for address in addresses:
            found = self._routing.targets(address, sender, self._listener)
            if isinstance(found, Reply):
                return found
            targets += found
        if self._sinks is not None and any(self._sinks.is_full(target.transport) for target in targets):
            return replies.R451_SINK_FULL
        return tuple(targets)

    def address(self, event: Recipient) -> bytes:
        """The address of a recipient as it is kept in the envelope."""
        return event.local + b"@" + event.domain if event.domain else self._chain.postmaster

    def _follow(self, aliases: Aliases, event: Recipient) -> Reply | tuple[bytes, ...]:
        verdict = aliases.domains.check(event.domain)
        if verdict.reply is not None:
            return verdict.reply
        local, _, domain = self.address(event).rpartition(b"@")
        expansion = aliases.expand(local, domain)
        for problem in expansion.problems:
            assert self._complaints is not None
            self._complaints.tell(problem.words, problem.address, recipient=problem.address)
        return expansion.verdict.reply or expansion.targets
