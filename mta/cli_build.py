"""`mta table build`: a database of LMDB of the lines of a text file."""

import importlib
import re
import sys
import time
from typing import Any

import click

from mta import config_load
from mta.cli_options import config_option
from mta.errors import EX_OK, ConfigError
from mta.tables.extras import missing
from mta.tables.text import BadTable

BUILD_FAILED = 1
BAR_AFTER_S = 1.0
SUFFIX = ".lmdb"

_NAME = re.compile(r"[A-Za-z0-9_-]+")


@click.command("build")
@config_option
@click.option("--source", metavar="FILE", default="", help="The file with the lines.")
@click.argument("target", metavar="NAME|FILE")
def build(config_file: str, source: str, target: str) -> int:
    """Make a database for a table of kind lmdb.

    NAME is a table of the configuration; its lines are in --source, or in the file that has its path without .lmdb. A
    FILE, which has a dot or a slash in its name, becomes FILE.lmdb, without any configuration. The lines are those of
    a table of kind file.

    The new database takes the place of the old one when it is whole. Ends with 1 when there is none, and prints each
    fault as "file:line: what is wrong" on standard error.
    """
    absent = missing("lmdb")
    if absent:
        raise ConfigError([f"mta table build {absent}"])
    if _NAME.fullmatch(target):
        source, database = _of_table(config_file, target, source)
    else:
        source, database = source or target, target + SUFFIX
    # Only here: not everybody has the package that it needs.
    module = importlib.import_module("mta.tables.lmdb_build")
    bar = _Bar(f"building {database}")
    faults: list[str] = []
    count = 0
    try:
        count = module.build(source, database, bar.update)
    except BadTable as error:
        faults = [f"{source}:{line}: {words}" for line, words in error.faults]
    except module.BuildFailed as error:
        faults = [str(error)]
    finally:
        bar.close()
    for fault in faults:
        click.echo(fault, err=True)
    if faults:
        return BUILD_FAILED
    click.echo(f"{database}: {count} keys")
    return EX_OK


def _of_table(config_file: str, name: str, source: str) -> tuple[str, str]:
    """The text and the database of a table."""
    tables = config_load.load(config_file).table
    if name not in tables:
        raise click.UsageError(f"there is no [table.{name}]; known: {', '.join(tables) or 'none'}")
    table = tables[name]
    if table.kind != "lmdb":
        raise click.UsageError(f"[table.{name}] is of kind {table.kind}, not lmdb")
    if not source and not table.path.endswith(SUFFIX):
        raise click.UsageError(f"--source is needed: the path of [table.{name}] does not end in {SUFFIX}")
    return source or table.path.removesuffix(SUFFIX), table.path


class _Bar:
    """A progress bar on a terminal, for what takes longer than a second."""

    def __init__(self, words: str) -> None:
        self._words = words
        self._begun_at = time.monotonic()
        self._bar: Any = None

    def update(self, seen: int, total: int) -> None:
        if self._bar is None:
            if not sys.stderr.isatty() or time.monotonic() - self._begun_at < BAR_AFTER_S:
                return
            self._bar = importlib.import_module("mta.cli_table").Bar(self._words)
        self._bar.update(seen, total)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()
