"""Delivery into mbox files: what they hold, locks of others, failing disks, kills, and places that are none."""

import errno
import fcntl
import mailbox
import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from gevent.event import Event

from mta.deliver import mbox
from mta.deliver.disk import Disk
from mta.deliver.mailbox import open_root
from mta.deliver.mbox import MboxWriter, Places, make
from mta.deliver.mbox_lock import STALE_S, DotLock
from mta.deliver.threads import Ended
from mta.errors import SpoolCorrupt, SpoolFailed
from mta.ipc import Outcome, Result
from tests.deliver.mbox_child import message as numbered
from tests.support.deliveries import FakeMessage, FakeMessages, NotingDisk, Outcomes, mail

DEADLINE_S = 20
BODY = b"Subject: x\r\n\r\nhello\r\nFrom here\r\nbare\nlf \x00\xff\r\n"
STORED = b"Subject: x\n\nhello\n>From here\nbare\nlf \x00\xff\n\n"
DATE = b"Sun Sep  9 01:46:40 2001"
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mbox, "LOCK_S", 0.2)


def writer(
    root: Path, messages: dict[int, FakeMessage], disk: Disk | None = None, template: str = "{local}"
) -> MboxWriter:
    places = Places(f"{root}/{template}", "home.example")
    return MboxWriter(places, open_root(places.root), FakeMessages(messages), disk or Disk())


def deliver(root: Path, *works: int, disk: Disk | None = None, template: str = "{local}") -> list[Ended]:
    """Messages numbered 1 to 9 for joe and jim, by their numbers, each for both."""
    messages = {n: FakeMessage(mail("joe@example.org", "jim@example.org"), BODY) for n in range(1, 10)}
    return writer(root, messages, disk, template).deliver([Outcomes().work(n, (0, 1)) for n in works])


def fates(ended: list[Ended]) -> list[list[tuple[int, str]]]:
    return [[(result.status, result.code) for result in one.results] for one in ended]


def stored(recipient: bytes, sender: bytes = b"a@example.net") -> bytes:
    return b"From %b %b\nReturn-Path: <%b>\nDelivered-To: %b\n" % (sender, DATE, sender, recipient) + STORED


# ---------------------------------------------------------------------------------------------------------------------
# What files hold


def test_content(tmp_path: Path) -> None:
    ended = deliver(tmp_path, 1, 2)
    assert fates(ended) == [[(2, "2.0.0")] * 2] * 2
    assert ended[0].results[1].text == "jim"
    assert (tmp_path / "joe").read_bytes() == stored(b"joe@example.org") * 2
    assert (tmp_path / "jim").read_bytes() == stored(b"jim@example.org") * 2
    assert {path.name for path in tmp_path.iterdir()} == {"joe", "jim"}
    assert (tmp_path / "joe").stat().st_mode & 0o777 == 0o600


def test_folders_are_made(tmp_path: Path) -> None:
    deliver(tmp_path, 1, template="{domain}/inbox/{local}")
    deliver(tmp_path, 2, template="{domain}/inbox/{local}")
    assert (tmp_path / "example.org/inbox/joe").read_bytes() == stored(b"joe@example.org") * 2


def test_one_file_for_all(tmp_path: Path) -> None:
    deliver(tmp_path, 1, template="all.mbox")
    assert (tmp_path / "all.mbox").read_bytes() == stored(b"joe@example.org") + stored(b"jim@example.org")


def test_readers_understand_it(tmp_path: Path) -> None:
    deliver(tmp_path, 1, 2, 3)
    box = mailbox.mbox(tmp_path / "joe", create=False)
    assert [(found["Subject"], found["Delivered-To"]) for found in box] == [("x", "joe@example.org")] * 3


@pytest.mark.parametrize(("tail", "added"), [(b"x", b"\n\n"), (b"x\n", b"\n"), (b"x\n\n", b""), (b"\n", b"\n")])
def test_behind_what_others_wrote(tmp_path: Path, tail: bytes, added: bytes) -> None:
    (tmp_path / "joe").write_bytes(tail)
    deliver(tmp_path, 1)
    assert (tmp_path / "joe").read_bytes() == tail + added + stored(b"joe@example.org")


def test_null_sender_and_large_message(tmp_path: Path) -> None:
    body = b"Subject: y\r\n\r\n" + b"From me\r\n" * 100_000
    pieces = [body[n : n + 4097] for n in range(0, len(body), 4097)]
    messages = {1: FakeMessage(mail("joe@example.org", sender=""), *pieces)}
    assert fates(writer(tmp_path, messages).deliver([Outcomes().work(1)])) == [[(2, "2.0.0")]]
    content = (tmp_path / "joe").read_bytes()
    assert content.startswith(b"From MAILER-DAEMON " + DATE + b"\nReturn-Path: <>\n")
    assert content.endswith(b"Subject: y\n\n" + b">From me\n" * 100_000 + b"\n")


