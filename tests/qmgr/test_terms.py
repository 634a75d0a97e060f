"""What the configuration of a transport means to the scheduler."""

from pathlib import Path

import pytest
import queuetools
from queuetools import START_WALL, Sender, bench, down

from mta.config import Transport
from mta.qmgr.core import BATCH_WINDOW, CONNECTION_WINDOW, terms
from mta.qmgr.lines import Terms


def test_what_transports_allow() -> None:
    relay = Transport("smtp", host="127.0.0.1:25", concurrency=3, rate=2.5, destination_rate=1.5)
    assert terms(relay) == Terms(window=3 * CONNECTION_WINDOW, rate=2.5, destination_rate=1.5)
    assert terms(Transport("smtp")).by_domain  # by the MX of each domain
    assert terms(Transport("maildir", path="/x")) == Terms(window=BATCH_WINDOW, initial=BATCH_WINDOW)


@pytest.mark.parametrize("limit", ["rate", "destination_rate"])
def test_no_more_goes_than_the_rate_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str) -> None:
    monkeypatch.setitem(queuetools.TRANSPORTS, "store", Transport("discard", **{limit: 10.0}))  # type: ignore[arg-type]
    sender, done = Sender(tmp_path), 0
    for number in range(100):
        sender.send(b"%d@store.example" % number)
    sender.commit()
    with bench(tmp_path) as queue:
        for _ in range(50):
            queue.wait(0.1)
            jobs = queue.fetch()
            queue.answer(jobs)
            done += len(jobs)
            assert queue.core.commit(queue.clock.monotonic())
            assert queue.core.timeout_s(queue.clock.monotonic()) < 0.11  # it goes on without being woken
    sender.close()
    assert 49 <= done <= 51


def test_each_domain_is_a_destination_where_each_has_a_next_hop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(queuetools.TRANSPORTS, "relay", Transport("smtp"))
    monkeypatch.setattr(queuetools, "ROUTES", [queuetools.Route(["*"], "relay")])
    sender = Sender(tmp_path)
    sender.send(b"a@one.example", b"b@two.example", b"c@One.Example")
    sender.commit()
    with bench(tmp_path) as queue:
        jobs = queue.fetch()
        assert {(job.transport, job.recipients) for job in jobs} == {("relay", (0, 2)), ("relay", (1,))}
        assert set(queue.core.scheduler.destinations) == {"relay/one.example", "relay/two.example", "store"}
        queue.answer([job for job in jobs if job.recipients == (1,)], queuetools.down)
        assert queue.core.scheduler.destinations["relay/two.example"].window.size == 4
        assert queue.core.scheduler.destinations["relay/one.example"].window.size == 5
    sender.close()


def test_old_mail_for_a_destination_that_is_down_comes_back_less_often(tmp_path: Path) -> None:
    sender = Sender(tmp_path)
    ages_s = {sender.send(b"%d@relay.example" % age_s, wall=START_WALL - age_s): age_s for age_s in (0, 2000, 90_000)}
    for number in range(10):
        sender.send(b"first%d@relay.example" % number)
    sender.commit()
    with bench(tmp_path) as queue:
        (first, *jobs) = queue.fetch()
        queue.answer([first, *jobs], down)
        queue.fetch()
        assert queue.core.commit(queue.clock.monotonic())
        for location, age_s in ages_s.items():
            row = queue.core.journal.row(location)
            assert row is not None
            assert row.due_wall - START_WALL < 340  # these were tried
            queue.core.active.load(row)
            queue.core.active.defer_suspended(queue.clock.monotonic())
            row = queue.core.journal.row(location)
            assert row is not None
            assert min(max(300, age_s), 4000) <= row.due_wall - queue.clock.wall() <= min(max(300, age_s) * 1.1, 4000)
    sender.close()
