"""What the values of a configuration mean, alone and together: the faults that types cannot tell.

Works on the parts that could be read, so that one fault does not hide the others: a list element or a required field
that could not is `None`, whatever its type says.
"""

import pwd
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from mta import config_listen, config_route, config_table, config_targets, config_transport
from mta.config import Config, Domains, Queue, Route, Tls
from mta.config_lines import Fault
from mta.config_lines import Path as KeyPath
from mta.config_names import address_table
from mta.config_text import absolute, shown
from mta.dns.settings import Dns, parse_server
from mta.smtp.address import AddressError, parse_domain
from mta.tables.settings import Table


def check(parts: dict[str, Any], unreadable: Collection[KeyPath]) -> list[Fault]:
    """The faults of the readable `parts` of a configuration (fields of `Config`), limits apart.

    `unreadable` are the paths of what could not be read: it has been told, and its absence is no fault. Looks up the
    user; no other I/O.
    """
    checks: dict[str, Callable[[Any], Iterator[Fault]]] = {
        "hostname": _hostname,
        "spool": _spool,
        "user": _user,
        "domains": _domains,
        "dns": _dns,
        "queue": _queue,
        "transport": config_transport.check,
        "table": config_table.check,
    }
    faults = [fault for name, function in checks.items() if name in parts for fault in function(parts[name])]
    tables = parts.get("table", {})
    if "route" in parts:
        faults += config_route.check(parts["route"], parts.get("transport"), parts.get("listen"), tables)
    if "domains" in parts:
        routes = parts.get("route", [])
        faults += _tables(parts["domains"], tables, routes)
        if "transport" in parts:
            faults += config_targets.check(parts["domains"], routes, parts["transport"], tables)
    faults += config_listen.check(parts, unreadable)
    return [fault for fault in faults if fault[0] not in unreadable]


def check_whole(config: Config) -> list[Fault]:
    """The faults that show only in a configuration that is right in all its parts."""
    domains, routes = config.domains, config.route
    return [*config_route.unrouted(domains, routes), *config_route.unrouted_table(domains, routes)]


def complete(config: Config, folder: Path) -> Config:
    """A checked configuration in the form that the program uses: absolute paths, and domain names in A-labels."""
    return replace(
        config,
        hostname=_a_labels(config.hostname),
        spool=absolute(folder, config.spool),
        domains=replace(config.domains, local=[_a_labels(name) for name in config.domains.local]),
        transport={name: config_transport.placed(transport, folder) for name, transport in config.transport.items()},
        route=[config_route.completed(route) for route in config.route],
        tls=_tls(config.tls, folder),
        bounces=replace(config.bounces, templates=absolute(folder, config.bounces.templates)),
        table={name: config_table.placed(table, folder) for name, table in config.table.items()},
        log=replace(config.log, file=absolute(folder, config.log.file)),
    )


# ---------------------------------------------------------------------------------------------------------------------
# One field


def _hostname(hostname: str) -> Iterator[Fault]:
    if hostname.startswith("[") or not _is_domain(hostname):
        yield (
            ("hostname",),
            f'{shown(hostname)} is no domain name; give one like "mx.example.org"',
        )


def _spool(spool: str) -> Iterator[Fault]:
    if not spool or "\0" in spool:
        yield ("spool",), "the path of a folder is needed"


def _user(user: str) -> Iterator[Fault]:
    if user:
        try:
            pwd.getpwnam(user)
        except (KeyError, ValueError):
            yield ("user",), f"there is no user {shown(user)} on this machine"


def _domains(domains: Domains) -> Iterator[Fault]:
    for number, name in enumerate(domains.local):
        if name is not None and not _is_domain(name):
            yield ("domains", "local", number), f'{shown(name)} is no domain name; give one like "example.org"'


def _dns(dns: Dns) -> Iterator[Fault]:
    for number, text in enumerate(dns.servers):
        try:
            if text is not None:
                parse_server(text)
        except ValueError as error:
            yield ("dns", "servers", number), f"{shown(text)} given; {error} is allowed"


def _tables(domains: Domains, tables: dict[str, Table | None], routes: list[Route | None]) -> Iterator[Fault]:
    for key in ("recipients", "aliases", "table"):
        yield from address_table(("domains", key), getattr(domains, key), tables)
    has_use = domains.recipients or domains.aliases or any(route is not None and route.table for route in routes)
    if domains.extension and not has_use:
        yield ("domains", "extension"), "is of use with domains.recipients, domains.aliases or a table of a route only"


def _queue(queue: Queue) -> Iterator[Fault]:
    if queue.retry_min_s > queue.retry_max_s:
        yield ("queue", "retry_min_s"), f"{queue.retry_min_s:g} given; no more than retry_max_s is allowed"


# ---------------------------------------------------------------------------------------------------------------------
# Names and paths


def _is_domain(name: str) -> bool:
    try:
        parse_domain(name.encode())
    except (AddressError, UnicodeError):
        return False
    return True


def _a_labels(name: str) -> str:
    """A name in A-labels, as names are compared (RFC 5890 section 2.3.2.1), if it has others; else as it is."""
    return name if name.isascii() else parse_domain(name.encode()).decode()


def _tls(tls: Tls, folder: Path) -> Tls:
    """With absolute paths."""
    return replace(
        tls,
        certificate=absolute(folder, tls.certificate),
        key=absolute(folder, tls.key),
        client_ca=absolute(folder, tls.client_ca),
        extra=[
            replace(pair, certificate=absolute(folder, pair.certificate), key=absolute(folder, pair.key))
            for pair in tls.extra
        ],
    )
