"""The pipe transport with real commands: what they get, what becomes of what they do, and that nothing stays behind."""

import os
import shlex
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from gevent.event import Event

from mta.config import Transport
from mta.deliver import pipe
from mta.deliver.child import Child
from mta.deliver.pipe import Runner
from mta.deliver.threads import Ended, Threads
from mta.errors import SpoolCorrupt, SpoolError
from mta.ipc import Outcome, Result
from mta.spool import queueid
from tests.support.deliveries import FakeMessage, FakeMessages, Outcomes, mail

BODY = b"Received: from x\r\nSubject: x\r\n\r\nhello\r\n.dot\r\nbare\nlf \x00\xff\r\nlast\r"
LONG_S = 60.0

Until = Callable[[Callable[[], object]], None]


def runner(folder: Path, *command: str, messages: FakeMessages, **settings: object) -> Runner:
    made = Transport("pipe", command=list(command), **settings)  # type: ignore[arg-type]
    return Runner(made, "home.example", messages, str(folder))


def one(folder: Path, *command: str, body: bytes = BODY, sender: str = "a@example.net", **settings: object) -> Ended:
    """How a message for two recipients fares."""
    messages = FakeMessages({1: FakeMessage(mail("joe@example.org", '"jim x"@b.org', sender=sender), body)})
    (ended,) = runner(folder, *command, messages=messages, **settings).deliver([Outcomes().work(1, (0, 1))])
    return ended


def script(folder: Path, text: str) -> list[str]:
    """A command that runs `text` with the folder as its working directory."""
    return ["/bin/sh", "-c", f"cd {shlex.quote(str(folder))} || exit 75\n{text}", "script"]


def fates(ended: Ended) -> list[tuple[int, int, str, str]]:
    return [(result.recipient, result.status, result.code, result.text) for result in ended.results]


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


# ---------------------------------------------------------------------------------------------------------------------
# What a command gets


def test_content_and_arguments(tmp_path: Path) -> None:
    text = 'cat > "$1"; printf "%s\\n" "$@" > "$1.arguments"; env > "$1.env"; pwd -P > cwd; echo stored "$1"; echo more'
    template = ["{local}", "{sender}", "{recipient}", "{domain}", "{queue_id}", "{size}"]
    ended = one(tmp_path, *script(tmp_path, text), *template)
    assert fates(ended) == [(0, 2, "2.0.0", "stored joe"), (1, 2, "2.0.0", "stored jim x")]
    start = b"Return-Path: <a@example.net>\nDelivered-To: "
    rest = b"\nReceived: from x\nSubject: x\n\nhello\n.dot\nbare\nlf \x00\xff\nlast\r"
    assert (tmp_path / "joe").read_bytes() == start + b"joe@example.org" + rest
    assert (tmp_path / "jim x").read_bytes() == start + b'"jim x"@b.org' + rest
    assert (tmp_path / "jim x.arguments").read_text().split("\n")[:-1] == [
        "jim x",
        "a@example.net",
        '"jim x"@b.org',
        "b.org",
        queueid.text(1),
        str(len(BODY)),
    ]
    names = {line.partition("=")[0] for line in (tmp_path / "joe.env").read_text().splitlines()}
    assert names <= {"PATH", "PWD", "OLDPWD", "SHLVL", "_"}


def test_content_as_it_is(tmp_path: Path) -> None:
    one(tmp_path, *script(tmp_path, 'cat > "$1"'), "{local}", line_end="crlf", envelope_fields=False)
    assert (tmp_path / "joe").read_bytes() == BODY


def test_once_for_a_message(tmp_path: Path) -> None:
    text = 'cat > content; printf "%s\\n" "$@" >> arguments; echo 4.2.1 busy; exit 1'
    ended = one(tmp_path, *script(tmp_path, text), "{recipient}", per="message")
    assert fates(ended) == [(n, 4, "4.2.1", "command failed, exit code 1: 4.2.1 busy") for n in (0, 1)]
    assert (tmp_path / "arguments").read_text() == 'joe@example.org\n"jim x"@b.org\n'
    assert (tmp_path / "content").read_bytes().startswith(b"Return-Path: <a@example.net>\nReceived: ")


def test_large_message_is_whole(tmp_path: Path) -> None:
    body = b"Subject: large\r\n\r\n" + b"0123456789abcdef\r\n" * 200_000
    messages = FakeMessages(
        {1: FakeMessage(mail("joe@example.org"), *(body[n : n + 999] for n in range(0, len(body), 999)))}
    )
    made = runner(tmp_path, *script(tmp_path, "cat > content"), messages=messages, envelope_fields=False)
    (ended,) = made.deliver([Outcomes().work(1)])
    assert fates(ended) == [(0, 2, "2.0.0", "")]
    assert (tmp_path / "content").read_bytes() == body.replace(b"\r\n", b"\n")
    assert {path.name for path in tmp_path.iterdir()} == {"content"}  # where it lay meanwhile has no name


