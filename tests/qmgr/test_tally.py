"""The counts beside the journal's rows: whatever happens, they are what counting the rows would give."""

import sqlite3
from collections import Counter
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from queuetools import START_WALL, FakeClock, Sender, assert_counted, bench, deferred, make_config

from mta.config import Route
from mta.errors import SpoolError
from mta.qmgr import recount, schema, tally
from mta.qmgr.journal import Journal
from mta.qmgr.rows import Detail, Recipient, Row, State
from mta.qmgr.shape import AGES, OTHERS, Counts
from mta.qmgr.tally import Kind

ADDRESSES = [b"a@One.example", b"b@one.example", b"c@two.example", b"nobody", b"\xff\x00@\xff"]


def make_row(location: int, state: State = State.WAITING, addresses: list[bytes] = ADDRESSES[:1]) -> Row:
    detail = Detail("s1", [Recipient(index, address) for index, address in enumerate(addresses)])
    return Row(location, location, state, 100.0, 1, START_WALL, b"from@Sender.example", 4096, 0, detail)


@pytest.fixture
def sender(tmp_path: Path) -> Sender:
    return Sender(tmp_path)


_steps = st.lists(
    st.tuples(
        st.sampled_from(["put", "put", "put", "drop", "shift", "shift", "move", "commit", "fail", "reopen"]),
        st.integers(0, 5),
        st.sampled_from(State),
        st.lists(st.sampled_from(ADDRESSES), min_size=1, max_size=4),
        st.sampled_from([["x"], ["y"], ["x", "y"]]),
    ),
    max_size=40,
)


@given(_steps)
@settings(max_examples=60, deadline=None)
def test_counts_are_those_of_the_rows(tmp_path_factory: pytest.TempPathFactory, steps) -> None:
    journal = Journal(tmp_path_factory.mktemp("journal") / "journal.db")
    rows: dict[int, Row] = {}  # as the batch has them
    kept: dict[int, Row] = {}  # as the disk does
    ways = ["x"]

    def mark(row: Row) -> tally.Mark:
        count = len(row.detail.recipients)
        return tally.Mark(7, [ways[index % len(ways)] for index in range(count)] if len(ways) > 1 else ways)

    journal.mark = mark
    for step, number, state, addresses, chosen in steps:
        ways[:] = chosen
        location = 1 + number
        before = rows[location].state if location in rows else None
        if step == "put":
            rows[location] = make_row(location, state, addresses)
            journal.put(rows[location], before=before)
        elif step == "shift" and before is not None:
            found = journal.row(location)
            assert found is not None
            journal.shift(found, state)
            rows[location] = msgspec.structs.replace(rows[location], state=state)
        elif step == "drop" and before is not None:
            del rows[location]
            journal.drop(location, before=before)
        elif step == "move" and before is not None and location + 10 not in rows:
            row = rows.pop(location)
            journal.drop(location, before=before)
            rows[location + 10] = msgspec.structs.replace(row, location=location + 10)
            journal.put(rows[location + 10], before=None)
        elif step == "fail":
            journal._database.execute("PRAGMA query_only=1")
            if journal.pending():
                with pytest.raises(SpoolError):
                    journal.commit([])
            journal._database.execute("PRAGMA query_only=0")
        elif step == "commit":
            journal.commit([])
            kept = dict(rows)
            assert_counted(journal)
            states = Counter(row.state for row in rows.values())
            assert {state: count for state, count in journal.states.items() if count} == states
        elif step == "reopen":
            journal.close()
            journal = Journal(journal.path)
            journal.mark = mark
            after = {State.ACTIVE: State.WAITING, State.HOLDING: State.HELD}
            rows = {
                place: msgspec.structs.replace(row, state=after.get(row.state, row.state))
                for place, row in kept.items()
            }
            kept = dict(rows)
            assert_counted(journal)
    journal.close()


def test_buckets() -> None:
    """A minute wide at first; never more than a quarter of the age."""
    now = START_WALL
    assert tally.bucket(now, now) == now // 60
    assert tally.bucket(now - 61, now) == now // 60 - 2
    for minutes in range(6000):
        at = tally.bucket(now - 60 * minutes, now)
        assert at <= now // 60 - minutes
        assert now // 60 - minutes - at <= max(0, minutes / 4)


def pages(journal: Journal, kind: Kind, now_wall: float = START_WALL) -> Counter[tuple[str, int]]:
    counts: Counter[tuple[str, int]] = Counter()
    for page in journal.tally.pages(kind, now_wall, [5.0, 10.0]):
        for name, age, count in page:
            counts[name, age] += count
    return counts