def test_a_mailbox_is_never_anothers_lock(tmp_path: Path) -> None:
    """The mailbox of joe.lock must not keep mail from joe."""
    messages = {1: FakeMessage(mail("joe.lock@example.org", "joe@example.org"), BODY)}
    assert fates(writer(tmp_path, messages).deliver([Outcomes().work(1, (0, 1))])) == [[(2, "2.0.0")] * 2]
    assert {path.name for path in tmp_path.iterdir()} == {"joe", "joe%2elock"}


# ---------------------------------------------------------------------------------------------------------------------
# Order of steps, failing disks, damaged messages


def test_order_that_survives_a_crash(tmp_path: Path) -> None:
    disk = NotingDisk()
    deliver(tmp_path, 1, 2, disk=disk, template="{domain}/{local}")
    calls = [call for call, _ in disk.calls]
    assert calls[0] == "make_folder"
    of_joe = calls[1 : len(calls) // 2 + 1]
    assert of_joe[-3:] == [
        "sync_file",
        "sync_folder",
        "sync_folder",
    ]  # the file, then the folder and its parent: all new
    assert set(of_joe[:-3]) == {"write"}
    disk.calls.clear()
    deliver(tmp_path, 1, disk=disk, template="{domain}/{local}")
    assert {call for call, _ in disk.calls} == {"write", "sync_file"}


def failing(call: str, number: int, *, when: Callable[[str], bool] = lambda name: True) -> NotingDisk:
    return NotingDisk(lambda called, name: number if called == call and when(name) else 0)


@pytest.mark.parametrize(("number", "code"), [(errno.ENOSPC, "4.3.1"), (errno.EDQUOT, "4.2.2"), (errno.EIO, "4.3.0")])
def test_message_that_cannot_be_written_is_taken_out_again(tmp_path: Path, number: int, code: str) -> None:
    messages = {n: FakeMessage(mail("joe@example.org"), BODY) for n in (1, 3)}
    messages[2] = FakeMessage(mail("joe@example.org"), b"first part", b"second part")
    disk = failing("write", number, when=lambda text: "second part" in text)
    ended = writer(tmp_path, messages, disk).deliver([Outcomes().work(n) for n in (1, 2, 3)])
    assert fates(ended) == [[(2, "2.0.0")], [(4, code)], [(2, "2.0.0")]]
    assert (tmp_path / "joe").read_bytes() == stored(b"joe@example.org") * 2


@pytest.mark.parametrize("call", ["sync_file", "sync_folder"])
def test_sync_that_fails_takes_everything_out(tmp_path: Path, call: str) -> None:
    if call == "sync_file":
        (tmp_path / "joe").write_bytes(b"before\n\n")
    before = (tmp_path / "joe").read_bytes() if (tmp_path / "joe").exists() else b""
    ended = deliver(tmp_path, 1, 2, disk=failing(call, errno.EIO))
    assert fates(ended) == [[(4, "4.3.0")] * 2] * 2
    assert (tmp_path / "joe").read_bytes() == before
    assert fates(deliver(tmp_path, 1)) == [[(2, "2.0.0")] * 2]
    assert (tmp_path / "joe").read_bytes() == before + stored(b"joe@example.org")


def test_messages_that_cannot_be_read(tmp_path: Path) -> None:
    messages = {
        1: FakeMessage(mail("joe@example.org"), BODY),
        2: FakeMessage(
            mail("joe@example.org", "jim@example.org"), b"half", damage=SpoolCorrupt("segment", 64, "checksum")
        ),
    }
    ended = writer(tmp_path, messages).deliver([Outcomes().work(2, (0, 1)), Outcomes().work(1), Outcomes().work(3)])
    assert fates(ended) == [[], [(2, "2.0.0")], []]
    assert isinstance(ended[0].error, SpoolCorrupt)
    assert isinstance(ended[2].error, SpoolFailed)
    assert (tmp_path / "joe").read_bytes() == stored(b"joe@example.org")
    assert (tmp_path / "jim").read_bytes() == b""


# ---------------------------------------------------------------------------------------------------------------------
# Places that are none


def outside(tmp_path: Path) -> Path:
    path = tmp_path / "outside"
    path.write_bytes(b"not to be touched")
    return path


@pytest.mark.parametrize("kind", ["symbolic", "dangling", "hard", "folder", "fifo", "socket"])
def test_what_is_no_plain_file_is_left_alone(tmp_path: Path, kind: str) -> None:
    root = tmp_path / "mail"
    root.mkdir()
    target, joe = outside(tmp_path), root / "joe"
    if kind == "symbolic":
        joe.symlink_to(target)
    elif kind == "dangling":
        joe.symlink_to(tmp_path / "absent")
    elif kind == "hard":
        os.link(target, joe)
    elif kind == "folder":
        joe.mkdir()
    elif kind == "fifo":
        os.mkfifo(joe)
    else:
        os.mknod(joe, 0o600 | 0o140000)
    ((mine, other),) = fates(deliver(root, 1))
    assert mine[0] == 4
    assert other == (2, "2.0.0")
    assert target.read_bytes() == b"not to be touched"
    assert not (tmp_path / "absent").exists()
    assert not (root / "joe.lock").exists()


def test_symbolic_links_above_are_not_followed(tmp_path: Path) -> None:
    root = tmp_path / "mail"
    root.mkdir()
    (tmp_path / "elsewhere").mkdir()
    (root / "example.org").symlink_to(tmp_path / "elsewhere")
    assert fates(deliver(root, 1, template="{domain}/{local}")) == [[(4, "4.3.5")] * 2]
    assert list((tmp_path / "elsewhere").iterdir()) == []


# ---------------------------------------------------------------------------------------------------------------------
# Locks


LOCKED = [(4, "4.2.0"), (2, "2.0.0")]  # joe's, and jim's


def test_dot_lock_of_another(tmp_path: Path) -> None:
    (tmp_path / "joe.lock").write_text("4711")
    assert fates(deliver(tmp_path, 1)) == [LOCKED]
    assert (tmp_path / "joe.lock").read_text() == "4711"
    assert not (tmp_path / "joe").exists()


def test_dot_lock_that_was_left_behind(tmp_path: Path) -> None:
    lock = tmp_path / "joe.lock"
    lock.write_text("4711")
    long_ago = lock.stat().st_mtime - STALE_S - 10
    os.utime(lock, (long_ago, long_ago))
    assert fates(deliver(tmp_path, 1)) == [[(2, "2.0.0")] * 2]
    assert not lock.exists()


@pytest.mark.parametrize("unnamed", [True, False], ids=["named last", "named first"])
def test_dot_lock_of_ours_while_its_owner_lives_and_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, unnamed: bool
) -> None:
    """Also where the file system has no files without names."""
    if not unnamed:
        monkeypatch.setattr(os, "O_TMPFILE", os.O_DIRECTORY)  # what older kernels make of it: EISDIR
    folder_fd = open_root(str(tmp_path))
    lock = DotLock.take("joe", folder_fd, 0.0)
    assert lock is not None
    assert DotLock.take("joe", folder_fd, 1e12) is None  # however old it is
    assert fates(deliver(tmp_path, 1)) == [LOCKED]
    os.close(lock._fd)  # as its process' end does
    assert fates(deliver(tmp_path, 2)) == [[(2, "2.0.0")] * 2]
    assert not (tmp_path / "joe.lock").exists()
    os.close(folder_fd)


