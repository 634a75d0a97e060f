"""Delivery into maildirs: what the files hold, in which order they become safe, what a failing disk leaves."""

import errno
import os
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from gevent.event import Event

from mta.deliver.disk import Disk
from mta.deliver.mailbox import Layout, open_root
from mta.deliver.maildir import BATCH_FILES, FOLDERS_OPEN, Names, Writer, make
from mta.deliver.threads import Ended, Threads
from mta.errors import SpoolCorrupt, SpoolFailed
from mta.ipc import Outcome, Result
from tests.support.deliveries import FakeMessage, FakeMessages, NotingDisk, Outcomes, mail

DEADLINE_S = 10
BODY = b"Subject: x\r\n\r\nhello\r\n.dot\r\nbare\nlf \x00\xff\r\n"


def writer(root: Path, messages: dict[int, FakeMessage], disk: Disk) -> Writer:
    layout = Layout(f"{root}/{{domain}}/{{local}}", "home.example")
    return Writer(layout, open_root(layout.root), Names(), FakeMessages(messages), disk)


def stored(root: Path, address: str) -> list[bytes]:
    local, domain = address.split("@")
    new = root / domain / local / "new"
    return [path.read_bytes() for path in sorted(new.iterdir())] if new.exists() else []


def left_in_tmp(root: Path) -> list[Path]:
    return [path for path in root.glob("*/*/tmp/*")]


def statuses(ended: list[Ended]) -> list[list[tuple[int, str]]]:
    return [[(result.status, result.code) for result in one.results] for one in ended]


def test_content_is_the_stored_message_behind_two_fields(tmp_path: Path) -> None:
    outcomes = Outcomes()
    messages = {1: FakeMessage(mail("joe@example.org", "Jim@example.org"), BODY[:20], BODY[20:])}
    (ended,) = writer(tmp_path, messages, Disk()).deliver([outcomes.work(1, (0, 1))])
    assert [(result.recipient, result.status) for result in ended.results] == [(0, 2), (1, 2)]
    assert stored(tmp_path, "joe@example.org") == [
        b"Return-Path: <a@example.net>\r\nDelivered-To: joe@example.org\r\n" + BODY
    ]
    assert stored(tmp_path, "jim@example.org") == [
        b"Return-Path: <a@example.net>\r\nDelivered-To: Jim@example.org\r\n" + BODY
    ]
    assert left_in_tmp(tmp_path) == []


def test_what_holds_for_next_hops_only(tmp_path: Path) -> None:
    """A mailbox takes any bytes, and delivery into it is the end of the way that had to have TLS."""
    envelope = msgspec.structs.replace(mail("joe@example.org"), binary=True, bare_newlines=True, require_tls=True)
    (ended,) = writer(tmp_path, {1: FakeMessage(envelope, BODY)}, Disk()).deliver([Outcomes().work(1)])
    assert [result.status for result in ended.results] == [2]
    assert stored(tmp_path, "joe@example.org")[0].endswith(BODY)


def test_null_sender_and_control_characters(tmp_path: Path) -> None:
    messages = {1: FakeMessage(mail('"a\r\nX: y"@example.org', sender=""), BODY)}
    writer(tmp_path, messages, Disk()).deliver([Outcomes().work(1)])
    (content,) = [path.read_bytes() for path in tmp_path.glob("example.org/*/new/*")]
    assert content.startswith(b'Return-Path: <>\r\nDelivered-To: "a??X: y"@example.org\r\nSubject')


def test_two_recipients_of_one_mailbox_get_two_files(tmp_path: Path) -> None:
    messages = {1: FakeMessage(mail("joe@example.org", "JOE@example.org"), BODY)}
    writer(tmp_path, messages, Disk()).deliver([Outcomes().work(1, (0, 1))])
    assert len(stored(tmp_path, "joe@example.org")) == 2


def test_only_the_recipients_of_the_job(tmp_path: Path) -> None:
    messages = {1: FakeMessage(mail("joe@example.org", "jim@example.org"), BODY)}
    writer(tmp_path, messages, Disk()).deliver([Outcomes().work(1, (1,))])
    assert not stored(tmp_path, "joe@example.org")
    assert len(stored(tmp_path, "jim@example.org")) == 1


