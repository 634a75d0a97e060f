"""One connection to an HTTP server, for one request after the other. Blocks; for native threads.

Every wait counts against a deadline for the whole step: for connecting, TLS included; for sending; for the head of the
reply. A server that drips bytes gains nothing. The head of a reply is bounded, and the reply is what its head says:
of the body no more is read than a line of text and the reuse of the connection are worth.
"""

import http.client
import select
import socket
import ssl
from collections.abc import Iterable
from contextlib import suppress
from time import monotonic
from typing import NamedTuple

from mta.deliver.peer import SLOWEST_BYTES_S, ConnectError
from mta.endpoint import Url

PIECE_BYTES = 65536
HEAD_BYTES = 262144  # of a reply, interim ones included
BODY_BYTES = 65536  # a connection with more to come is closed
BODY_S = 2.0
TEXT_BYTES = 1024  # of the body, for people
CLOSE_REPLY_S = 1.0  # a server that closed while we sent has its reply on the way


class Reply(NamedTuple):
    """The final reply to a request."""

    status: int
    reason: str
    retry_after: str
    body: bytes  # its beginning


class LostConnection(OSError):
    """There is no reply. `untouched`: not a byte of one came, and the deadline has not passed."""

    def __init__(self, reason: str, *, untouched: bool) -> None:
        super().__init__(reason)
        self.untouched = untouched


class HttpConnection:
    """A connection. `is_open` says whether it can be used once more."""

    def __init__(self, url: Url, context: ssl.SSLContext | None, timeout_s: float) -> None:
        """Connect, with TLS where there is a `context`, within `timeout_s`. Raises `ConnectError`."""
        self._socket = _connected(url, context, monotonic() + timeout_s)
        self._reader = ReplyReader(self._socket)
        self.is_open = True

    def is_stale(self) -> bool:
        """Whether the server closed the connection, or said something nobody asked for, while it was idle."""
        poller = select.poll()
        poller.register(self._socket, select.POLLIN)
        return self._reader.has_data() or bool(poller.poll(0))

    def post(self, pieces: Iterable[bytes], size_bytes: int, timeout_s: float) -> Reply:
        """Send a request of about `size_bytes` and read the reply.

        Raises `LostConnection`; and what `pieces` raises, in which case the server has not got all of them. Either way,
        and where the server wishes it, the connection is closed.
        """
        self.is_open = False
        self._reader.count = 0
        broken: OSError | None = None
        try:
            deadline_at = monotonic() + timeout_s + size_bytes / SLOWEST_BYTES_S
            try:
                self._send(pieces, deadline_at)
            except OSError as error:  # it may have said why it does not want the rest
                broken = error
            reply_s = CLOSE_REPLY_S if broken else timeout_s
            try:
                reply, is_reusable = self._reply(monotonic() + reply_s)
            except (OSError, http.client.HTTPException) as error:
                is_untouched = not self._reader.count and not isinstance(broken or error, TimeoutError)
                raise LostConnection(_words(broken or error), untouched=is_untouched) from None
            self.is_open = is_reusable and broken is None
            return reply
        finally:
            if not self.is_open:
                self.close()

    def close(self) -> None:
        """Close the connection."""
        self.is_open = False
        with suppress(OSError):
            self._socket.close()

    def _send(self, pieces: Iterable[bytes], deadline_at: float) -> None:
        for piece in pieces:
            for start in range(0, len(piece), PIECE_BYTES):
                self._socket.settimeout(_left_s(deadline_at))
                self._socket.sendall(piece[start : start + PIECE_BYTES])

    def _reply(self, deadline_at: float) -> tuple[Reply, bool]:
        """The final reply, and whether the connection can go on."""
        reader = self._reader
        reader.begin(deadline_at, HEAD_BYTES)
        while True:
            response = http.client.HTTPResponse(reader, method="POST")  # type: ignore[arg-type]
            response.begin()
            if response.status >= 200 or response.status == http.HTTPStatus.SWITCHING_PROTOCOLS:
                break
        reader.begin(min(deadline_at, monotonic() + BODY_S), 2 * BODY_BYTES)
        body, is_whole = b"", False
        with suppress(OSError, http.client.HTTPException):
            body = response.read(TEXT_BYTES)
            response.read(BODY_BYTES)
            is_whole = response.isclosed()
        retry_after = response.getheader("Retry-After", "") or ""
        is_reusable = is_whole and not response.will_close and response.status >= 200
        return Reply(response.status, response.reason, retry_after, body), is_reusable


class ReplyReader:
    """What `http.client` reads a reply from: a socket and a file of it in one, with a deadline and a bound."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._buffer = bytearray()
        self._deadline_at = 0.0
        self._room_bytes = 0
        self.count = 0  # bytes since the request was begun
        self.closed = False

    def begin(self, deadline_at: float, room_bytes: int) -> None:
        """Allow so much from now on."""
        self._deadline_at = deadline_at
        self._room_bytes = room_bytes + len(self._buffer)

    def has_data(self) -> bool:
        """Whether more came than was read."""
        return bool(self._buffer)

    def makefile(self, _mode: str) -> "ReplyReader":
        """As of a socket."""
        return self

    def readline(self, limit: int = -1) -> bytes:
        """As of a file."""
        while (end := self._buffer.find(b"\n") + 1) == 0 and (limit < 0 or len(self._buffer) < limit) and self._fill():
            pass
        end = end or len(self._buffer)
        return self._taken(end if limit < 0 else min(end, limit))

    def read(self, count: int = -1) -> bytes:
        """As of a file."""
        while (count < 0 or len(self._buffer) < count) and self._fill():
            pass
        return self._taken(len(self._buffer) if count < 0 else min(count, len(self._buffer)))

    def flush(self) -> None:
        """As of a file."""

    def close(self) -> None:
        """As of a file; the socket stays open."""

    def _taken(self, count: int) -> bytes:
        data = bytes(self._buffer[:count])
        del self._buffer[:count]
        return data

    def _fill(self) -> bool:
        self._socket.settimeout(_left_s(self._deadline_at))
        data = self._socket.recv(PIECE_BYTES)
        self.count += len(data)
        self._room_bytes -= len(data)
        if self._room_bytes < 0:
            raise http.client.HTTPException("the reply is too long")
        self._buffer += data
        return bool(data)


def _connected(url: Url, context: ssl.SSLContext | None, deadline_at: float) -> socket.socket:
    try:
        found = socket.getaddrinfo(url.host, url.port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise ConnectError("4.4.3", f"cannot resolve {url.host}: {error.strerror}") from None
    failure = ConnectError("4.4.1", "the server has no address")
    for family, _, _, _, target in found:
        sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            sock.settimeout(_left_s(deadline_at))
            sock.connect(target)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if context is None:
                return sock
            sock.settimeout(_left_s(deadline_at))
            return context.wrap_socket(sock, server_hostname=url.host)
        except ssl.SSLError as error:
            sock.close()
            failure = ConnectError("4.7.5", f"no TLS: {_words(error)}")
        except OSError as error:
            sock.close()
            failure = ConnectError("4.4.1", f"cannot connect: {_words(error)}")
    raise failure


def _left_s(deadline_at: float) -> float:
    left_s = deadline_at - monotonic()
    if left_s <= 0:
        raise TimeoutError("timed out")
    return left_s


def _words(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "timed out"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"certificate: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return (error.reason or "failed").lower()
    if isinstance(error, http.client.RemoteDisconnected):
        return "the connection was closed"
    if isinstance(error, OSError):
        return error.strerror or str(error)
    return f"no reply of HTTP: {type(error).__name__} {error}".strip()
