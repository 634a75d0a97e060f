"""The command `mta`, as a process: what it prints and what it ends with."""

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from mta import __version__, ipc
from mta.errors import EX_CONFIG, EX_TEMPFAIL, EX_UNAVAILABLE, EX_USAGE
from tests.support.command import CONFIG, ROOT, mta, python

ITEM = {
    "id": "5a1",
    "state": "waiting",
    "sender": "evil\x1b[2J@example.net",
    "to": ["a@example.org", "b@example.org"],
    "received_wall": 1700000000.25,
    "due_wall": None,
}


@pytest.fixture
def config(tmp_path: Path) -> Path:
    file = tmp_path / "mta.toml"
    file.write_text(CONFIG)
    return file


def test_version_and_help() -> None:
    assert mta("--version").stdout == f"mta {__version__}\n"
    for words in ([], ["run"], ["check"], ["queue"], ["queue", "list"], ["queue", "delete"]):
        done = mta(*words, "--help")
        assert done.returncode == 0
        assert done.stdout.startswith(" ".join(["Usage: mta", *words]))


@pytest.mark.parametrize("words", [["nonsense"], ["run", "--nonsense"], ["queue", "retry"], ["queue", "show"]])
def test_wrong_command_line(words: list[str]) -> None:
    done = mta(*words)
    assert done.returncode == EX_USAGE
    assert "Usage:" in done.stderr


def test_gevent_and_rich_are_not_loaded_for_nothing() -> None:
    program = "import sys, mta.cli; print([name for name in ('gevent', 'rich', 'asyncio') if name in sys.modules])"
    assert python("-c", program).stdout == "[]\n"


def test_check_of_a_good_file(config: Path) -> None:
    done = mta("check", "-c", config)
    assert (done.returncode, done.stdout) == (0, f"{config}: fine\n")
    assert mta("check", MTA_CONFIG=str(config)).returncode == 0


def test_check_prints_every_fault_with_its_line(config: Path) -> None:
    config.write_text(CONFIG.replace("discard", "nonsense").replace("127.0.0.1:0", "25"))
    done = mta("check", "-c", config)
    assert done.returncode == 1
    assert [line.split(": ")[:2] for line in done.stdout.splitlines()] == [
        [f"{config}:4", "listen[0].address"],
        [f"{config}:8", "transport.store.kind"],
    ]
    assert not done.stderr


def test_run_with_a_bad_file(config: Path) -> None:
    config.write_text(CONFIG.replace("discard", "nonsense"))
    done = mta("run", "-c", config)
    assert done.returncode == EX_CONFIG
    assert done.stderr.startswith(f"{config}:8: transport.store.kind: ")


