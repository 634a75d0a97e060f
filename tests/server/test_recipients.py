"""Recipients at RCPT: which transport takes them, copies, tables of routes, and what is refused for want of a route."""

from typing import Any

import pytest

from mta import routing
from mta.config import Config, Domains, Listen, Route, Transport
from mta.errors import TableDown
from mta.policy.aliases import Aliases
from mta.policy.chain import Chain
from mta.policy.recipient import LocalDomains
from mta.server.complaints import REPORT_S, Complaints
from mta.server.directory import Directory
from mta.server.recipients import Recipients, Routing
from mta.smtp import replies
from mta.smtp.events import Recipient
from mta.smtp.transaction import Target
from mta.tables.book import Book
from mta.tables.settings import Table as Settings

JOE = Recipient(b"Joe", b"example.org")


class Table:
    """Has what it is given; `None` is a key for which it is down."""

    def __init__(self, entries: dict[bytes, bytes | None]) -> None:
        self._entries = entries

    def get(self, key: bytes) -> bytes | None:
        value = self._entries.get(key, b"")
        if value is None:
            raise TableDown("is burning")
        return value or None


class Bench:
    """Recipients with routes and tables; `told` is what the administrator was told."""

    def __init__(self, *routes: Route, aliases: dict[bytes, bytes | None] | None = None, **tables: Table) -> None:
        self.now = 0.0
        self.told: list[tuple[str, Any]] = []
        domains = LocalDomains(["example.org"], "mx.example.org")
        chain = Chain(domains, bare_newlines="keep", hops=40, header_bytes=4096)
        complaints = Complaints(self._report, lambda: self.now)
        asked = Routing(routing.Router(routes), ["store", "out", "archive", "vault"], tables, complaints, b"+")
        found = None if aliases is None else Aliases(Table(aliases), domains, extension=b"+")
        self.recipients = Recipients(chain, "in:25", aliases=found, routing=asked, complaints=complaints)

    def _report(self, words: str, **fields: object) -> None:
        self.told.append((words, fields.get("recipient")))

    def expand(self, event: Recipient = JOE, sender: bytes = b"jim@example.com") -> object:
        return self.recipients.expand(event, sender)


STORE = Route(["*"], "store")


def test_nothing_is_asked_where_nothing_is_configured() -> None:
    domains = LocalDomains(["example.org"], "mx.example.org")
    recipients = Recipients(Chain(domains, bare_newlines="keep", hops=40, header_bytes=4096), "in:25")
    assert not recipients.expands
    assert recipients.expand(JOE, b"") == (Target(b"Joe@example.org"),)
    assert recipients.expand(Recipient(b"postmaster", b""), b"") == (Target(b"postmaster@example.org"),)
    assert recipients.expand(Recipient(b"joe", b"example.com"), b"") is replies.R550_RELAY


def test_the_transport_that_takes_it() -> None:
    bench = Bench(Route(["*"], "out", senders=["<>"]), Route(["*"], "vault", listeners=["in:26"]), STORE)
    assert bench.expand() == (Target(b"Joe@example.org", "store"),)
    assert bench.expand(sender=b"") == (Target(b"Joe@example.org", "out"),)
    assert bench.expand(Recipient(b"joe", b"example.com")) is replies.R550_RELAY


def test_no_route() -> None:
    bench = Bench(Route(["*@example.com"], "out"))
    assert bench.expand() is replies.R451_NO_ROUTE
    assert bench.expand() is replies.R451_NO_ROUTE
    assert bench.told == [("there is no route for a recipient", b"Joe@example.org")]
    bench.now += REPORT_S
    bench.expand()
    assert len(bench.told) == 2


def test_copies() -> None:
    bench = Bench(Route(["*"], "store", copy_to=["archive", "vault"]))
    assert bench.expand() == (
        Target(b"Joe@example.org", "store"),
        Target(b"Joe@example.org", "archive", "archive", is_copy=True),
        Target(b"Joe@example.org", "vault", "vault", is_copy=True),
    )


def test_table_of_a_route() -> None:
    table = Table({b"joe@example.org": b"out", b"ann@example.org": b"nowhere", b"bob@example.org": None})
    bench = Bench(Route(["*@example.org"], "", table="where", copy_to=["archive"]), STORE, where=table)
    assert bench.expand() == (
        Target(b"Joe@example.org", "out", "out"),
        Target(b"Joe@example.org", "archive", "archive", is_copy=True),
    )
    assert bench.expand(Recipient(b"joe+tag", b"example.org")) == (
        Target(b"joe+tag@example.org", "out", "out"),
        Target(b"joe+tag@example.org", "archive", "archive", is_copy=True),
    )
    assert bench.expand(Recipient(b"jane", b"example.org")) == (Target(b"jane@example.org", "store"),)
    assert bench.expand(Recipient(b"bob", b"example.org")) is replies.R451_TABLE_DOWN
    assert bench.told == []
    assert bench.expand(Recipient(b"ann", b"example.org")) is replies.R451_NO_ROUTE
    assert bench.told == [("[table.where] names a transport that there is not", b"ann@example.org")]


