"""What `mta queue` is answered, with and without a running manager, in every state a message can have."""

import os
from pathlib import Path

import pytest
from queuetools import Bench, Sender, ask, bench, deferred, failed, make_config

from mta import ipc
from mta.errors import IpcError
from mta.qmgr import store
from mta.spool import queueid


@pytest.fixture
def queue(tmp_path: Path):
    """One message in each state: ids by state."""
    sender = Sender(tmp_path)
    with bench(tmp_path, active=2) as it:
        it.ids = {}  # type: ignore[attr-defined]
        for state, how in (("waiting", deferred), ("failed", failed)):
            it.ids[state] = queueid.text(sender.send(b"%s@store.example" % state.encode()))  # type: ignore[attr-defined]
            sender.commit()
            it.work(how)
        it.ids["active"] = queueid.text(sender.send(b"active@store.example", b"x@relay.example"))  # type: ignore
        sender.send(b"second@store.example")
        it.ids["queued"] = queueid.text(sender.send(b"queued@store.example"))  # type: ignore[attr-defined]
        sender.commit()
        it.jobs = it.fetch()
        it.sender = sender  # type: ignore[attr-defined]
        yield it
    sender.close()


def test_list(queue: Bench) -> None:
    items = {str(item["id"]): item for item in queue.ask("list")}
    assert len(items) == 5
    for state, text in queue.ids.items():
        item = items[text]
        assert item["state"] == state
        assert item["to"][0] == f"{state}@store.example"
        assert item["sender"] == "from@sender.example"
        assert (item["recipients"], item["size_bytes"]) == (2 if state == "active" else 1, 100)
        assert (item["due_wall"] is None) == (state != "waiting")
        assert [other["id"] for other in queue.ask("list", state=state)].count(text) == 1
    assert len(queue.ask("list", limit=3)) == 3
    assert queue.ask("list", limit=0) == []


def test_show(queue: Bench) -> None:
    for state, text in queue.ids.items():
        message, *recipients = queue.ask("show", id=text)
        assert (message["id"], message["state"]) == (text, state)
        assert (message["protocol"], message["session"], message["shard"]) == ("ESMTP", "s1", 0)
        assert queueid.text(queueid.pack(message["shard"], message["segment"], message["offset_bytes"])) == text
        assert recipients[0]["recipient"] == f"{state}@store.example"
        assert {recipient["state"] for recipient in recipients} == {state}


def test_show_of_what_is_not_there(queue: Bench) -> None:
    for text in ("zz", "", "0", "1", "7fffffffffffffff", "123456789abc"):
        (reply,) = queue.control.answer(ipc.Request("show", {"id": text}))
        assert reply.error
        assert not reply.more


def test_show_of_a_message_that_cannot_be_read(queue: Bench) -> None:
    for path in (queue.root / "shards" / "0").glob("*.segment"):
        path.write_bytes(bytes(path.stat().st_size))
    message, recipient = queue.ask("show", id=queue.ids["waiting"])
    assert "problem" in message
    assert recipient == {
        "recipient": "waiting@store.example",
        "state": "waiting",
        "transport": "store",
        "copy": False,
        "code": "4.2.2",
        "text": "mailbox full",
    }


def test_rubbish_is_refused(queue: Bench) -> None:
    for request in (
        ipc.Request("dance"),
        ipc.Request("list", {"limit": "many"}),
        ipc.Request("list", {"state": "odd"}),
        ipc.Request("show", {"name": "x"}),
        ipc.Request("delete", {"ids": "abc"}),
        ipc.Request("delete", {"ids": ["not an id"]}),
    ):
        (reply,) = queue.control.answer(request)
        assert reply.error
    assert queue.counts() == (4, 2, 1, 1)


def test_retry_by_id(queue: Bench) -> None:
    ids = [queue.ids["waiting"], queue.ids["failed"], queue.ids["active"], queue.ids["queued"], "123"]
    assert queue.ask("retry", ids=ids) == [{"count": 4, "missing": ["123"], "unchanged": []}]
    assert queue.counts() == (5, 2, 2, 0)
    queue.answer(queue.jobs)
    retried = {queueid.text(job.queue_id): job for job in queue.work()}
    assert retried[queue.ids["waiting"]].attempt == 2
    assert retried[queue.ids["failed"]].attempt == 2
    assert queue.counts() == (0, 0, 0, 0)


def test_retry_all(queue: Bench) -> None:
    assert queue.ask("retry", all=True) == [{"count": 1, "missing": [], "unchanged": []}]
    queue.answer(queue.jobs)
    queue.work()
    assert queue.counts() == (0, 0, 0, 1)


