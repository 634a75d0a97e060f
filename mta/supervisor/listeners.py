"""The listening sockets: opened before any child, kept for as long as the supervisor lives.

Every SMTP worker has a socket of its own for each address (SO_REUSEPORT): the kernel spreads the clients over them, and
no worker wakes up for a client that another one takes. TCP_NODELAY is set here, since accepted sockets inherit it.
"""

import errno
import socket
from contextlib import suppress

from mta import log
from mta.config import Config
from mta.endpoint import Tcp, is_ipv6, parse_listen
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

    def shut(self) -> None:
        """Listen no more, in no process that has these sockets: clients are refused instead of waiting for nobody."""
        for sock in self._sockets.values():
            with suppress(OSError):  # it is shut already
                sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close all sockets."""
        for sock in self._sockets.values():
            sock.close()

    def _open(self, address: str, row: int) -> socket.socket:
        target = parse_listen(address)
        if row > 0:  # port 0: every worker listens where the first one does
            target = target._replace(port=self._sockets[address, 0].getsockname()[1])
        is_shared = row == 0 and target.port != 0 and _is_taken(target)
        try:
            opened = _listening(target)
        except OSError as error:
            raise ListenError(f"cannot listen on {address}: {error.strerror}") from None
        if is_shared:
            log.problem("another process listens here too and takes its share of the clients", address=address)
        return opened


def _listening(target: Tcp) -> socket.socket:
    sock = _socket(target)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setblocking(False)
        sock.bind(target)
        sock.listen(BACKLOG)
    except OSError:
        sock.close()
        raise
    return sock


def _is_taken(target: Tcp) -> bool:
    """Whether somebody listens there already. SO_REUSEPORT alone would join any group of the same user in silence."""
    with _socket(target) as sock:
        try:
            sock.bind(target)
        except OSError as error:
            return error.errno == errno.EADDRINUSE
    return False


def _socket(target: Tcp) -> socket.socket:
    family = socket.AF_INET6 if is_ipv6(target.host) else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    if family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)  # "[::]:25" and "0.0.0.0:25" can stand side by side
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    return sock


def _printed(name: tuple[str, int]) -> str:
    host, port = name[0], name[1]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
