"""Questions that block, asked in native threads over links that are kept.

For libraries with sockets of their own. Each question has one end for all it may wait for: then it is given up, and its
link's socket is shut down, so that the thread comes back whatever the library waits for.
"""

import os
import socket
from collections.abc import Callable
from threading import Lock
from typing import Any, Protocol

from gevent import Timeout
from gevent.threadpool import ThreadPool

from mta.errors import TableDown

IDLE_S = 60.0
"""A link that nobody used for so long is not used again: firewalls forget connections, and tell nobody."""


class Gone(Exception):
    """The server has closed the link, or the way to it broke. Another link may be good."""


class Link(Protocol):
    """A way to a server. One thread at a time."""

    def ask(self, key: bytes) -> bytes | None:
        """The value, or None; raises `TableDown` or `Gone`, and is closed then. Blocks."""

    def close(self) -> None:
        """Let go of it, in whatever state it is."""


class Handle:
    """A second descriptor of a link's socket, by which another thread can end what the link waits for."""

    def __init__(self) -> None:
        self._lock = Lock()  # held for a system call that does not wait
        self._socket: socket.socket | None = None
        self._is_cut = False

    def watch(self, descriptor: int) -> None:
        """This is the link's socket, as soon as there is one."""
        with self._lock:
            self._release()
            self._socket = socket.socket(fileno=os.dup(descriptor))
            if self._is_cut:
                self._shut_down()

    def cut(self) -> None:
        """End the link's connection, now or as soon as there is one."""
        with self._lock:
            self._is_cut = True
            self._shut_down()

    def release(self) -> None:
        """The link is closed."""
        with self._lock:
            self._release()

    def _release(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _shut_down(self) -> None:
        if self._socket is None:
            return
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:  # it is so already
            return


Connect = Callable[[Callable[[int], None]], Link]
"""Makes a link, and tells the descriptor of its socket as early as it can. Blocks; raises `TableDown` or `Gone`."""


class _Question:
    """What a greenlet waits for, and a thread works on."""

    def __init__(self) -> None:
        self.is_given_up = False
        self._handle: Handle | None = None

    def go_by(self, handle: Handle) -> None:
        """In the thread: from now on by this link."""
        self._handle = handle
        if self.is_given_up:
            handle.cut()

    def give_up(self) -> None:
        """In the greenlet. Of the two one sees what the other did, in whatever order they come."""
        self.is_given_up = True
        if self._handle is not None:
            self._handle.cut()


class ThreadedTable:
    """A server that is asked over at most `connections` links at once, each in a native thread."""

    def __init__(
        self, where: str, connect: Connect, timeout_s: float, connections: int, *, clock: Callable[[], float]
    ) -> None:
        """`where` is what failures name. Connects to nobody yet. `clock` gives monotonic seconds, in any thread."""
        self._where = where
        self._connect = connect
        self._timeout_s = timeout_s
        self._clock = clock
        self._pool: Any = ThreadPool(connections)
        self._idle: list[tuple[Link, Handle, float]] = []

    def get(self, key: bytes) -> bytes | None:
        """The value, or None; raises `TableDown`. Switches greenlets, for `timeout_s` at most."""
        question = _Question()
        timeout = Timeout.start_new(self._timeout_s)
        try:
            found: bytes | TableDown | None = self._pool.apply(self._answer, (question, key))
        except Timeout as raised:
            question.give_up()
            if raised is not timeout:
                raise
            raise TableDown(f"{self._where}: no answer within {self._timeout_s:g} s") from None
        except BaseException:
            question.give_up()
            raise
        finally:
            timeout.close()
        if isinstance(found, TableDown):
            raise TableDown(f"{self._where}: {found.reason}", of_key=found.of_key)
        return found

    def _answer(self, question: _Question, key: bytes) -> bytes | TableDown | None:
        """In a thread of the pool, which would print what is raised there."""
        try:
            return self._look_up(question, key)
        except TableDown as error:
            return error

    def _look_up(self, question: _Question, key: bytes) -> bytes | None:
        while (kept := self._take()) is not None:
            link, handle = kept
            question.go_by(handle)
            try:
                return self._ask(question, link, handle, key)
            except Gone:  # while nobody used it
                if question.is_given_up:
                    break
        if question.is_given_up:
            return None  # to nobody
        handle = Handle()
        question.go_by(handle)
        try:
            link = self._connect(handle.watch)
        except Gone as error:
            handle.release()
            raise TableDown(str(error)) from None
        except BaseException:
            handle.release()
            raise
        try:
            return self._ask(question, link, handle, key)
        except Gone as error:
            raise TableDown(str(error)) from None

    def _ask(self, question: _Question, link: Link, handle: Handle, key: bytes) -> bytes | None:
        is_good = False
        try:
            value = link.ask(key)
            is_good = not question.is_given_up
        finally:
            if is_good:
                self._idle.append((link, handle, self._clock()))
            else:
                handle.release()
                link.close()
        return value

    def _take(self) -> tuple[Link, Handle] | None:
        while True:
            try:
                link, handle, since = self._idle.pop()
            except IndexError:  # another thread may have been quicker
                return None
            if self._clock() - since < IDLE_S:
                return link, handle
            handle.release()
            link.close()