@pytest.mark.parametrize("state", ["waiting", "failed", "active", "queued"])
def test_delete_by_id(queue: Bench, state: str) -> None:
    before = {item["id"] for item in queue.ask("list")}
    assert queue.ask("delete", ids=[queue.ids[state], "123"]) == [{"count": 1, "missing": ["123"], "unchanged": []}]
    assert queue.ask("delete", ids=[queue.ids[state]]) == [{"count": 0, "missing": [queue.ids[state]], "unchanged": []}]
    assert {item["id"] for item in queue.ask("list")} == before - {queue.ids[state]}
    queue.answer(queue.jobs)  # the outcome of a deleted message's job means nothing
    queue.work()
    assert queue.core.commit(0.0)
    with bench_again(queue) as again:
        assert queue.ids[state] not in {item["id"] for item in again.ask("list")}
        again.wait(1000)
        assert queueid.parse(queue.ids[state]) not in {job.queue_id for job in again.work()}


def bench_again(queue: Bench):
    queue.close()
    queue.core.close = lambda: None  # type: ignore[method-assign]
    return bench(queue.root, queue.clock)


def test_delete_all(queue: Bench) -> None:
    for number in range(1000):
        queue.sender.send(b"%d@store.example" % number, large=number < 3)
    queue.sender.commit()
    assert queue.ask("delete", all=True) == [{"count": 1005, "missing": [], "unchanged": []}]
    late = queue.sender.send(b"late@store.example")
    queue.sender.commit()
    queue.jobs.clear()
    while queue.core.intake.is_purging():
        queue.answer(queue.fetch())
    queue.work()
    assert [job.location for job in queue.jobs] == [late]
    assert queue.counts() == (0, 0, 0, 0)
    assert list((queue.root / "bodies").iterdir()) == []
    with bench_again(queue) as again:
        again.wait(1000)
        assert again.work() == []


def test_long_answers_come_in_pages_that_fit(tmp_path: Path) -> None:
    sender = Sender(tmp_path)
    name = b"x" * 200
    with bench(tmp_path) as queue:
        location = sender.send(*(b"%s%d@store.example" % (name, n) for n in range(1000)))
        for number in range(500):
            sender.send(b"%s%d@store.example" % (name, number))
        sender.commit()

        def refuse(job: ipc.Job) -> ipc.Outcome:
            return ipc.Outcome(job.number, tuple(ipc.Result(i, 4, "4.0.0", "y" * 1024) for i in job.recipients))

        queue.work(refuse)
        assert len(queue.ask("show", id=queueid.text(location))) == 1001
        assert len(queue.ask("list")) == 501
        pages = list(queue.control.answer(ipc.Request("list")))
        assert len(pages) > 5
        assert all(page.more for page in pages[:-1])
    sender.close()


def test_stats_of_destinations(queue: Bench) -> None:
    item = queue.stats()
    assert item["workers"] == 1
    assert item["held"] == 0
    assert item["healthy"] is True
    assert item["destinations"] == {
        "store": {"waiting": 0, "in_flight": 2, "window": 2048, "suspended": ""},
        "relay": {"waiting": 0, "in_flight": 1, "window": 5, "suspended": ""},
    }


def test_without_a_manager(queue: Bench) -> None:
    config = make_config(queue.root)
    ids = queue.ids
    with bench_again(queue):
        lock = store.try_lock(config)  # somebody else has it
        assert lock is not None
        assert store.try_lock(config) is None
        with pytest.raises(IpcError, match="does not answer"):
            next(store.answer(config, ipc.Request("stats")))
    os.close(lock)
    (item,) = ask(store.answer(config, ipc.Request("stats")))
    assert (item["queued"], item["waiting"], item["failed"], item["unread"]) == (4, 1, 1, 3)
    states = {item["id"]: item["state"] for item in ask(store.answer(config, ipc.Request("list")))}
    assert states[ids["active"]] == "queued"
    assert ask(store.answer(config, ipc.Request("retry", {"all": True}))) == [
        {"count": 1, "missing": [], "unchanged": []}
    ]
    assert ask(store.answer(config, ipc.Request("delete", {"ids": [ids["queued"]]})))[0]["count"] == 1
    assert len(ask(store.answer(config, ipc.Request("list")))) == 4
    assert ask(store.answer(config, ipc.Request("delete", {"all": True})))[0]["count"] == 4
    assert ask(store.answer(config, ipc.Request("list"))) == []
    (item,) = ask(store.answer(config, ipc.Request("stats")))
    assert item["queued"] == 0
