"""`mta trace`: the life of a message, or of a session, as the log tells it."""

import os
import shutil
import sys
import tempfile
from collections.abc import Collection, Iterator
from contextlib import nullcontext
from datetime import datetime
from typing import IO, Any, NamedTuple

import click

from mta import config_load
from mta.cli_ask import NOT_DONE
from mta.cli_options import config_option
from mta.cli_output import as_json, json_option
from mta.errors import EX_OK
from mta.log_reader import Record, open_log, records

STANDARD_INPUT = "-"

# What people are told of an event; what is not here is told as it stands in the log.
_WORDS = {
    "connect": "{client} on {listener}",
    "tls": "{version} {cipher}, name {server_name}, client's certificate {fingerprint}, verified {verified}",
    "tls_failed": "{reason}",
    "refused": "at {stage} {to}, from <{sender}>: {reply}",
    "queued": "from <{sender}>, recipients {recipients}, bytes {size_bytes}, {seconds} s after MAIL",
    "delivered": "to <{to}> by {transport} {relay}, {delay_s} s after arrival: {text}",
    "deferred": "to <{to}> by {transport} {relay}, {delay_s} s after arrival: {code} {text}",
    "failed": "to <{to}> by {transport} {relay}, {delay_s} s after arrival: {code} {text}",
    "bounced": "{kind} to <{to}> as message {bounce}",
    "not_bounced": "nobody is told, not <{to}>: {reason}",
    "moved": "to transport {transport}",
    "taken_over": "from another node, where it was message {there}, {age_s} s after it had come there",
    "disconnect": "{reason}, messages {messages}, commands {commands}, {seconds} s",
}
_ALWAYS = ("time", "process", "event", "queue", "session")


@click.command()
@config_option
@json_option
@click.argument("name", metavar="ID")
@click.argument("files", metavar="[LOG]...", nargs=-1)
def trace(config_file: str, is_json: bool, name: str, files: tuple[str, ...]) -> int:
    """Tell the life of a message, or of a session.

    By its queue id: the connection it came by, what was refused there, its attempts and deliveries, its end. By a
    session id: all of the session, and what became of its messages. Reads log.file, and LOG, rotated files for example,
    also compressed ones (.gz); - is standard input. Ends with 1 when nothing is found.
    """
    found = gather(paths(config_load.load(config_file).log.file, files), name)
    begun = None
    for record in found:
        if is_json:
            click.echo(as_json(record))
            continue
        at = _moment(record)
        begun = begun or at
        click.echo(f"{record['time']}  {_since(begun, at)}  {record['event']:<11}  {told(record, name)}".rstrip())
    if not found:
        click.echo(f"mta: nothing of {name!r} in the log", err=True)
    return EX_OK if found else NOT_DONE


def paths(log_file: str, files: tuple[str, ...]) -> list[str]:
    """Every file of the log once: the one configured, and those named. Raises `UsageError` where there is none."""
    found = {os.path.realpath(path) if path != STANDARD_INPUT else path: path for path in files}
    if log_file:
        found.setdefault(os.path.realpath(log_file), log_file)
    if not found:
        raise click.UsageError("log.file is not set: name the files, or - for standard input.")
    return list(found.values())


def read_lines(paths: list[str], wanted: Collection[str]) -> Iterator[Record]:
    """The records that have one of some texts in their lines, as the files have them; each is read once.

    Raises `LogError`.
    """
    for path in paths:
        with nullcontext(sys.stdin.buffer) if path == STANDARD_INPUT else open_log(path) as file:
            for _, record in records(file, wanted):
                yield record


def gather(paths: list[str], name: str) -> list[Record]:
    """The records about a queue id or a session id, in order of time; every file is read twice. Raises `LogError`."""
    with tempfile.TemporaryFile() as kept:
        if STANDARD_INPUT in paths:
            shutil.copyfileobj(sys.stdin.buffer, kept)
        about = list(_read(paths, kept, [name]))
        found = [placed for placed in about if placed.record.get("queue") == name]
        if found:
            sessions = {str(placed.record["session"]) for placed in found if placed.record.get("session")}
            others = _read(paths, kept, sessions)
            found += [one for one in others if one.record.get("session") in sessions and not one.record.get("queue")]
        else:
            found = [placed for placed in about if placed.record.get("session") == name]
            queue_ids = {str(placed.record["queue"]) for placed in found if placed.record.get("queue")}
            others = _read(paths, kept, queue_ids)
            found += [
                one for one in others if one.record.get("queue") in queue_ids and one.record.get("session") != name
            ]
    return [placed.record for placed in sorted(found, key=lambda placed: placed[:3])]


class _Placed(NamedTuple):
    """A record and where it stood. Lines of one millisecond keep their order."""

    time: str
    file: int
    line: int
    record: Record


def _read(paths: list[str], kept: IO[bytes], wanted: Collection[str]) -> Iterator[_Placed]:
    """The records that have one of some texts in their lines; `kept` is what standard input was."""
    for number, path in enumerate(paths if wanted else ()):
        if path == STANDARD_INPUT:
            kept.seek(0)
        with nullcontext(kept) if path == STANDARD_INPUT else open_log(path) as file:
            for line, record in records(file, wanted):
                yield _Placed(str(record["time"]), number, line, record)


def told(record: Record, name: str) -> str:
    """What a record says, for people; with its queue id where that is not the one that was asked for."""
    words = _WORDS.get(str(record["event"]))
    if words is None:
        text = " ".join(f"{key}={value}" for key, value in record.items() if key not in _ALWAYS)
    else:
        text = words.format_map(_Fields(record)).replace("  ", " ")
    queue_id = record.get("queue")
    return f"[{queue_id}] {text}" if queue_id and queue_id != name else text


class _Fields(dict[str, Any]):
    """The fields of a record; those that its line did not have are empty."""

    def __missing__(self, key: str) -> str:
        return ""


def _moment(record: Record) -> datetime | None:
    try:
        return datetime.fromisoformat(str(record["time"]))
    except ValueError:
        return None


def _since(begun: datetime | None, at: datetime | None) -> str:
    """Seconds since the first record."""
    return f"{(at - begun).total_seconds():+10.3f}" if begun and at else " " * 10
