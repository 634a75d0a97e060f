"""What the [[route]] tables mean, alone and together: the faults that types cannot tell.

As in `mta.config_check`, what could not be read is `None` or has its default, and must not bring up further faults.
"""

from collections.abc import Callable, Iterator

from msgspec.structs import replace

from mta.config import Domains, Listen, Route, Transport
from mta.config_lines import Fault, Path
from mta.config_names import address_table, named
from mta.config_text import shown
from mta.routing import Router, parse_pattern, parse_sender
from mta.smtp.address import AddressError, parse_domain
from mta.tables.settings import Table

COPIES = 8
"""Copies that one route makes of a message, for each of its recipients."""


def check(
    routes: list[Route | None],
    transports: dict[str, Transport | None] | None,
    listens: list[Listen | None] | None,
    tables: dict[str, Table | None],
) -> Iterator[Fault]:
    """All faults of the readable routes. `transports` and `listens` are None where they could not be read."""
    for number, route in enumerate(routes):
        if route is None:
            continue
        path: Path = ("route", number)
        if route.recipients == []:
            yield (*path, "recipients"), 'is empty; "*" matches everybody'
        yield from _patterns((*path, "recipients"), route.recipients, parse_pattern, '"*", "*@example.org"')
        yield from _patterns((*path, "senders"), route.senders, parse_sender, '"*", "<>", "*@example.org"')
        yield from _targets(path, route, transports, tables)
        if listens is not None and None not in listens:
            addresses = [listen.address for listen in listens if listen is not None and listen.address is not None]
            for index, text in enumerate(route.listeners):
                if text is not None and text not in addresses:
                    known = ", ".join(addresses)
                    yield (
                        (*path, "listeners", index),
                        f"there is no [[listen]] with address {shown(text)}; known: {known}",
                    )


def _targets(
    path: Path, route: Route, transports: dict[str, Transport | None] | None, tables: dict[str, Table | None]
) -> Iterator[Fault]:
    """Where a route leads: a transport or a table, and transports for copies."""
    if not route.transport and not route.table:
        yield (*path, "transport"), "is missing; a name from [transport.NAME] is needed, or else table"
    elif route.transport and route.table:
        yield (*path, "table"), "and transport are given; one of them is allowed"
    yield from address_table((*path, "table"), route.table, tables)
    if transports is None:
        return
    if route.transport:
        yield from named((*path, "transport"), "transport", route.transport, transports)
    for index, name in enumerate(route.copy_to):
        if name is not None:
            yield from named((*path, "copy_to", index), "transport", name, transports)
        if name is not None and name == route.transport:
            yield (*path, "copy_to", index), f"{shown(name)} is the transport of the route"
        elif name is not None and name in route.copy_to[:index]:
            yield (*path, "copy_to", index), f"{shown(name)} is there twice"
    if len(route.copy_to) > COPIES:
        yield (*path, "copy_to"), f"has {len(route.copy_to)} names; {COPIES} are allowed"


def completed(route: Route) -> Route:
    """A checked route in the form that the program uses: domains in A-labels."""
    return replace(
        route,
        recipients=[_in_a_labels(text) for text in route.recipients],
        senders=[_in_a_labels(text) for text in route.senders],
    )


def unrouted(domains: Domains, routes: list[Route]) -> Iterator[Fault]:
    """Local domains whose mail would be accepted and then have nowhere to go.

    Only a route with a transport that holds for every sender and listener keeps mail from that. Of domains in a table
    no more is known than that none of the routes is for them.
    """
    held = [
        route
        for route in routes
        if route.transport and not route.listeners and (not route.senders or "*" in route.senders)
    ]
    router = Router(held)
    for number, name in enumerate(domains.local):
        if router.transport(b"anyone@" + name.encode()) is None:
            yield (
                ("domains", "local", number),
                f'no route takes mail for "{name}"; add a [[route]] with recipients = ["*@{name}"]',
            )


def unrouted_table(domains: Domains, routes: list[Route]) -> Iterator[Fault]:
    """A table of domains while no route is for a domain that is not listed: their mail would all be put off.

    With aliases there need not be one: they may lead all of it elsewhere.
    """
    names = {parse_pattern(text).domain for route in routes for text in route.recipients}
    if domains.table and not domains.aliases and names <= {name.encode() for name in domains.local}:
        yield (
            ("domains", "table"),
            'no route takes mail for domains that are only in the table; add a [[route]] with recipients = ["*"], or '
            "one for each of them",
        )


def _patterns(path: Path, texts: list[str], parse: Callable[[str], object], some: str) -> Iterator[Fault]:
    for index, text in enumerate(texts or ()):
        if text is not None:
            try:
                parse(text)
            except (AddressError, ValueError):
                yield (*path, index), f'{shown(text)} given; {some} or "user@example.org" is allowed'


def _in_a_labels(text: str) -> str:
    local, at, domain = text.rpartition("@")
    return text if domain.isascii() else f"{local}{at}{parse_domain(domain.encode()).decode()}"
