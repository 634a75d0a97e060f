"""Tables from their settings."""

from collections.abc import Callable, Mapping
from importlib import import_module
from time import monotonic, time
from typing import Any

from mta.errors import TableDown
from mta.tables.cache import Cache
from mta.tables.cached import CachedTable, Source
from mta.tables.exchange import Exchange
from mta.tables.lines import MAKERS, from_entries
from mta.tables.redis import RedisTable
from mta.tables.settings import Table
from mta.tables.socketmap import SocketmapTable
from mta.tables.sqlite import GRACE_S, THREADS, SqliteDatabase
from mta.tables.threaded import ThreadedTable
from mta.tables.watched import WatchedTable

REPORT_S = 60.0
"""That a table is down is told once in so many seconds, and that it is there again as often: it may be down for some
keys alone, of which clients choose when they are asked for."""


class ReportedTable:
    """A table that tells an administrator when it goes down, and when it is there again."""

    def __init__(self, name: str, source: Source, report: Callable[..., None], clock: Callable[[], float]) -> None:
        self._name = name
        self._source = source
        self._report = report
        self._clock = clock
        self._reported_at = float("-inf")
        self._is_told = False  # and it is down

    def get(self, key: bytes) -> bytes | None:
        """The value, or None where there is none; raises `TableDown`. May switch greenlets."""
        try:
            value = self._source.get(key)
        except TableDown as error:
            now = self._clock()
            if now - self._reported_at >= REPORT_S:
                self._reported_at = now
                self._is_told = True
                self._report("a table is down", table=self._name, reason=error.reason)
            raise
        if self._is_told:
            self._is_told = False
            self._report("a table is there again", table=self._name)
        return value


class Book:
    """The tables of a configuration, each opened once. One for a worker: all who name a table share its connections,
    its cache, and what is told of it."""

    def __init__(
        self, settings: Mapping[str, Table], report: Callable[..., None], clock: Callable[[], float] = monotonic
    ) -> None:
        """`settings` are those of each [table.NAME], checked; `report` as for `open_table`. Opens nothing yet."""
        self._settings = settings
        self._report = report
        self._clock = clock
        self._opened: dict[str, ReportedTable] = {}

    def table(self, name: str) -> ReportedTable:
        """The table [table.`name`]. Blocks on reading the table's file, where it has one that is not open yet."""
        if name not in self._opened:
            self._opened[name] = open_table(name, self._settings[name], self._report, clock=self._clock)
        return self._opened[name]


def open_table(
    name: str,
    settings: Table,
    report: Callable[..., None],
    *,
    clock: Callable[[], float] = monotonic,
    wall: Callable[[], float] = time,
) -> ReportedTable:
    """Make the table [table.`name`] of its settings, which have been checked.

    `report` takes a sentence for an administrator, and fields that it is about (`mta.log.problem`). Blocks on reading
    the table's file, where it has one.
    """
    return ReportedTable(name, _source(name, settings, report, clock, wall), report, clock)


def _source(
    name: str,
    settings: Table,
    report: Callable[..., None],
    clock: Callable[[], float],
    wall: Callable[[], float],
) -> Source:
    make = MAKERS.get(settings.kind)
    if make is not None and not settings.path:
        return from_entries(settings)
    if make is not None:
        return WatchedTable(settings.path, make, lambda text: report(text, table=name), clock=clock, wall=wall)
    if settings.kind == "lmdb":
        return _module("lmdb").LmdbTable(settings.path, clock=clock)  # type: ignore[no-any-return]
    cache = Cache(settings.cache_entries, settings.cache_s, settings.negative_cache_s)
    return CachedTable(_asked(settings, clock), cache, clock)


def _asked(settings: Table, clock: Callable[[], float]) -> Source:
    if settings.kind == "sqlite":
        return _sqlite(settings, clock)
    if settings.kind in ("sql", "ldap"):
        return _threaded(settings, clock)
    if settings.kind == "http":
        return _module("http").HttpTable(  # type: ignore[no-any-return]
            settings.url,
            settings.timeout_s,
            settings.connections,
            key_file=settings.key_file,
            tls_ca=settings.tls_ca,
        )
    exchange = Exchange(settings.host, settings.timeout_s, settings.connections)
    if settings.kind == "redis":
        return RedisTable(exchange, settings.hash, settings.prefix)
    return SocketmapTable(exchange, settings.map)


def _sqlite(settings: Table, clock: Callable[[], float]) -> Source:
    database = SqliteDatabase(settings.path, settings.query, settings.timeout_s, clock=clock)
    return ThreadedTable(database.path, database.connect, settings.timeout_s + GRACE_S, THREADS, clock=clock)


def _threaded(settings: Table, clock: Callable[[], float]) -> Source:
    if settings.kind == "sql":
        server = _module("sql").SqlServer(settings.url, settings.query, settings.password_file, settings.timeout_s)
        where = server.where
    else:
        module = _module("ldap")
        server = module.LdapServer(
            module.Where(
                settings.url,
                bind_dn=settings.bind_dn,
                password_file=settings.password_file,
                starttls=settings.starttls,
                ca=settings.tls_ca,
            ),
            module.Search(settings.base, settings.scope, settings.filter, settings.attribute),
            settings.timeout_s,
        )
        where = settings.url
    return ThreadedTable(where, server.connect, settings.timeout_s, settings.connections, clock=clock)


def _module(kind: str) -> Any:
    """The module of a kind that needs a package which not everybody has (`extras`)."""
    return import_module(f"mta.tables.{kind}")
