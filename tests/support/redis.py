"""A private Redis that keeps nothing on disk.

Its package starts it at each boot; that of its tools does not, and has the same program under another name: it is a
server wherever it is not called by that.
"""

import socket
import subprocess
from pathlib import Path

from tests.support.server import HOST, free_port, wait_until


class Redis:
    """Runs from entry to exit; `tcp` and `unix` are where, as the settings of a table have it."""

    def __init__(self, program: str, folder: Path) -> None:
        self._program = program
        self._folder = folder
        self._path = folder / "redis.sock"
        self._port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self.tcp = f"{HOST}:{self._port}"
        self.unix = f"unix:{self._path}"

    def start(self) -> None:
        """Start it, and wait until it answers."""
        options = {
            "bind": HOST,
            "port": str(self._port),
            "unixsocket": str(self._path),
            "dir": str(self._folder),
            "save": "",
            "appendonly": "no",
        }
        words = [word for name, value in options.items() for word in (f"--{name}", value)]
        with (self._folder / "redis.log").open("ab") as output:
            self._process = subprocess.Popen(
                ["redis-server", *words],
                executable=self._program,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        wait_until(self._answers, "Redis answers")

    def stop(self) -> None:
        """End it, with all that it knows."""
        assert self._process is not None
        self._process.terminate()
        self._process.wait(30)

    def tell(self, request: bytes) -> bytes:
        """Send a request on a connection of its own; returns the first bytes of the reply."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(30)
            connection.connect(str(self._path))
            connection.sendall(request)
            return connection.recv(4096)

    def __enter__(self) -> "Redis":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _answers(self) -> bool:
        try:
            return self.tell(b"PING\r\n") == b"+PONG\r\n"
        except OSError:
            return False
