"""The queue's folder in the hands of one process, and the queue without a manager.

Whoever holds the lock of `<spool>/qmgr` is the queue manager: the process of that name, or, while none runs, whoever
wants to look at the queue or to change it.
"""

import fcntl
import os
import random
from collections.abc import Iterator
from pathlib import Path

from mta import ipc
from mta.config import Config
from mta.errors import IpcError, SpoolError
from mta.qmgr.clock import SystemClock
from mta.qmgr.control import Control
from mta.qmgr.core import Core
from mta.spool import layout


def folder(config: Config) -> Path:
    """Where the queue manager keeps its lock, its socket and its journal."""
    return Path(config.spool) / "qmgr"


def try_lock(config: Config) -> int | None:
    """Take the lock of the queue, creating its folder when needed; `None` when another process has it.

    Returns a descriptor that holds the lock until it is closed. Raises `SpoolError`.
    """
    place = folder(config)
    try:
        layout.make_folders(Path(config.spool))
        layout.make_folder(place)
        fd = os.open(place / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise SpoolError(f"{place}: {error.strerror}") from error
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        return None
    return fd


def answer(config: Config, request: ipc.Request) -> Iterator[ipc.Reply]:
    """Answer a request for a queue whose manager does not run, as the manager would have.

    Takes the lock until the iterator is exhausted or closed. Blocks on the disk; raises `SpoolError`, and `IpcError`
    when a manager holds the lock.
    """
    lock = try_lock(config)
    if lock is None:
        raise IpcError("a queue manager holds the queue but does not answer")
    try:
        clock = SystemClock()
        core = Core(config, clock, random.Random())
        try:
            yield from Control(core, Path(config.spool)).answer(request)
            while core.intake.is_purging() and core.take(clock.monotonic()):
                pass
            if core.pending() and not core.commit(clock.monotonic()):
                raise SpoolError("the journal cannot be written")
        finally:
            core.close()
    finally:
        os.close(lock)
