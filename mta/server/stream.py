"""One client's socket, read and written by one greenlet in plain, synchronous steps.

A wait costs a switch to the hub and nothing else: the reading watcher is started once and left running, since a
client nearly always has to be waited for again; only input that comes while nobody reads stops it. (gevent's own
sockets start and stop a watcher, and try a receive that mostly fails, at every read.)
"""

import socket
from contextlib import suppress
from typing import Any

from gevent import get_hub
from greenlet import getcurrent

READ, WRITE = 1, 2  # libev's event masks

RECEIVE_BUFFER_BYTES = 262144
"""One buffer serves all connections of a worker: what was received is used up before anybody else runs. Large enough
for the kernel to hand over much at once, small enough to stay in the second-level cache."""


LINGER_S = 2.0
LINGER_READS = 16


class DeadlineExceeded(Exception):
    """Raised into a waiting greenlet: the client was too slow."""


class Draining(Exception):
    """Raised into a greenlet that waits for a command: the worker is going down."""


class Clock:
    """Seconds on the monotonic clock, as of the last sweep: exact enough for deadlines of minutes, and free to read."""

    __slots__ = ("now_s",)

    def __init__(self, now_s: float) -> None:
        self.now_s = now_s


class Stream:
    """A connected, non-blocking socket. Deadlines are on the clock given; whoever sweeps compares `deadline_at`."""

    __slots__ = ("_clock", "_greenlet", "_hub", "_socket", "_watcher", "deadline_at", "is_parked")

    def __init__(self, sock: socket.SocketType, clock: Clock) -> None:
        self._socket = sock
        self._clock = clock
        self._hub: Any = get_hub()
        self._watcher: Any = self._hub.loop.io(sock.fileno(), READ)
        self._greenlet: Any = None
        self.is_parked = False  # waiting for input
        self.deadline_at = float("inf")

    def receive_now(self, buffer: bytearray) -> int:
        """Read what is there already; returns the number of bytes, 0 when there is nothing. Does not wait.

        The end of the stream looks like nothing; the next `receive_into` tells. Raises `OSError` on a broken
        connection.
        """
        try:
            return self._socket.recv_into(buffer)
        except BlockingIOError:
            return 0

    def receive_into(self, buffer: bytearray | memoryview, deadline_at: float) -> int:
        """Wait for input and read it; returns the number of bytes, 0 at the end of the stream.

        Switches greenlets. Raises `DeadlineExceeded` when it is past `deadline_at` (on the worker's clock, to within
        a second) and `OSError` on a broken connection.
        """
        if not self._watcher.active:
            self._watcher.start(self._on_readable)
        self._greenlet = getcurrent()
        self.deadline_at = deadline_at
        while True:
            self.is_parked = True
            self._hub.switch()
            try:
                return self._socket.recv_into(buffer)
            except BlockingIOError:  # readiness is a hint; the kernel may take it back
                continue

    def _on_readable(self) -> None:
        if self.is_parked:
            self.is_parked = False
            self._greenlet.switch()
        else:
            self._watcher.stop()  # input for later; without this the loop would spin

    def wake(self, error: BaseException) -> None:
        """Raise `error` in the greenlet if it waits for input. Called from the hub."""
        if self.is_parked:
            self.is_parked = False
            self._greenlet.throw(error)

    def send_last(self, data: bytes) -> None:
        """Send what is the end of the conversation, in one packet with the end of the stream that `close` makes.

        Does not switch: a client that left no room for a few bytes does not read them. Raises `OSError` on a broken
        connection.
        """
        self._socket.send(data, socket.MSG_MORE)

    def linger(self, buffer: bytearray) -> None:
        """Say that nothing more comes from us, and read for a while what still comes from the client, to forget it.

        A connection closed with input unread is reset, and a reset takes our last reply from a client that has not
        read it yet (RFC 1122 section 4.2.2.13). Bounded in time and bytes; raises `OSError` on a broken connection.
        """
        self._socket.shutdown(socket.SHUT_WR)
        with suppress(DeadlineExceeded, Draining):
            for _ in range(LINGER_READS):
                if not self.receive_into(buffer, self._clock.now_s + LINGER_S):
                    return

    def pause(self, seconds: float) -> None:
        """Do nothing for so long, whatever the client sends meanwhile. Switches greenlets."""
        timer = self._hub.loop.timer(seconds)
        timer.start(getcurrent().switch)
        try:
            self._hub.switch()
        finally:
            timer.stop()
            timer.close()

    def send(self, data: bytes, deadline_at: float) -> None:
        """Send everything. Switches only when the client does not read as fast as we write.

        Raises `DeadlineExceeded` when it is past `deadline_at`, and `OSError` on a broken connection.
        """
        try:
            sent = self._socket.send(data)
        except BlockingIOError:
            sent = 0
        if sent != len(data):
            self._send_rest(memoryview(data)[sent:], deadline_at)

    def _send_rest(self, rest: memoryview, deadline_at: float) -> None:
        hub = self._hub
        while rest:
            remaining_s = max(deadline_at - self._clock.now_s, 0.001)
            timer = hub.loop.timer(remaining_s)
            watcher = hub.loop.io(self._socket.fileno(), WRITE)
            waiter = getcurrent()
            timer.start(waiter.throw, DeadlineExceeded())
            watcher.start(waiter.switch)
            try:
                hub.switch()
            finally:
                watcher.stop()
                watcher.close()
                timer.stop()
                timer.close()
            try:
                rest = rest[self._socket.send(rest) :]
            except BlockingIOError:
                continue

    def close(self) -> None:
        """Close the connection; never raises for one that is broken already."""
        self._watcher.stop()
        self._watcher.close()
        self._socket.close()
