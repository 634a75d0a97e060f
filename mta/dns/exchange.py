"""One question to one server: over UDP, and over TCP when the answer does not fit. Waits by switching greenlets."""

import errno
import os
import socket
from enum import Enum
from functools import lru_cache
from typing import Any, NamedTuple

from gevent import Timeout, get_hub
from gevent.hub import Waiter
from gevent.socket import wait_read, wait_write

from mta.dns.message import BadMessage, Query, Response, parse
from mta.dns.settings import Server

STRANGE = 16
"""Packets that are no response to the query until it goes over TCP, where nobody can join by guessing."""

UDP_RECEIVE_BYTES = 4096  # more than the 1232 that we take; what is cut off is no message
TCP_RECEIVE_BYTES = 65535
READ = 1  # in the terms of libev
TCP_WAIT_S = 5.0  # at least, for a conversation over TCP; it has three round trips


class Outcome(Enum):
    """How an exchange ended."""

    ANSWERED = "answered"
    SILENT = "timed out"
    UNREACHABLE = "unreachable"  # or the connection was closed
    STRANGE = "no proper answer"


class Exchange(NamedTuple):
    """The response, or why there is none."""

    outcome: Outcome
    response: Response | None
    reason: str = ""


@lru_cache(maxsize=64)
def resolve(server: Server) -> tuple[int, tuple[Any, ...]]:
    """The family and the address of a server, as sockets take them. Does not wait; raises `OSError` for a zone (of an
    IPv6 address) that the machine has not."""
    flags = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
    found = socket.getaddrinfo(server.host, server.port, type=socket.SOCK_DGRAM, flags=flags)
    return found[0][0], found[0][4]


def ask(server: Server, query: Query, *, asks_authentic: bool, wait_s: float) -> Exchange:
    """Send the query and wait for its response, `wait_s` at most, and `TCP_WAIT_S` at least where it takes TCP.

    Never raises for what a server or the network does. A `Timeout` of the caller's passes through.
    """
    wire = query.wire(asks_authentic=asks_authentic)
    try:
        response = _ask_udp(server, wire, query, wait_s)
        if response is None or response.is_truncated:
            response = _ask_tcp(server, wire, query, max(wait_s, TCP_WAIT_S))
    except TimeoutError:  # ours, and the system's
        return Exchange(Outcome.SILENT, None, "timed out")
    except BadMessage as error:
        return Exchange(Outcome.STRANGE, None, str(error))
    except OSError as error:
        return Exchange(Outcome.UNREACHABLE, None, error.strerror or "unreachable")
    return Exchange(Outcome.ANSWERED, response)


def _socket(server: Server, kind: int) -> tuple[socket.socket, tuple[Any, ...]]:
    """A socket that does not block, and what to connect it to. Not one of gevent's: that would resolve the address anew
    at each use, in a thread."""
    family, address = resolve(server)
    sock = socket.socket(family, kind)
    sock.setblocking(False)
    return sock, address


def _ask_udp(server: Server, wire: bytes, query: Query, wait_s: float) -> Response | None:
    """The response; None when only strange packets came, so many that somebody may be guessing."""
    sock, address = _socket(server, socket.SOCK_DGRAM)
    with sock, _Arrival(sock, wait_s) as arrival:
        # Connected: the kernel takes a port that nobody else can have then, drops what does not come from the server,
        # and tells when nobody is there.
        sock.connect(address)
        sock.send(wire)
        for _ in range(STRANGE):
            arrival.wait()
            try:
                return parse(sock.recv(UDP_RECEIVE_BYTES), query)
            except BadMessage:
                continue  # a late answer to somebody else, or an attempt to be believed before the server is
            except BlockingIOError:
                continue  # a packet that the kernel has thrown away meanwhile: its checksum was wrong
    return None


class _Arrival:
    """Waits for packets, for a time in all. A `Timeout` and `wait_read` do the same at five times the cost."""

    __slots__ = ("_io", "_timer", "_waiter")

    def __init__(self, sock: socket.socket, wait_s: float) -> None:
        loop: Any = get_hub().loop
        self._io = loop.io(sock.fileno(), READ)
        self._timer = loop.timer(wait_s)
        self._waiter: Any = Waiter()

    def __enter__(self) -> "_Arrival":
        self._io.start(self._waiter.switch, None)
        self._timer.start(self._waiter.throw, TimeoutError())
        return self

    def __exit__(self, *_: object) -> None:
        for watcher in (self._io, self._timer):
            watcher.stop()
            watcher.close()

    def wait(self) -> None:
        """Switch to others until there is a packet; raises `TimeoutError`."""
        # Nobody else runs between two waits, so that neither watcher fires where nobody waits.
        self._waiter.get()


def _ask_tcp(server: Server, wire: bytes, query: Query, wait_s: float) -> Response:
    sock, address = _socket(server, socket.SOCK_STREAM)
    with sock, Timeout(wait_s, TimeoutError):
        number = sock.connect_ex(address)
        if number == errno.EINPROGRESS:
            wait_write(sock.fileno())
            number = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if number:
            raise OSError(number, os.strerror(number))
        sock.send(len(wire).to_bytes(2, "big") + wire)  # some hundred bytes at most, which a new connection takes whole
        response = parse(_receive_whole(sock), query)
    if response.is_truncated:
        raise BadMessage("truncated over TCP")
    return response


def _receive_whole(sock: socket.socket) -> bytes:
    """A message over TCP, without the length in front of it (RFC 1035 section 4.2.2)."""
    data = bytearray()
    while len(data) < 2 or len(data) < 2 + int.from_bytes(data[:2], "big"):
        piece = _receive(sock)
        if not piece:
            raise ConnectionResetError(errno.ECONNRESET, "the connection was closed")
        data += piece
    return bytes(data[2 : 2 + int.from_bytes(data[:2], "big")])


def _receive(sock: socket.socket) -> bytes:
    while True:
        try:
            return sock.recv(TCP_RECEIVE_BYTES)
        except BlockingIOError:
            wait_read(sock.fileno())
