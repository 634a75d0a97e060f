"""A database of LMDB as a table (`lmdb_file` reads it): keys are looked up where they are, without a thread or a cache.

What `postmap` writes into the file is seen with the next key. A file that takes its place is seen within a second.
"""

import os
from collections.abc import Callable

from gevent import sleep

from mta.errors import TableDown
from mta.tables.key import folded
from mta.tables.lmdb_file import Database, Locked, open_database, told

CHECK_S = 1.0
"""Which file has the name is looked at once in so many seconds, at most."""

LOCKED_WAIT_S = 0.005
LOCKED_TRIES = 200  # a second: whoever writes in place keeps readers out for a sync at most


class LmdbTable:
    """The database that has a path; down while there is none, or none that is whole."""

    def __init__(self, path: str, *, clock: Callable[[], float]) -> None:
        """Opens the file where there is one, and blocks on that. `clock` gives monotonic seconds."""
        self._path = path
        self._clock = clock
        self._database: Database | None = None
        self._reason = ""
        self._look()

    def get(self, key: bytes) -> bytes | None:
        """The value, or None; raises `TableDown`. Switches greenlets only while somebody else writes."""
        key = folded(key)
        for _ in range(LOCKED_TRIES):
            if self._clock() >= self._look_at:
                self._look()
            if self._database is None:
                raise TableDown(self._reason)
            try:
                return self._database.get(key)
            except Locked:
                sleep(LOCKED_WAIT_S)
            except OSError as error:
                self._fail(error)
        raise TableDown(f"{self._path}: somebody writes, and does not end")

    def _look(self) -> None:
        self._look_at = self._clock() + CHECK_S
        try:
            status = os.stat(self._path)
            if self._database is None or self._database.identity != (status.st_dev, status.st_ino):
                self._database = open_database(self._path)
        except OSError as error:
            self._fail(error)

    def _fail(self, error: OSError) -> None:
        """Down until the next look, at least."""
        self._database = None
        self._reason = told(self._path, error)
