"""`mta queue cat`: a message as it would be delivered, and its envelope."""

import importlib
import sys
from collections.abc import Iterable, Iterator
from typing import Any

import click

from mta import config_load, log_text
from mta.cli_ask import Refused, ask
from mta.cli_options import config_option
from mta.cli_output import json_option, print_one
from mta.envelope import Envelope
from mta.errors import EX_OK

HEADER_BYTES = 1048576  # a header that has not ended by then is shown as if it had
LINE_BYTES = 65536  # of a line shown on a terminal at once

_END = b"\r\n\r\n"


@click.command()
@config_option
@json_option
@click.option("--envelope", "is_envelope", is_flag=True, help="The envelope: what SMTP said about it.")
@click.option("--header", "is_header", is_flag=True, help="The header.")
@click.option("--body", "is_body", is_flag=True, help="The body.")
@click.argument("queue_id", metavar="ID")
def cat(config_file: str, is_json: bool, is_envelope: bool, is_header: bool, is_body: bool, queue_id: str) -> int:
    """Print a message as it would be delivered.

    Header and body, unless parts are asked for. Lines end with CR LF. On a terminal, what cannot be printed is escaped.
    --json is for --envelope alone.
    """
    if is_json and (is_header or is_body or not is_envelope):
        raise click.UsageError("--json goes with --envelope, and without --header and --body.")
    message = next(ask(config_file, "show", {"id": queue_id}))
    if "problem" in message:
        raise Refused(message["problem"])
    content = importlib.import_module("mta.cli_offline").Content(
        config_load.load(config_file).spool, message["location"]
    )
    if is_envelope:
        print_one(_facts(message["id"], content.envelope), is_json=is_json)
        if is_header or is_body:
            click.echo()
    if is_header or is_body or not is_envelope:
        both = is_header == is_body
        _write(part(content.chunks(), header=is_header or both, body=is_body or both))
    return EX_OK


def _facts(queue_id: str, envelope: Envelope) -> dict[str, Any]:
    """The envelope, and what was asked for in notifications where anything was."""
    facts: dict[str, Any] = {
        "id": queue_id,
        "sender": log_text.printable(envelope.sender),
        "recipients": [log_text.printable(recipient) for recipient in envelope.recipients],
        "received_wall": envelope.received_wall,
        "client": envelope.client,
        "helo": log_text.printable(envelope.helo),
        "protocol": envelope.protocol,
        "session": envelope.session,
        "eight_bit": envelope.eight_bit,
        "smtputf8": envelope.smtputf8,
        "binary": envelope.binary,
        "require_tls": envelope.require_tls,
    }
    if envelope.via:
        facts["via"] = list(envelope.via)
    if envelope.dsn is not None:
        facts["ret"] = envelope.dsn.ret
        facts["envid"] = log_text.printable(envelope.dsn.envid)
        facts["notify"] = list(envelope.dsn.notify)
        facts["orcpt"] = [log_text.printable(address) for address in envelope.dsn.orcpt]
    return facts


def part(chunks: Iterable[bytes], *, header: bool, body: bool) -> Iterator[bytes]:
    """The header of a message, without the empty line behind it, its body, or all of it, as the pieces come."""
    pieces, held = iter(chunks), b""
    for piece in pieces:
        held += piece
        end = held.find(_END)
        if end >= 0 or len(held) > HEADER_BYTES:
            break
    else:
        end = -1
    head, rest = (held[: end + 2], held[end + len(_END) :]) if end >= 0 else (held, b"")
    if header:
        yield head
    if header and body and end >= 0:
        yield b"\r\n"
    if body:
        yield rest
        yield from pieces


def _write(pieces: Iterator[bytes]) -> None:
    """To standard output, as they are; escaped where that is a terminal, which they could control."""
    sys.stdout.flush()
    if not sys.stdout.isatty():
        for piece in pieces:
            sys.stdout.buffer.write(piece)
        sys.stdout.buffer.flush()
        return
    for line in lines(pieces):
        click.echo("\t".join(map(log_text.printable, line.rstrip(b"\r\n").split(b"\t"))))


def lines(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Pieces as lines with their ends; a line that is too long comes in parts."""
    held = b""
    for piece in pieces:
        *whole, held = (held + piece).splitlines(keepends=True) or [b""]
        if held.endswith(b"\n") or len(held) > LINE_BYTES:
            whole.append(held)
            held = b""
        yield from whole
    if held:
        yield held
