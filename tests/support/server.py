"""A whole `mta` in a temporary folder, as users run it: `python -m mta run -c FILE` on free loopback ports.

Used by the tests that need real processes and by the benchmarks. Nothing is imported from the processes' insides: they
are started by the command, asked through the queue manager's socket, seen in /proc and stopped by signals.
"""

import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from mta import ipc
from mta.errors import IpcError
from tests.support.command import ROOT, mta

READY_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 60.0
PAUSE_S = 0.02  # between two looks at a condition
ROLES = ("server", "qmgr", "deliver")
HOST = "127.0.0.1"


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def wait_until(condition: Callable[[], object], what: str, timeout_s: float = 30.0) -> None:
    """Ask `condition` until it holds; raises `TimeoutError` naming `what` when it does not within `timeout_s`."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {timeout_s:.0f} s: {what}")
        time.sleep(PAUSE_S)


def toml(settings: Mapping[str, Any], prefix: str = "") -> str:
    """Settings as TOML: tables are mappings, arrays of tables are lists of mappings."""
    lines, tables = [], []
    for key, value in settings.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            tables.append(f"\n[{name}]\n" + toml(value, f"{name}."))
        elif isinstance(value, list) and value and isinstance(value[0], Mapping):
            tables.extend(f"\n[[{name}]]\n" + toml(item, f"{name}.") for item in value)
        else:
            lines.append(f"{key} = {json.dumps(value)}\n")  # JSON's scalars and lists are TOML's, too
    return "".join(lines + tables)


def defaults(port: int) -> dict[str, Any]:
    """The settings of a small server: mail for example.org goes into maildirs under `mail/`."""
    return {
        "hostname": "mx.example.org",
        "spool": "spool",
        "listen": [{"address": f"{HOST}:{port}"}],
        "domains": {"local": ["example.org"]},
        "transport": {"store": {"kind": "maildir", "path": "mail/{domain}/{local}"}},
        "route": [{"recipients": ["*"], "transport": "store"}],
        "log": {"file": "mta.log"},
    }


class Server:
    """One `mta run` with its folder.

    `settings` replaces whole top-level entries of `defaults()`. `folder` gets `mta.toml`, the spool, the mail,
    `mta.log` and `stderr`. As a context manager it starts, and at the end stops and demands a clean end.
    """

    def __init__(self, folder: Path, settings: Mapping[str, Any] | None = None) -> None:
        self.folder = folder
        self.port = free_port()
        self.address = (HOST, self.port)
        self.settings = {**defaults(self.port), **(settings or {})}
        self.config = folder / "mta.toml"
        self.mail = folder / "mail"
        self.spool = folder / str(self.settings["spool"])
        self.stderr = folder / "stderr"
        self.log = folder / "mta.log"
        self.process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True, exist_ok=True)
        self.write_config()

    def write_config(self) -> None:
        """Write `settings` to the configuration file again (before a HUP, say)."""
        self.config.write_text(toml(self.settings))

    # Start and stop ---------------------------------------------------------------------------------------------

    @property
    def pid(self) -> int:
        """The supervisor's process id; raises `RuntimeError` when it was not started."""
        if self.process is None:
            raise RuntimeError("the server was not started")
        return self.process.pid

    def start(self, *, environment: Mapping[str, str] | None = None, prepare: Callable[[], None] | None = None) -> None:
        """Start it and wait until it says that it is ready; raises `RuntimeError` with its own words when it is not.

        `environment` is added to ours; `prepare` runs in the child before the program does (a resource limit, say).
        """
        reading, writing = os.pipe()
        command = [sys.executable, "-m", "mta", "run", "-c", str(self.config), "--ready-fd", str(writing)]
        with self.stderr.open("ab") as errors:
            self.process = subprocess.Popen(
                command,
                cwd=ROOT,
                env={**os.environ, **(environment or {})},
                stdin=subprocess.DEVNULL,
                stdout=errors,
                stderr=errors,
                pass_fds=(writing,),
                preexec_fn=prepare,
            )
        os.close(writing)
        try:
            readable, _, _ = select.select([reading], [], [], READY_TIMEOUT_S)
            said = os.read(reading, 4096) if readable else b""
        finally:
            os.close(reading)
        if not said:
            self.kill()
            raise RuntimeError(f"the server did not become ready:\n{self.complaints()}")

    def complaints(self) -> str:
        """The end of what it wrote to standard error and to its log."""
        parts = [file.read_text(errors="replace")[-3000:] for file in (self.stderr, self.log) if file.exists()]
        return "\n".join(parts)

    def until(self, condition: Callable[[], object], what: str, timeout_s: float = 30.0) -> None:
        """`wait_until`, with our complaints in the error."""
        try:
            wait_until(condition, what, timeout_s)
        except TimeoutError as error:
            raise TimeoutError(f"{error}\n{self.complaints()}") from None

    def signal(self, number: signal.Signals) -> None:
        """Send the supervisor a signal."""
        os.kill(self.pid, number)

    def wait(self, timeout_s: float = STOP_TIMEOUT_S) -> int:
        """Wait for the supervisor's end and return its exit code."""
        assert self.process is not None
        return self.process.wait(timeout_s)

    def stop(self) -> int:
        """Drain (TERM) and wait for the end; returns the exit code."""
        self.signal(signal.SIGTERM)
        return self.wait()

    def kill(self) -> None:
        """End the supervisor and all its processes at once, for a test's clean-up."""
        if self.process is None:
            return
        victims = [pid for role in ROLES for pid in self.children(role)]
        for pid in (self.process.pid, *victims):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        self.process.wait()

    def __enter__(self) -> "Server":
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self.process is None or self.process.poll() is not None:
            return
        if kind is not None:
            self.kill()
            return
        try:
            code = self.stop()
        except subprocess.TimeoutExpired:
            self.kill()
            raise RuntimeError(f"the server did not end:\n{self.complaints()}") from None
        assert code == 0, f"exit code {code}:\n{self.complaints()}"

    # Processes --------------------------------------------------------------------------------------------------

    def children(self, role: str) -> list[int]:
        """Process ids of the supervisor's live children of a role ("server", "qmgr", "deliver"), oldest first."""
        try:
            listed = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text()
        except FileNotFoundError:
            return []
        return [pid for pid in map(int, listed.split()) if _role(pid) == role]

    def processes(self) -> list[int]:
        """The supervisor and all its children."""
        return [self.pid, *(pid for role in ROLES for pid in self.children(role))]

    # Commands ---------------------------------------------------------------------------------------------------

    def command(self, *words: str, code: int = 0) -> str:
        """Run `mta` with our configuration, to the end, which must be that exit code; returns what it prints."""
        done = mta(*words, "-c", self.config)
        assert done.returncode == code, (done, self.complaints())
        return done.stdout

    # The queue --------------------------------------------------------------------------------------------------

    def ask(self, verb: str, arguments: dict[str, Any] | None = None) -> list[dict[str, Any]]:
        """Put a question to the queue manager and return the items of its answer; raises `IpcError`. Blocks."""
        return ask(self.spool, verb, arguments)

    def stats(self) -> dict[str, Any]:
        """What `mta queue stats --json` prints."""
        return self.ask("stats")[0]

    def queued(self) -> int:
        """Messages accepted and not yet finished; -1 while the queue manager does not answer."""
        try:
            return int(self.stats()["queued"])
        except IpcError:
            return -1

    def wait_empty(self, timeout_s: float = 60.0) -> None:
        """Wait until everything accepted is finished."""
        self.until(lambda: self.queued() == 0, "an empty queue", timeout_s)

    # The mail ---------------------------------------------------------------------------------------------------

    def delivered(self) -> list[Path]:
        """All files in `new/` of all maildirs, in no order."""
        return list(self.mail.glob("**/new/*"))


