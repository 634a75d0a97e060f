"""A query of an SQLite database as a table.

Each link is a connection to the database, opened for reading only. A query that takes longer than the time allowed, a
database that is locked for longer, and all else that SQLite complains of means that the table is down. Where another
file has come in the database's place, links to the old one are of no more use.
"""

import os
import sqlite3
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

from mta.errors import TableDown
from mta.tables.answer import checked
from mta.tables.threaded import Gone

THREADS = 4
STEPS = 1000  # of SQLite's machine, between two looks at the clock: some tens of microseconds
GRACE_S = 1.0  # for a disk that does not answer, beyond the time that SQLite itself keeps

Identity = tuple[int, int]


class SqliteDatabase:
    """Makes links to the database in a file."""

    def __init__(self, path: str, query: str, timeout_s: float, *, clock: Callable[[], float]) -> None:
        """`query` has one `?`. Opens nothing yet. `clock` gives monotonic seconds, and may be asked in any thread."""
        self.path = path
        self.query = query
        self.timeout_s = timeout_s
        self.clock = clock

    def connect(self, _watch: Callable[[int], None]) -> "SqliteLink":
        """A new link, which has no socket to be told. Raises `TableDown`. Blocks on the disk."""
        identity = self.identity()
        uri = f"file:{quote(self.path)}?mode=ro"
        try:
            connection = sqlite3.connect(
                uri,
                uri=True,
                timeout=self.timeout_s,
                isolation_level=None,
                check_same_thread=False,
                cached_statements=4,
            )
        except sqlite3.Error as error:
            raise TableDown(str(error)) from None
        return SqliteLink(self, connection, identity)

    def identity(self) -> Identity:
        """Which file it is now. Raises `TableDown`."""
        try:
            status = os.stat(self.path)
        except OSError as error:
            raise TableDown(error.strerror or str(error)) from None
        return status.st_dev, status.st_ino


class SqliteLink:
    """A connection to the file that had the path when it was made."""

    def __init__(self, database: SqliteDatabase, connection: sqlite3.Connection, identity: Identity) -> None:
        self._database = database
        self._connection = connection
        self._identity = identity

    def ask(self, key: bytes) -> bytes | None:
        """The first column of the first row; None where there is no row, or a NULL. Raises `TableDown` or `Gone`.

        Blocks, for the time allowed.
        """
        database = self._database
        if database.identity() != self._identity:
            raise Gone("another file has come in its place")
        give_up_at = database.clock() + database.timeout_s
        self._connection.set_progress_handler(lambda: database.clock() > give_up_at, STEPS)
        try:
            row = self._connection.execute(database.query, (_parameter(key),)).fetchone()
        except sqlite3.Error as error:
            raise TableDown(str(error)) from None
        return _value(row[0]) if row else None

    def close(self) -> None:
        """Close it."""
        self._connection.close()


def _parameter(key: bytes) -> str | bytes:
    try:
        return key.decode()
    except UnicodeDecodeError:
        return key


def _value(value: Any) -> bytes | None:
    if value is None:
        return None
    return checked(value if isinstance(value, bytes) else str(value).encode("utf-8", "surrogateescape"))
