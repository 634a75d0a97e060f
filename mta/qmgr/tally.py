"""The counts that the journal keeps of its rows, so that nobody has to read them all to count them.

The table `tally` is written in the transaction that writes the rows. A count has a kind, a name and a time of arrival:

- recipients by their domain (DOMAIN), by the domain of their sender (SENDER), and by the transport that they were to
  take when the row was written (TRANSPORT), in all states;
- messages that wait, by transport (LOAD), without a time.

Times are the beginnings of buckets, in minutes since the epoch. How wide a bucket is depends on the age that the
message had when its row was written: a minute at first, and never more than a quarter of the age. So what is said of
ages is right to a minute for young mail, and to a quarter for old; and counts do not become many as mail grows old.

What a row counts for stands in the row itself (`Mark`), so that it can be taken off again whatever the configuration
says by then. A row without a mark counts for nothing (`mta.qmgr.recount` gives it one).
"""

import bisect
import enum
import math
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import msgspec

from mta.qmgr.names import domain_name, sender_name

SCHEMA = """
CREATE TABLE tally (kind INTEGER NOT NULL, name TEXT NOT NULL, bucket INTEGER NOT NULL, count INTEGER NOT NULL,
    PRIMARY KEY (kind, name, bucket)) WITHOUT ROWID;
CREATE TABLE note (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
"""

PAGE_COUNTS = 2000  # read before the mail may have its turn: 4 ms

_AGES = (20.0, 160.0, 640.0)  # minutes: below each of them,
_WIDTHS = (1, 5, 20, 60)  # buckets are so wide, and then the last


class Kind(enum.IntEnum):
    """What is counted."""

    DOMAIN = 0
    SENDER = 1
    TRANSPORT = 2
    LOAD = 3


Key = tuple[Kind, str, int]  # with a name and a bucket
Totals = dict[Key, int]
Aged = tuple[str, int, int]  # a name, the index of an age, recipients


class Mark(msgspec.Struct, array_like=True, gc=False):
    """What a row counts for: the bucket of its arrival, and a transport for each recipient, or one for all."""

    bucket: int
    transports: list[str]


def bucket(received_wall: float, now_wall: float) -> int:
    """The bucket of a message that came at one time, as its row is written at another."""
    age_minutes = (now_wall - received_wall) / 60.0
    width = _WIDTHS[bisect.bisect_right(_AGES, age_minutes)]
    return int(received_wall // (60 * width)) * width


def add(
    totals: Totals, mark: Mark, sender: bytes, addresses: Sequence[bytes], *, is_waiting: bool, sign: int = 1
) -> None:
    """Add what a row counts for, or with `sign` -1 take it off."""
    at = mark.bucket
    transports = mark.transports
    if len(addresses) == 1:  # nearly all mail
        keys: list[Key] = [(Kind.DOMAIN, domain_name(addresses[0]), at), (Kind.TRANSPORT, transports[0], at)]
    else:
        keys = [(Kind.DOMAIN, domain_name(address), at) for address in addresses]
        ways = transports if len(transports) > 1 else transports * len(addresses)
        keys += [(Kind.TRANSPORT, way, at) for way in ways]
    for key in keys:
        totals[key] = totals.get(key, 0) + sign
    key = (Kind.SENDER, sender_name(sender), at)
    totals[key] = totals.get(key, 0) + sign * len(addresses)
    if is_waiting:
        for way in transports if len(transports) == 1 else set(transports):
            key = (Kind.LOAD, way, 0)
            totals[key] = totals.get(key, 0) + sign


def shift(totals: Totals, mark: Mark | None, count: int) -> None:
    """A row that is counted with this mark has begun to wait (`count` 1), no longer does (-1), or neither (0)."""
    for way in set(mark.transports) if mark is not None else ():
        key = (Kind.LOAD, way, 0)
        totals[key] = totals.get(key, 0) + count


def change(database: sqlite3.Connection, totals: Totals) -> None:
    """Change the counts on disk, within a transaction of the caller's. Raises `sqlite3.Error`."""
    changes = sorted((*key, count) for key, count in totals.items() if count)
    sql = "INSERT INTO tally VALUES (?,?,?,?) ON CONFLICT DO UPDATE SET count = count + excluded.count"
    database.executemany(sql, changes)
    fewer = [one[:3] for one in changes if one[3] < 0]
    database.executemany("DELETE FROM tally WHERE kind = ? AND name = ? AND bucket = ? AND count <= 0", fewer)


class Tally:
    """Reading the counts on disk. `query` runs a statement and returns its rows."""

    def __init__(self, query: Callable[[str, tuple[object, ...]], list[Any]]) -> None:
        self._query = query

    def loads(self) -> dict[str, int]:
        """Messages that wait, by transport."""
        return dict(self._query("SELECT name, count FROM tally WHERE kind = ?", (Kind.LOAD,)))

    def pages(self, kind: Kind, now_wall: float, ages: Iterable[float]) -> Iterator[list[Aged]]:
        """Recipients by name and age, in the order of names; a name may come again in the next page.

        `ages` (minutes, ascending) are where one age ends and the next begins. Each page is read when it is asked for.
        """
        edges = [math.floor(now_wall / 60.0 - age) for age in ages]
        cases = " ".join(f"WHEN bucket > ? THEN {index}" for index in range(len(edges)))
        sql = (
            f"SELECT name, CASE {cases} ELSE {len(edges)} END AS age, sum(count), max(bucket) FROM "
            "(SELECT * FROM tally WHERE kind = ? AND (name, bucket) > (?, ?) ORDER BY name, bucket LIMIT ?) "
            "GROUP BY name, age ORDER BY name, age DESC"
        )
        name, last = "", -1
        while rows := self._query(sql, (*edges, kind, name, last, PAGE_COUNTS)):
            name, last = rows[-1][0], rows[-1][3]  # the youngest age of the last name has its last bucket
            yield [(row[0], row[1], row[2]) for row in rows]
