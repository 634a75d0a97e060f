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
    if key.endswith("_wall") and isinstance(value, int | float):
        return datetime.fromtimestamp(value, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
    if isinstance(value, dict):
        return " ".join(f"{name}={_as_text(name, inner)}" for name, inner in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(_as_text(key, inner) for inner in value)
    return log.printable(value if isinstance(value, bytes) else str(value))


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


def _print_one(items: Iterator[dict[str, Any]], *, as_json: bool) -> None:
    for item in items:
        if as_json:
            click.echo(_as_json(item))
            continue
        width = max(map(len, item), default=0)
        for key, text in _as_row(item).items():
            click.echo(f"{key:<{width}}  {text}")


# ---------------------------------------------------------------------------------------------------------------------
# Commands


@click.group()
def queue() -> None:
    """Look into the queue, and change it. Needs a running mta."""


@queue.command("list")
@config_option
@json_option
def list_(config_file: str, as_json: bool) -> int:
    """List messages: those on their way and failed ones."""
    _print_list(ask(config_file, "list"), as_json=as_json)
    return EX_OK


@queue.command()
@config_option
@json_option
@click.argument("queue_id", metavar="ID")
def show(config_file: str, as_json: bool, queue_id: str) -> int:
    """Show one message: envelope, recipients and what became of each."""
    _print_one(ask(config_file, "show", {"id": queue_id}), as_json=as_json)
    return EX_OK


@queue.command()
@config_option
@json_option
def stats(config_file: str, as_json: bool) -> int:
    """Count messages.

    queued: accepted and not yet finished. Of these, active: being delivered; waiting: for their next attempt; held;
    failed: given up, and kept until they are deleted or tried again.
    """
    _print_one(ask(config_file, "stats"), as_json=as_json)
    return EX_OK


@queue.command()
@config_option
@json_option
@click.argument("queue_ids", metavar="ID...|all", nargs=-1, required=True)
def retry(config_file: str, as_json: bool, queue_ids: tuple[str, ...]) -> int:
    """Try messages again now.

    Those that wait and those that failed, by their queue ids; "all" means every one that waits.
    """
    return _each(config_file, "retry", queue_ids, as_json=as_json)


@queue.command()
@config_option
@json_option
@click.argument("queue_ids", metavar="ID...|all", nargs=-1, required=True)
def delete(config_file: str, as_json: bool, queue_ids: tuple[str, ...]) -> int:
    """Delete messages for good.

    By their queue ids; "all" means the whole queue. Senders are not told.
    """
    return _each(config_file, "delete", queue_ids, as_json=as_json)


def _each(config_file: str, verb: str, queue_ids: tuple[str, ...], *, as_json: bool) -> int:
    """Do something with each id; those that are refused are told on standard error and do not stop the others."""
    code = EX_OK
    for queue_id in queue_ids:
        try:
            _print_one(ask(config_file, verb, {"id": queue_id}), as_json=as_json)
        except Refused as error:
            click.echo(f"mta: {queue_id}: {error}", err=True)
            code = error.exit_code
    return code
