"""Requests to a queue whose manager does not run, as commands make them."""

import os
from pathlib import Path

import msgspec
import pytest
from queuetools import Sender, bench, deferred, make_config

from mta import cli_offline, ipc, log
from mta.cli_ask import Unanswered
from mta.config import Log
from mta.errors import SpoolError
from mta.qmgr import store
from mta.spool import queueid
from mta.supervisor import folder


def prepare(root: Path, count: int, *, large: bool = False) -> list[int]:
    """A queue with messages that wait."""
    sender = Sender(root)
    with bench(root) as queue:
        locations = [sender.send(b"%d@store.example" % number, large=large) for number in range(count)]
        sender.commit()
        queue.work(deferred)
    sender.close()
    return locations


def test_the_queue_is_free_before_anything_is_given_out(tmp_path: Path) -> None:
    """A pager on our output does not keep a manager from it, however long the answer is."""
    prepare(tmp_path, 400)
    config = make_config(tmp_path)
    replies = cli_offline.answer(config, ipc.Request("list"))
    first = next(replies)
    assert first.more
    lock = store.try_lock(config)
    assert lock is not None
    os.close(lock)
    assert sum(len(reply.items) for reply in replies) + len(first.items) == 400


def test_somebody_has_the_queue(tmp_path: Path) -> None:
    config = make_config(tmp_path)
    lock = store.try_lock(config)
    assert lock is not None
    with pytest.raises(Unanswered):
        next(cli_offline.answer(config, ipc.Request("list")))
    os.close(lock)


def test_orders_are_on_the_disk_and_in_the_log(tmp_path: Path) -> None:
    (first, second) = prepare(tmp_path, 2)
    config = msgspec.structs.replace(make_config(tmp_path), log=Log(file=str(tmp_path / "log")))
    for verb, arguments in (
        ("hold", {"all": True}),
        ("delete", {"ids": [queueid.text(second)]}),
        ("move", {"all": True, "to": "relay"}),
    ):
        *_, last = cli_offline.answer(config, ipc.Request(verb, arguments))
        assert not last.error
    log.setup("mta", 0, Log())
    said = (tmp_path / "log").read_text()
    for event in ("held", "moved"):
        assert f"process=queue/0 event={event} queue={queueid.text(first)}" in said
    assert f"event=removed queue={queueid.text(second)}" in said
    with bench(tmp_path) as queue:
        (item,) = queue.ask("list")
        assert (item["id"], item["state"], item["transport"]) == (queueid.text(first), "held", "relay")


@pytest.mark.parametrize("large", [False, True])
def test_content(tmp_path: Path, large: bool) -> None:
    (location,) = prepare(tmp_path, 1, large=large)
    content = cli_offline.Content(str(tmp_path), location)
    assert content.envelope.recipients == (b"0@store.example",)
    assert b"".join(content.chunks()) == b"x" * 100
    with pytest.raises(SpoolError):
        cli_offline.Content(str(tmp_path), location + 1)


def test_whether_a_supervisor_has_the_spool(tmp_path: Path) -> None:
    assert not folder.is_locked(str(tmp_path))
    fd = folder.lock(tmp_path)
    assert folder.is_locked(str(tmp_path))
    os.close(fd)
    assert not folder.is_locked(str(tmp_path))
