"""The access tables of the listeners, from the configuration."""

from collections.abc import Callable
from functools import partial

from mta.config import Config, Listen
from mta.config_access import used
from mta.dns.stub import Resolver
from mta.policy.access import Access, AccessTable
from mta.policy.sender import SenderDomain
from mta.server.complaints import Complaints
from mta.server.senders import SenderDomains
from mta.smtp.actions import Stage
from mta.smtp.address import parse_domain
from mta.tables.access_keys import keys_of
from mta.tables.book import Book


class AccessBook:
    """Makes the `Access` of each listener. One for a worker: its listeners share the resolver, and what is told."""

    def __init__(
        self, config: Config, book: Book, complaints: Complaints, make_resolver: Callable[[], Resolver]
    ) -> None:
        self._config = config
        self._book = book
        self._complaints = complaints
        self._senders = SenderDomains(make_resolver)

    def access(self, listen: Listen) -> Access:
        """What is asked of those who come in by a listener. Blocks on reading the files of tables."""
        tables = {stage: self._table(stage, name) for stage, name in used(listen.access).items()}
        refuses_null_mx = listen.access.sender_null_mx == "refuse"
        refuses_unknown = listen.access.sender_unknown == "refuse"
        if not refuses_null_mx and not refuses_unknown:
            return Access(tables)
        domain = SenderDomain(
            partial(self._senders.standing, asks_addresses=refuses_unknown),
            refuses_null_mx=refuses_null_mx,
            refuses_unknown=refuses_unknown,
            own=frozenset(parse_domain(name.encode()) for name in self._config.domains.local),
        )
        return Access(tables, domain.check)

    def _table(self, stage: Stage, name: str) -> AccessTable:
        keys = keys_of(stage, self._config.table[name].kind, self._config.domains.extension.encode())
        return AccessTable(stage, self._book.table(name), keys, partial(self._complain, name))

    def _complain(self, table: str, key: bytes, reason: str) -> None:
        words = "a table has a value that is no action"
        self._complaints.tell(words, table, table=table, key=key, reason=reason)
