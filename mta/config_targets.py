"""What tables of aliases and of routes say: the faults of their values, in the configuration and in files."""

from collections.abc import Collection, Iterator, Mapping

from mta.config import Config, Domains, Route
from mta.config_lines import Fault
from mta.tables import targets
from mta.tables.settings import Table
from mta.tables.values import Judge, entry_faults, file_faults


def check(
    domains: Domains, routes: list[Route | None], transports: Collection[str], tables: Mapping[str, Table | None]
) -> Iterator[Fault]:
    """The faults of values that stand in the configuration itself."""
    for name, judge in _judges(domains, routes, transports):
        table = tables.get(name)
        if table is not None and table.kind != "cidr" and None not in table.entries:
            for number, words in entry_faults(table, judge):
                yield ("table", name, "entries", number - 1), words


def check_files(config: Config) -> list[str]:
    """The faults of values in files, each as `file:line: what is wrong`. Blocks."""
    judges = _judges(config.domains, config.route, config.transport)
    return [fault for name, judge in judges for fault in file_faults(config.table[name], judge)]


def _judges(
    domains: Domains, routes: Collection[Route | None], transports: Collection[str]
) -> Iterator[tuple[str, Judge]]:
    """The names of the tables, each once for what it is asked about, with who tells what is wrong."""
    if domains.aliases:
        yield domains.aliases, lambda key, value: targets.fault(value)
    known = [name.encode() for name in transports]
    for name in dict.fromkeys(route.table for route in routes if route is not None and route.table):
        yield name, lambda key, value: None if value in known else _no_transport(value)


def _no_transport(value: bytes) -> str:
    return f"{value.decode('utf-8', 'backslashreplace')!r} is no [transport.NAME]"