def test_dot_lock_that_has_a_name_is_known_to_be_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whenever we are killed: one that says nothing yet would be a stranger's, and keep mail out for minutes."""
    held: list[bytes] = []
    link = os.link

    def named(source: str, *arguments: object, **more: object) -> None:
        held.append(Path(source).read_bytes())
        assert not (tmp_path / "joe.lock").exists()
        link(source, *arguments, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "link", named)
    assert fates(deliver(tmp_path, 1)) == [[(2, "2.0.0")] * 2]
    assert b"mta\n" in held
    assert not (tmp_path / "joe.lock").exists()


@pytest.mark.parametrize("kind", ["fifo", "folder", "link"])
def test_dot_locks_that_are_no_files(tmp_path: Path, kind: str) -> None:
    lock = tmp_path / "joe.lock"
    if kind == "fifo":
        os.mkfifo(lock)
    elif kind == "folder":
        lock.mkdir()
    else:
        lock.symlink_to(outside(tmp_path))
    ((mine, other),) = fates(deliver(tmp_path, 1))
    assert mine[0] == 4
    assert other == (2, "2.0.0")


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Another process that has joe's mailbox locked by fcntl until its input ends."""
    code = (
        "import fcntl, sys; f = open(sys.argv[1], 'ab'); fcntl.lockf(f, fcntl.LOCK_EX); print(flush=True); "
        "sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "joe")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process


def test_lock_of_fcntl(tmp_path: Path, holder: subprocess.Popen[bytes]) -> None:
    assert fates(deliver(tmp_path, 1)) == [LOCKED]
    assert (tmp_path / "joe").read_bytes() == b""
    holder.communicate()
    assert fates(deliver(tmp_path, 2)) == [[(2, "2.0.0")] * 2]


def test_our_locks_are_seen_by_others(tmp_path: Path) -> None:
    """Both of them, while we write."""
    seen: list[str] = []

    def look(call: str, name: str) -> int:
        if call == "sync_file" and not seen:
            box = mailbox.mbox(tmp_path / "joe", create=False)
            with pytest.raises(mailbox.ExternalClashError):
                box.lock()
            seen.extend(path.name for path in tmp_path.glob("*.lock"))
        return 0

    deliver(tmp_path, 1, disk=NotingDisk(look))
    assert seen == ["joe.lock"]
    box = mailbox.mbox(tmp_path / "joe", create=False)
    box.lock()
    assert fates(deliver(tmp_path, 2)) == [LOCKED]
    box.unlock()


def test_waiting_for_one_file_does_not_keep_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """joe's is let go of when jim has his mail."""
    monkeypatch.setattr(mbox, "LOCK_S", DEADLINE_S)
    with (tmp_path / "joe").open("ab") as file:
        fcntl.fcntl(file, fcntl.F_OFD_SETLK, b"\1\0" + bytes(30))

        def look(call: str, name: str) -> int:
            if call == "sync_file" and (tmp_path / "jim").exists():
                os.dup2(os.open("/dev/null", os.O_RDONLY), file.fileno())
            return 0

        assert fates(deliver(tmp_path, 1, disk=NotingDisk(look))) == [[(2, "2.0.0")] * 2]


def test_no_descriptor_stays_open(tmp_path: Path) -> None:
    (tmp_path / "ann.lock").write_text("")
    names = ["joe", "ann", "jim", "tim"]
    os.mkfifo(tmp_path / "tim")
    messages = {1: FakeMessage(mail(*(f"{name}@example.org" for name in names)), BODY)}
    under_test = writer(tmp_path, messages, failing("sync_folder", errno.EIO))
    before = len(os.listdir("/proc/self/fd"))
    under_test.deliver([Outcomes().work(1, range(4))])
    assert len(os.listdir("/proc/self/fd")) == before


# ---------------------------------------------------------------------------------------------------------------------
# Processes


def test_kill_at_any_time(tmp_path: Path) -> None:
    """What was reported is there, whole and in order, whatever half messages stand between; locks are no hindrance."""
    for turn in range(6):
        first = reported = 1000 * turn
        command = [sys.executable, "-m", "tests.deliver.mbox_child", str(tmp_path), str(first)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT) as child:
            assert child.stdout is not None
            for _ in range(turn + 2):
                reported = int(child.stdout.readline())
            select.select([child.stdout], [], [], turn * 0.002)
            child.send_signal(signal.SIGKILL)
            rest = child.stdout.read().split(b"\n")[:-1]
            reported = int(rest[-1]) if rest else reported
        found = [bytes(each) for each in mailbox.mbox(tmp_path / "joe", create=False)]
        assert reported > first
        for n in range(first, reported):
            expected = numbered(n).replace(b"\r\n", b"\n").partition(b"\n\n")[2]
            assert any(b"Subject: number %d\n" % n in each and expected in each for each in found), n
    assert fates(deliver(tmp_path, 1)) == [[(2, "2.0.0")] * 2]
    assert mailbox.mbox(tmp_path / "joe", create=False).values()[-1]["Subject"] == "x"


def test_two_threads_on_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mbox, "LOCK_S", DEADLINE_S)
    messages = {n: FakeMessage(mail("joe@example.org"), BODY) for n in range(1, 301)}
    messages[7] = FakeMessage(mail("joe@example.org"), BODY, damage=SpoolCorrupt("segment", 64, "checksum"))
    done = Event()
    outcomes = Outcomes(lambda: done.set() if len(outcomes.ended) == 300 else None)
    transport = make(f"{tmp_path}/{{local}}", "home.example", lambda: FakeMessages(messages))
    transport.take([outcomes.work(n) for n in range(1, 301)])
    assert done.wait(DEADLINE_S)
    transport.close()
    expected: dict[int, Outcome | None] = {n: Outcome(n) for n in range(1, 301)}
    expected[7] = Outcome(7, (Result(0, 5, "5.3.0", "the stored message is damaged"),))
    assert outcomes.ended == expected
    assert (tmp_path / "joe").read_bytes() == stored(b"joe@example.org") * 299
