"""The listening sockets: opened before any child, kept for as long as the supervisor lives.

Every SMTP worker has a socket of its own for each address (SO_REUSEPORT): the kernel spreads the clients over them, and
no worker wakes up for a client that another one takes. TCP_NODELAY is set here, since accepted sockets inherit it.
"""

import errno
import socket

from mta import log
from mta.config import Config
from mta.errors import ListenError

BACKLOG = 4096  # clients that wait for a worker; the kernel cuts it to net.core.somaxconn (4096 by default)


class Listeners:
    """Sockets for every address of one configuration; those that a predecessor has already are shared with it."""

    def __init__(self, config: Config, workers: int, kept: "Listeners | None" = None) -> None:
        """Open what is missing. Does not block. Raises `ListenError`, and then has closed what it opened.

        `workers` is the number of SMTP workers. When it shrinks, the sockets of the workers that are no more stay open
        and are handed to those that remain: closing one would reset the clients in its backlog.
        """
        self._workers = workers
        self._addresses = [listen.address for listen in config.listen]
        self._rows: int = max(workers, kept._rows) if kept else workers
        self._sockets: dict[tuple[str, int], socket.socket] = {}
        try:
            for address in self._addresses:
                for row in range(self._rows):
                    there = kept._sockets.get((address, row)) if kept else None
                    self._sockets[address, row] = there or self._open(address, row)
        except ListenError:
            if kept:
                self.close_all_but(kept)
            else:
                self.close()
            raise

    def descriptors(self, worker: int) -> list[int]:
        """The sockets of one worker, in the order of `Config.listen`; again in that order for each further row."""
        rows = range(worker, self._rows, self._workers)
        return [self._sockets[address, row].fileno() for row in rows for address in self._addresses]

    def names(self) -> list[str]:
        """The addresses as they are: with the port that the system chose where the configuration says 0."""
        return [_printed(self._sockets[address, 0].getsockname()) for address in self._addresses]

    def close_all_but(self, others: "Listeners") -> None:
        """Close the sockets that `others` does not share."""
        kept = set(map(id, others._sockets.values()))
        for sock in self._sockets.values():
            if id(sock) not in kept:
                sock.close()

    def close(self) -> None:
        """Close all sockets."""
        for sock in self._sockets.values():
            sock.close()

    def _open(self, address: str, row: int) -> socket.socket:
        host, port = split_address(address)
        if row > 0:  # port 0: every worker listens where the first one does
            port = self._sockets[address, 0].getsockname()[1]
        elif port and _is_taken(host, port):
            log.problem(
                "another process listens on this address too; it takes its share of the clients", address=address
            )
        try:
            return _listening(host, port)
        except OSError as error:
            raise ListenError(f"cannot listen on {address}: {error.strerror}") from None


def split_address(address: str) -> tuple[str, int]:
    """Host and port of "127.0.0.1:25" or "[::]:25"; raises `ValueError` saying what is allowed."""
    host, colon, port = address.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    host = host[1:-1] if bracketed else host
    family = socket.AF_INET6 if bracketed else socket.AF_INET
    try:
        socket.inet_pton(family, host)
        if not colon or not port.isascii() or not port.isdigit() or int(port) > 65535:
            raise ValueError
    except (OSError, ValueError):
        raise ValueError(
            f'{address!r} is no address to listen on: use an IP address and a port, as in "127.0.0.1:25" or "[::]:25"'
        ) from None
    return host, int(port)


def _listening(host: str, port: int) -> socket.socket:
    sock = _socket(host)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setblocking(False)
        sock.bind((host, port))
        sock.listen(BACKLOG)
    except OSError:
        sock.close()
        raise
    return sock


def _is_taken(host: str, port: int) -> bool:
    """Whether somebody listens there already. SO_REUSEPORT alone would join any group of the same user in silence."""
    with _socket(host) as sock:
        try:
            sock.bind((host, port))
        except OSError as error:
            return error.errno == errno.EADDRINUSE
    return False


def _socket(host: str) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    if family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)  # "[::]:25" and "0.0.0.0:25" can stand side by side
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    return sock


def _printed(name: tuple[str, int]) -> str:
    host, port = name[0], name[1]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
