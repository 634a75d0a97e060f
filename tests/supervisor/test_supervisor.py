"""The supervisor as a process, with stand-ins for its children (fake_child.py)."""

import os
import pwd
import re
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic
from typing import Any

import msgspec
import pytest

from mta.errors import EX_SOFTWARE, EX_UNAVAILABLE

PATIENCE_S = 30.0
HERE = Path(__file__).parent


class Mta:
    """A running fake_mta.py, seen through its log."""

    def __init__(self, folder: Path) -> None:
        reading, writing = os.pipe()
        repository = str(HERE.parent.parent)
        self.process = subprocess.Popen(
            [sys.executable, str(HERE / "fake_mta.py"), str(folder), str(writing)],
            pass_fds=(writing,),
            stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": repository},
        )
        os.close(writing)
        self.ready_fd = reading
        self.text = ""
        assert self.process.stderr
        self._fd = self.process.stderr.fileno()

    def see(self, pattern: str, count: int = 1) -> list[re.Match[str]]:
        """Wait until the log has `count` lines with `pattern`; returns them."""
        deadline = monotonic() + PATIENCE_S
        while True:
            found = [m for line in self.text.splitlines() if (m := re.search(pattern, line))]
            if len(found) >= count:
                return found
            assert select.select([self._fd], [], [], max(0, deadline - monotonic()))[0], (pattern, self.text)
            data = os.read(self._fd, 65536)
            assert data, (pattern, self.text)
            self.text += data.decode()

    def pids(self, role: str, count: int = 1) -> list[int]:
        return [int(m[1]) for m in self.see(rf"process={role}/\d+ event=born pid=(\d+)", count)]

    def wait_ready(self) -> None:
        if os.read(self.ready_fd, 64) != b"ready\n":
            pytest.fail(f"ended with {self.end()}: {self.text}")
        self.see("^mta: ready$")

    def tell(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def end(self) -> int:
        while data := os.read(self._fd, 65536):
            self.text += data.decode()
        return self.process.wait(PATIENCE_S)


@pytest.fixture
def settings(tmp_path: Path, free_port: Callable[[], int]) -> dict[str, Any]:
    return {
        "hostname": "mx.example.org",
        "spool": str(tmp_path / "spool"),
        "listen": [{"address": f"127.0.0.1:{free_port()}"}],
        "domains": {},
        "transport": {},
        "route": [],
        "processes": {"server": 2, "deliver": 1},
    }


Start = Callable[[], Mta]


@pytest.fixture
def start(tmp_path: Path, settings: dict[str, Any]) -> Iterator[Start]:
    started: list[Mta] = []

    def run() -> Mta:
        write(tmp_path, settings)
        mta = Mta(tmp_path)
        started.append(mta)
        return mta

    yield run
    for mta in started:
        mta.process.kill()
        mta.process.wait()
        os.close(mta.ready_fd)
        for pid in [int(m) for m in re.findall(r"event=born pid=(\d+)", mta.text)]:
            wait_gone(pid)
        assert mta.process.stderr
        mta.process.stderr.close()


def write(folder: Path, settings: dict[str, Any]) -> None:
    (folder / "config.json").write_bytes(msgspec.json.encode(settings))


def wait_gone(pid: int) -> None:
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    assert select.select([fd], [], [], PATIENCE_S)[0], f"{pid} is still there"
    os.close(fd)


def port_of(settings: dict[str, Any]) -> int:
    return int(settings["listen"][0]["address"].rpartition(":")[2])


def ask(port: int) -> int:
    """Connect; returns the process id of the worker that answered."""
    with socket.create_connection(("127.0.0.1", port), PATIENCE_S) as client:
        client.settimeout(PATIENCE_S)
        return int(client.recv(64))


def test_start_has_all_roles_ready_and_tells_so(start: Start, settings: dict[str, Any]) -> None:
    mta = start()
    mta.wait_ready()
    started = mta.see("event=started")[0].string
    assert f"listen={settings['listen'][0]['address']} server=2 deliver=1" in started
    roles = re.findall(r"process=(\w+/\d+) event=born", mta.text)
    assert sorted(roles) == ["deliver/0", "qmgr/0", "server/0", "server/1"]
    assert ask(port_of(settings)) in mta.pids("server", 2)


def test_spool_folder_is_private_and_complete(start: Start, settings: dict[str, Any]) -> None:
    start().wait_ready()
    root = Path(settings["spool"])
    for folder in (root, *(root / part for part in ("shards", "free", "bodies", "qmgr"))):
        assert folder.stat().st_mode & 0o7777 == 0o700


def test_port_zero_is_one_port_for_all_workers(start: Start, settings: dict[str, Any]) -> None:
    settings["listen"][0]["address"] = "127.0.0.1:0"
    mta = start()
    mta.wait_ready()
    port = int(mta.see(r"event=started.*listen=127\.0\.0\.1:(\d+)")[0][1])
    servers = mta.pids("server", 2)
    assert {ask(port) for _ in range(64)} == set(servers)


@pytest.mark.parametrize("role", ["server", "qmgr", "deliver"])
def test_child_that_dies_before_ready_fails_the_start(start: Start, tmp_path: Path, role: str) -> None:
    (tmp_path / f"{role}.dies").touch()
    mta = start()
    assert mta.end() == EX_SOFTWARE
    assert f'text="the start failed" role={role}' in mta.text
    assert "mta: ready" not in mta.text
    assert os.read(mta.ready_fd, 64) == b""


def test_child_that_is_never_ready_fails_the_start(start: Start, tmp_path: Path) -> None:
    (tmp_path / "deliver.mute").touch()
    (tmp_path / "timing.json").write_text('{"start": 4.0}')
    mta = start()
    assert mta.end() == EX_SOFTWARE
    assert 'text="the start failed" role=deliver' in mta.text


def test_address_in_use_fails_the_start(start: Start, settings: dict[str, Any]) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        settings["listen"][0]["address"] = f"127.0.0.1:{other.getsockname()[1]}"
        mta = start()
        assert mta.end() == EX_UNAVAILABLE
    assert "cannot listen on 127.0.0.1" in mta.text


def test_second_supervisor_is_refused(start: Start) -> None:
    first = start()
    first.wait_ready()
    second = start()
    assert second.end() == EX_UNAVAILABLE
    assert f"in use by another mta, process {first.process.pid}" in second.text


@pytest.mark.parametrize("role", ["server", "qmgr", "deliver"])
def test_killed_child_is_started_again_at_once(start: Start, role: str, settings: dict[str, Any]) -> None:
    mta = start()
    mta.wait_ready()
    before = mta.pids(role)
    count = 2 if role == "server" else 1
    os.kill(before[0], signal.SIGKILL)
    mta.see(f"a process died.*role={role}.*SIGKILL.*restart_s=0")
    assert len(set(mta.pids(role, count + 1))) == count + 1
    ask(port_of(settings))


def test_child_that_keeps_dying_is_started_less_and_less_often(start: Start, tmp_path: Path) -> None:
    mta = start()
    mta.wait_ready()
    (tmp_path / "deliver.dies").touch()
    os.kill(mta.pids("deliver")[0], signal.SIGKILL)
    waits = [float(m[1]) for m in mta.see(r"a process died.*role=deliver.*restart_s=([\d.]+)", 3)]
    assert waits[:3] == [0.0, 1.0, 2.0]


def test_backlog_of_a_killed_worker_is_served_by_its_successor(start: Start, settings: dict[str, Any]) -> None:
    settings["processes"]["server"] = 1
    mta = start()
    mta.wait_ready()
    (pid,) = mta.pids("server")
    os.kill(pid, signal.SIGSTOP)
    with socket.create_connection(("127.0.0.1", port_of(settings)), PATIENCE_S) as client:
        os.kill(pid, signal.SIGKILL)
        assert int(client.recv(64)) == mta.pids("server", 2)[1]


def test_term_drains_in_order(start: Start) -> None:
    mta = start()
    mta.wait_ready()
    mta.tell(signal.SIGTERM)
    assert mta.end() == 0
    ended = re.findall(r'event=ended role=(\w+) index=\d pid=\d+ how="exit code 0"', mta.text)
    assert ended == ["server", "server", "deliver", "qmgr"]
    told = re.findall(r"event=told pid=\d+ signals=(\w+)", mta.text)
    assert told == ["SIGTERM"] * 4


def test_term_kills_what_does_not_stop(start: Start, tmp_path: Path) -> None:
    (tmp_path / "deliver.stubborn").touch()
    (tmp_path / "timing.json").write_text('{"drain": 1.0}')
    mta = start()
    mta.wait_ready()
    mta.tell(signal.SIGTERM)
    assert mta.end() == 0
    assert 'text="did not stop in time, killed" role=deliver' in mta.text


def test_int_stops_all_at_once(start: Start) -> None:
    mta = start()
    mta.wait_ready()
    mta.tell(signal.SIGINT)
    assert mta.end() == 0
    assert re.findall(r"event=told pid=\d+ signals=(\w+)", mta.text) == ["SIGINT"] * 4


def test_int_while_draining_stops_at_once_and_twice_kills(
    start: Start, tmp_path: Path, settings: dict[str, Any]
) -> None:
    (tmp_path / "server.stubborn").touch()
    mta = start()
    mta.wait_ready()
    mta.tell(signal.SIGTERM)
    mta.see("process=server.*event=told.*SIGTERM", 2)
    with pytest.raises(OSError, match=r"refused|reset"):  # nobody waits for a server that will not come
        ask(port_of(settings))
    mta.tell(signal.SIGTERM)
    mta.see("event=signal name=SIGTERM phase=draining")
    mta.tell(signal.SIGHUP)
    mta.see("event=signal name=SIGHUP phase=draining")
    mta.tell(signal.SIGINT)
    mta.see("process=server.*event=told.*SIGINT", 2)
    mta.tell(signal.SIGINT)
    assert mta.end() == 0
    assert "did not stop in time" not in mta.text


def test_hup_replaces_everybody_without_refusing_a_client(
    start: Start, settings: dict[str, Any], tmp_path: Path
) -> None:
    mta = start()
    mta.wait_ready()
    answered: list[int] = []
    faults: list[OSError] = []
    is_over = threading.Event()

    def clients() -> None:
        while not is_over.is_set():
            try:
                answered.append(ask(port_of(settings)))
            except OSError as error:
                faults.append(error)

    thread = threading.Thread(target=clients)
    thread.start()
    try:
        write(tmp_path, {**settings, "hostname": "new.example.org", "processes": {"server": 3, "deliver": 2}})
        mta.tell(signal.SIGHUP)
        mta.see("event=reloaded")
        write(tmp_path, {**settings, "hostname": "newer.example.org", "processes": {"server": 1, "deliver": 1}})
        mta.tell(signal.SIGHUP)
        mta.see("event=reloaded", 2)
        last = int(mta.see(r"process=server/0 event=born pid=(\d+) sockets=3 hostname=newer\.example\.org")[0][1])
        for _ in range(50):
            assert ask(port_of(settings)) == last
    finally:
        is_over.set()
        thread.join()
    assert not faults
    assert last in answered
    mta.tell(signal.SIGTERM)
    assert mta.end() == 0
    replaced = re.findall(r"event=ended role=(\w+)", mta.text)
    assert sorted(replaced) == ["deliver"] * 4 + ["qmgr"] * 3 + ["server"] * 6


def test_hup_opens_and_closes_addresses(
    start: Start, settings: dict[str, Any], tmp_path: Path, free_port: Callable[[], int]
) -> None:
    mta = start()
    mta.wait_ready()
    other = free_port()
    write(tmp_path, {**settings, "listen": [{"address": f"127.0.0.1:{other}"}]})
    mta.tell(signal.SIGHUP)
    mta.see("event=reloaded")
    assert ask(other) in mta.pids("server", 4)[2:]
    with pytest.raises(ConnectionRefusedError):
        ask(port_of(settings))


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"hostname": 7}, r'text="config\.json:2: and so on"'),
        ({"spool": "/elsewhere"}, 'text="spool: cannot be changed by a reload'),
        ({"listen": [{"address": "192.0.2.1:25"}]}, r'text="cannot listen on 192\.0\.2\.1:25'),
    ],
)
def test_hup_with_a_bad_configuration_changes_nothing(
    start: Start, settings: dict[str, Any], tmp_path: Path, change: dict[str, Any], complaint: str
) -> None:
    mta = start()
    mta.wait_ready()
    write(tmp_path, {**settings, **change})
    mta.tell(signal.SIGHUP)
    mta.see("the configuration stays as it was")
    mta.see(complaint)
    assert ask(port_of(settings)) in mta.pids("server", 2)
    write(tmp_path, settings)
    mta.tell(signal.SIGHUP)
    mta.see("event=reloaded")