def test_no_descriptor_of_ours_is_passed_on(tmp_path: Path) -> None:
    inherited = os.open("/dev/null", os.O_RDONLY)
    os.set_inheritable(inherited, True)
    one(tmp_path, *script(tmp_path, "ls /proc/self/fd > fds"))
    os.close(inherited)
    assert str(inherited) not in (tmp_path / "fds").read_text().split()[4:]
    assert len((tmp_path / "fds").read_text().split()) <= 4  # 0, 1, 2 and that of ls


def test_addresses_that_look_like_options(tmp_path: Path) -> None:
    messages = FakeMessages({1: FakeMessage(mail("-rf@example.org", "joe@example.org", "--@example.org"), BODY)})
    made = runner(tmp_path, *script(tmp_path, 'echo "$1" >> got'), "{local}", messages=messages)
    (ended,) = made.deliver([Outcomes().work(1, (0, 1, 2))])
    told = "an address with a - at its start is not given to a command"
    assert sorted(fates(ended)) == [(0, 5, "5.1.3", told), (1, 2, "2.0.0", ""), (2, 5, "5.1.3", told)]
    assert (tmp_path / "got").read_text() == "joe\n"


@pytest.mark.parametrize("per", ["recipient", "message"])
def test_none_but_refused_addresses(tmp_path: Path, per: str) -> None:
    ended = one(tmp_path, *script(tmp_path, "touch ran"), "{sender}", sender="-x@example.net", per=per)
    assert [fate[:3] for fate in fates(ended)] == [(0, 5, "5.1.7"), (1, 5, "5.1.7")]
    assert not (tmp_path / "ran").exists()


# ---------------------------------------------------------------------------------------------------------------------
# What a command does


def test_each_recipient_has_its_own_fate(tmp_path: Path) -> None:
    ended = one(tmp_path, *script(tmp_path, 'test "$1" = joe || { echo >&2 "no such user"; exit 67; }'), "{local}")
    assert fates(ended) == [(0, 2, "2.0.0", ""), (1, 5, "5.1.1", "command failed, user unknown: no such user")]


def test_command_that_reads_nothing(tmp_path: Path) -> None:
    assert fates(one(tmp_path, "/bin/true", body=b"x" * 5_000_000))[0] == (0, 2, "2.0.0", "")


def test_command_that_does_not_end(tmp_path: Path, until: Until) -> None:
    text = "echo $$ >> pids; trap '' TERM; echo working; sleep 1000 & echo $! >> pids; wait"
    ended = one(tmp_path, *script(tmp_path, text), timeout_s=0.5, per="message")
    assert fates(ended) == [(n, 4, "4.3.0", "command timed out: working") for n in (0, 1)]
    gone(tmp_path, until)


def gone(folder: Path, until: Until) -> None:
    """Whatever the command noted in `pids` ends."""
    pids = (folder / "pids").read_text().split()
    assert pids

    def alive(pid: str) -> bool:
        try:
            return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
        except (FileNotFoundError, ProcessLookupError):
            return False

    until(lambda: not any(map(alive, pids)))


def test_processes_left_behind_are_ended_and_not_waited_for(tmp_path: Path, until: Until) -> None:
    """They hold the output open; and nobody would ever end them."""
    text = "for i in 1 2 3; do sleep 1000 & echo $! >> pids; done; echo done"
    ended = one(tmp_path, *script(tmp_path, text), timeout_s=LONG_S, per="message")
    assert fates(ended)[0] == (0, 2, "2.0.0", "done")
    gone(tmp_path, until)


def test_command_that_says_too_much(tmp_path: Path) -> None:
    ended = one(tmp_path, "/usr/bin/yes", "no end", timeout_s=LONG_S, per="message")
    assert fates(ended)[0] == (0, 4, "4.3.0", "command said too much: no end")


def test_long_output_is_cut(tmp_path: Path) -> None:
    text = "head -c 500000 /dev/zero | tr '\\0' x; printf '\\n\\033[31m'; exit 65"
    status, code, told = fates(one(tmp_path, *script(tmp_path, text), per="message"))[0][1:]
    assert (status, code) == (5, "5.6.0")
    assert told.startswith("command failed, data format error: xxxx")
    assert len(told) < 500


def test_output_is_no_peril_to_a_log(tmp_path: Path) -> None:
    text = "printf '\\033[31mred\\000 \\377\\r\\nsecond'; exit 1"
    assert fates(one(tmp_path, *script(tmp_path, text), per="message"))[0][3] == (
        "command failed, exit code 1: \\x1b[31mred\\x00 \\xff"
    )


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGPIPE])
def test_command_that_is_killed(tmp_path: Path, number: signal.Signals) -> None:
    ended = one(tmp_path, *script(tmp_path, f"ulimit -c 0; kill -{number.value} $$"), per="message")
    assert fates(ended)[0] == (0, 4, "4.3.0", f"command killed by {number.name}")


