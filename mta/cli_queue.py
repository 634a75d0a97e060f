"""`mta queue`: looking into the queue, and orders that change it.

The exit code is 0 when all was done, `NOT_DONE` when something named is not in the queue, EX_TEMPFAIL when nobody
answers; docs/operations.md has them all.
"""

import sys
from collections.abc import Callable
from typing import Any

import click

from mta.cli_ask import NOT_DONE, ask
from mta.cli_cat import cat
from mta.cli_filters import chosen, filter_options
from mta.cli_options import config_option
from mta.cli_output import as_json, json_option, print_list, print_one
from mta.errors import EX_OK

SHAPE_LIMIT = 50  # names told, unless somebody wants another number


@click.group()
def queue() -> None:
    """Look into the queue, and change it.

    Asks the running mta; while it does not run, works on the spool itself.
    """


@queue.command("list")
@config_option
@json_option
@filter_options
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Only the first N.")
def list_(config_file: str, is_json: bool, limit: int | None, **filters: Any) -> int:
    """List messages: those on their way, held and failed ones.

    Of several filters all must hold; of one given several times, one value. In patterns * stands for anything.
    """
    wanted = chosen(filters) | ({"limit": limit} if limit is not None else {})
    words = "" if is_json or not sys.stdout.isatty() else "looking"
    print_list(ask(config_file, "list", wanted, words=words), is_json=is_json)
    return EX_OK


@queue.command()
@config_option
@json_option
@click.argument("queue_id", metavar="ID")
def show(config_file: str, is_json: bool, queue_id: str) -> int:
    """Show one message, and what became of each recipient.

    With --json the first line is the message, each further line a recipient.
    """
    items = ask(config_file, "show", {"id": queue_id})
    print_one(next(items), is_json=is_json)
    if not is_json:
        click.echo()
    print_list(items, is_json=is_json)
    return EX_OK


queue.add_command(cat)


@queue.command()
@config_option
@json_option
@click.option(
    "--by",
    type=click.Choice(["domain", "sender", "transport"]),
    help="Recipients by their domain, by the sender's, or by transport, and age.",
)
@filter_options
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help=f"Only N names; {SHAPE_LIMIT} if not given.")
def stats(config_file: str, is_json: bool, by: str | None, limit: int | None, **filters: Any) -> int:
    """Count messages.

    queued: accepted and not yet finished. Of these, active: being delivered; waiting: for their next attempt; held.
    failed: given up, and kept until they are deleted or tried again.

    With --by: a table of recipients that have not got their message, by name and minutes since acceptance, for the
    messages that all filters let through.
    """
    wanted = chosen(filters)
    if by is not None:
        request = wanted | {"by": by, "limit": limit or SHAPE_LIMIT}
        print_list(ask(config_file, "shape", request, words="counting"), is_json=is_json)
    elif wanted or limit:
        raise click.UsageError("Filters and --limit go with --by.")
    else:
        print_one(next(ask(config_file, "stats")), is_json=is_json)
    return EX_OK


# ---------------------------------------------------------------------------------------------------------------------
# Orders


def _order(function: Callable[..., int]) -> click.Command:
    """A command for an order: the options that all of them have, and the end of the help text."""
    function.__doc__ = f"""{function.__doc__}

    Named by ids, or by filters, of which all must hold, or --all. Ends with 1 when an id is not in the queue.
    """
    for decorate in (
        click.argument("queue_ids", metavar="[ID]...", nargs=-1),
        filter_options,
        click.option("--all", "is_all", is_flag=True, help="Every message that the order can concern."),
        json_option,
        config_option,
    ):
        function = decorate(function)
    return queue.command()(function)


@_order
def hold(**options: Any) -> int:
    """Hold messages: they stay in the queue until they are released.

    A delivery that has begun may end; recipients that have not got the message then are held. Held messages do not
    expire.
    """
    return _change("hold", "held", **options)


@_order
def release(**options: Any) -> int:
    """Release held messages: they are delivered as soon as may be."""
    return _change("release", "released", **options)


@_order
def retry(**options: Any) -> int:
    """Try messages again now, which wait for their next attempt.

    Failed ones too, where they are named, or with --state failed.
    """
    return _change("retry", "to be tried again", **options)


@_order
def delete(**options: Any) -> int:
    """Delete messages for good. Senders are not told."""
    return _change("delete", "deleted", **options)


@_order
def expire(**options: Any) -> int:
    """Give messages up now, as if their lifetime had ended."""
    return _change("expire", "expired", **options)


@_order
def bounce(**options: Any) -> int:
    """Give messages up now and tell their senders, whatever the configuration says.

    Failed ones too, where they are named, or with --state failed.
    """
    return _change("bounce", "returned", **options)


@click.option("--to", required=True, metavar="NAME", help="The transport.")
def move(**options: Any) -> int:
    """Send messages by another transport from now on, whatever the routes say.

    It must be in the configuration that mta runs with. Messages that wait are tried at once. Failed ones are moved
    where they are named, or with --state failed; try them again after that.
    """
    return _change("move", f"moved to {options['to']}", **options)


queue.add_command(_order(move), "move")


def _change(
    verb: str, words: str, *, config_file: str, is_json: bool, is_all: bool, queue_ids: tuple[str, ...], **options: Any
) -> int:
    target = {"to": options.pop("to")} if verb == "move" else {}
    filters = chosen(options)
    if is_all and queue_ids:
        raise click.UsageError("Give either queue ids or --all.")
    if not (is_all or queue_ids or filters):
        raise click.UsageError("Give queue ids, filters, or --all.")
    which: dict[str, Any] = {"ids": list(queue_ids)} if queue_ids else {"all": True} if is_all else {}
    done = next(ask(config_file, verb, which | filters | target, words=verb))
    click.echo(as_json(done) if is_json else f"{done['count']} {words}")
    for queue_id in done["missing"]:
        click.echo(f"mta: {queue_id} is not in the queue", err=True)
    for queue_id in done["unchanged"]:
        click.echo(f"mta: {queue_id} stays as it is", err=True)
    return NOT_DONE if done["missing"] else EX_OK
