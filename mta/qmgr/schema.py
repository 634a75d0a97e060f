"""The journal's format: its tables, and how those of an earlier format are brought to the present one.

That is done when the journal is opened, in the transaction that says so, and quickly: it does not look at the rows.
"""

import sqlite3

from mta.qmgr import tally

VERSION = 4  # PRAGMA user_version

COUNTED = "counted"  # the note that says that every row is in the counts

_SCHEMA = f"""
CREATE TABLE segment (segment INTEGER PRIMARY KEY, taken INTEGER NOT NULL);
CREATE TABLE done (segment INTEGER NOT NULL, top INTEGER NOT NULL, offsets BLOB NOT NULL);
CREATE INDEX done_top ON done (segment, top);
CREATE TABLE message (location INTEGER PRIMARY KEY, queue_id INTEGER, state INTEGER NOT NULL, due REAL NOT NULL,
    attempts INTEGER NOT NULL, received REAL NOT NULL, sender BLOB NOT NULL, size INTEGER NOT NULL,
    body INTEGER NOT NULL, detail BLOB NOT NULL, destination TEXT);
CREATE INDEX message_due ON message (state, due);
CREATE INDEX message_moved ON message (queue_id) WHERE queue_id IS NOT NULL;
CREATE INDEX message_aside ON message (destination, location) WHERE destination IS NOT NULL;
CREATE INDEX message_body ON message (body) WHERE body != 0;
{tally.SCHEMA}
INSERT INTO note VALUES ('{COUNTED}', 'all');
"""

# What makes the format behind a number from that with the number. From 1 to 2 only states and fields of `Detail` came
# in, which an older program must not meet.
_STEPS = {
    1: "",
    2: "ALTER TABLE message ADD COLUMN destination TEXT;"
    "CREATE INDEX message_aside ON message (destination, location) WHERE destination IS NOT NULL;"
    "CREATE INDEX message_body ON message (body) WHERE body != 0;",
    3: tally.SCHEMA,
}


class NewerFormat(Exception):
    """The journal is of a format that this program does not know: of what number."""


def prepare(database: sqlite3.Connection) -> None:
    """Make the tables, or bring those that are there to the present format. Raises `sqlite3.Error`, `NewerFormat`."""
    (version,) = database.execute("PRAGMA user_version").fetchone()
    if not 0 <= version <= VERSION:
        raise NewerFormat(version)
    if version < VERSION:
        steps = " ".join(_STEPS[number] for number in range(version, VERSION)) if version else _SCHEMA
        database.executescript(f"BEGIN; {steps} PRAGMA user_version={VERSION}; COMMIT;")
