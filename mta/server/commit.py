"""Where greenlets wait for the disk: one sync for every message that came in meanwhile.

A message is appended (memory only) by its connection's greenlet, which then parks here. At the end of the loop's turn,
when every connection that had input has had its say, all that was appended goes to the disk thread as one batch; when
the sync has ended, the greenlets of the batch are resumed in order. While a batch is being synced the next one gathers,
and it goes on gathering until `INTERVAL_S` after the last batch began: a lone message never waits, and under load a
sync serves more of them.
"""

from collections import deque
from time import monotonic
from typing import Any

from gevent import get_hub
from greenlet import getcurrent

from mta.errors import SpoolError
from mta.server.stream import READ
from mta.spool.writer import SpoolWriter

INTERVAL_S = 0.001
"""Between the beginnings of two batches, at least. A sync costs the CPU of a good part of a message; with 20 busy
clients and two workers this takes about a tenth off the cost of a message. At 2 ms the wait of the clients shows."""


class GroupCommit:
    """Joins a `SpoolWriter` to gevent's loop. One per worker."""

    def __init__(self, writer: SpoolWriter) -> None:
        self._writer = writer
        self._waiting: deque[Any] = deque()  # greenlets, in the order of their appends
        self._is_scheduled = False
        self._submitted_at = 0.0
        self._hub: Any = get_hub()
        self._timer = self._hub.loop.timer(INTERVAL_S, INTERVAL_S)
        self._watcher = self._hub.loop.io(writer.fileno(), READ)
        self._watcher.start(self._on_synced)

    def wait(self) -> SpoolError | None:
        """Wait until what this greenlet has just appended is durable; returns the error if it is not and will not be.

        Must be called right after `SpoolWriter.append`, with no switch in between. Switches greenlets; there is no
        deadline, since the disk's answer has to be known before the client gets one.
        """
        self._waiting.append(getcurrent())
        if not self._is_scheduled:
            self._schedule()
        error: SpoolError | None = self._hub.switch()
        return error

    def _schedule(self) -> None:
        self._is_scheduled = True
        if monotonic() - self._submitted_at >= INTERVAL_S:
            self._hub.loop.run_callback(self._submit)
        else:
            self._timer.again(self._submit)  # a timer that is merely started a second time fires at once

    def _submit(self) -> None:
        self._timer.stop()
        self._is_scheduled = False
        if self._writer.submit():  # not while a batch is under way; `_on_synced` comes back to it
            self._submitted_at = monotonic()

    def _on_synced(self) -> None:
        ended = self._writer.collect()
        if ended is None:
            return
        count, error = ended
        waiting = self._waiting
        batch = [waiting.popleft() for _ in range(count)]
        if waiting and not self._is_scheduled:
            self._schedule()
        for waiter in batch:
            waiter.switch(error)

    def close(self) -> None:
        """Stop watching. What still waits is not resumed."""
        for watcher in (self._watcher, self._timer):
            watcher.stop()
            watcher.close()
