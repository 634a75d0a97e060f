"""What the [[listen]] tables and [tls] mean, alone and together: the faults that types cannot tell.

As in `mta.config_check`, what could not be read is `None` or has its default, and must not bring up further faults.
"""

import os
from collections.abc import Collection, Iterator
from typing import Any

from mta.config import Listen, Tls
from mta.config_lines import Fault, Path
from mta.config_text import shown
from mta.endpoint import Tcp, parse_listen
from mta.networks import parse_network

SMTP_PORT = 25
WIDEST = {4: 8, 6: 32}  # bits at least of a network in `xfer`: private ones have as many


def check(parts: dict[str, Any], unreadable: Collection[Path]) -> Iterator[Fault]:
    """All faults of the listeners and of TLS in the readable `parts` of a configuration. Does no I/O."""
    tls: Tls = parts.get("tls", Tls())
    if "listen" in parts:
        listens: list[Listen | None] = parts["listen"]
        if not listens:
            yield ("listen",), "at least one [[listen]] is needed"
        yield from _addresses(listens)
        for number, listen in enumerate(listens):
            if listen is not None:
                path: Path = ("listen", number)
                yield from _networks(path, listen)
                yield from _early(path, listen)
                yield from _listener_tls(path, listen, tls, unreadable)
    if "tls" in parts:
        yield from _certificates(tls)


def network_faults(path: Path, texts: list[str]) -> Iterator[Fault]:
    """The elements of the list at `path` that are no networks."""
    for number, text in enumerate(texts):
        if text is not None:
            try:
                parse_network(text)
            except ValueError as error:
                yield (*path, number), f"{shown(text)} {error}"


# ---------------------------------------------------------------------------------------------------------------------
# Listeners


def _addresses(listens: list[Listen | None]) -> Iterator[Fault]:
    seen: dict[Tcp, int] = {}
    for number, listen in enumerate(listens):
        if listen is None or listen.address is None:
            continue
        path: Path = ("listen", number, "address")
        try:
            address = parse_listen(listen.address)
        except ValueError as error:
            yield path, f"{shown(listen.address)} given; {error} is allowed"
            continue
        if address in seen:
            yield path, f"{shown(listen.address)} is there already, in listen[{seen[address]}]"
        seen.setdefault(address, number)
        if listen.protocol == "lmtp" and address.port == SMTP_PORT:
            yield (
                ("listen", number, "protocol"),
                '"lmtp" given; on port 25 only "smtp" is allowed (RFC 2033 section 5)',
            )


def _networks(path: Path, listen: Listen) -> Iterator[Fault]:
    for key in ("proxy_protocol", "xclient", "xforward", "xfer"):
        yield from network_faults((*path, key), getattr(listen, key))
    yield from _handing_over(path, listen)


def _handing_over(path: Path, listen: Listen) -> Iterator[Fault]:
    """What would make an open relay is a fault, and not left to the administrator's care."""
    if listen.xfer and listen.protocol == "lmtp":
        yield (*path, "xfer"), 'is of use with protocol = "smtp" only'
    for number, text in enumerate(listen.xfer):
        try:
            if text is not None and parse_network(text).prefixlen < WIDEST[parse_network(text).version]:
                yield (*path, "xfer", number), f"{shown(text)} is too wide: whoever is in it could relay through us"
        except ValueError:
            continue  # told already


def _early(path: Path, listen: Listen) -> Iterator[Fault]:
    places = listen.refuse_early
    for number, place in enumerate(places):
        if place is not None and place in places[:number]:
            yield (*path, "refuse_early", number), f"{shown(place)} is there already; each once is allowed"


def _listener_tls(path: Path, listen: Listen, tls: Tls, unreadable: Collection[Path]) -> Iterator[Fault]:
    def is_missing(key: str) -> bool:
        return not getattr(tls, key) and not {("tls",), ("tls", key)} & set(unreadable)

    is_certain = listen.tls in ("required", "implicit")
    if is_certain and is_missing("certificate"):
        yield (*path, "tls"), f'{shown(listen.tls)} given; without tls.certificate "none" or "optional" is allowed'
    if listen.client_certificates == "require":
        if not is_certain:
            # A client that leaves STARTTLS out would get around it.
            yield (*path, "client_certificates"), '"require" given; it needs tls = "required" or "implicit" here'
        if is_missing("client_ca"):
            yield (*path, "client_certificates"), '"require" given; without tls.client_ca "none" or "ask" is allowed'


# ---------------------------------------------------------------------------------------------------------------------
# [tls]


def _certificates(tls: Tls) -> Iterator[Fault]:
    if tls.certificate and not tls.key:
        yield ("tls", "key"), "is missing; tls.certificate needs it"
    if not tls.certificate and (tls.key or tls.extra):
        yield ("tls", "certificate"), f"is missing; {'tls.key' if tls.key else '[[tls.extra]]'} needs it"
    files: list[tuple[Path, str]] = [(("tls", key), getattr(tls, key)) for key in ("certificate", "key", "client_ca")]
    for number, pair in enumerate(tls.extra):
        if pair is not None:
            for key in ("certificate", "key"):
                path = ("tls", "extra", number, key)
                text = getattr(pair, key)
                files.append((path, text))
                if text == "":
                    yield path, "the path of a PEM file is needed"
    yield from ((path, "the path of a PEM file is needed") for path, text in files if text and "\0" in text)
    yield from _repeated(files)


def _repeated(files: list[tuple[Path, str]]) -> Iterator[Fault]:
    """Certificates that are there twice. Keys may be: a certificate can be renewed with the old one."""
    seen: dict[str, Path] = {}
    for path, text in files:
        if path[-1] == "certificate" and text:
            name = os.path.normpath(text)
            if name in seen:
                first = "tls.certificate" if len(seen[name]) == 2 else f"tls.extra[{seen[name][2]}].certificate"
                yield path, f"{shown(text)} is there already, in {first}"
            seen.setdefault(name, path)
