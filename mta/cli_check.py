"""`mta check`: a configuration, and everything that it names, opened.

mta itself starts without most of that: a program may be installed later, a table may come back. So these faults are
told here alone. Where root asks, and workers run as another user, modes of files are held against that user.
"""

import importlib
import os
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

import click

from mta import config_access, config_load, config_targets, pem, permissions
from mta.cli_options import config_option
from mta.config import Config, Transport
from mta.config_lines import Fault
from mta.config_lines import Path as KeyPath
from mta.dsn import templates
from mta.errors import EX_OK, ConfigError, TableDown
from mta.regular_file import open_regular
from mta.supervisor import certificates, folder
from mta.tables import lines
from mta.tables.password import read_password
from mta.tables.settings import Table

CHECK_FAILED = 1
FILE_BYTES = 1 << 20  # of what is read whole: keys, and authorities (those of an operating system are a quarter)


@click.command()
@config_option
def check(config_file: str) -> int:
    """Check a configuration file.

    Prints every fault as "file:line: what, and what is allowed". Ends with 0 when there is none, with 1 otherwise.
    What the file names is opened as well: certificates, keys, authorities, programs, templates, and the files and
    databases of tables. Do this as the user that starts mta; what is for the user that workers run as is checked for
    that one, as far as modes of files tell. Nobody is asked over the network.
    """
    try:
        config = config_load.load(config_file)
        problems = _named(config, config_file)
    except ConfigError as error:
        problems = error.problems
    for problem in problems:
        click.echo(problem)
    if not problems:
        click.echo(f"{config_file}: fine")
    return CHECK_FAILED if problems else EX_OK


def _named(config: Config, config_file: str) -> list[str]:
    """What is wrong with what a right configuration names."""
    problems = []
    try:
        certificates.check(config, config_file)
    except ConfigError as error:
        problems += error.problems
    files = _Files(config.user, folder.account(config.user))
    found = [*_bounces(config)]
    for name, transport in config.transport.items():
        found += _transport(("transport", name), transport, files)
    for name, table in config.table.items():
        found += _table(("table", name), table, files)
    text = Path(config_file).read_text("utf-8")
    problems += config_load.told([(path, words) for path, words in found if words], text, config_file)
    problems += [fault for table in config.table.values() for fault in lines.check_file(table)]
    problems += config_access.check_files([listen.access for listen in config.listen], config.table)
    problems += config_targets.check_files(config)
    return problems


# ---------------------------------------------------------------------------------------------------------------------
# What names files. The words are empty where all is well.


def _bounces(config: Config) -> Iterator[Fault]:
    place = config.bounces.templates
    if not place:
        return
    path = ("bounces", "templates")
    if not os.path.isdir(place):
        yield path, f"{place}: there is no such folder"
        return
    for problem in templates.read(Path(place))[1]:
        yield path, problem


def _transport(path: KeyPath, transport: Transport, files: "_Files") -> Iterator[Fault]:
    if transport.kind == "pipe":
        yield (*path, "command", 0), files.program(transport.command[0])
    if transport.key_file:
        yield (*path, "key_file"), files.key(transport.key_file)
    if transport.tls_ca:
        yield (*path, "tls_ca"), files.authorities(transport.tls_ca)


def _table(path: KeyPath, table: Table, files: "_Files") -> Iterator[Fault]:
    if table.key_file:
        yield (*path, "key_file"), files.password(table.key_file)
    if table.password_file:
        yield (*path, "password_file"), files.password(table.password_file)
    if table.tls_ca:
        yield (*path, "tls_ca"), files.authorities(table.tls_ca)
    if table.kind in lines.MAKERS and table.path:
        yield (*path, "path"), files.readable(table.path)
    if table.kind == "lmdb":
        faults = importlib.import_module("mta.tables.lmdb_file").check_file(table.path)
        yield (*path, "path"), faults[0] if faults else files.readable(table.path)
    if table.kind == "sqlite":
        key, words = _sqlite(table)
        yield (*path, key), words or files.readable(table.path)


def _sqlite(table: Table) -> tuple[str, str]:
    """Whether there is a database, and whether it understands the query, which is not run: a key, and words."""
    uri = f"file:{quote(table.path)}?mode=ro"
    try:
        with closing(sqlite3.connect(uri, uri=True, timeout=table.timeout_s)) as database:
            database.execute("SELECT count(*) FROM sqlite_master").fetchone()
            try:
                database.execute(f"EXPLAIN {table.query}", ("",))
            except sqlite3.Error as error:
                return "query", f"cannot be asked: {error}"
    except sqlite3.Error as error:
        return "path", f"{table.path}: {error}"
    return "path", ""


# ---------------------------------------------------------------------------------------------------------------------
# Files


class _Files:
    """Opens files, and thinks of the user that workers run as; `account` is None where that is us.

    What it returns is what is wrong, in words that begin with the file; empty where nothing is.
    """

    def __init__(self, user: str, account: folder.Account | None) -> None:
        self._user = user
        self._account = account

    def key(self, file: str) -> str:
        """What requests are signed with."""
        content, words = self._read(file)
        return words or ("" if content.strip() else f"{file}: there is no key in it")

    def password(self, file: str) -> str:
        """What a table shows to be let in."""
        _, words = self._read(file)
        if words:
            return words
        try:
            read_password(file)
        except TableDown as error:
            return error.reason
        return ""

    def authorities(self, file: str) -> str:
        """Certificates."""
        content, words = self._read(file)
        if words:
            return words
        try:
            pem.load_authorities(pem.server_context(), content)
        except pem.PemError as error:
            return f"{file}: {error}"
        return ""

    def readable(self, file: str) -> str:
        """What somebody else opens, who tells as well whether it is there."""
        try:
            return self._refusal(file, permissions.READ)
        except OSError:
            return ""

    def program(self, file: str) -> str:
        """What is to be run."""
        try:
            if not stat.S_ISREG(os.stat(file).st_mode) or not os.access(file, os.X_OK):
                return f"{file}: cannot be run: it is no program"
            return self._refusal(file, permissions.EXECUTE)
        except OSError as error:
            return f"{file}: cannot be run: {error.strerror}"

    def _read(self, file: str) -> tuple[bytes, str]:
        """The content, and what is wrong."""
        try:
            with open_regular(file) as opened:
                return opened.read(FILE_BYTES), self._refusal(file, permissions.READ)
        except OSError as error:
            return b"", f"{file}: cannot be read: {error.strerror}"

    def _refusal(self, file: str, wanted: int) -> str:
        """What keeps the workers' user from a file. Raises `OSError`."""
        if self._account is None:
            return ""
        where = permissions.refusal(file, self._account.uid, self._account.groups, wanted)
        if not where:
            return ""
        if where != file:
            return f"{file}: {self._user} has no way through {where}"
        return f"{file}: {self._user} may not {'read' if wanted == permissions.READ else 'run'} it"
