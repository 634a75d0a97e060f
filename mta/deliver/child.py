"""One run of a command, with limits: a process group of its own, a clean environment, bounded time and output.

Everything blocks and runs in native threads; only `kill` may be called from another one. The end is watched through a
pidfd, so that no signal handler is needed and nothing else in this process is disturbed.

What still runs in the command's process group when the command has ended, or was ended, is killed. What began a session
of its own (`setsid`) goes on.
"""

import os
import select
import signal
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from threading import Lock
from time import monotonic
from typing import NamedTuple

OUTPUT_KEPT_BYTES = 4096  # for one line of text
OUTPUT_BYTES = 1048576  # a command that says more than this has lost its way
READ_BYTES = 65536
KILL_S = 5.0  # the kernel takes that long, at most, to end what was killed; else it hangs in a driver
ENVIRONMENT = {"PATH": "/usr/local/bin:/usr/bin:/bin"}


class Ended(NamedTuple):
    """How a run ended: `exit_code` where it did by itself; else -1, and `reason` says what ended it."""

    exit_code: int
    reason: str
    output: bytes  # the beginning of what it said, standard output and standard error as they came


class Child:
    """A running command."""

    def __init__(self, argv: Sequence[bytes], stdin_fd: int) -> None:
        """Start it with `stdin_fd`, which stays the caller's, as its input. Raises `OSError` when it cannot run."""
        self._lock = Lock()
        self._is_over = False  # the process is reaped: its id may be another's
        reading, writing = os.pipe2(os.O_CLOEXEC)
        try:
            self._popen = subprocess.Popen(
                argv,
                stdin=stdin_fd,
                stdout=writing,
                stderr=writing,
                env=ENVIRONMENT,
                cwd="/",
                start_new_session=True,
            )
        except BaseException:
            os.close(reading)
            raise
        finally:
            os.close(writing)
        os.set_blocking(reading, False)
        self._output_fd = reading
        try:
            self._pidfd = os.pidfd_open(self._popen.pid)
        except OSError:
            self.kill()
            self._popen.wait()
            os.close(reading)
            raise

    def wait(self, timeout_s: float) -> Ended:
        """Wait for its end, and bring that about after `timeout_s` seconds. To be called once."""
        try:
            output, reason = self._watch(monotonic() + timeout_s)
            self.kill()  # it, or what it left behind
            if reason and not self._ends():
                return Ended(-1, f"{reason}, and does not end", output)
            with self._lock:
                status = self._popen.wait()
                self._is_over = True
        finally:
            os.close(self._pidfd)
            os.close(self._output_fd)
        if reason:
            return Ended(-1, reason, output)
        if status < 0:
            return Ended(-1, f"killed by {_signal_name(-status)}", output)
        return Ended(status, "", output)

    def kill(self) -> None:
        """End its whole process group at once. Any thread may call this, at any time."""
        with self._lock:
            if not self._is_over:
                with suppress(ProcessLookupError):
                    os.killpg(self._popen.pid, signal.SIGKILL)

    def _watch(self, deadline_at: float) -> tuple[bytes, str]:
        """Until the process ends or must be ended: what it said, and why it must; empty where it ended."""
        kept, said_bytes = b"", 0
        poller = select.poll()
        poller.register(self._pidfd, select.POLLIN)
        poller.register(self._output_fd, select.POLLIN)
        while True:
            left_s = deadline_at - monotonic()
            if left_s <= 0:
                return kept, "timed out"
            ready = {fd for fd, _ in poller.poll(left_s * 1000)}
            data = self._read() if self._output_fd in ready else None
            if data:
                said_bytes += len(data)
                kept += data[: OUTPUT_KEPT_BYTES - len(kept)]
                if said_bytes > OUTPUT_BYTES:
                    return kept, "said too much"
                continue  # it may have ended with more to be read
            if data == b"":
                poller.unregister(self._output_fd)
            if self._pidfd in ready:
                return kept, ""

    def _ends(self) -> bool:
        """Whether it ends now that it was killed."""
        poller = select.poll()
        poller.register(self._pidfd, select.POLLIN)
        return bool(poller.poll(KILL_S * 1000))

    def _read(self) -> bytes | None:
        """Output; empty at its end, None where there is none just now."""
        try:
            return os.read(self._output_fd, READ_BYTES)
        except BlockingIOError:
            return None


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
