"""One child process: how it is started, when it is ready, how it is told to stop, how it ended."""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from mta.child import ChildContext
from mta.errors import EX_SOFTWARE
from mta.supervisor.folder import Account

Commands = Mapping[str, Sequence[str]]

# -P: a folder that the supervisor happens to be started in is no place to import modules from.
COMMANDS: Commands = {role: (sys.executable, "-P", "-m", f"mta.{role}.main") for role in ("server", "qmgr", "deliver")}

_PACKAGE_PATH = str(Path(__file__).resolve().parents[2])


class Child:
    """A running (or just ended) child. Times are monotonic seconds."""

    __slots__ = (
        "_popen",
        "index",
        "is_empty",
        "is_stopping",
        "kill_at",
        "pidfd",
        "ready_at",
        "role",
        "started_at",
        "status_fd",
    )

    def __init__(self, argv: Sequence[str], context: ChildContext, status_fd: int, owner: Account | None, now: float):
        """Start `argv` with the descriptors of `context`; `status_fd` is the reading end of its status pipe.

        Blocks until the new program runs. Raises `OSError` when it cannot.
        """
        inherited = os.environ.get("PYTHONPATH", "")
        path = f"{_PACKAGE_PATH}:{inherited}" if inherited else _PACKAGE_PATH
        self._popen = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": path, **context.environ()},
            pass_fds=context.descriptors(),
            user=owner.uid if owner else None,
            group=owner.gid if owner else None,
            extra_groups=owner.groups if owner else None,
        )
        self.role = context.role
        self.index = context.index
        self.status_fd = status_fd
        self.pidfd = os.pidfd_open(self._popen.pid)
        self.started_at = now
        self.ready_at: float | None = None
        self.is_empty = False  # it has said that there is no mail any more
        self.is_stopping = False  # told to stop: its end is no accident
        self.kill_at: float | None = None

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._popen.pid

    @property
    def exit_status(self) -> int | None:
        """`None` while it runs; else its exit code, or the negative number of the signal that ended it."""
        return self._popen.returncode

    @property
    def exit_code(self) -> int:
        """An exit code of ours to report its end with: its own where that says something, else `EX_SOFTWARE`."""
        status = self.exit_status
        return status if status is not None and 64 <= status <= 78 else EX_SOFTWARE

    def take_status(self, now: float) -> bool:
        """Read what the child says of itself; returns false when it has closed its end. Does not block."""
        try:
            data = os.read(self.status_fd, 64)
        except BlockingIOError:
            return True
        if data.startswith(b"ready") and self.ready_at is None:
            self.ready_at = now
        if data.endswith(b"empty\n"):
            self.is_empty = True
        return bool(data)

    def worked_s(self, now: float) -> float:
        """Seconds since it became ready; 0 when it never did."""
        return 0.0 if self.ready_at is None else now - self.ready_at

    def stop(self, number: signal.Signals, kill_at: float) -> None:
        """Tell it to stop with a signal; `kill_at` is when patience ends, and only ever moves closer."""
        self.is_stopping = True
        self.kill_at = kill_at if self.kill_at is None else min(self.kill_at, kill_at)
        self._popen.send_signal(number)

    def kill(self) -> None:
        """End it at once, without asking."""
        self.is_stopping = True
        self.kill_at = None
        self._popen.kill()

    def reap(self) -> bool:
        """Collect its end; returns whether there was one. Does not block. Closes its descriptors."""
        if self._popen.poll() is None:
            return False
        os.close(self.pidfd)
        os.close(self.status_fd)
        return True
