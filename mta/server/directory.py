"""Who is here and where their mail goes, from the configuration: made once for all listeners of a worker."""

from collections.abc import Callable

from mta import routing
from mta.config import Config
from mta.policy.aliases import Aliases
from mta.policy.chain import Chain
from mta.policy.recipient import KnownRecipients, LocalDomains, Table
from mta.server.recipients import Complaints, Recipients, Routing
from mta.server.sinks import Sinks, limited
from mta.tables.book import open_table


class Directory:
    """What listeners share of domains, recipients, aliases and routes. `recipients` is None where everybody exists.

    Making one blocks on reading the files of tables.
    """

    def __init__(
        self,
        config: Config,
        report: Callable[..., None],
        clock: Callable[[], float],
        sinks: Sinks | None = None,
    ) -> None:
        """`report` is `mta.log.problem`; `clock` gives monotonic seconds; `sinks` are the transports that are full."""
        self._config = config
        self._report = report
        self._opened: dict[str, Table] = {}
        settings = config.domains
        extension = settings.extension.encode()
        self._sinks = sinks
        self._complaints = Complaints(report, clock)
        self.domains = LocalDomains(settings.local, config.hostname, self._table(settings.table))
        recipients = self._table(settings.recipients)
        self.recipients = KnownRecipients(recipients, extension) if recipients is not None else None
        aliases = self._table(settings.aliases)
        self._aliases = Aliases(aliases, self.domains, self.recipients, extension) if aliases is not None else None
        tables = {route.table: table for route in config.route if (table := self._table(route.table)) is not None}
        self._routing: Routing | None = None
        if needs_routing(config):
            self._routing = Routing(routing.router(config), config.transport, tables, self._complaints, extension)

    def make(self, chain: Chain, listener: str) -> Recipients:
        """What becomes of recipients that come in by a listener."""
        return Recipients(
            *(chain, listener),
            aliases=self._aliases,
            routing=self._routing,
            complaints=self._complaints,
            sinks=self._sinks,
        )

    def _table(self, name: str) -> Table | None:
        """A table of the configuration, opened once; None for the empty name."""
        if not name:
            return None
        if name not in self._opened:
            self._opened[name] = open_table(name, self._config.table[name], self._report)
        return self._opened[name]


def needs_routing(config: Config) -> bool:
    """Whether anything has to know at RCPT where mail goes: else nobody asks the routes there."""
    domains = config.domains
    if domains.aliases or domains.table or limited(config):
        return True
    return any(route.table or route.copy_to for route in config.route)
