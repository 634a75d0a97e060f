"""A private HAProxy in TCP mode in front of one of our listeners, telling it who the client is."""

import socket
import tempfile
from collections.abc import Mapping
from pathlib import Path

from tests.support.program import Program
from tests.support.server import HOST, free_port

CONFIGURATION = """\
global
  maxconn 200
  stats socket {folder}/stats
defaults
  mode tcp
  timeout connect 5s
  timeout client 60s
  timeout server 60s
  timeout check 5s
"""
FRONT = """\
listen {name}
  bind {address}:{port}{bind}
{lines}  server mx {host}:{behind} {server}
"""


class Balancer:
    """How HAProxy stands in front of a port: `server` are the options of its server line, `bind` of its bind line.

    `lines` are further lines of the section; `address` is where clients come in.
    """

    def __init__(self, behind: int, server: str, *, bind: str = "", lines: str = "", address: str = HOST) -> None:
        self.behind = behind
        self.server = server
        self.bind = f" {bind}" if bind else ""
        self.lines = "".join(f"  {line}\n" for line in lines.splitlines())
        self.address = address
        self.port = free_port()


class HAProxy(Program):
    """Runs from entry to exit, with one section for each of `balancers`."""

    name = "HAProxy"

    def __init__(self, program: str, balancers: Mapping[str, Balancer]) -> None:
        self._addresses = [(balancer.address, balancer.port) for balancer in balancers.values()]
        self._folder = tempfile.TemporaryDirectory(prefix="haproxy-")
        folder = Path(self._folder.name)
        text = CONFIGURATION.format(folder=folder)
        text += "".join(FRONT.format(name=name, host=HOST, **vars(one)) for name, one in balancers.items())
        configuration = folder / "haproxy.cfg"
        configuration.write_text(text)
        self._stats = str(folder / "stats")
        command = [program, "-db", "-f", str(configuration)]  # -db: in the foreground
        super().__init__(command, folder / "output", self._addresses[0][1])

    def __exit__(self, *_: object) -> None:
        super().__exit__()
        self._folder.cleanup()

    def status(self, name: str) -> tuple[str, str]:
        """Whether it takes the server behind that section for UP or DOWN, and the result of its last check (L7OK)."""
        with socket.socket(socket.AF_UNIX) as stats:
            stats.connect(self._stats)
            stats.sendall(b"show stat\n")
            text = b"".join(iter(lambda: stats.recv(65536), b"")).decode()
        header, *rows = [line.split(",") for line in text.removeprefix("# ").splitlines() if line]
        (row,) = [dict(zip(header, row, strict=False)) for row in rows if row[:2] == [name, "mx"]]
        return row["status"], row["check_status"]

    def answers(self) -> bool:
        """Whether it listens, at all addresses and where it is asked for its statistics, which may come later."""
        if not Path(self._stats).is_socket():
            return False
        for address, port in self._addresses:
            with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as probe:
                if probe.connect_ex((address, port)):
                    return False
        return True
