"""A query of an SQLite database as a table.

The database is opened for reading only, and the query runs in a thread of a small pool. A query that takes longer than
the time allowed, a database that is locked for longer, and all else that SQLite complains of means that the table is
down. Where another file has come in the database's place, the connections to the old one are closed.
"""

import os
import sqlite3
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

from gevent import Timeout
from gevent.threadpool import ThreadPool

from mta.errors import TableDown

THREADS = 4
STEPS = 1000  # of SQLite's machine, between two looks at the clock: some tens of microseconds
GRACE_S = 1.0  # for a disk that does not answer, beyond the time that SQLite itself keeps
VALUE_BYTES = 65536

Identity = tuple[int, int]


class SqliteTable:
    """The first column of the first row that a query finds for a key; no row, or a NULL, is no value."""

    def __init__(self, path: str, query: str, timeout_s: float, *, clock: Callable[[], float]) -> None:
        """`query` has one `?`. Opens nothing yet. `clock` gives monotonic seconds, and may be asked in any thread."""
        self._path = path
        self._query = query
        self._timeout_s = timeout_s
        self._clock = clock
        self._pool: Any = ThreadPool(THREADS)
        self._idle: list[tuple[Identity, sqlite3.Connection]] = []

    def get(self, key: bytes) -> bytes | None:
        """The value, or None; raises `TableDown`. Switches greenlets, for `timeout_s` and a second at most."""
        timeout = Timeout.start_new(self._timeout_s + GRACE_S)
        try:
            return self._pool.apply(self._look_up, (key,))  # type: ignore[no-any-return]
        except Timeout as raised:
            if raised is not timeout:
                raise
            raise TableDown(f"{self._path}: no answer within {self._timeout_s:g} s") from None
        finally:
            timeout.close()

    def _look_up(self, key: bytes) -> bytes | None:
        """In a thread of the pool."""
        give_up_at = self._clock() + self._timeout_s
        try:
            status = os.stat(self._path)
            identity = (status.st_dev, status.st_ino)
            connection = self._connection(identity)
            try:
                connection.set_progress_handler(lambda: self._clock() > give_up_at, STEPS)
                row = connection.execute(self._query, (_parameter(key),)).fetchone()
            except BaseException:
                connection.close()
                raise
            self._idle.append((identity, connection))
            return _value(row[0]) if row else None
        except sqlite3.Error as error:
            raise TableDown(f"{self._path}: {error}") from None
        except OSError as error:
            raise TableDown(f"{self._path}: {error.strerror}") from None

    def _connection(self, identity: Identity) -> sqlite3.Connection:
        while self._idle:
            try:
                opened_as, connection = self._idle.pop()
            except IndexError:  # another thread was quicker
                break
            if opened_as == identity:
                return connection
            connection.close()
        uri = f"file:{quote(self._path)}?mode=ro"
        return sqlite3.connect(
            uri, uri=True, timeout=self._timeout_s, isolation_level=None, check_same_thread=False, cached_statements=4
        )


def _parameter(key: bytes) -> str | bytes:
    try:
        return key.decode()
    except UnicodeDecodeError:
        return key


def _value(value: Any) -> bytes | None:
    if value is None:
        return None
    data = value if isinstance(value, bytes) else str(value).encode("utf-8", "surrogateescape")
    if len(data) > VALUE_BYTES:
        raise TableDown(f"a value of more than {VALUE_BYTES} bytes")
    return data
