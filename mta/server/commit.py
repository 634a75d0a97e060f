"""Where greenlets wait for the disk: one sync for every message that came in meanwhile.

A message is appended (memory only) by its connection's greenlet, which then parks here. At the end of the loop's
turn, when every connection that had input has had its say, all that was appended goes to the disk thread as one
batch; when the sync has ended, the greenlets of the batch are resumed in order. While a batch is being synced the
next one gathers.
"""

from collections import deque
from typing import Any

from gevent import get_hub
from greenlet import getcurrent

from mta.errors import SpoolError
from mta.server.stream import READ
from mta.spool.writer import SpoolWriter


class GroupCommit:
    """Joins a `SpoolWriter` to gevent's loop. One per worker."""

    def __init__(self, writer: SpoolWriter) -> None:
        self._writer = writer
        self._waiting: deque[Any] = deque()  # greenlets, in the order of their appends
        self._scheduled = False
        self._hub: Any = get_hub()
        self._watcher = self._hub.loop.io(writer.fileno(), READ)
        self._watcher.start(self._on_synced)

    def wait(self) -> SpoolError | None:
        """Wait until what this greenlet has just appended is durable; returns the error if it is not and will not be.

        Must be called right after `SpoolWriter.append`, with no switch in between. Switches greenlets; there is no
        deadline, since the disk's answer has to be known before the client gets one.
        """
        self._waiting.append(getcurrent())
        if not self._scheduled:
            self._scheduled = True
            self._hub.loop.run_callback(self._submit)
        error: SpoolError | None = self._hub.switch()
        return error

    def _submit(self) -> None:
        self._scheduled = False
        self._writer.submit()  # does nothing while a batch is under way; `_on_synced` comes back to it

    def _on_synced(self) -> None:
        ended = self._writer.collect()
        if ended is None:
            return
        count, error = ended
        waiting = self._waiting
        batch = [waiting.popleft() for _ in range(count)]
        self._writer.submit()
        for waiter in batch:
            waiter.switch(error)

    def close(self) -> None:
        """Stop watching. What still waits is not resumed."""
        self._watcher.stop()
        self._watcher.close()
