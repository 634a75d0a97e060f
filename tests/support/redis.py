"""A private Redis that keeps nothing on disk.

Its package starts it at each boot; that of its tools does not, and has the same program under another name: it is a
server wherever it is not called by that.
"""

import socket
from pathlib import Path

from tests.support.program import Program
from tests.support.server import HOST, free_port


class Redis(Program):
    """`tcp` and `unix` are where, as the settings of a table have it."""

    name = "Redis"

    def __init__(self, program: str, folder: Path) -> None:
        port = free_port()
        self._path = folder / "redis.sock"
        self.tcp = f"{HOST}:{port}"
        self.unix = f"unix:{self._path}"
        options = {
            "bind": HOST,
            "port": str(port),
            "unixsocket": str(self._path),
            "dir": str(folder),
            "save": "",
            "appendonly": "no",
        }
        words = [word for name, value in options.items() for word in (f"--{name}", value)]
        super().__init__(["redis-server", *words], folder / "redis.log", port, executable=program)

    def tell(self, request: bytes) -> bytes:
        """Send a request on a connection of its own; returns the first bytes of the reply."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(30)
            connection.connect(str(self._path))
            connection.sendall(request)
            return connection.recv(4096)

    def answers(self) -> bool:
        """Whether it does, a PING."""
        try:
            return self.tell(b"PING\r\n") == b"+PONG\r\n"
        except OSError:
            return False
