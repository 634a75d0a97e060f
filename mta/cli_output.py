"""How answers are printed: JSON for programs, tables for people, columns between tabs for everything else."""

import importlib
import json
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import click

from mta import log_text

Item = dict[str, Any]

json_option = click.option("--json", "is_json", is_flag=True, help="Print JSON, one object a line.")


def as_json(item: Item) -> str:
    """ASCII only, so that nothing of what peers sent reaches a terminal as it is."""
    return json.dumps(item, default=lambda value: bytes(value).decode("utf-8", "surrogateescape"))


def _as_text(key: str, value: Any) -> str:
    """One value for people: times in UTC, lists with commas, texts of peers escaped."""
    if value is None:
        return ""
    if key.endswith("_wall") and isinstance(value, int | float):
        return datetime.fromtimestamp(value, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
    if isinstance(value, dict):
        return ", ".join(f"{name} {_nested(inner)}" for name, inner in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(_as_text(key, inner) for inner in value)
    return log_text.printable(value if isinstance(value, bytes) else str(value))


def _nested(value: Any) -> str:
    return f"({_as_text('', value)})" if isinstance(value, dict) else _as_text("", value)


def as_row(item: Item) -> dict[str, str]:
    """An item with its values as people read them."""
    return {key.removesuffix("_wall"): _as_text(key, value) for key, value in item.items()}


def print_list(items: Iterator[Item], *, is_json: bool) -> None:
    """Many items of one kind, as they come; a table when all are there."""
    if is_json:
        for item in items:
            click.echo(as_json(item))
    elif sys.stdout.isatty():
        importlib.import_module("mta.cli_table").show(map(as_row, items))
    else:  # for other programs: a header, then a line a message, columns between tabs
        for number, item in enumerate(map(as_row, items)):
            if number == 0:
                click.echo("\t".join(item))
            click.echo("\t".join(item.values()))


def print_one(item: Item, *, is_json: bool) -> None:
    """One item, a line for each of its keys."""
    if is_json:
        click.echo(as_json(item))
        return
    width = max(map(len, item), default=0)
    for key, text in as_row(item).items():
        click.echo(f"{key:<{width}}  {text}".rstrip())
