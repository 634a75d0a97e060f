"""The journal: what became of messages, and which of them wait (`<spool>/qmgr/journal.db`).

Changes gather in memory and go to disk with `commit`, one SQLite transaction and one sync for many outcomes. What a
crash takes away is the last batch: those outcomes are unknown afterwards, and their messages are delivered again.

Tables (in WAL mode with synchronous=FULL):

- `segment`: how far a log segment is settled. Every record below `taken` is finished or has a row in `message`. A
  segment is named by `location >> 20` of its records, an offset is the rest of the location.
- `done`: further settled offsets at or above `taken`, one row a batch: 32-bit numbers, little endian, the largest one
  repeated in `top`.
- `message`: a row for each message that waits for its next attempt, is held or has failed, ordered by state and due
  time. A row in state ACTIVE is in the manager's hands and waits again after a restart; one in state HOLDING is, too,
  and is held then. `queue_id` is NULL where it is `location`. `destination` is set where a message was put aside
  because its destination is slow: it goes back into the line when that is nearly empty, or when it is due.
- `tally`: counts of the rows (`mta.qmgr.tally`), changed with them.
- `note`: texts that outlive the process, by name.

Their format is `mta.qmgr.schema`.
"""

import array
import math
import sqlite3
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from mta import log
from mta.errors import SpoolError
from mta.qmgr import rows, schema, tally
from mta.qmgr.rows import Row, State
from mta.qmgr.tally import Kind, Mark, Tally, Totals

AT_ONCE = 500  # rows looked up with one statement


class Settled(msgspec.Struct):
    """What a batch says about one segment: `taken`, and the offsets settled in this batch at or above it."""

    segment: int
    taken: int
    offsets: list[int]


