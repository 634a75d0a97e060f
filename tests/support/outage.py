"""Tables whose server hangs, or is away for a while, and is there again. They know joe@example.org."""

import signal
from collections.abc import Sequence
from pathlib import Path

import gevent
import pytest

from mta.errors import TableDown
from mta.tables.book import ReportedTable
from tests.support.asking import answer
from tests.support.program import PASSWORD, Program
from tests.support.server import Server

KNOWN = "joe@example.org"


def down(table: ReportedTable, key: bytes = KNOWN.encode()) -> str:
    """Why it is down, which it must be."""
    with pytest.raises(TableDown) as caught:
        table.get(key)
    assert PASSWORD not in caught.value.reason
    return caught.value.reason


def wait_found(table: ReportedTable) -> None:
    """Wait until it is up again; a table that failed rests for two seconds."""
    with gevent.Timeout(30):
        while True:
            try:
                assert table.get(KNOWN.encode()) is not None
            except TableDown:
                gevent.sleep(0.05)
            else:
                return


def check_hanging(server: Program, tables: Sequence[ReportedTable]) -> None:
    """A server that is stopped in the middle: other greenlets go on; afterwards all is as before.

    The tables wait for 0.5 s.
    """
    server.send(signal.SIGSTOP)
    asking = [gevent.spawn(down, table) for table in tables]
    turns = 0
    while not all(one.ready() for one in asking):
        turns += 1
        gevent.sleep(0.001)
    server.send(signal.SIGCONT)
    assert all(one.value.endswith(": no answer within 0.5 s") for one in asking)
    assert turns > 10
    for table in tables:
        wait_found(table)


def check_restart(server: Program, table: ReportedTable) -> None:
    """A server that is started again is asked by a new connection, at once; one that stays away is not there."""
    value = table.get(KNOWN.encode())
    assert value is not None
    server.stop()
    server.start()
    assert table.get(KNOWN.encode()) == value
    server.stop()
    assert "refused" in down(table)


def check_recipients(folder: Path, server: Program, table: dict[str, object], unknown: str) -> None:
    """With the real processes: known, unknown, put off while the server is away, taken when it is there again."""
    settings = {
        "processes": {"server": 1},
        "domains": {"local": ["example.org"], "recipients": "users"},
        "table": {"users": {**table, "cache_s": 0, "negative_cache_s": 0}},
    }
    with Server(folder, settings) as mta:
        assert answer(mta, KNOWN).startswith("250 ")
        assert answer(mta, unknown).startswith("550 5.1.1 ")
        server.stop()
        for recipient in (KNOWN, unknown):
            assert answer(mta, recipient).startswith("451 4.4.3 ")
        server.start()
        mta.until(lambda: answer(mta, KNOWN).startswith("250 "), f"{KNOWN} is known again")
        assert answer(mta, unknown).startswith("550 5.1.1 ")
    told = mta.log.read_text() + mta.stderr.read_text()
    assert "a table is down" in told
    assert "a table is there again" in told
    assert PASSWORD not in told