@pytest.mark.parametrize("page", [1, 2, 3, 1000])
def test_pages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, page: int) -> None:
    monkeypatch.setattr(tally, "PAGE_COUNTS", page)
    journal = Journal(tmp_path / "journal.db")
    journal.mark = lambda row: tally.Mark(int(START_WALL // 60) - row.location, ["x"])
    for location in range(1, 15):
        journal.put(make_row(location, addresses=ADDRESSES[2:3] if location % 2 else ADDRESSES[:2]), before=None)
    journal.commit([])
    assert pages(journal, Kind.DOMAIN) == {
        **{("one.example", 0): 4, ("one.example", 1): 4, ("one.example", 2): 6},
        **{("two.example", 0): 2, ("two.example", 1): 3, ("two.example", 2): 2},
    }
    assert pages(journal, Kind.SENDER) == {("sender.example", 0): 6, ("sender.example", 1): 7, ("sender.example", 2): 8}
    assert pages(journal, Kind.TRANSPORT).total() == 21
    assert journal.loads == {"x": 14}
    journal.close()


def test_the_names_with_the_most_are_kept() -> None:
    counts = Counts(most=2)
    for number in range(50):
        counts.add([("big", 0, 100), (f"d{number}", 9, 1), ("large", 1, 50)])
    assert [(name, sum(row)) for name, row in counts.most(2)] == [("big", 5000), ("large", 2500)]
    assert sum(counts.others) == 50
    assert counts.others[len(AGES) - 1] == 50


FORMAT_3 = """
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
PRAGMA user_version=3;
"""


def test_a_journal_of_the_format_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its rows are counted a few at a time; until they are, rows are read. A restart begins again."""
    monkeypatch.setattr(recount, "ROWS", 3)
    (tmp_path / "qmgr").mkdir()
    with sqlite3.connect(tmp_path / "qmgr" / "journal.db") as database:
        database.executescript(FORMAT_3)
        for location in range(1, 11):
            address = b"a@store.example" if location % 2 else b"a@relay.example"
            detail = msgspec.msgpack.encode(["s1", [[0, address, 4, "4.4.1", "no answer"]]])
            row = (
                location,
                None,
                0,
                START_WALL + 9000.0,
                1,
                START_WALL - 300.0,
                b"from@s.example",
                4096,
                0,
                detail,
                None,
            )
            database.execute("INSERT INTO message VALUES (?,?,?,?,?,?,?,?,?,?,?)", row)
    database.close()
    shapes = []
    for steps in (2, 6, 1):
        with bench(tmp_path) as queue:
            core = queue.core
            for _ in range(steps):
                queue.wait(1.0)
                core.settle(queue.clock.monotonic())
            assert core.commit(queue.clock.monotonic())
            assert core.marker.is_done == core.journal.is_counted == (steps != 2)
            shapes.append(queue.ask("shape"))
            if core.journal.is_counted:
                assert_counted(core.journal)
                assert core.journal.loads == {"store": 5, "relay": 5}
    assert shapes[0] == shapes[1] == shapes[2]
    assert [item["total"] for item in shapes[0]] == [10, 5, 5]


def test_rows_that_cannot_be_read_are_not_taken_for_counted(tmp_path: Path) -> None:
    with bench(tmp_path) as queue:
        queue.core.journal._database.execute(f"DELETE FROM note WHERE name = '{schema.COUNTED}'")
        queue.core.journal._database.execute("INSERT INTO message VALUES (1, NULL, 0, 0, 0, 0, x'', 0, 0, x'ff', NULL)")
    with bench(tmp_path) as queue:
        queue.work()
        queue.work()
        assert queue.core.marker.is_done
        assert not queue.core.journal.is_counted


def test_changed_routes_count_anew(tmp_path: Path, sender: Sender, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(5):
        sender.send(b"a@store.example", b"b@relay.example")
    sender.commit()
    with bench(tmp_path) as queue:
        queue.work(deferred)
        assert queue.core.journal.loads == {"store": 5, "relay": 5}
    monkeypatch.setattr("queuetools.ROUTES", [Route(["*"], "relay")])
    with bench(tmp_path) as queue:
        assert not queue.core.marker.is_done
        for _ in range(3):
            queue.wait(1.0)
            queue.core.settle(queue.clock.monotonic())
        assert queue.core.marker.is_done
        assert_counted(queue.core.journal)
        assert {name: count for name, count in queue.core.journal.loads.items() if count} == {"relay": 5}
    assert recount.routes(make_config(tmp_path)) != recount.routes(
        msgspec.structs.replace(make_config(tmp_path), route=[])
    )


def test_a_shape_of_everything_is_that_of_all_messages(tmp_path: Path, sender: Sender) -> None:
    """By the counts as by looking at each: waiting, in hand with and without a row, and unread."""
    with bench(tmp_path, active=10) as queue:
        clock: FakeClock = queue.clock
        for number in range(6):
            sender.send(b"w%d@store.example" % number, b"x@relay.example", wall=clock.wall() - 600.0 * number)
        sender.commit()
        queue.work(deferred)
        queue.wait(400.0)
        queue.fetch_due()
        for _ in range(20):
            sender.send(b"a@other.example", b"b@STORE.example", wall=clock.wall(), sender=b"")
        sender.commit()
        queue.core.take(clock.monotonic())
        assert queue.core.marker.is_done
        assert queue.core.intake.unread()
        assert queue.core.active.messages
        for by in ("domain", "sender", "transport"):
            every = queue.ask("shape", by=by)
            assert every == queue.ask("shape", by=by, older_s=-1e9)
            assert sum(int(str(item["total"])) for item in every[1:]) == every[0]["total"]
        assert queue.ask("shape", limit=1)[-1]["domain"] == OTHERS
