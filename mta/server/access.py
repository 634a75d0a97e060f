"""The access tables of the listeners, from the configuration."""

from collections.abc import Callable
from functools import partial

from mta.config import Config, Listen
from mta.config_access import used
from mta.dns.stub import Resolver
from mta.policy.access import Access, AccessTable
from mta.policy.sender import SenderDomain
from mta.server.senders import SenderDomains
from mta.smtp.actions import Stage
from mta.smtp.address import parse_domain
from mta.tables.access_keys import keys_of
from mta.tables.book import Book

REPORT_S = 60.0
"""That a table has a value which is no action is told once in so many seconds: clients choose how often it is met."""


class Reporter:
    """Tells an administrator of values that are no actions, of each table once in a while."""

    def __init__(self, report: Callable[..., None], clock: Callable[[], float]) -> None:
        self._report = report
        self._clock = clock
        self._told_at: dict[str, float] = {}

    def tell(self, name: str, key: bytes, words: str) -> None:
        """The table `name` has such a value for this key."""
        now = self._clock()
        if now - self._told_at.get(name, float("-inf")) >= REPORT_S:
            self._told_at[name] = now
            self._report("a table has a value that is no action", table=name, key=key, reason=words)


class AccessBook:
    """Makes the `Access` of each listener. One for a worker: its listeners share the resolver, and what is told."""

    def __init__(
        self,
        config: Config,
        book: Book,
        make_resolver: Callable[[], Resolver],
        *,
        report: Callable[..., None],
        clock: Callable[[], float],
    ) -> None:
        """`report` is `mta.log.problem`; `clock` gives monotonic seconds."""
        self._config = config
        self._book = book
        self._senders = SenderDomains(make_resolver)
        self._reporter = Reporter(report, clock)

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
        return AccessTable(stage, self._book.table(name), keys, partial(self._reporter.tell, name))
