"""What the [[route]] tables mean, alone and together: the faults that types cannot tell.

As in `mta.config_check`, what could not be read is `None` or has its default, and must not bring up further faults.
"""

from collections.abc import Callable, Iterator
from difflib import get_close_matches

from msgspec.structs import replace

from mta.config import Domains, Listen, Route, Transport
from mta.config_lines import Fault, Path
from mta.config_text import shown
from mta.routing import Router, parse_pattern, parse_sender
from mta.smtp.address import AddressError, parse_domain


def check(
    routes: list[Route | None], transports: dict[str, Transport | None] | None, listens: list[Listen | None] | None
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
        if transports is not None and route.transport is not None and route.transport not in transports:
            close = get_close_matches(route.transport, transports, 1)
            known = f"did you mean {close[0]!r}?" if close else f"known: {', '.join(transports) or 'none'}"
            yield (*path, "transport"), f"there is no [transport.{route.transport}]; {known}"
        if listens is not None and None not in listens:
            addresses = [listen.address for listen in listens if listen is not None and listen.address is not None]
            for index, text in enumerate(route.listeners):
                if text is not None and text not in addresses:
                    known = ", ".join(addresses)
                    yield (
                        (*path, "listeners", index),
                        f"there is no [[listen]] with address {shown(text)}; known: {known}",
                    )


def completed(route: Route) -> Route:
    """A checked route in the form that the program uses: domains in A-labels."""
    return replace(
        route,
        recipients=[_in_a_labels(text) for text in route.recipients],
        senders=[_in_a_labels(text) for text in route.senders],
    )


def unrouted(domains: Domains, routes: list[Route]) -> Iterator[Fault]:
    """Local domains whose mail would be accepted and then have nowhere to go.

    Only a route that holds for every sender and listener keeps mail from that.
    """
    router = Router([route for route in routes if not route.listeners and (not route.senders or "*" in route.senders)])
    for number, name in enumerate(domains.local):
        if router.transport(b"anyone@" + name.encode()) is None:
            yield (
                ("domains", "local", number),
                f'no route takes mail for "{name}"; add a [[route]] with recipients = ["*@{name}"]',
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
