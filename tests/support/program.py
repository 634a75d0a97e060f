"""A server of other people's, run in the foreground with a configuration of its own."""

import os
import signal
import socket
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from tests.support.server import HOST, wait_until

PATIENCE_S = 30.0
PASSWORD = "ein Päßwort: %/@'"  # for those that want one


class Program:
    """Runs from entry to exit; between them it can be stopped and started. `name` is what it is called in complaints.

    `ends_by` is the signal that ends it at once, with all its connections.
    """

    name = ""
    ends_by = signal.SIGTERM

    def __init__(self, command: Sequence[str], log: Path, port: int, **more: Any) -> None:
        """`log` gets what it prints; `port` is one that it listens on; `more` is for `Popen`."""
        self.port = port
        self.process: subprocess.Popen[bytes] | None = None
        self._command = command
        self._log = log
        self._more = more

    def start(self) -> None:
        """Start it, and wait until it answers."""
        with self._log.open("ab") as output:
            self.process = subprocess.Popen(
                self._command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, **self._more
            )
        wait_until(self._is_up, f"{self.name} answers")

    def stop(self) -> None:
        """End it, and wait for that."""
        assert self.process is not None
        self.process.send_signal(self.ends_by)
        self.process.wait(PATIENCE_S)

    def send(self, number: signal.Signals) -> None:
        """A signal for it and for its children."""
        assert self.process is not None
        pid = self.process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        for each in (pid, *map(int, children)):
            with suppress(ProcessLookupError):  # a child may have ended
                os.kill(each, number)

    def answers(self) -> bool:
        """Whether it can be asked: it listens."""
        with socket.socket() as probe:
            return probe.connect_ex((HOST, self.port)) == 0

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self.process is not None and self.process.poll() is None:
            self.send(signal.SIGCONT)
            self.stop()

    def _is_up(self) -> bool:
        assert self.process is not None
        if self.process.poll() is not None:
            raise RuntimeError(f"{self.name} ended:\n{self._log.read_text(errors='replace')}")
        return self.answers()
