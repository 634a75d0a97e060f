"""Servers that tables ask: one that says what it is told to, one connection after the other or many at a time."""

import struct
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import gevent
from gevent import socket
from gevent.server import StreamServer
from gevent.ssl import SSLContext

from mta.tables.exchange import Reader

Answer = Callable[[bytes], bytes | None]
"""What to send for what came; None closes the connection, `RESET` resets it, nothing is silence."""

RESET = b"(reset)"
_NO_LINGER = struct.pack("ii", 1, 0)


class TableServer:
    """Answers each piece that comes with what `answer` makes of it, in pieces of `piece_bytes` (0: whole).

    `asked` gathers what came, `connections` counts. Serves in greenlets of the caller's hub; a context manager.
    """

    def __init__(
        self, answer: Answer, *, path: Path | None = None, piece_bytes: int = 0, tls: SSLContext | None = None
    ) -> None:
        self.answer = answer
        self.asked: list[bytes] = []
        self.connections = 0
        self._piece_bytes = piece_bytes
        self._open: list[Any] = []
        where: Any = ("127.0.0.1", 0)
        if path is not None:
            where = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            where.bind(str(path))
            where.listen(16)
        self._path = path
        self._server = StreamServer(where, self._serve, **({"ssl_context": tls} if tls else {}))

    @property
    def host(self) -> str:
        """As the settings of a table name it."""
        return f"unix:{self._path}" if self._path is not None else f"127.0.0.1:{self._server.server_port}"

    def hang_up(self) -> None:
        """Close all connections, as a server does that restarts."""
        while self._open:
            self._open.pop().shutdown(socket.SHUT_RDWR)

    def blurt(self, data: bytes) -> None:
        """Send something that nobody asked for, on all connections."""
        for connection in self._open:
            connection.sendall(data)

    def __enter__(self) -> "TableServer":
        self._server.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.stop(timeout=0)

    def _serve(self, connection: Any, _address: object) -> None:
        self.connections += 1
        self._open.append(connection)
        while data := connection.recv(65536):
            self.asked.append(data)
            said = self.answer(data)
            if said == RESET:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
                connection.close()
                return
            if said is None:
                connection.shutdown(socket.SHUT_RDWR)
                return
            size = self._piece_bytes or len(said) or 1
            for start in range(0, len(said), size):
                connection.sendall(said[start : start + size])
                gevent.sleep(0)


def feed_in_pieces(reader: Reader, wire: bytes, sizes: Iterable[int]) -> None:
    """Feed a reply in pieces of these sizes, and what is left: it is whole with the last of them, and not before."""
    for size in sizes:
        if size >= len(wire):
            break
        assert not reader.feed(wire[:size])
        wire = wire[size:]
    assert reader.feed(wire)