@pytest.mark.parametrize("in_memory", [False, True])
@pytest.mark.parametrize("count", [1, 3, 4, 64])
def test_order_that_survives_a_crash(tmp_path: Path, count: int, in_memory: bool) -> None:
    """Each file: content, sync, move, sync of the folder it was moved to. Folders made: synced before the move."""
    disk = NotingDisk()
    messages = {n: FakeMessage(mail(f"joe{n % 2}@example.org"), BODY, in_memory=in_memory) for n in range(count)}
    works = [Outcomes().work(n) for n in range(count)]
    ended = writer(tmp_path, messages, disk).deliver(works)
    assert statuses(ended) == [[(2, "2.0.0")]] * count
    calls = [call for call, _ in disk.calls]
    first_move = calls.index("rename")
    before, after = disk.calls[:first_move], disk.calls[first_move:]
    assert after[:count] == [("rename", "tmp new")] * count
    assert after[count:] == [("sync_folder", "new")] * min(count, 2)
    assert [call for call, _ in before].count("write") == count
    if count <= 3:
        assert calls.count("sync_filesystem") == 0
        for at, call in enumerate(calls):
            if call == "write":
                assert calls[at + 1] == "sync_file"
        synced = {name for call, name in before if call == "sync_folder"}
        assert synced >= {"root", "example.org", "joe0"}
    else:
        assert before[-1] == ("sync_filesystem", "")
        assert calls.count("sync_filesystem") == 1


def failing(call: str, number: int, *, when: Callable[[str], bool] = lambda name: True) -> NotingDisk:
    return NotingDisk(lambda called, name: number if called == call and when(name) else 0)


@pytest.mark.parametrize(
    ("number", "code"), [(errno.ENOSPC, "4.3.1"), (errno.EDQUOT, "4.2.2"), (errno.EACCES, "4.3.0")]
)
@pytest.mark.parametrize("count", [2, 5])
@pytest.mark.parametrize("in_memory", [False, True])
def test_one_message_that_fails_leaves_the_others_alone(
    tmp_path: Path, number: int, code: str, count: int, in_memory: bool
) -> None:
    disk = failing("write", number, when=lambda text: "second" in text)
    messages = {n: FakeMessage(mail("joe@example.org"), BODY, in_memory=in_memory) for n in range(count)}
    messages[1] = FakeMessage(mail("joe@example.org"), b"second", in_memory=in_memory)
    ended = writer(tmp_path, messages, disk).deliver([Outcomes().work(n) for n in range(count)])
    expected = [[(2, "2.0.0")]] * count
    expected[1] = [(4, code)]
    assert statuses(ended) == expected
    assert len(stored(tmp_path, "joe@example.org")) == count - 1
    assert left_in_tmp(tmp_path) == []


@pytest.mark.parametrize("count", [2, 5])
@pytest.mark.parametrize("call", ["sync_file", "sync_filesystem", "sync_folder", "rename", "create", "make_folder"])
@pytest.mark.parametrize("in_memory", [False, True])
def test_failing_steps_leave_nothing_and_defer(tmp_path: Path, call: str, count: int, in_memory: bool) -> None:
    if (call == "sync_file") == (count > 3) and call.startswith("sync_file"):
        pytest.skip("the other kind of sync is used for so many files")
    messages = {n: FakeMessage(mail("joe@example.org"), BODY, in_memory=in_memory) for n in range(count)}
    ended = writer(tmp_path, messages, failing(call, errno.EIO)).deliver([Outcomes().work(n) for n in range(count)])
    assert statuses(ended) == [[(4, "4.3.0")]] * count
    assert stored(tmp_path, "joe@example.org") == []
    assert left_in_tmp(tmp_path) == []


def test_a_mailbox_in_the_way_concerns_only_its_recipient(tmp_path: Path) -> None:
    (tmp_path / "example.org").mkdir()
    (tmp_path / "example.org" / "joe").write_text("a file where a folder belongs")
    messages = {1: FakeMessage(mail("joe@example.org", "jim@example.org"), BODY)}
    ended = writer(tmp_path, messages, Disk()).deliver([Outcomes().work(1, (0, 1))])
    assert statuses(ended) == [[(4, "4.3.5"), (2, "2.0.0")]]


def test_message_that_cannot_be_read(tmp_path: Path) -> None:
    damaged = FakeMessage(mail("joe@example.org"), BODY, damage=SpoolCorrupt("segment", 64, "checksum"))
    messages = {1: damaged, 3: FakeMessage(mail("joe@example.org"), BODY)}
    ended = writer(tmp_path, messages, Disk()).deliver([Outcomes().work(n) for n in (1, 2, 3)])
    assert isinstance(ended[0].error, SpoolCorrupt)
    assert isinstance(ended[1].error, SpoolFailed)
    assert len(stored(tmp_path, "joe@example.org")) == 1
    assert left_in_tmp(tmp_path) == []


