"""Options that say which messages a command is about, and how ages and sizes are written."""

import re
from collections.abc import Callable
from typing import Any, TypeVar

import click

from mta.smtp.address import parse_domain

STATES = ("queued", "active", "waiting", "held", "failed")

_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_BYTES = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}
_AGE = re.compile(r"(?:\d+[smhdw])+|\d+", re.ASCII)
_SIZE = re.compile(r"(\d+)([kmg]?)", re.ASCII)

Command = TypeVar("Command", bound=Callable[..., Any])


def parse_age(text: str) -> int:
    """Seconds of an age such as 3h, 2d or 1d12h; raises `ValueError`."""
    if not _AGE.fullmatch(text.lower()):
        raise ValueError(f"{text!r} is no age: use 90s, 5m, 3h, 2d, 1w or 1d12h")
    parts = re.findall(r"(\d+)([smhdw]?)", text.lower())
    return _bounded(sum(int(number) * _SECONDS[unit] for number, unit in parts))


def parse_size(text: str) -> int:
    """Bytes of a size such as 500, 10k, 5M or 1G (of 1024); raises `ValueError`."""
    match = _SIZE.fullmatch(text.lower())
    if match is None:
        raise ValueError(f"{text!r} is no size: use 500, 10k, 5M or 1G")
    return _bounded(int(match[1]) * _BYTES[match[2]])


def _bounded(number: int) -> int:
    if number >= 1 << 62:
        raise ValueError("the number is too large")
    return number


class _Parsed(click.ParamType[int]):
    """A parameter that one of the functions above reads."""

    def __init__(self, name: str, parse: Callable[[str], int]) -> None:
        self.name = name
        self._parse = parse

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        try:
            return self._parse(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


AGE, _size = _Parsed("age", parse_age), _Parsed("size", parse_size)

_OPTIONS = (
    click.option("--sender", multiple=True, metavar="PATTERN", help="From this address; <> is the null sender."),
    click.option("--recipient", multiple=True, metavar="PATTERN", help="To this address."),
    click.option("--domain", multiple=True, metavar="PATTERN", help="To somebody in this domain."),
    click.option("--older", "older_s", type=AGE, metavar="AGE", help="Accepted at least that long ago: 90s, 3h, 2d."),
    click.option("--younger", "younger_s", type=AGE, metavar="AGE", help="Accepted less long ago."),
    click.option("--larger", "larger_bytes", type=_size, metavar="SIZE", help="More bytes than that: 500, 10k, 5M."),
    click.option("--smaller", "smaller_bytes", type=_size, metavar="SIZE", help="Fewer bytes than that."),
    click.option(
        "--reason", multiple=True, metavar="TEXT", help="Why it waits or failed: part of the text, or of a code (4.2)."
    ),
    click.option("--transport", multiple=True, metavar="NAME", help="To somebody whose mail takes this transport."),
    click.option("--state", type=click.Choice(STATES), help="In this state."),
)


def filter_options(command: Command) -> Command:
    """Add the filters to a command, which gets them as keyword arguments; `chosen` makes a request of these."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def chosen(filters: dict[str, Any]) -> dict[str, Any]:
    """The filters that were given, as a request names them."""
    given = {name: list(value) if isinstance(value, tuple) else value for name, value in filters.items()}
    given = {name: value for name, value in given.items() if value not in (None, [])}
    if "domain" in given:
        given["domain"] = [form for text in given["domain"] for form in _domain_forms(text)]
    return given


def _domain_forms(text: str) -> list[str]:
    """A domain as it may stand in an address: as it is written, and in A-labels."""
    forms = [text]
    if not text.isascii() and "*" not in text:
        try:
            forms.append(parse_domain(text.encode()).decode())
        except ValueError as error:
            raise click.UsageError(f"--domain: {error}") from None
    return forms
