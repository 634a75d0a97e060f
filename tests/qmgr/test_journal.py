"""The journal: what a batch says is there after it, also after reopening; a batch that failed is not lost."""

import math
import sqlite3
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mta import log
from mta.config import Log
from mta.errors import SpoolError
from mta.qmgr.journal import Journal, Settled
from mta.qmgr.progress import Progress
from mta.qmgr.rows import Detail, Recipient, Row, State
from mta.qmgr.schema import VERSION


def make_row(location: int, *, state: State = State.WAITING, due_wall: float = 100.0, queue_id: int = 0) -> Row:
    detail = Detail("s1", [Recipient(0, b"a@example.org", 4, "4.4.1", "no answer")])
    return Row(location, queue_id or location, state, due_wall, 1, 50.0, b"from@example.org", 4096, 0, detail)


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "journal.db")


def reopen(journal: Journal) -> Journal:
    journal.close()
    return Journal(journal.path)


def test_rows_survive(journal: Journal) -> None:
    rows = [make_row(5), make_row(7, queue_id=70), make_row(1 << 62, state=State.FAILED, due_wall=0.0)]
    for row in rows:
        journal.put(row, before=None)
    assert journal.row(5) == rows[0]
    assert journal.moved(70) == rows[1]
    journal.commit([])
    assert journal.pending() == 0
    journal = reopen(journal)
    assert journal.rows(0, 10) == rows
    assert journal.rows(5, 1) == [rows[1]]
    assert journal.row(1 << 62) == rows[2]
    assert journal.row(6) is None
    assert journal.moved(70) == rows[1]
    assert journal.moved(5) is None
    assert journal.between(6, 8) == [rows[1]]
    assert list(journal.places()) == [(0, 2, 8192), (1 << 42, 1, 4096)]
    assert journal.states == dict.fromkeys(State, 0) | {State.WAITING: 2, State.FAILED: 1}


def test_due_rows_come_in_order_and_only_once(journal: Journal) -> None:
    for location, due in ((1, 30.0), (2, 10.0), (3, 20.0), (4, 99.0)):
        journal.put(make_row(location, due_wall=due), before=None)
    journal.put(make_row(5, state=State.FAILED, due_wall=0.0), before=None)
    journal.commit([])
    assert [row.location for row in journal.due(50.0, 10)] == [2, 3, 1]
    assert [row.location for row in journal.due(50.0, 2)] == [2, 3]
    journal.put(make_row(2, state=State.ACTIVE), before=State.WAITING)
    journal.put(make_row(3, due_wall=200.0), before=State.WAITING)
    journal.drop(1, before=State.WAITING)
    assert journal.due(50.0, 10) == []  # the batch is believed before it is on disk
    journal.commit([])
    assert journal.due(50.0, 10) == []
    assert journal.next_due_wall(after=0.0) == 99.0
    assert journal.next_due_wall(after=200.0) == math.inf
    assert journal.states == dict.fromkeys(State, 0) | {State.WAITING: 2, State.ACTIVE: 1, State.FAILED: 1}


def test_rows_in_hand_wait_again_after_a_restart(journal: Journal) -> None:
    journal.put(make_row(2, state=State.ACTIVE), before=None)
    journal.commit([])
    journal = reopen(journal)
    assert journal.states[State.WAITING] == 1
    assert [row.state for row in journal.due(100.0, 10)] == [State.WAITING]


def test_held_rows_stay_so(journal: Journal) -> None:
    for location, state in enumerate((State.HELD, State.HOLDING), 1):
        journal.put(make_row(location, state=state), before=None)
    journal.commit([])
    journal = reopen(journal)
    assert [row.state for row in journal.rows(0, 10)] == [State.HELD, State.HELD]
    assert journal.states[State.HELD] == 2
    assert journal.due(1e12, 10) == []
    assert journal.next_due_wall(after=0.0) == math.inf


FORMAT_1 = """
CREATE TABLE segment (segment INTEGER PRIMARY KEY, taken INTEGER NOT NULL);
CREATE TABLE done (segment INTEGER NOT NULL, top INTEGER NOT NULL, offsets BLOB NOT NULL);
CREATE INDEX done_top ON done (segment, top);
CREATE TABLE message (location INTEGER PRIMARY KEY, queue_id INTEGER, state INTEGER NOT NULL, due REAL NOT NULL,
    attempts INTEGER NOT NULL, received REAL NOT NULL, sender BLOB NOT NULL, size INTEGER NOT NULL,
    body INTEGER NOT NULL, detail BLOB NOT NULL);
CREATE INDEX message_due ON message (state, due);
CREATE INDEX message_moved ON message (queue_id) WHERE queue_id IS NOT NULL;
PRAGMA user_version=1;
INSERT INTO segment VALUES (9, 10);
"""


