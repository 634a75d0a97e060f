"""Questions to a server over connections that are kept: a request, a reply, one after the other on each.

What a reply looks like is the business of a `Reader`; this module has the sockets, and keeps the time.
"""

import select
import ssl
from collections.abc import Callable
from typing import Any, Protocol

from gevent import Timeout, socket
from gevent.lock import BoundedSemaphore

from mta.endpoint import Unix, parse_next_hop
from mta.errors import TableDown

RECEIVE_BYTES = 16384


class BadReply(Exception):
    """What came is no reply. The connection is of no use any more."""


class Reader(Protocol):
    """Puts one reply together. Bounds what it keeps."""

    is_last: bool  # of a whole reply: nothing more is to be asked on its connection

    def feed(self, data: bytes) -> bool:
        """Take what came; whether the reply is whole. Raises `BadReply`, also for what comes behind the reply."""


class _Stale(Exception):
    """A kept connection turned out to be closed, before anything came back."""


class Exchange:
    """A server, and up to `connections` connections to it."""

    def __init__(
        self, host: str, timeout_s: float, connections: int, *, wrap: Callable[[Any], Any] | None = None
    ) -> None:
        """`host` as `mta.endpoint.parse_next_hop` takes it. Connects to nobody yet.

        `wrap` makes what is talked over (TLS) of a connected socket; it may raise `OSError`.
        """
        self._host = host
        self._timeout_s = timeout_s
        self._wrap = wrap
        self._room: Any = BoundedSemaphore(connections)
        self._idle: list[Any] = []

    def ask(self, request: bytes, make_reader: Callable[[], Reader]) -> Any:
        """Send a request, and return the reader that has its reply.

        Switches greenlets, for `timeout_s` at most, waiting for a free connection included. Raises `TableDown`.
        """
        timeout = Timeout.start_new(self._timeout_s)
        try:
            with self._room:
                return self._ask(request, make_reader)
        except Timeout as raised:
            if raised is not timeout:
                raise
            raise TableDown(f"{self._host}: no answer within {self._timeout_s:g} s") from None
        except OSError as error:
            raise TableDown(f"{self._host}: {error.strerror or error}") from None
        except BadReply as error:
            raise TableDown(f"{self._host}: {error}", of_key=True) from None
        finally:
            timeout.close()

    def _ask(self, request: bytes, make_reader: Callable[[], Reader]) -> Reader:
        while self._idle:  # the server may have closed any of them since
            connection = self._idle.pop()
            if not _is_quiet(connection):
                connection.close()
                continue
            try:
                return self._converse(connection, request, make_reader(), is_fresh=False)
            except _Stale:
                continue
        return self._converse(self._connect(), request, make_reader(), is_fresh=True)

    def _converse(self, connection: Any, request: bytes, reader: Reader, *, is_fresh: bool) -> Reader:
        is_silent = True
        try:
            connection.sendall(request)
            while True:
                data = connection.recv(RECEIVE_BYTES)
                if not data:
                    raise ConnectionError(0, "the connection was closed before the reply was whole")
                is_silent = False
                if reader.feed(data):
                    break
        except OSError:
            connection.close()
            if is_silent and not is_fresh:
                raise _Stale from None
            raise
        except BaseException:
            connection.close()
            raise
        if reader.is_last:
            connection.close()
        else:
            self._idle.append(connection)
        return reader

    def _connect(self) -> Any:
        connection = self._connected()
        if self._wrap is None:
            return connection
        try:
            return self._wrap(connection)
        except BaseException:
            connection.close()
            raise

    def _connected(self) -> Any:
        hop = parse_next_hop(self._host)
        if not isinstance(hop, Unix):
            connection = socket.create_connection(hop)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return connection
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.connect(hop.path)
        except BaseException:
            connection.close()
            raise
        return connection


def _is_quiet(connection: Any) -> bool:
    """Whether nothing came since the last reply: it would be taken for the answer to what is asked next."""
    if isinstance(connection, ssl.SSLSocket) and connection.pending():
        return False
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    return not poll.poll(0)
