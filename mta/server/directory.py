"""Who is here and where their mail goes, from the configuration: made once for all listeners of a worker."""

from mta import routing
from mta.config import Config
from mta.policy.aliases import Aliases
from mta.policy.chain import Chain
from mta.policy.recipient import KnownRecipients, LocalDomains
from mta.server.complaints import Complaints
from mta.server.recipients import Recipients, Routing
from mta.server.sinks import Sinks, limited
from mta.tables.book import Book


class Directory:
    """What listeners share of domains, recipients, aliases and routes. `recipients` is None where everybody exists.

    Making one blocks on reading the files of tables.
    """

    def __init__(self, config: Config, book: Book, complaints: Complaints, sinks: Sinks | None = None) -> None:
        """`sinks` are the transports that are full."""
        settings = config.domains
        extension = settings.extension.encode()
        self._sinks = sinks
        self._complaints = complaints
        domains = book.table(settings.table) if settings.table else None
        self.domains = LocalDomains(settings.local, config.hostname, domains)
        self.recipients: KnownRecipients | None = None
        if settings.recipients:
            self.recipients = KnownRecipients(book.table(settings.recipients), extension)
        self._aliases: Aliases | None = None
        if settings.aliases:
            self._aliases = Aliases(book.table(settings.aliases), self.domains, self.recipients, extension)
        self._routing: Routing | None = None
        if needs_routing(config):
            tables = {route.table: book.table(route.table) for route in config.route if route.table}
            self._routing = Routing(routing.router(config), config.transport, tables, complaints, extension)

    def make(self, chain: Chain, listener: str) -> Recipients:
        """What becomes of recipients that come in by a listener."""
        return Recipients(
            *(chain, listener),
            aliases=self._aliases,
            routing=self._routing,
            complaints=self._complaints,
            sinks=self._sinks,
        )


def needs_routing(config: Config) -> bool:
    """Whether anything has to know at RCPT where mail goes: else nobody asks the routes there."""
    domains = config.domains
    if domains.aliases or domains.table or limited(config):
        return True
    return any(route.table or route.copy_to for route in config.route)
