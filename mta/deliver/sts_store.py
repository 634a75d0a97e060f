"""Policies on disk, for all delivery workers of a spool: what was promised once must outlive a restart, or else whoever
cuts us off from the server of a policy only has to wait.

An SQLite database, `policies.db` in the folder `sts` of the spool, made by the first worker that needs it. Any worker
reads and writes; each policy is one row, and what SQLite has committed is on disk. A damaged database is put aside, and
policies are fetched again.
"""

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from mta.deliver.sts_policy import Policy
from mta.errors import SpoolError

KEPT = 100_000  # policies; some 300 bytes each. Beyond it those go that were to be forgotten first
BUSY_S = 5.0  # wait for another worker's commit

VERSION = 1  # of the database; where it has another, tables are made that are not there

_SCHEMA = f"""
CREATE TABLE IF NOT EXISTS policy (
    domain BLOB PRIMARY KEY, id TEXT NOT NULL, fetched_wall REAL NOT NULL, expires_wall REAL NOT NULL,
    policy BLOB NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS by_expiry ON policy (expires_wall);
PRAGMA user_version = {VERSION};
"""


class Kept(NamedTuple):
    """A policy that was fetched: under which id, and when (wall clock)."""

    id: str
    fetched_wall: float
    policy: Policy

    @property
    def expires_wall(self) -> float:
        """When it is good no longer, if it is not fetched again before."""
        return self.fetched_wall + self.policy.max_age_s


class StoreError(SpoolError):
    """Policies cannot be read or kept. Mail goes on; they are good for as long as this process lives."""


class Store:
    """The database. Its methods block, and may be called in any thread; they raise `StoreError`."""

    def __init__(self, folder: Path, *, kept: int = KEPT) -> None:
        """`folder` is made when there is something to write; the one around it is there."""
        self._path = folder / "policies.db"
        self._kept = kept

    def get(self, domain: bytes) -> Kept | None:
        """What is kept for a domain, expired or not."""
        if not self._path.exists():
            return None
        query = "SELECT id, fetched_wall, policy FROM policy WHERE domain = ?"
        row = self._with(lambda database: database.execute(query, (domain,)).fetchone())
        if row is None:
            return None
        try:
            return Kept(row[0], row[1], msgspec.msgpack.decode(row[2], type=Policy))
        except msgspec.MsgspecError:  # of another version: to be fetched anew
            return None

    def put(self, domain: bytes, kept: Kept) -> None:
        """Keep a policy in place of what there was; those that had expired when it was fetched go."""
        try:
            _make(self._path.parent)
        except OSError as error:
            raise StoreError(f"{self._path.parent}: {error.strerror}") from None
        row = (domain, kept.id, kept.fetched_wall, kept.expires_wall, msgspec.msgpack.encode(kept.policy))
        self._with(lambda database: self._write(database, row))

    def _write(self, database: sqlite3.Connection, row: tuple[Any, ...]) -> None:
        fetched_wall = row[2]
        database.execute("BEGIN IMMEDIATE")
        database.execute("INSERT OR REPLACE INTO policy VALUES (?, ?, ?, ?, ?)", row)
        database.execute("DELETE FROM policy WHERE expires_wall < ?", (fetched_wall,))
        (count,) = database.execute("SELECT count(*) FROM policy").fetchone()
        if count > self._kept:
            first = "SELECT domain FROM policy ORDER BY expires_wall LIMIT ?"
            database.execute(f"DELETE FROM policy WHERE domain IN ({first})", (count - self._kept,))
        database.execute("COMMIT")

    def _with(self, work: Callable[[sqlite3.Connection], Any]) -> Any:
        """What `work` makes of a connection, which is closed behind it."""
        try:
            with closing(sqlite3.connect(self._path, timeout=BUSY_S, isolation_level=None)) as database:
                if database.execute("PRAGMA user_version").fetchone() != (VERSION,):
                    database.executescript(_SCHEMA)
                return work(database)
        except sqlite3.OperationalError as error:  # full, locked, not ours
            raise StoreError(f"{self._path}: {error}") from None
        except sqlite3.DatabaseError as error:
            with suppress(OSError):
                os.replace(self._path, f"{self._path}.damaged")
            raise StoreError(f"{self._path}: {error}; it is put aside") from None


def _make(folder: Path) -> None:
    """The folder, and on disk that it is there."""
    if folder.is_dir():
        return
    folder.mkdir(mode=0o700, exist_ok=True)
    fd = os.open(folder.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
