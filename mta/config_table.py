"""What the [table] tables mean, alone: the faults that types cannot tell.

As in `mta.config_check`, what could not be read is `None` or has its default, and must not bring up further faults.
"""

import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from msgspec.structs import fields, replace

from mta import config_table_server
from mta.config_lines import Fault
from mta.config_lines import Path as KeyPath
from mta.config_text import absolute, shown
from mta.endpoint import Unix, is_loopback, parse_next_hop, parse_url
from mta.tables.extras import missing
from mta.tables.lines import from_entries
from mta.tables.settings import Table
from mta.tables.text import BadTable

# Which kinds may have a key. Keys that are not here may stand anywhere.
_SERVERS = ("sql", "ldap", "socketmap", "redis", "http")
_ASKED = ("sqlite", *_SERVERS)
USED_BY = {
    "entries": ("inline", "regexp", "cidr"),
    "path": ("file", "regexp", "cidr", "lmdb", "sqlite"),
    "query": ("sqlite", "sql"),
    "host": ("socketmap", "redis"),
    "map": ("socketmap",),
    "hash": ("redis",),
    "prefix": ("redis",),
    "url": ("sql", "ldap", "http"),
    "key_file": ("http",),
    "password_file": ("sql", "ldap"),
    **dict.fromkeys(("base", "scope", "filter", "attribute", "bind_dn", "starttls"), ("ldap",)),
    "tls_ca": ("http", "ldap"),
    "connections": _SERVERS,
    **dict.fromkeys(("timeout_s", "cache_s", "negative_cache_s", "cache_entries"), _ASKED),
}
NEEDED_BY = {
    "path": ("file", "lmdb", "sqlite"),
    "query": ("sqlite", "sql"),
    "host": ("socketmap", "redis"),
    "map": ("socketmap",),
    "url": ("sql", "ldap", "http"),
    **dict.fromkeys(("base", "filter", "attribute"), ("ldap",)),
}
_PATHS = ("path", "key_file", "password_file", "tls_ca")
EITHER = ("regexp", "cidr")  # have their lines in a file, or with them

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_MAP = re.compile(r"[!-~]{1,255}")
_DEFAULTS: dict[str, Any] = {field.name: field.default for field in fields(Table)} | {"entries": []}


def check(tables: dict[str, Table | None]) -> Iterator[Fault]:
    """All faults of the readable tables. Does no I/O."""
    for name, table in tables.items():
        if not _NAME.fullmatch(name):
            yield ("table", name), "letters, digits, - and _ are allowed in a name, 64 at most"
        if table is not None and table.kind:
            yield from _table(("table", name), table)


def placed(table: Table, folder: Path) -> Table:
    """With absolute paths, against the folder of the configuration file."""
    hop = parse_next_hop(table.host) if table.host else None
    host = f"unix:{absolute(folder, hop.path)}" if isinstance(hop, Unix) else table.host
    return replace(table, host=host, **{key: absolute(folder, getattr(table, key)) for key in _PATHS})


def _table(path: KeyPath, table: Table) -> Iterator[Fault]:
    for key, kinds in USED_BY.items():
        is_set = getattr(table, key) != _DEFAULTS[key]
        if table.kind in NEEDED_BY.get(key, ()) and not is_set:
            yield (*path, key), f"is missing; kind {table.kind} needs it"
        elif table.kind not in kinds and is_set:
            yield (*path, key), f"is of no use with kind {table.kind}; it is for {', '.join(kinds)}"
    absent = missing(table.kind)
    if absent:
        yield (*path, "kind"), f"{table.kind} {absent}"
    if table.kind in EITHER and bool(table.path) == bool(table.entries):
        yield path, f"kind {table.kind} needs either path or entries"
    for key in _PATHS:
        if "\0" in getattr(table, key):
            yield (*path, key), "no NUL is allowed"
    if table.entries and table.kind in USED_BY["entries"]:
        yield from _entries((*path, "entries"), table)
    yield from config_table_server.check(path, table)
    if table.query and table.kind == "sqlite":
        words = _query(table.query)
        if words:
            yield (*path, "query"), f"{shown(table.query)} {words}"
    if table.host:
        try:
            parse_next_hop(table.host)
        except ValueError as error:
            yield (*path, "host"), f"{shown(table.host)} given; {error} is allowed"
    if table.url and table.kind == "http":
        yield from _url(path, table)
    if table.map and not _MAP.fullmatch(table.map):
        yield (*path, "map"), f"{shown(table.map)} given; ASCII without blanks, 255 characters at most, is allowed"


def _entries(path: KeyPath, table: Table) -> Iterator[Fault]:
    good = [entry if isinstance(entry, str) and "\n" not in entry else "" for entry in table.entries]
    for number, entry in enumerate(table.entries):
        if isinstance(entry, str) and "\n" in entry:
            yield (*path, number), "has more than one line"
    try:
        from_entries(replace(table, entries=good))
    except BadTable as error:
        for line, words in error.faults:
            yield (*path, line - 1), words


def _url(path: KeyPath, table: Table) -> Iterator[Fault]:
    try:
        url = parse_url(table.url)
    except ValueError as error:
        yield (*path, "url"), f"{shown(table.url)} given; {error} is allowed"
        return
    plain = url.target.replace("{key}", "", 1)
    if plain == url.target or "{" in plain or "}" in plain:
        yield (*path, "url"), f"{shown(table.url)} given; one {{key}} is needed, and no other braces"
    if table.tls_ca and not url.is_tls:
        yield (*path, "tls_ca"), "is of use with https:// only"
    if table.key_file and not url.is_tls and not is_loopback(url.host):
        yield (*path, "key_file"), "is sent in plain text by http://; https:// or a loopback address is needed"


def _query(query: str) -> str:
    """What is wrong with a query as far as can be told without its database; empty if nothing."""
    if query.count("?") != 1:
        return "given; one ? is needed, for the key"
    if not query.lstrip().lower().startswith(("select", "with")):
        return "given; a query that begins with SELECT or WITH is needed"
    if not sqlite3.complete_statement(query.rstrip().removesuffix(";") + ";"):
        return "does not end"
    return ""
