"""Watching for an order to drain (`mta.drain`)."""

import os
from collections.abc import Callable

from mta import drain, log
from mta.errors import SpoolError

LOOK_S = 1.0  # between two looks at the file: a system call each


class Orders:
    """The order as it was last seen. Looking blocks on the disk for one small file, when that has changed."""

    def __init__(self, spool: str, clock: Callable[[], float]) -> None:
        """Read what there is; raises `SpoolError` where that is no order."""
        self._spool = spool
        self._clock = clock
        self._seen = self._stamp()
        self.order = drain.read(spool)
        self.due_at = clock() + LOOK_S

    def look(self, *, at_once: bool = False) -> bool:
        """Whether there is another order than before, or none any more. Looks when it is due, or `at_once`."""
        now = self._clock()
        if now < self.due_at and not at_once:
            return False
        self.due_at = now + LOOK_S
        stamp = self._stamp()
        if stamp == self._seen:
            return False
        self._seen = stamp
        try:
            order = drain.read(self._spool)
        except SpoolError as error:
            log.problem(str(error))
            return False
        before, self.order = self.order, order
        return order != before

    def _stamp(self) -> tuple[int, int] | None:
        """What tells one file from the next."""
        try:
            found = os.stat(drain.path(self._spool), follow_symlinks=False)
        except OSError:
            return None
        return found.st_ino, found.st_mtime_ns
