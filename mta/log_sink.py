"""Where the lines of the log go: a file, a pipe, a terminal, the system's journal."""

import os
import select
import socket
import stat
from collections.abc import Callable
from contextlib import suppress

from mta.errors import ConfigError

KEPT_BYTES = 1048576  # held for a reader that does not read, before lines are dropped


class Sink:
    """A descriptor that takes lines without ever waiting; `lost` counts those it could not take."""

    __slots__ = ("_fd", "_kept", "_send", "_torn", "_whole", "lost")

    def __init__(self, fd: int) -> None:
        """Write to `fd`, which becomes the sink's own. A pipe or terminal must have been opened with O_NONBLOCK."""
        self._fd = fd
        self._kept = bytearray()
        self._torn = False  # the last line in the file lacks its end
        self.lost = 0
        mode = os.fstat(fd).st_mode
        # A pipe takes up to PIPE_BUF bytes in one piece or not at all, so that lines of several processes do not mix.
        self._whole = stat.S_ISREG(mode)
        self._send: Callable[[bytes], int] = self._write
        if stat.S_ISSOCK(mode):  # the system's journal: not to be opened anew, but it can be written without waiting
            journal = socket.socket(fileno=fd)
            self._send = lambda data: journal.send(data, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)

    def write(self, data: bytes) -> None:
        """Take whole lines. Does not wait, does not raise."""
        if len(self._kept) + len(data) > KEPT_BYTES:
            self.lost += data.count(b"\n")
            return
        if self._torn and not self._kept:
            self._kept += b"\n"
        self._kept += data
        while self._kept:
            piece = self._piece()
            try:
                sent = self._send(piece)
            except BlockingIOError:
                return  # nobody reads just now; kept for the next time
            except OSError:
                self.lost += self._kept.count(b"\n") - self._kept.startswith(b"\n")
                self._kept.clear()
                return
            self._torn = piece[sent - 1] != 10
            del self._kept[:sent]

    def close(self) -> None:
        """Close the descriptor."""
        os.close(self._fd)

    def _piece(self) -> bytes:
        if self._whole or len(self._kept) <= select.PIPE_BUF:
            return bytes(self._kept)
        end = self._kept.rfind(b"\n", 0, select.PIPE_BUF) + 1
        return bytes(self._kept[: end or select.PIPE_BUF])

    def _write(self, data: bytes) -> int:
        return os.write(self._fd, data)


def standard_error() -> Sink | None:
    """Standard error; `None` when it is closed.

    A pipe or a terminal is opened anew, so that O_NONBLOCK concerns nobody else. A file must stay shared, since its
    offset is; nor can a socket be opened anew, or what belongs to another user.
    """
    try:
        if not stat.S_ISREG(os.fstat(2).st_mode):
            with suppress(OSError):
                return Sink(os.open("/proc/self/fd/2", os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC))
        return Sink(os.dup(2))
    except OSError:
        return None


def log_file(path: str) -> Sink:
    """The file, opened for appending and made where there is none. Raises `ConfigError`."""
    try:
        return Sink(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640))
    except OSError as error:
        raise ConfigError([f"log.file: {path}: {error.strerror}"]) from None