def test_command_that_closes_its_output(tmp_path: Path) -> None:
    """Its end is still awaited."""
    ended = one(tmp_path, *script(tmp_path, "exec >&- 2>&-; sleep 0.2; exit 67"), per="message")
    assert fates(ended)[0][1:3] == (5, "5.1.1")


@pytest.mark.parametrize(
    ("name", "mode", "code", "text"),
    [
        ("absent", None, "4.3.5", "No such file or directory"),
        ("forbidden", 0o600, "4.3.5", "Permission denied"),
        ("garbage", 0o700, "4.3.5", "Exec format error"),
    ],
)
def test_command_that_cannot_be_started(tmp_path: Path, name: str, mode: int | None, code: str, text: str) -> None:
    program = tmp_path / name
    if mode is not None:
        program.write_bytes(b"\x7fELF")
        program.chmod(mode)
    before = descriptors()
    assert fates(one(tmp_path, str(program)))[0] == (0, 4, code, f"{program} cannot be run: {text}")
    assert descriptors() == before


def test_no_descriptor_and_no_zombie_stays(tmp_path: Path) -> None:
    before = descriptors()
    for text in ("true", "exit 75", "kill -9 $$", "sleep 100"):
        one(tmp_path, *script(tmp_path, text), timeout_s=0.3)
    assert descriptors() == before
    with pytest.raises(ChildProcessError):
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG)


# ---------------------------------------------------------------------------------------------------------------------
# What the spool and the end of the worker do


@pytest.mark.parametrize("size", [10, 2_000_000])
def test_damaged_message_reaches_no_command(tmp_path: Path, size: int) -> None:
    error: SpoolError = SpoolCorrupt("segment", 64, "checksum")
    messages = FakeMessages({1: FakeMessage(mail("joe@example.org"), b"x" * size, damage=error)})
    made = runner(tmp_path, *script(tmp_path, "touch ran"), messages=messages)
    ended = made.deliver([Outcomes().work(1), Outcomes().work(2)])
    assert [(one.results, one.error is not None) for one in ended] == [([], True), ([], True)]
    assert not (tmp_path / "ran").exists()


def test_disk_without_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipe, "MEMORY_BYTES", 1)
    ended = one(tmp_path / "absent", "/bin/cat")
    assert fates(ended)[0][1:3] == (4, "4.3.5")


def transport(folder: Path, command: list[str], messages: FakeMessages, count: int = 4) -> Threads:
    runners = [runner(folder, *command, messages=messages, timeout_s=LONG_S) for _ in range(count)]
    return Threads(runners, command[0], 1)


def test_many_at_once_and_each_reported(tmp_path: Path) -> None:
    messages = FakeMessages({n: FakeMessage(mail(f"joe{n}@example.org"), BODY) for n in range(1, 41)})
    ended = Event()
    outcomes = Outcomes(lambda: ended.set() if len(outcomes.ended) == 40 else None)
    made = transport(tmp_path, [*script(tmp_path, 'cat > "$1"; test "$1" != joe7 || exit 75'), "{local}"], messages)
    made.take([outcomes.work(n) for n in range(1, 41)])
    assert ended.wait(LONG_S)
    expected = {n: Outcome(n) for n in range(1, 41)}
    expected[7] = Outcome(7, (Result(0, 4, "4.3.0", "command failed, temporary failure"),))
    assert outcomes.ended == expected
    assert len(list(tmp_path.iterdir())) == 40


def test_end_of_the_worker_ends_commands(tmp_path: Path, until: Until) -> None:
    """They would go on while another worker has the same message."""
    messages = FakeMessages({1: FakeMessage(mail("joe@example.org", "jim@example.org"), BODY)})
    ended = Event()
    outcomes = Outcomes(lambda: ended.set() if len(outcomes.ended) == 2 else None)
    made = transport(tmp_path, script(tmp_path, "echo $$ >> pids; sleep 1000"), messages, count=1)
    made.take([outcomes.work(1, (0, 1)), outcomes.work(1)])
    until(lambda: (tmp_path / "pids").exists() and (tmp_path / "pids").read_text())
    made.abandon()
    made.close()
    assert ended.wait(LONG_S)
    assert outcomes.ended[2] is None
    killed = outcomes.ended[1]
    assert killed is not None
    assert [result.status for result in killed.results] == [4, 4]
    assert killed.results[0].text == "command killed by SIGKILL"
    assert len((tmp_path / "pids").read_text().split()) == 1  # none was started for the second recipient
    gone(tmp_path, until)


def test_kill_after_the_end_hits_nobody() -> None:
    child = Child([b"/bin/true"], os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC))
    assert child.wait(LONG_S).exit_code == 0
    child.kill()