def test_hup_with_workers_that_do_not_start_changes_nothing(
    start: Start, settings: dict[str, Any], tmp_path: Path
) -> None:
    mta = start()
    mta.wait_ready()
    (tmp_path / "deliver.dies").touch()
    mta.tell(signal.SIGHUP)
    mta.see("a new process did not get ready")
    mta.see("event=ended role=server", 2)
    (tmp_path / "deliver.dies").unlink()
    assert ask(port_of(settings)) in mta.pids("server", 2)[:2]
    mta.tell(signal.SIGTERM)
    assert mta.end() == 0


def test_hup_during_a_reload_is_done_afterwards(start: Start) -> None:
    mta = start()
    mta.wait_ready()
    mta.tell(signal.SIGHUP)
    mta.see("event=signal name=SIGHUP phase=running")
    mta.tell(signal.SIGHUP)
    mta.see("event=reloaded", 2)


def test_children_of_a_killed_supervisor_end_and_another_can_start(start: Start) -> None:
    first = start()
    first.wait_ready()
    first.process.kill()
    first.process.wait()
    second = start()
    second.wait_ready()
    first.see("event=orphaned", 4)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can start children as somebody else")
def test_children_run_as_the_configured_user(start: Start, settings: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "shell").touch()
    settings["user"] = "nobody"
    log_file = tmp_path / "log"
    settings["log"] = {"file": str(log_file)}
    mta = start()
    mta.wait_ready()
    spool = Path(settings["spool"])
    nobody = pwd.getpwnam("nobody")
    groups = ",".join(map(str, {nobody.pw_gid}))
    assert {(m[1], m[2]) for m in mta.see(r"event=born.*uid=(\d+) groups=(\S+)", 4)} == {(str(nobody.pw_uid), groups)}
    for path in (spool, spool / "shards", spool / "qmgr", log_file):
        assert path.stat().st_uid == nobody.pw_uid
    mta.tell(signal.SIGTERM)
    assert mta.end() == 0