def test_no_copy_to_where_the_table_leads() -> None:
    table = Table({b"@example.org": b"archive"})
    bench = Bench(Route(["*"], "", table="where", copy_to=["archive"]), where=table)
    assert bench.expand() == (Target(b"Joe@example.org", "archive", "archive"),)


def test_aliases_go_by_routes() -> None:
    aliases: dict[bytes, bytes | None] = {
        b"all@example.org": b"joe@example.org ann@far.example",
        b"far@example.org": b"ann@other.example",
        b"down@example.org": None,
        b"odd@example.org": b"what?",
    }
    routes = Route(["*@example.org"], "store", copy_to=["archive"]), Route(["*@far.example"], "out")
    bench = Bench(*routes, aliases=aliases)
    assert bench.expand(Recipient(b"all", b"example.org")) == (
        Target(b"joe@example.org", "store"),
        Target(b"joe@example.org", "archive", "archive", is_copy=True),
        Target(b"ann@far.example", "out"),
    )
    assert bench.expand(Recipient(b"down", b"example.org")) is replies.R451_TABLE_DOWN
    assert bench.told == []
    assert bench.expand(Recipient(b"far", b"example.org")) is replies.R451_NO_ROUTE
    assert bench.expand(Recipient(b"odd", b"example.org")) is replies.R451_ALIAS
    assert [address for _, address in bench.told] == [b"ann@other.example", b"odd@example.org"]
    assert bench.expand(Recipient(b"joe", b"far.example")) is replies.R550_RELAY  # no client may go there by itself


def config(domains: Domains, *routes: Route, **tables: Settings) -> Config:
    transports = {"store": Transport("discard"), "archive": Transport("discard")}
    return Config("mx.example.org", "spool", [Listen("127.0.0.1:25")], domains, transports, list(routes), table=tables)


def ignore(words: str, **fields: object) -> None:
    """Nobody reads it."""


def make_directory(config: Config) -> Directory:
    return Directory(config, Book(config.table, ignore), Complaints(ignore, float))


def expand(config: Config, event: Recipient) -> object:
    directory = make_directory(config)
    chain = Chain(directory.domains, bare_newlines="keep", hops=40, header_bytes=4096, recipients=directory.recipients)
    return directory.make(chain, "in:25").expand(event, b"")


def test_directory() -> None:
    users = Settings("inline", entries=["joe@example.org", "ann@virtual.example"])
    domains = Settings("inline", entries=["virtual.example", "empty.example"])
    aliases = Settings("inline", entries=["info@example.org joe@example.org, ann@virtual.example"])
    settings = config(
        Domains(["example.org"], recipients="users", table="more", aliases="names"),
        Route(["*@virtual.example"], "archive"),
        Route(["*@example.org"], "store"),
        users=users,
        more=domains,
        names=aliases,
    )
    assert expand(settings, Recipient(b"info", b"example.org")) == (
        Target(b"joe@example.org", "store"),
        Target(b"ann@virtual.example", "archive"),
    )
    assert expand(settings, Recipient(b"ann", b"virtual.example")) == (Target(b"ann@virtual.example", "archive"),)
    assert expand(settings, Recipient(b"joe", b"virtual.example")) is replies.R550_NO_USER
    assert expand(settings, Recipient(b"postmaster", b"empty.example")) is replies.R451_NO_ROUTE
    assert expand(settings, Recipient(b"joe", b"other.example")) is replies.R550_RELAY
    assert expand(settings, Recipient(b"joe", b"[192.0.2.1]")) is replies.R550_RELAY


def test_domains_nobody_knows() -> None:
    gone = Settings("file", path="/nonexistent/domains")
    settings = config(Domains(["example.org"], table="more"), STORE, more=gone)
    assert expand(settings, Recipient(b"joe", b"other.example")) is replies.R451_TABLE_DOWN
    assert expand(settings, Recipient(b"joe", b"example.org")) == (Target(b"joe@example.org", "store"),)


@pytest.mark.parametrize(
    ("domains", "route", "expands"),
    [
        (Domains(["example.org"]), STORE, False),
        (Domains(["example.org"], recipients="t", extension="+"), STORE, False),
        (Domains(["example.org"], aliases="t"), STORE, True),
        (Domains(["example.org"], table="t"), STORE, True),
        (Domains(["example.org"]), Route(["*"], "store", copy_to=["archive"]), True),
        (Domains(["example.org"]), Route(["*"], "", table="t"), True),
    ],
)
def test_only_what_is_configured_costs(domains: Domains, route: Route, expands: bool) -> None:
    directory = make_directory(config(domains, route, t=Settings("inline")))
    chain = Chain(directory.domains, bare_newlines="keep", hops=40, header_bytes=4096)
    assert directory.make(chain, "in:25").expands is expands