class Journal:
    """The database and the batch that is being gathered.

    Opening blocks on the disk, and so do `commit` and whatever reads. All raise `SpoolError`; after a failed `commit`
    the batch is still there, and `commit` can be called again. The caller holds the lock of the folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.states = dict.fromkeys(State, 0)  # rows by state, the batch included
        self.due_wall = math.inf  # no waiting row is due earlier than this
        self.loads: dict[str, int] = {}  # messages on disk that wait, by transport
        self.is_counted = False  # whether every row on disk is in the counts
        self.tally = Tally(self._query)
        self.mark: Callable[[Row], Mark] = _unknown_way  # says what a row counts for that is being written
        self._rows: dict[int, Row | None] = {}  # by location; None: to be deleted
        self._fresh: set[int] = set()  # of these, those that are not on disk
        self._shifted: dict[int, State] = {}  # of the others, the states on disk of those where only that changes
        self._notes: dict[str, str] = {}
        self._bodies: list[int] = []
        self.unneeded: list[int] = []  # large bodies that nobody needs according to what is on disk
        self._forgotten: list[int] = []
        self._damaged: set[int] = set()  # rows that cannot be read, and have been told
        try:
            self._database = sqlite3.connect(path, isolation_level=None)
            # Exclusive before WAL: no shared memory file, and no file locks taken for each transaction.
            self._database.execute("PRAGMA locking_mode=EXCLUSIVE")
            self._database.execute("PRAGMA journal_mode=WAL")
            self._database.execute("PRAGMA synchronous=FULL")
            self._prepare()
            self.look_ahead(after_wall=-math.inf)
        except sqlite3.Error as error:
            raise SpoolError(f"{path}: {error}") from error

    def _prepare(self) -> None:
        try:
            schema.prepare(self._database)
        except schema.NewerFormat as error:
            known = f"this one knows up to {schema.VERSION}"
            raise SpoolError(
                f"{self.path}: written by a newer version of this program (format {error}; {known})"
            ) from None
        self._let_go()
        for state, count in self._database.execute("SELECT state, count(*) FROM message GROUP BY state"):
            self.states[State(state)] = count
        self.loads = self.tally.loads()
        self.is_counted = self.noted(schema.COUNTED) is not None

    def _let_go(self) -> None:
        """What was in a manager's hands waits again, or is held. They are as many as the active set holds."""
        totals: Totals = {}
        for sender, data in self._query("SELECT sender, detail FROM message WHERE state = ?", (State.ACTIVE,)):
            _count(totals, sender, data, State.ACTIVE, sign=-1)
            _count(totals, sender, data, State.WAITING, sign=1)
        self._database.execute("BEGIN")
        for state, before in ((State.WAITING, State.ACTIVE), (State.HELD, State.HOLDING)):
            self._database.execute("UPDATE message SET state = ? WHERE state = ?", (state, before))
        tally.change(self._database, totals)
        self._database.execute("COMMIT")

    def close(self) -> None:
        """Close the database; a batch that was not committed is lost."""
        self._database.close()

    # The batch

    def put(self, row: Row, *, before: State | None) -> None:
        """Write a row; `before` is the state of the row it replaces, `None` for a new one."""
        if before is not None:
            self.states[before] -= 1
        self.states[row.state] += 1
        if row.state is State.WAITING:
            self.due_wall = min(self.due_wall, row.due_wall)
        if before is None and row.location not in self._rows:
            self._fresh.add(row.location)
        self._shifted.pop(row.location, None)
        self._rows[row.location] = row

    def shift(self, row: Row, state: State) -> None:
        """Give a row another state, with nothing else changed since it was read: that is much cheaper than `put`."""
        is_on_disk = row.location not in self._rows
        self.put(msgspec.structs.replace(row, state=state), before=row.state)
        if is_on_disk:
            self._shifted[row.location] = row.state

    def note(self, name: str, text: str) -> None:
        """Write down a text."""
        self._notes[name] = text

    def drop(self, location: int, *, before: State) -> None:
        """Delete a row that has the state `before`."""
        self.states[before] -= 1
        self._shifted.pop(location, None)
        self._rows[location] = None

    def release_body(self, body: int) -> None:
        """A large body is not needed any more; it is in `unneeded` after the next commit."""
        self._bodies.append(body)

    def forget(self, segment: int) -> None:
        """A segment has been freed: its progress is no longer of interest."""
        self._forgotten.append(segment)

    def pending(self) -> int:
        """Entries in the batch, without what `commit` is given."""
        return len(self._rows) + len(self._bodies) + len(self._forgotten) + len(self._notes)

    def commit(self, settled: Iterable[Settled]) -> None:
        """Write the batch and the segments' progress in one transaction and wait until it is on disk."""
        database = self._database
        try:
            database.execute("BEGIN")
            totals = self._write_rows()
            database.executemany("REPLACE INTO note VALUES (?, ?)", self._notes.items())
            for part in settled:
                self._write_settled(part)
            for table in ("segment", "done"):
                gone = [(segment,) for segment in self._forgotten]
                database.executemany(f"DELETE FROM {table} WHERE segment = ?", gone)
            database.execute("COMMIT")
        except sqlite3.Error as error:
            if database.in_transaction:
                database.execute("ROLLBACK")
            raise SpoolError(f"{self.path}: {error}") from error
        for (kind, name, _), count in totals.items():
            if kind is Kind.LOAD and count:
                self.loads[name] = self.loads.get(name, 0) + count
        self.is_counted = self.is_counted or schema.COUNTED in self._notes
        self._rows.clear()
        self._fresh.clear()
        self._shifted.clear()
        self._notes.clear()
        self.unneeded += self._bodies
        self._bodies.clear()
        self._forgotten.clear()

    def _write_rows(self) -> Totals:
        """Write the batch's rows, and what that changes in the counts; returns the latter."""
        totals: Totals = {}
        if not self._rows:
            return totals
        known = [location for location in self._rows if location not in self._fresh and location not in self._shifted]
        for start in range(0, len(known), AT_ONCE):
            some = known[start : start + AT_ONCE]
            places = ",".join("?" * len(some))
            for sender, state, data in self._database.execute(
                f"SELECT sender, state, detail FROM message WHERE location IN ({places})",
                some,
            ):
                _count(totals, sender, data, state, sign=-1)
        kept: list[tuple[object, ...]] = []
        for location, row in self._rows.items():
            if row is None:
                continue
            if location in self._shifted:
                tally.shift(
                    totals, row.detail.mark, (row.state is State.WAITING) - (self._shifted[location] is State.WAITING)
                )
                continue
            row.detail.mark = mark = self.mark(row)
            addresses = [recipient.address for recipient in row.detail.recipients]
            tally.add(totals, mark, row.sender, addresses, is_waiting=row.state is State.WAITING)
            kept.append(rows.columns(row))
        shifted = [(row.state, row.location) for row in map(self._rows.get, self._shifted) if row is not None]
        gone = [(location,) for location, row in self._rows.items() if row is None]
        self._database.executemany("REPLACE INTO message VALUES (?,?,?,?,?,?,?,?,?,?,?)", kept)
        self._database.executemany("UPDATE message SET state = ? WHERE location = ?", shifted)
        self._database.executemany("DELETE FROM message WHERE location = ?", gone)
        tally.change(self._database, totals)
        return totals

    def _write_settled(self, part: Settled) -> None:
        self._database.execute("REPLACE INTO segment VALUES (?, ?)", (part.segment, part.taken))
        self._database.execute("DELETE FROM done WHERE segment = ? AND top < ?", (part.segment, part.taken))
        if part.offsets:
            offsets = array.array("I", part.offsets)
            if sys.byteorder == "big":
                offsets.byteswap()
            row = (part.segment, max(part.offsets), bytes(offsets))
            self._database.execute("INSERT INTO done VALUES (?, ?, ?)", row)

    # Reading: what is on disk, with the batch over it

    def _query(self, sql: str, arguments: tuple[object, ...] = ()) -> list[Any]:
        try:
            return self._database.execute(sql, arguments).fetchall()
        except sqlite3.Error as error:
            raise SpoolError(f"{self.path}: {error}") from error

    def noted(self, name: str) -> str | None:
        """A text that was written down, as it is on disk."""
        rows = self._query("SELECT value FROM note WHERE name = ?", (name,))
        return str(rows[0][0]) if rows else None

    def segments(self) -> dict[int, int]:
        """`taken` of every known segment."""
        return dict(self._query("SELECT * FROM segment"))

    def done(self, segment: int) -> set[int]:
        """The offsets at or above `taken` that are settled on disk."""
        found: set[int] = set()
        for (data,) in self._query("SELECT offsets FROM done WHERE segment = ?", (segment,)):
            offsets = array.array("I")
            offsets.frombytes(data)
            if sys.byteorder == "big":
                offsets.byteswap()
            found.update(offsets)
        return found

    def places(self) -> Iterator[tuple[int, int, int]]:
        """For each segment that rows on disk lie in: its name, how many there are, and their inline bytes."""
        first = "SELECT min(location) FROM message WHERE location >= ?"
        sums = "SELECT count(*), sum(iif(body, 0, size)) FROM message WHERE location BETWEEN ? AND ?"
        after = 0
        while (location := self._query(first, (after,))[0][0]) is not None:
            segment = location >> 20
            after = segment + 1 << 20
            ((rows, inline_bytes),) = self._query(sums, (location, after - 1))
            yield segment, rows, inline_bytes

    def bodies(self) -> set[int]:
        """The large bodies of all rows on disk."""
        return {rows.unsigned(body) for (body,) in self._query("SELECT body FROM message WHERE body != 0")}

    def row(self, location: int) -> Row | None:
        """The row of a message."""
        if location in self._rows:
            return self._rows[location]
        rows = self._select("WHERE location = ?", (location,))
        return rows[0] if rows else None

    def moved(self, queue_id: int) -> Row | None:
        """The row of a message that lies elsewhere than its queue id says."""
        for row in self._rows.values():
            if row is not None and row.queue_id == queue_id:
                return row
        rows = self._select("WHERE queue_id = ?", (queue_id,))
        return rows[0] if rows else None

    def rows(self, after: int, limit: int) -> list[Row]:
        """Up to `limit` of the rows with a location greater than `after`, by location; lacks rows not on disk yet."""
        return self._select("WHERE location > ? ORDER BY location LIMIT ?", (after, limit))

    def between(self, start: int, stop: int) -> list[Row]:
        """The rows with start <= location < stop; lacks rows not on disk yet."""
        return self._select("WHERE location >= ? AND location < ?", (start, stop))

    def page_end(self, after: int, limit: int) -> int | None:
        """The location of the last of the next `limit` rows on disk behind `after`; `None` when there is none."""
        sql = "SELECT max(location) FROM (SELECT location FROM message WHERE location > ? ORDER BY location LIMIT ?)"
        last = self._query(sql, (after, limit))[0][0]
        return None if last is None else int(last)

    def is_damaged(self) -> bool:
        """Whether rows have been met that cannot be read."""
        return bool(self._damaged)

    def due(self, now_wall: float, limit: int) -> list[Row]:
        """Up to `limit` waiting rows whose time has come, the earliest first; lacks rows not on disk yet."""
        rows = self._select("WHERE state = ? AND due <= ? ORDER BY due LIMIT ?", (State.WAITING, now_wall, limit))
        return [row for row in rows if row.state is State.WAITING and row.due_wall <= now_wall]

    def telling(self, limit: int) -> list[Row]:
        """Up to `limit` rows in state TELLING, those that are not on disk yet first."""
        rows = [row for row in self._rows.values() if row is not None and row.state is State.TELLING][:limit]
        known = {row.location for row in rows}
        found = self._select("WHERE state = ? LIMIT ?", (State.TELLING, limit)) if len(rows) < limit else []
        return rows + [row for row in found if row.state is State.TELLING and row.location not in known]

    def aside(self, destination: str, limit: int) -> list[Row]:
        """Up to `limit` waiting rows that were put aside for a destination, by location; lacks rows not on disk yet."""
        sql = "WHERE destination = ? AND state = ? ORDER BY location LIMIT ?"
        rows = self._select(sql, (destination, State.WAITING, limit))
        return [row for row in rows if row.state is State.WAITING and row.destination == destination]

    def aside_names(self) -> list[str]:
        """The destinations that rows on disk were put aside for."""
        names: list[str] = []
        sql = "SELECT min(destination) FROM message WHERE destination > ?"  # from one to the next through the index
        while (name := self._query(sql, (names[-1] if names else "",))[0][0]) is not None:
            names.append(name)
        return names

    def look_ahead(self, *, after_wall: float) -> None:
        """Every waiting row that is due by `after_wall` has been taken: see when the next one on disk is."""
        self.due_wall = self.next_due_wall(after=after_wall)

    def next_due_wall(self, *, after: float) -> float:
        """The due time of the first row on disk that waits beyond `after`; infinite when none does."""
        sql = "SELECT min(due) FROM message WHERE state = ? AND due > ?"
        ((due,),) = self._query(sql, (State.WAITING, after))
        return math.inf if due is None else float(due)

    def _select(self, rest: str, arguments: tuple[object, ...]) -> list[Row]:
        """Rows on disk, as the batch has them by now; those that it deletes left out."""
        rows: list[Row] = []
        for values in self._query(f"SELECT * FROM message {rest}", arguments):
            location = values[0]
            row = self._rows[location] if location in self._rows else self._row(*values)
            if row is not None:
                rows.append(row)
        return rows

    def _row(self, location: int, *columns: Any) -> Row | None:
        """A row as it is on disk; `None` for one that cannot be read, which is told once and otherwise left alone."""
        try:
            return rows.row(location, *columns)
        except (msgspec.MsgspecError, ValueError) as error:
            if location not in self._damaged:
                self._damaged.add(location)
                log.corrupt(str(self.path), 0, f"row of message {location:x}: {error}")
            return None


def _unknown_way(row: Row) -> Mark:
    """What a row counts for where nobody knows the routes."""
    return Mark(tally.bucket(row.received_wall, row.received_wall), [""])


def _count(totals: Totals, sender: bytes, data: bytes, state: int, *, sign: int) -> None:
    """Count a row that is on disk, if that can be read and was counted."""
    with suppress(msgspec.MsgspecError):
        detail = rows.detail(data)
        if detail.mark is not None:
            addresses = [recipient.address for recipient in detail.recipients]
            tally.add(totals, detail.mark, sender, addresses, is_waiting=state == State.WAITING, sign=sign)
