"""What the [transport] tables mean, alone: the faults that types cannot tell.

As in `mta.config_check`, what could not be read is `None` or has its default, and must not bring up further faults.
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from msgspec.structs import fields, replace

from mta.config import Transport
from mta.config_lines import Fault
from mta.config_lines import Path as KeyPath
from mta.config_text import absolute, shown
from mta.endpoint import Unix, parse_next_hop, parse_url

PLACEHOLDERS = ("domain", "local")  # of a path
TEXT_CHARACTERS = 200  # of a text that goes into logs and notices

# Which kinds of transport need a key, and which may have it. Keys that are not here may stand anywhere.
NEEDED_BY = {"path": ("maildir", "mbox"), "host": ("lmtp",), "command": ("pipe",), "url": ("http",)}
USED_BY = {
    **NEEDED_BY,
    "host": ("lmtp", "smtp"),
    "tls": ("lmtp", "smtp"),
    "tls_name": ("lmtp", "smtp"),
    "tls_ca": ("lmtp", "smtp", "http"),
    "mta_sts": ("smtp",),
    "format": ("http",),
    "key_file": ("http",),
    "per": ("pipe",),
    "envelope_fields": ("pipe",),
    "line_end": ("pipe",),
    "code": ("fail",),
    "text": ("fail",),
}
SHELLS = ("sh", "bash", "dash", "ash", "ksh", "mksh", "zsh", "csh", "tcsh", "fish", "busybox")
ARGUMENTS = ("sender", "recipient", "local", "domain", "queue_id", "size")  # what may stand in braces in a command
THREADS = 1000  # one for each of concurrency

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_HOST = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.:-]{0,251}[A-Za-z0-9_])?")
_CODE = re.compile(r"[45]\.[0-9]{1,3}\.[0-9]{1,3}")
_LINE = re.compile(rf"[ -~]{{1,{TEXT_CHARACTERS}}}")
_ARGUMENT = re.compile(r"\{([a-z_]+)\}")
_DEFAULTS = {field.name: field.default for field in fields(Transport)} | {"command": []}


def check(transports: dict[str, Transport | None]) -> Iterator[Fault]:
    """All faults of the readable transports. Does no I/O."""
    for name, transport in transports.items():
        if not _NAME.fullmatch(name):
            yield ("transport", name), "letters, digits, - and _ are allowed in a name, 64 at most"
        if transport is not None:
            yield from _transport(("transport", name), transport)


def placed(transport: Transport, folder: Path) -> Transport:
    """With absolute paths, against the folder of the configuration file."""
    changes: dict[str, Any] = {}
    if transport.path:
        changes["path"] = absolute(folder, transport.path)
    if transport.tls_ca:
        changes["tls_ca"] = absolute(folder, transport.tls_ca)
    if transport.key_file:
        changes["key_file"] = absolute(folder, transport.key_file)
    if transport.host:
        hop = parse_next_hop(transport.host)
        if isinstance(hop, Unix):
            changes["host"] = f"unix:{absolute(folder, hop.path)}"
    return replace(transport, **changes) if changes else transport


def _transport(path: KeyPath, transport: Transport) -> Iterator[Fault]:
    for key, kinds in USED_BY.items() if transport.kind else ():
        is_set = getattr(transport, key) != _DEFAULTS[key]
        if transport.kind in NEEDED_BY.get(key, ()) and not is_set:
            yield (*path, key), f"is missing; kind {transport.kind} needs it"
        elif transport.kind not in kinds and is_set:
            yield (*path, key), f"is of no use with kind {transport.kind}; it is for {', '.join(kinds)}"
    if transport.kind == "mbox" and transport.path.endswith("/"):
        yield (*path, "path"), f"{shown(transport.path)} given; the path of a file is needed"
    if transport.path:
        yield from _template((*path, "path"), transport.path)
    if transport.host:
        try:
            parse_next_hop(transport.host)
        except ValueError as error:
            yield (*path, "host"), f"{shown(transport.host)} given; {error} is allowed"
    yield from _tls(path, transport)
    if transport.kind == "pipe":
        yield from _command((*path, "command"), transport.command)
    if transport.kind in ("pipe", "http") and transport.concurrency > THREADS:
        words = f"{transport.concurrency} given; up to {THREADS} is allowed with kind {transport.kind}"
        yield (*path, "concurrency"), words
    if transport.url:
        yield from _url(path, transport)
    if not _CODE.fullmatch(transport.code):
        yield (*path, "code"), f'{shown(transport.code)} given; a status code like "5.1.1" or "4.2.1" is allowed'
    if not _LINE.fullmatch(transport.text):
        yield (*path, "text"), f"{shown(transport.text)} given; ASCII, {TEXT_CHARACTERS} characters at most, is allowed"


def _tls(path: KeyPath, transport: Transport) -> Iterator[Fault]:
    if transport.tls_name and not _HOST.fullmatch(transport.tls_name):
        yield (*path, "tls_name"), f"{shown(transport.tls_name)} is no host name and no IP address"
    has_policies = transport.kind == "smtp" and not transport.host and transport.mta_sts and transport.tls != "none"
    if transport.kind != "http" and transport.tls_ca and transport.tls != "verify" and not has_policies:
        yield (*path, "tls_ca"), 'is of use with tls = "verify" only, or with mta_sts where there is no host'
    if transport.kind == "smtp" and transport.host and not transport.mta_sts:
        yield (*path, "mta_sts"), "is of no use with a host; it is for the MX of domains"
    if transport.tls == "verify" and transport.host.startswith("unix:") and not transport.tls_name:
        yield (*path, "tls_name"), 'is missing; tls = "verify" needs it with a unix socket'


def _template(path: KeyPath, template: str) -> Iterator[Fault]:
    plain = template
    for placeholder in PLACEHOLDERS:
        plain = plain.replace(f"{{{placeholder}}}", "")
    if "{" in plain or "}" in plain:
        yield path, f"{shown(template)} has braces around something else than {' or '.join(PLACEHOLDERS)}"
    first = min((template.find(f"{{{name}}}") for name in PLACEHOLDERS if f"{{{name}}}" in template), default=-1)
    if first >= 0 and {".", ".."} & set(template[first:].split("/")):
        yield path, f"{shown(template)}: neither . nor .. is allowed behind a placeholder"


def _url(path: KeyPath, transport: Transport) -> Iterator[Fault]:
    try:
        url = parse_url(transport.url)
    except ValueError as error:
        yield (*path, "url"), f"{shown(transport.url)} given; {error} is allowed"
        return
    if transport.tls_ca and not url.is_tls:
        yield (*path, "tls_ca"), "is of use with https:// only"


def _command(path: KeyPath, command: Sequence[str | None]) -> Iterator[Fault]:
    program = command[0] if command else None
    if program is not None and (not program.startswith("/") or _ARGUMENT.search(program)):
        yield (*path, 0), f"{shown(program)} given; the absolute path of a program is needed"
    for number, argument in enumerate(command):
        if argument is None:
            continue
        if "\0" in argument:
            yield (*path, number), "no NUL is allowed"
        found = [match[1] for match in _ARGUMENT.finditer(argument)] if number else []
        for name in found:
            if name not in ARGUMENTS:
                known = ", ".join(f"{{{each}}}" for each in ARGUMENTS)
                yield (*path, number), f"{shown(argument)} has {{{name}}}; what is replaced is {known}"
        if set(found) & set(ARGUMENTS) and _is_script(program, command[number - 1]):
            yield (
                (*path, number),
                f'{{{found[0]}}} in a script would be run as a part of it; add it as an argument, use "$1"',
            )


def _is_script(program: str | None, option: str | None) -> bool:
    """Whether the argument behind `option` is read by a shell as a script."""
    is_shell = program is not None and program.rpartition("/")[2] in SHELLS
    return is_shell and option is not None and re.fullmatch(r"-[a-z]*c", option) is not None
