"""Names of tables and transports, as other parts of a configuration give them."""

from collections.abc import Collection, Iterator, Mapping
from difflib import get_close_matches

from mta.config_lines import Fault, Path
from mta.tables.settings import Table


def named(path: Path, kind: str, name: str, names: Collection[str]) -> Iterator[Fault]:
    """The fault of a `name` at `path` that there is no [`kind`.`name`] for."""
    if name not in names:
        close = get_close_matches(name, names, 1)
        known = f"did you mean {close[0]!r}?" if close else f"known: {', '.join(names) or 'none'}"
        yield path, f"there is no [{kind}.{name}]; {known}"


def address_table(path: Path, name: str, tables: Mapping[str, Table | None]) -> Iterator[Fault]:
    """What is wrong with the name of a table that is asked for addresses of mail or domains; the empty name is none."""
    if not name:
        return
    yield from named(path, "table", name, tables)
    table = tables.get(name)
    if table is not None and table.kind == "cidr":
        yield path, f"[table.{name}] is of kind cidr, which knows addresses of hosts and none of mail"