def test_no_descriptor_stays_open(tmp_path: Path) -> None:
    messages = {n: FakeMessage(mail(f"joe{n}@example.org"), BODY) for n in range(10)}
    under_test = writer(tmp_path, messages, failing("create", errno.EIO, when=lambda name: False))
    before = len(os.listdir("/proc/self/fd"))
    under_test.deliver([Outcomes().work(n) for n in range(10)])
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize("in_memory", [False, True])
def test_content_is_the_same_either_way(tmp_path: Path, in_memory: bool) -> None:
    """Long enough for several calls that write."""
    long = bytes(range(256)) * 8192
    messages = {n: FakeMessage(mail(f"joe{n}@example.org"), long, b"%d" % n, in_memory=in_memory) for n in range(5)}
    ended = writer(tmp_path, messages, Disk()).deliver([Outcomes().work(n) for n in range(5)])
    assert statuses(ended) == [[(2, "2.0.0")]] * 5
    for n in range(5):
        (content,) = stored(tmp_path, f"joe{n}@example.org")
        assert content.endswith(b"Delivered-To: joe%d@example.org\r\n%b%d" % (n, long, n))


class CountingDisk(Disk):
    """The real disk; knows how many folders are open, and how many were at once."""

    def __init__(self) -> None:
        self.open = self.most = 0

    def open_folder(self, name: str, parent_fd: int) -> int:
        fd = super().open_folder(name, parent_fd)
        self.open += 1
        self.most = max(self.most, self.open)
        return fd

    def close(self, fd: int) -> None:
        super().close(fd)
        self.open -= 1


def test_many_mailboxes_are_not_all_open_at_once(tmp_path: Path) -> None:
    disk = CountingDisk()
    recipients = [f"joe{n}@{n}.example.org" for n in range(BATCH_FILES)]
    messages = {n: FakeMessage(mail(name), BODY, in_memory=True) for n, name in enumerate(recipients)}
    ended = writer(tmp_path, messages, disk).deliver([Outcomes().work(n) for n in range(BATCH_FILES)])
    assert statuses(ended) == [[(2, "2.0.0")]] * BATCH_FILES
    assert all(len(stored(tmp_path, name)) == 1 for name in recipients)
    assert (disk.open, disk.most) == (0, FOLDERS_OPEN)


def test_names_are_unique() -> None:
    names = Names()
    assert len({names.make() for _ in range(1000)}) == 1000
    assert "/" not in names.make()


def test_transport_reports_every_work(tmp_path: Path) -> None:
    messages = {n: FakeMessage(mail("joe@example.org"), BODY) for n in range(200)}
    messages[7] = FakeMessage(mail("joe@example.org"), BODY, damage=SpoolCorrupt("segment", 64, "checksum"))
    all_ended = Event()
    outcomes = Outcomes(lambda: all_ended.set() if len(outcomes.ended) == 201 else None)
    transport = make(f"{tmp_path}/{{domain}}/{{local}}", "home.example", lambda: FakeMessages(messages))
    transport.take([outcomes.work(n) for n in range(201)])
    assert all_ended.wait(DEADLINE_S)
    expected: dict[int, Outcome | None] = {n: Outcome(n) for n in range(1, 202)}
    expected[8] = Outcome(8, (Result(0, 5, "5.3.0", "the stored message is damaged"),))
    expected[201] = Outcome(201, (Result(0, 4, "4.3.0", "the stored message cannot be read: nothing at 200"),))
    assert outcomes.ended == expected
    assert len(stored(tmp_path, "joe@example.org")) == 199


def test_abandoned_works_are_forgotten(tmp_path: Path) -> None:
    outcomes = Outcomes()
    transport = Threads([], "local", 64)
    transport.take([outcomes.work(1), outcomes.work(2)])
    transport.abandon()
    assert outcomes.ended == {1: None, 2: None}


def test_a_fault_of_ours_defers_the_batch(tmp_path: Path) -> None:
    ended = Event()
    outcomes = Outcomes(ended.set)
    broken = FakeMessages({1: None})  # type: ignore[dict-item]
    transport = make(f"{tmp_path}/{{domain}}/{{local}}", "home.example", lambda: broken)
    transport.take([outcomes.work(1)])
    assert ended.wait(DEADLINE_S)
    assert outcomes.ended == {1: Outcome(1, (Result(0, 4, "4.3.0", "internal error"),))}
