"""[access] and the [listen.access] of every listener: what may be configured, laid over each other, and checked."""

from collections.abc import Collection, Iterator
from difflib import get_close_matches
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct
from msgspec.structs import replace

from mta.config_lines import Fault, Path
from mta.smtp.actions import BadAction, Stage, parse_action
from mta.tables.settings import Table
from mta.tables.values import Judge, entry_faults, file_faults

STAGES: tuple[Stage, ...] = ("client", "helo", "sender", "recipient")


class Access(Struct, frozen=True, forbid_unknown_fields=True):
    """Who may send to whom: tables with actions, asked at RCPT in this order; docs/tables.md tells all about them."""

    client: Annotated[str, Meta(description="name of a [table.NAME] that is asked for the address of the client")] = ""
    helo: Annotated[
        str, Meta(description="the same for the name that the client gave in HELO or EHLO, and the domains above it")
    ] = ""
    sender: Annotated[
        str, Meta(description="the same for the envelope sender, its domain, and the domains above it")
    ] = ""
    recipient: Annotated[str, Meta(description="the same for the recipient, its domain, and the domains above it")] = ""
    sender_unknown: Annotated[
        Literal["ignore", "refuse"],
        Meta(
            description="mail from a domain that has neither MX nor address in the DNS: take it, or refuse it with "
            "550 5.1.8 (450 where that cannot be found out). refuse costs a look-up for each domain not in the cache"
        ),
    ] = "ignore"
    sender_null_mx: Annotated[
        Literal["ignore", "refuse"],
        Meta(
            description="mail from a domain that says it takes none (null MX, RFC 7505): take it, or refuse it with "
            "550 5.7.27. refuse costs a look-up for each domain not in the cache"
        ),
    ] = "ignore"


class AccessGiven:
    """The keys that the access tables of a file set: a struct cannot tell one that was set from one with its default.

    `data` is the file as `tomllib` read it, `unreadable` the paths of what was refused in it.
    """

    def __init__(self, data: dict[str, Any], unreadable: Collection[Path]) -> None:
        self._knows_tables = ("table",) not in unreadable
        listens = data.get("listen")
        self._listens = [
            _given(table.get("access") if isinstance(table, dict) else None)
            for table in (listens if isinstance(listens, list) else [])
        ]
        self._top = _given(data.get("access"))

    def overlay(self, parts: dict[str, Any]) -> dict[str, Any]:
        """The readable parts of a configuration (fields of `Config`), with complete access in every listener."""
        if "listen" not in parts:
            return parts
        top: Access = parts.get("access", Access())
        listens = [
            listen and replace(listen, access=replace(top, **{name: getattr(listen.access, name) for name in names}))
            for listen, names in zip(parts["listen"], self._listens, strict=True)
        ]
        return {**parts, "listen": listens}

    def check(self, parts: dict[str, Any]) -> Iterator[Fault]:
        """The faults of what is set, each told where it is set; and those of the lines of tables in the file itself."""
        if not self._knows_tables:
            return
        tables: dict[str, Table | None] = parts.get("table", {})
        given: list[tuple[Path, Access, frozenset[str]]] = [(("access",), parts.get("access", Access()), self._top)]
        for number, listen in enumerate(parts.get("listen", ())):
            if listen is not None:
                given.append((("listen", number, "access"), listen.access, self._listens[number]))
        judged: set[str] = set()
        for path, access, names in given:
            for stage in STAGES:
                name = getattr(access, stage)
                if stage in names and name:
                    yield from _table((*path, stage), stage, name, tables)
                    judged.add(name)
        for name in sorted(judged):
            table = tables.get(name)
            if table is not None and table.kind:
                for line, words in entry_faults(table, _judge(table)):
                    yield ("table", name, "entries", line - 1), words


def used(access: Access) -> dict[Stage, str]:
    """The names of the tables that are asked, by stage."""
    names: dict[Stage, str] = {stage: getattr(access, stage) for stage in STAGES}
    return {stage: name for stage, name in names.items() if name}


def check_files(accesses: list[Access], tables: dict[str, Table]) -> list[str]:
    """The faults of the values in the files of access tables, each as `file:line: what is wrong`. Blocks."""
    names = {name: None for access in accesses for name in used(access).values()}
    return [fault for name in names for fault in file_faults(tables[name], _judge(tables[name]))]


def _given(table: Any) -> frozenset[str]:
    names = table if isinstance(table, dict) else ()
    return frozenset(name for name in names if name in Access.__struct_fields__)


def _table(path: Path, stage: Stage, name: str, tables: dict[str, Table | None]) -> Iterator[Fault]:
    if name not in tables:
        close = get_close_matches(name, tables, 1)
        known = f"did you mean {close[0]!r}?" if close else f"known: {', '.join(tables) or 'none'}"
        yield path, f"there is no [table.{name}]; {known}"
        return
    table = tables[name]
    if table is not None and table.kind == "cidr" and stage != "client":
        yield path, f"[table.{name}] is of kind cidr, which knows addresses of hosts; it is for access.client"


def _judge(table: Table) -> Judge:
    def judge(key: bytes, value: bytes) -> str | None:
        if table.kind in ("inline", "file") and key.startswith(b"."):
            return "begins with a dot; nobody asks for that: a domain stands for those below it, too"
        try:
            parse_action(value, "client")
        except BadAction as error:
            return f"{value.decode('utf-8', 'backslashreplace')!r} {error}"
        return None

    return judge
