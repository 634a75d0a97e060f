"""Whoever is connected to the manager's socket: delivery workers, and clients of `mta queue`.

Nothing here waits. What a worker's socket does not take is kept until it does; the scheduler's bound on the jobs of a
worker bounds that too. A control client gets the next page of its answer only when the last one has left.
"""

import selectors
import socket
from collections import deque
from collections.abc import Callable, Iterator

from mta import ipc, log
from mta.errors import IpcError
from mta.qmgr.active import ActiveSet
from mta.qmgr.scheduler import Scheduler

CONTROL_CLIENTS = 32  # at once; further ones are turned away, so that nobody can eat up the manager's descriptors
PAGES_PER_TURN = 4  # of answers to one client, so that a long list does not hold up the mail

Handler = Callable[[int], int]  # takes a mask of `selectors` events, returns how much mail it moved


class Connection:
    """One peer. `role` is empty until it has said hello."""

    __slots__ = ("channel", "number", "outbox", "replies", "role")

    def __init__(self, channel: socket.socket, number: int) -> None:
        channel.setblocking(False)
        self.channel = channel
        self.number = number
        self.role = ""
        self.outbox: deque[bytes] = deque()
        self.replies: Iterator[ipc.Reply] | None = None

    def flush(self) -> bool:
        """Send what is in the outbox; whether all of it went. Raises `OSError` when the peer is gone."""
        while self.outbox:
            try:
                self.channel.send(self.outbox[0])
            except BlockingIOError:
                return False
            self.outbox.popleft()
        return True


class Peers:
    """The listening socket and its connections, registered with a selector that calls back.

    `answer` turns a request into the pages of its answer; it is resumed page by page.
    """

    def __init__(
        self,
        listener: socket.socket,
        selector: selectors.BaseSelector,
        scheduler: Scheduler,
        active: ActiveSet,
        answer: Callable[[ipc.Request], Iterator[ipc.Reply]],
    ) -> None:
        listener.setblocking(False)
        self._listener = listener
        self._selector = selector
        self._scheduler = scheduler
        self._active = active
        self._answer = answer
        self._connections: dict[int, Connection] = {}
        self._numbers = 0
        self._buffer = memoryview(bytearray(ipc.PACKET_BYTES + 1))
        selector.register(listener, selectors.EVENT_READ, self._accept)

    def send(self, assigned: dict[int, list[ipc.Job]]) -> int:
        """Hand jobs to their workers; returns how many."""
        count = 0
        for number, jobs in assigned.items():
            count += len(jobs)
            connection = self._connections[number]
            connection.outbox += map(ipc.encode, ipc.batches(jobs))
            self._flush(connection)
        return count

    def close(self) -> None:
        """Close every socket."""
        for connection in list(self._connections.values()):
            self._drop(connection)
        self._selector.unregister(self._listener)
        self._listener.close()

    def _accept(self, _mask: int) -> int:
        while True:
            try:
                channel, _ = self._listener.accept()
            except (BlockingIOError, ConnectionAbortedError):
                return 0
            self._numbers += 1
            connection = Connection(channel, self._numbers)
            self._connections[connection.number] = connection
            self._selector.register(channel, selectors.EVENT_READ, self._handler(connection))

    def _handler(self, connection: Connection) -> Handler:
        return lambda mask: self._serve(connection, mask)

    def _serve(self, connection: Connection, mask: int) -> int:
        """Something can be read from a peer, or written to it."""
        moved = 0
        if mask & selectors.EVENT_READ:
            moved = self._read(connection)
        if connection.number in self._connections and (mask & selectors.EVENT_WRITE or connection.replies):
            self._flush(connection)
        return moved

    def _read(self, connection: Connection) -> int:
        """Take all packets that are there. A peer that breaks the rules is dropped, as one that goes away."""
        moved = 0
        buffer = self._buffer
        while connection.replies is None:
            try:
                size = connection.channel.recv_into(buffer)
                if not size:
                    self._drop(connection)
                    break
                moved += self._take(connection, ipc.decode(buffer[:size]))
            except BlockingIOError:
                break
            except ConnectionResetError:
                continue  # said once, when it closed without having read everything; what it sent before that is there
            except OSError:
                self._drop(connection)
                break
            except IpcError as error:
                log.problem(str(error), peer=connection.role)
                self._drop(connection)
                break
        return moved

    def _take(self, connection: Connection, message: ipc.Message) -> int:
        """One packet of a peer."""
        if isinstance(message, ipc.Outcomes) and connection.role == "deliver":
            finish, number = self._active.finish, connection.number
            for outcome in message.outcomes:
                finish(number, outcome)
            return len(message.outcomes)
        if isinstance(message, ipc.Request) and connection.role == "control":
            connection.replies = self._answer(message)
        elif isinstance(message, ipc.Hello) and not connection.role and message.role in ("deliver", "control"):
            if message.role == "deliver":
                self._scheduler.join(connection.number)
            elif sum(other.role == "control" for other in self._connections.values()) >= CONTROL_CLIENTS:
                raise IpcError("too many control clients")
            connection.role = message.role
        else:
            raise IpcError(f"{type(message).__name__} is not what a peer of role {connection.role!r} says now")
        return 0

    def _flush(self, connection: Connection) -> None:
        """Send what can be sent, and go on with an answer that is under way; watch for writability if there is more."""
        try:
            for _ in range(PAGES_PER_TURN):
                if not connection.flush():
                    break
                if connection.replies is None:
                    break
                reply = next(connection.replies, None)
                if reply is None:
                    connection.replies = None
                    break
                connection.outbox.append(ipc.encode(reply))
        except (BrokenPipeError, ConnectionResetError):  # what it sent before is yet to be read, then its end
            connection.outbox.clear()
            connection.replies = None
        except OSError:
            self._drop(connection)
            return
        events = selectors.EVENT_READ
        if connection.outbox:
            events |= selectors.EVENT_WRITE
        if connection.replies is not None:
            events = selectors.EVENT_WRITE  # the next request has to wait for the end of this answer
        key = self._selector.get_key(connection.channel)
        if key.events != events:
            self._selector.modify(connection.channel, events, key.data)

    def _drop(self, connection: Connection) -> None:
        """A peer is gone. What a worker had in hand will be tried by another one."""
        self._selector.unregister(connection.channel)
        connection.channel.close()
        del self._connections[connection.number]
        if connection.role == "deliver":
            jobs = self._active.leave(connection.number)
            if jobs:
                log.note("returned", jobs=jobs)