def test_a_journal_of_the_first_format(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    detail = msgspec.msgpack.encode(["s1", [[0, b"a@example.org", 4, "4.4.1", "no answer"]]])
    with sqlite3.connect(path) as database:
        database.executescript(FORMAT_1)
        for location, state in enumerate((0, 1, 2), 1):
            row = (location, None, state, 100.0, 1, 50.0, b"from@example.org", 4096, 0, detail)
            database.execute("INSERT INTO message VALUES (?,?,?,?,?,?,?,?,?,?)", row)
    database.close()
    for _ in range(2):
        journal = Journal(path)
        states = (State.WAITING, State.WAITING, State.FAILED)
        assert journal.rows(0, 10) == [make_row(number, state=state) for number, state in enumerate(states, 1)]
        assert journal.segments() == {9: 10}
        assert journal._query("PRAGMA user_version") == [(VERSION,)]
        journal.close()


def test_progress_survives(journal: Journal) -> None:
    journal.commit([Settled(9, 10, [20, 12]), Settled(1 << 42, 0, [])])
    journal.commit([Settled(9, 10, [30, (1 << 20) - 1])])
    journal = reopen(journal)
    assert journal.segments() == {9: 10, 1 << 42: 0}
    assert journal.done(9) == {12, 20, 30, (1 << 20) - 1}
    journal.commit([Settled(9, 21, [])])
    assert journal.done(9) == {30, (1 << 20) - 1}
    journal.forget(9)
    journal.commit([])
    assert journal.segments() == {1 << 42: 0}
    assert journal.done(9) == set()


def test_bodies_are_unneeded_only_when_that_is_on_disk(journal: Journal) -> None:
    row = make_row(1)
    row.body = 2**64 - 1
    journal.put(row, before=None)
    journal.commit([])
    journal = reopen(journal)
    assert journal.bodies() == {2**64 - 1}
    journal.drop(1, before=State.WAITING)
    journal.release_body(2**64 - 1)
    assert journal.unneeded == []
    journal.commit([])
    assert journal.unneeded == [2**64 - 1]
    assert journal.bodies() == set()


def test_a_failed_commit_keeps_the_batch(journal: Journal) -> None:
    journal.put(make_row(1), before=None)
    journal.commit([])
    journal._database.execute("PRAGMA query_only=1")
    journal.put(make_row(2), before=None)
    journal.drop(1, before=State.WAITING)
    with pytest.raises(SpoolError, match=r"journal\.db"):
        journal.commit([Settled(9, 10, [])])
    journal._database.execute("PRAGMA query_only=0")
    assert journal.segments() == {}
    journal.commit([Settled(9, 10, [])])
    assert [row.location for row in reopen(journal).rows(0, 10)] == [2]


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    path.write_bytes(b"not a database" * 100)
    with pytest.raises(SpoolError, match=r"journal\.db"):
        Journal(path)
    path.unlink()
    Journal(path).close()
    with sqlite3.connect(path) as database:
        database.execute("INSERT INTO message VALUES (1, NULL, 0, 0, 0, 0, x'', 0, 0, x'ff', NULL)")
    database.close()
    journal = Journal(path)
    log.setup("qmgr", 0, Log(file=str(tmp_path / "log")))
    for _ in range(2):
        assert journal.rows(0, 1) == journal.due(10.0, 5) == []
    journal.close()
    log.setup("qmgr", 0, Log())
    assert (tmp_path / "log").read_text().count("row of message 1") == 1
    with sqlite3.connect(path) as database:
        database.execute("PRAGMA user_version=99")
    database.close()
    with pytest.raises(SpoolError, match="newer version"):
        Journal(path)


_steps = st.lists(st.tuples(st.sampled_from(["read", "settle", "commit", "crash"]), st.integers(0, 100)))


@given(_steps)
@settings(max_examples=100, deadline=None)
def test_progress_never_forgets_nor_passes_over(tmp_path_factory: pytest.TempPathFactory, steps) -> None:
    """Any order of reading, settling, committing and crashing: what is unsettled on disk is what is read again."""
    journal = Journal(tmp_path_factory.mktemp("journal") / "journal.db")
    settled: set[int] = set()  # as far as the disk knows
    fresh: set[int] = set()
    progress = Progress({})
    segment = progress.segment(3)
    for step, choice in steps:
        if step == "read":
            if segment.position not in segment.done:
                assert segment.position not in settled
                segment.open[segment.position] = None
            segment.done.discard(segment.position)
            segment.position += 1  # units as large as records make it simple
        elif step == "settle" and segment.open:
            offset = list(segment.open)[choice % len(segment.open)]
            fresh.add(offset)
            progress.settle(segment, offset)
        elif step == "settle":
            progress.settle_unread(3 << 20 | segment.position + choice)
            fresh.add(segment.position + choice)
        elif step == "commit":
            assert progress.pending() == len(fresh - settled)
            batch = progress.batch()
            journal.commit(batch)
            progress.committed(batch)
            settled |= fresh
            fresh.clear()
        elif step == "crash":
            journal = reopen(journal)
            fresh.clear()
            progress = Progress(journal.segments())
            segment = progress.segment(3)
            segment.done = journal.done(3)
            again = [offset for offset in range(segment.position, 300) if offset not in segment.done]
            assert set(range(300)) - set(again) == settled
    journal.close()