class Control:
    """A connection to the queue manager that answers many questions, each at the price of two packets."""

    def __init__(self, spool: Path, timeout_s: float = 10.0) -> None:
        self._socket = ipc.connect(str(spool / "qmgr"), ipc.Hello("control", os.getpid()))
        self._socket.settimeout(timeout_s)

    def ask(self, verb: str, arguments: dict[str, Any] | None = None) -> list[dict[str, Any]]:
        """Send one request and collect its reply; raises `IpcError` on an error or when the other side went away."""
        items: list[dict[str, Any]] = []
        try:
            self._socket.send(ipc.encode(ipc.Request(verb, arguments or {})))
            while True:
                packet = self._socket.recv(ipc.PACKET_BYTES)
                if not packet:
                    raise IpcError("the queue manager closed the connection")
                reply = ipc.decode(packet)
                if not isinstance(reply, ipc.Reply) or reply.error:
                    raise IpcError(f"{verb}: {reply}")
                items.extend(reply.items)
                if not reply.more:
                    return items
        except OSError as error:
            raise IpcError(f"{verb}: {error}") from None

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()


def ask(spool: Path, verb: str, arguments: dict[str, Any] | None = None) -> list[dict[str, Any]]:
    """One question on a connection of its own; raises `IpcError`."""
    control = Control(spool)
    try:
        return control.ask(verb, arguments)
    finally:
        control.close()


def _role(pid: int) -> str:
    """The role of one of our processes, from its command line (`python -m mta.<role>.main`); "" for all others."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
    except OSError:
        return ""
    return next((role for role in ROLES if f"mta.{role}.main" in words), "")
