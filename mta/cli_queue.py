"""`mta queue`: questions and orders to the queue manager of a spool, over its socket."""

import importlib
import json
import os
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any, TypeVar

import click

from mta import config_load, ipc, log
from mta.cli_options import config_option
from mta.errors import EX_OK, EX_TEMPFAIL, IpcError

TIMEOUT_S = 30.0  # for the next packet of an answer
NOT_DONE = 1
STATES = ("queued", "active", "waiting", "failed")

T = TypeVar("T")

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, one object a line.")


class Unanswered(IpcError):
    """The queue manager is not there or does not answer: start `mta run`, or try again."""

    exit_code = EX_TEMPFAIL


class Refused(IpcError):
    """The queue manager understood, and said no."""

    exit_code = NOT_DONE


def ask(config_file: str, verb: str, arguments: dict[str, Any] | None = None) -> Iterator[dict[str, Any]]:
    """Put a request to the queue manager; gives the items of its answer as they come.

    Blocks for up to `TIMEOUT_S` for each packet. Raises `ConfigError`, `Unanswered`, `Refused`.
    """
    config = config_load.load(config_file)
    try:
        channel = ipc.connect(os.path.join(config.spool, "qmgr"), ipc.Hello("control", os.getpid()))
    except IpcError as error:
        raise Unanswered(str(error)) from None
    with channel:
        channel.settimeout(TIMEOUT_S)
        _exchange(lambda: channel.send(ipc.encode(ipc.Request(verb, arguments or {}))))
        while True:
            reply = ipc.decode(_exchange(lambda: channel.recv(ipc.PACKET_BYTES)))
            if not isinstance(reply, ipc.Reply):
                raise Unanswered(f"the queue manager answered with {type(reply).__name__}")
            if reply.error:
                raise Refused(reply.error)
            yield from reply.items
            if not reply.more:
                return


def _exchange(step: Callable[[], T]) -> T:
    try:
        result = step()
    except TimeoutError:
        raise Unanswered(f"the queue manager did not answer within {TIMEOUT_S:.0f} s") from None
    except OSError as error:
        raise Unanswered(f"the queue manager went away: {error.strerror}") from None
    if result == b"":
        raise Unanswered("the queue manager went away")
    return result


# ---------------------------------------------------------------------------------------------------------------------
# Output


def _as_json(item: dict[str, Any]) -> str:
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
    return log.printable(value if isinstance(value, bytes) else str(value))


def _nested(value: Any) -> str:
    return f"({_as_text('', value)})" if isinstance(value, dict) else _as_text("", value)


def _as_row(item: dict[str, Any]) -> dict[str, str]:
    return {key.removesuffix("_wall"): _as_text(key, value) for key, value in item.items()}


def _print_list(items: Iterator[dict[str, Any]], *, as_json: bool) -> None:
    if as_json:
        for item in items:
            click.echo(_as_json(item))
    elif sys.stdout.isatty():
        importlib.import_module("mta.cli_table").show(map(_as_row, items))
    else:  # for other programs: a header, then a line a message, columns between tabs
        for number, item in enumerate(map(_as_row, items)):
            if number == 0:
                click.echo("\t".join(item))
            click.echo("\t".join(item.values()))


def _print_one(item: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        click.echo(_as_json(item))
        return
    width = max(map(len, item), default=0)
    for key, text in _as_row(item).items():
        click.echo(f"{key:<{width}}  {text}".rstrip())


# ---------------------------------------------------------------------------------------------------------------------
# Commands


@click.group()
def queue() -> None:
    """Look into the queue, and change it. Needs a running mta."""


@queue.command("list")
@config_option
@json_option
@click.option("--state", type=click.Choice(STATES), help="Only messages in this state.")
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Only the first N.")
def list_(config_file: str, as_json: bool, state: str | None, limit: int | None) -> int:
    """List messages: those on their way and failed ones."""
    _print_list(ask(config_file, "list", {"state": state, "limit": limit}), as_json=as_json)
    return EX_OK


@queue.command()
@config_option
@json_option
@click.argument("queue_id", metavar="ID")
def show(config_file: str, as_json: bool, queue_id: str) -> int:
    """Show one message, and what became of each recipient.

    With --json the first line is the message, each further line a recipient.
    """
    items = ask(config_file, "show", {"id": queue_id})
    _print_one(next(items), as_json=as_json)
    if not as_json:
        click.echo()
    _print_list(items, as_json=as_json)
    return EX_OK


@queue.command()
@config_option
@json_option
def stats(config_file: str, as_json: bool) -> int:
    """Count messages.

    queued: accepted and not yet finished. Of these, active: being delivered; waiting: for their next attempt; held.
    failed: given up, and kept until they are deleted or tried again.
    """
    _print_one(next(ask(config_file, "stats")), as_json=as_json)
    return EX_OK


@queue.command()
@config_option
@json_option
@click.option("--all", "is_all", is_flag=True, help="Every message that waits.")
@click.argument("queue_ids", metavar="[ID]...", nargs=-1)
def retry(config_file: str, as_json: bool, is_all: bool, queue_ids: tuple[str, ...]) -> int:
    """Try messages again now.

    Named by their ids, failed ones too; or all that wait. Ends with 1 when one of them is not in the queue.
    """
    return _change(config_file, "retry", _which(queue_ids, is_all=is_all), as_json=as_json)


@queue.command()
@config_option
@json_option
@click.option("--all", "is_all", is_flag=True, help="The whole queue.")
@click.argument("queue_ids", metavar="[ID]...", nargs=-1)
def delete(config_file: str, as_json: bool, is_all: bool, queue_ids: tuple[str, ...]) -> int:
    """Delete messages for good.

    Named by their ids, or all. Senders are not told. Ends with 1 when one of them is not in the queue.
    """
    return _change(config_file, "delete", _which(queue_ids, is_all=is_all), as_json=as_json)


def _which(queue_ids: tuple[str, ...], *, is_all: bool) -> dict[str, Any]:
    if is_all == bool(queue_ids):
        raise click.UsageError("Give either queue ids or --all.")
    return {"all": True} if is_all else {"ids": list(queue_ids)}


def _change(config_file: str, verb: str, which: dict[str, Any], *, as_json: bool) -> int:
    done = next(ask(config_file, verb, which))
    if as_json:
        _print_one(done, as_json=True)
    else:
        click.echo(f"{done['count']} to be tried again" if verb == "retry" else f"{done['count']} deleted")
    missing = done["missing"]
    for queue_id in missing:
        click.echo(f"mta: {queue_id} is not in the queue", err=True)
    return NOT_DONE if missing else EX_OK
