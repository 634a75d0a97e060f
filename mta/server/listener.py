"""Accepting: a watcher on a listening socket, a greenlet for each client.

Greenlets are kept when their client is gone and serve another one: a new greenlet costs the interpreter a memory
mapping and its page faults. Sockets are plain `socket.SocketType`, without the layer that `socket.socket` adds in
Python.
"""

import errno
import socket
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from typing import Any

from gevent import get_hub
from greenlet import getcurrent, greenlet

from mta import log
from mta.server.client import identify
from mta.server.connection import Connection
from mta.server.door import Door
from mta.server.service import Shared
from mta.server.stream import READ, Stream
from mta.smtp import replies

ACCEPTS_PER_TURN = 64
"""Clients taken from the backlog before the ones that are being served have a turn again."""

PAUSE_S = 0.5
"""Wait after an accept() that failed for want of descriptors or memory; trying at once would spin the loop."""


RESTING_GREENLETS = 256
"""Greenlets kept for the next clients; about 20 KB each."""


class Crew:
    """Greenlets that run one task after another."""

    def __init__(self) -> None:
        self._hub: Any = get_hub()
        self._resting: list[Any] = []

    def run(self, task: Callable[[], None]) -> None:
        """Run `task`, which must not raise, in a greenlet up to its first switch. Called from the hub."""
        member = self._resting.pop() if self._resting else greenlet(self._work, self._hub)
        member.switch(task)

    def _work(self, task: Callable[[], None]) -> None:
        me = getcurrent()
        while True:
            task()
            if len(self._resting) >= RESTING_GREENLETS:
                return
            self._resting.append(me)
            task = self._hub.switch()


class Listener:
    """One listening socket (owned by the supervisor, which outlives us) and what it offers."""

    def __init__(
        self, sock: socket.socket, door: Door, shared: Shared, crew: "Crew", session_ids: Callable[[], str]
    ) -> None:
        sock.setblocking(False)
        self._socket = sock
        self._door = door
        self._shared = shared
        self._session_ids = session_ids
        self._family = sock.family
        self._crew = crew
        self._hub: Any = get_hub()
        self._watcher = self._hub.loop.io(sock.fileno(), READ)
        self._watcher.start(self._on_readable)
        self._timer: Any = None

    def stop(self) -> None:
        """Take no more clients; those in the backlog are our successor's."""
        self._watcher.stop()
        if self._timer is not None:
            self._timer.stop()

    def shut(self) -> None:
        """Listen no more, in no process that has this socket: a client must not wait for one that never accepts."""
        with suppress(OSError):  # another worker was first
            self._socket.shutdown(socket.SHUT_RDWR)

    def _on_readable(self) -> None:
        for _ in range(ACCEPTS_PER_TURN):
            try:
                fd, peer = self._socket._accept()  # type: ignore[attr-defined]
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
                    self._pause(error)
                    return
                continue  # the client was gone again before we came to it (accept(2), "Error handling")
            sock = socket.SocketType(self._family, socket.SOCK_STREAM, 0, fd)
            sock.setblocking(False)
            if len(self._shared.connections) >= self._shared.limits.connections:
                self._turn_away(sock)
                continue
            client = identify(peer, self._session_ids())
            connection = Connection(Stream(sock, self._shared.clock), client, self._door, self._shared)
            self._crew.run(connection.run)

    def _pause(self, error: OSError) -> None:
        log.problem("cannot accept clients for now", reason=str(error), listener=self._door.address)
        self._watcher.stop()
        self._timer = self._hub.loop.timer(PAUSE_S)
        self._timer.start(self._watcher.start, self._on_readable)

    def _turn_away(self, sock: socket.SocketType) -> None:
        with suppress(OSError):  # it may not even have waited for the answer
            sock.send(replies.R421_TOO_MANY_CONNECTIONS.wire)
        sock.close()


def session_ids(started_wall: float, index: int) -> Callable[[], str]:
    """A source of session ids, unique among workers and across restarts: start, worker and number, in hexadecimal."""
    prefix = f"{int(started_wall):x}{index:02x}."
    numbers = count(1)
    return lambda: f"{prefix}{next(numbers):x}"