def test_run_on_an_address_in_use(config: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        config.write_text(CONFIG.replace("127.0.0.1:0", f"127.0.0.1:{other.getsockname()[1]}"))
        done = mta("run", "-c", config)
    assert done.returncode == EX_UNAVAILABLE
    assert "mta: cannot listen on 127.0.0.1:" in done.stderr


def test_queue_without_a_queue_manager(config: Path) -> None:
    done = mta("queue", "stats", "-c", config)
    assert done.returncode == EX_TEMPFAIL
    assert done.stderr.startswith("mta: the queue manager does not answer in ")
    assert mta("queue", "stats", "-c", "nowhere.toml").returncode == EX_CONFIG


# ---------------------------------------------------------------------------------------------------------------------
# With a stand-in for the queue manager


class Manager:
    """Answers requests with what `replies` says, and keeps them."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        self.requests: list[ipc.Request] = []
        self.replies: list[ipc.Reply] = []
        self._listener = ipc.listen(str(folder))
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()

    def _serve(self) -> None:
        while True:
            try:
                channel, _ = self._listener.accept()
            except OSError:
                return
            with channel:
                hello = ipc.decode(channel.recv(ipc.PACKET_BYTES))
                assert isinstance(hello, ipc.Hello)
                assert hello.role == "control"
                request = ipc.decode(channel.recv(ipc.PACKET_BYTES))
                assert isinstance(request, ipc.Request)
                self.requests.append(request)
                with suppress(ConnectionError):  # the client may have had enough
                    for reply in self.replies:
                        channel.send(ipc.encode(reply))


@pytest.fixture
def manager(config: Path) -> Iterator[Manager]:
    manager = Manager(config.parent / "spool" / "qmgr")
    yield manager
    manager.close()


Queue = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def queue(config: Path) -> Queue:
    return lambda verb, *arguments: mta("queue", verb, "-c", config, *arguments)


def test_list_for_programs(manager: Manager, queue: Queue) -> None:
    manager.replies = [ipc.Reply([ITEM], more=True), ipc.Reply(more=True), ipc.Reply([ITEM])]
    done = queue("list", "--state", "waiting", "--limit", "7")
    assert manager.requests == [ipc.Request("list", {"state": "waiting", "limit": 7})]
    head, first, second = done.stdout.splitlines()
    assert head.split("\t") == ["id", "state", "sender", "to", "received", "due"]
    assert first == second
    assert first.split("\t") == [
        *("5a1", "waiting", r"evil\x1b[2J@example.net", "a@example.org, b@example.org", "2023-11-14 22:13:20Z", ""),
    ]


def test_list_as_json(manager: Manager, queue: Queue) -> None:
    manager.replies = [ipc.Reply([ITEM], more=True), ipc.Reply([ITEM])]
    done = queue("list", "--json")
    assert [json.loads(line) for line in done.stdout.splitlines()] == [ITEM, ITEM]
    assert done.stdout.replace("\n", "").isprintable()


def test_show(manager: Manager, queue: Queue) -> None:
    recipients = [{"recipient": "a@example.org", "state": "failed", "code": "5.1.1", "text": "who?"}]
    manager.replies = [ipc.Reply([ITEM, *recipients])]
    text = queue("show", "5a1").stdout
    assert manager.requests == [ipc.Request("show", {"id": "5a1"})]
    assert r"evil\x1b[2J@example.net" in text
    assert "a@example.org\tfailed\t5.1.1\twho?" in text
    assert [json.loads(line) for line in queue("show", "5a1", "--json").stdout.splitlines()] == [ITEM, *recipients]


def test_stats(manager: Manager, queue: Queue) -> None:
    stats = {"queued": 3, "active": 1, "waiting": 2, "held": 0, "failed": 0, "destinations": {"a": {"window": 2}}}
    manager.replies = [ipc.Reply([stats])]
    assert json.loads(queue("stats", "--json").stdout) == stats
    assert queue("stats").stdout.split("\n")[0].split() == ["queued", "3"]


@pytest.mark.parametrize("verb", ["retry", "delete"])
def test_changes(manager: Manager, queue: Queue, verb: str) -> None:
    manager.replies = [ipc.Reply(more=True), ipc.Reply([{"count": 1, "missing": ["7"], "unchanged": []}])]
    done = queue(verb, "5a1", "7")
    assert done.returncode == 1
    assert done.stdout.startswith("1 ")
    assert done.stderr == "mta: 7 is not in the queue\n"
    manager.replies = [ipc.Reply([{"count": 12, "missing": [], "unchanged": []}])]
    done = queue(verb, "--all", "--json")
    assert (done.returncode, json.loads(done.stdout)) == (0, {"count": 12, "missing": [], "unchanged": []})
    assert manager.requests == [ipc.Request(verb, {"ids": ["5a1", "7"]}), ipc.Request(verb, {"all": True})]
    assert queue(verb, "--all", "5a1").returncode == EX_USAGE


def test_refusal_and_silence(manager: Manager, queue: Queue) -> None:
    manager.replies = [ipc.Reply(error="not a queue id: 'x'")]
    done = queue("show", "x")
    assert (done.returncode, done.stderr) == (1, "mta: not a queue id: 'x'\n")
    manager.replies = []
    done = queue("stats")
    assert (done.returncode, done.stderr) == (EX_TEMPFAIL, "mta: the queue manager went away\n")


def test_table_for_people(manager: Manager, config: Path) -> None:
    """Standard output is a terminal: a table, with nothing in it that controls the terminal."""
    manager.replies = [ipc.Reply([ITEM])]
    ours, theirs = os.openpty()
    command = [sys.executable, "-m", "mta", "queue", "list", "-c", str(config)]
    done = subprocess.run(command, stdout=theirs, cwd=ROOT, env={**os.environ, "TERM": "xterm", "COLUMNS": "200"})
    os.close(theirs)
    text = os.read(ours, 65536).decode()
    os.close(ours)
    assert done.returncode == 0
    assert r"evil\x1b[2J@example.net" in text, text
    assert "\x1b[2J" not in text


def test_reader_that_goes_away(manager: Manager, config: Path) -> None:
    manager.replies = [ipc.Reply([ITEM] * 100, more=True)] * 20 + [ipc.Reply()]
    command = f"{sys.executable} -m mta queue list --json -c {config} | head -1"
    done = subprocess.run(["bash", "-c", f"set -o pipefail; {command}"], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 1
    assert not done.stderr
    assert json.loads(done.stdout) == ITEM


@pytest.mark.parametrize("is_terminal", [True, False])
def test_long_work_shows_how_far_it_is(manager: Manager, config: Path, is_terminal: bool) -> None:
    """On a terminal, and nowhere else."""
    done = ipc.Reply([{"count": 1, "missing": [], "unchanged": []}])
    manager.replies = [*(ipc.Reply(more=True, seen=seen, total=4000) for seen in (1000, 2000)), done]
    program = "from mta import cli, cli_ask; cli_ask.BAR_AFTER_S = -1; cli.main()"
    ours, theirs = os.openpty()
    command = [sys.executable, "-c", program, "queue", "hold", "--all", "-c", str(config)]
    with open(os.devnull, "w") as nowhere:
        errors = theirs if is_terminal else nowhere.fileno()
        environment = {**os.environ, "TERM": "xterm"}
        ended = subprocess.run(command, stdout=subprocess.PIPE, stderr=errors, cwd=ROOT, env=environment, text=True)
    os.write(theirs, b"end")
    os.close(theirs)
    shown = os.read(ours, 65536).decode()
    os.close(ours)
    assert (ended.returncode, ended.stdout) == (0, "1 held\n")
    assert ("2000/4000" in shown) == is_terminal, shown
    assert ("hold" in shown) == is_terminal


@pytest.mark.parametrize(
    ("words", "request_"),
    [
        (["hold", "--domain", "a.example"], ipc.Request("hold", {"domain": ["a.example"]})),
        (["release", "--state", "held"], ipc.Request("release", {"state": "held"})),
        (["expire", "5a1", "--older", "1h"], ipc.Request("expire", {"ids": ["5a1"], "older_s": 3600})),
        (["bounce", "--all"], ipc.Request("bounce", {"all": True})),
        (["move", "--to", "x{y}", "--all"], ipc.Request("move", {"all": True, "to": "x{y}"})),
    ],
)
def test_orders(manager: Manager, queue: Queue, words: list[str], request_: ipc.Request) -> None:
    manager.replies = [ipc.Reply([{"count": 3, "missing": [], "unchanged": ["5a1"]}])]
    done = queue(*words)
    assert manager.requests == [request_]
    assert done.returncode == 0
    assert done.stdout.startswith("3 ")
    assert done.stderr == "mta: 5a1 stays as it is\n"


@pytest.mark.parametrize("words", [["hold"], ["move", "--all"], ["stats", "--limit", "3"], ["hold", "--all", "5a1"]])
def test_orders_that_are_none(queue: Queue, words: list[str]) -> None:
    assert queue(*words).returncode == EX_USAGE


def test_shape(manager: Manager, queue: Queue) -> None:
    items = [{"domain": name, "total": 3, "5": 3} for name in ("TOTAL", "a.example")]
    manager.replies = [ipc.Reply(items)]
    done = queue("stats", "--by", "domain", "--larger", "1k")
    assert done.stdout == "domain\ttotal\t5\nTOTAL\t3\t3\na.example\t3\t3\n"
    assert manager.requests == [ipc.Request("shape", {"by": "domain", "larger_bytes": 1024, "limit": 50})]
