"""`mta table`: what a table of the configuration says. Asks it as the SMTP workers do; needs no running mta."""

import importlib
import json
import os

import click

from mta import config_load, log_text
from mta.cli_options import config_option
from mta.config_access import STAGES
from mta.errors import EX_OK
from mta.smtp.actions import BadAction, Stage, parse_action
from mta.tables.access_keys import keys_of
from mta.tables.key import folded, recipient_keys

NOT_FOUND = 1


@click.group()
def table() -> None:
    """Look into the tables of the configuration."""


@table.command("get")
@config_option
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object: table, key, and value (null for none).")
@click.option("--recipient", "is_recipient", is_flag=True, help="KEY is an address: ask for all that may stand for it.")
@click.option("--access", "stage", type=click.Choice(STAGES), help="KEY is that: ask as [access] does.")
@click.argument("name", metavar="NAME")
@click.argument("key", metavar="KEY")
def get(config_file: str, as_json: bool, is_recipient: bool, stage: Stage | None, name: str, key: str) -> int:
    """Print the value that the table [table.NAME] has for KEY.

    With --recipient it is asked for as a recipient is: with its extension (domains.extension), without it, and as
    @domain. With --access it is asked for as an access table is: for larger and larger parts of the address of a
    client, of the name in HELO, of a sender (<> is the null sender) or of a recipient. Ends with 0 when there is a
    value, even an empty one; with 1 when there is none; with 75 when the table is down.
    """
    if is_recipient and stage is not None:
        raise click.UsageError("--recipient and --access do not go together")
    config = config_load.load(config_file)
    if name not in config.table:
        raise click.UsageError(f"there is no [table.{name}]; known: {', '.join(config.table) or 'none'}")
    # Only here: the supervisor is started by this program, too, and must not load gevent, which tables need.
    opened = importlib.import_module("mta.tables.book").open_table(name, config.table[name], _ignore)
    keys = [os.fsencode(key)]
    if is_recipient:
        local, _, domain = os.fsencode(key).rpartition(b"@")
        keys = list(recipient_keys(local, folded(b"@" + domain)[1:], config.domains.extension.encode()))
    elif stage is not None:
        about = b"" if key == "<>" else os.fsencode(key)
        keys = list(keys_of(stage, config.table[name].kind, config.domains.extension.encode())(about))
    for asked in keys:
        value = opened.get(asked)
        if value is not None:
            _print(name, asked, value, as_json=as_json)
            if stage is not None:
                _judge(value, stage)
            return EX_OK
    if as_json:
        _print(name, keys[0], None, as_json=True)
    return NOT_FOUND


def _ignore(text: str, **fields: object) -> None:
    """What a table has to report comes with its failure, too."""


def _judge(value: bytes, stage: Stage) -> None:
    try:
        parse_action(value, stage)
    except BadAction as error:
        click.echo(f"mta: the value {error}; such mail is put off", err=True)


def _print(name: str, key: bytes, value: bytes | None, *, as_json: bool) -> None:
    if not as_json:
        click.echo(log_text.printable(value or b""))
        return
    text = None if value is None else value.decode("utf-8", "surrogateescape")
    click.echo(json.dumps({"table": name, "key": key.decode("utf-8", "surrogateescape"), "value": text}))
