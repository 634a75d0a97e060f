"""Where greenlets wait for the disk: one sync for every message that came in meanwhile.

A message is appended (memory only) by its connection's greenlet, which then parks here. At the end of the loop's turn,
when every connection that had input has had its say, all that was appended goes to the disk thread as one batch; when
the sync has ended, the greenlets of the batch are resumed in order. While a batch is being synced the next one gathers.

A sync costs the CPU of a good part of a message, so a batch waits for those that are about to join it: clients whose
content is on its way, for `INTERVAL_S` after the last batch at most. A lone message never waits.
"""

from collections import deque
from time import monotonic
from typing import Any

from gevent import get_hub
from greenlet import getcurrent

from mta.errors import SpoolError
from mta.server.stream import READ
from mta.spool.writer import SpoolWriter

INTERVAL_S = 0.004
"""How long a batch waits for clients that are sending content, counted from the beginning of the last batch. With 20
busy clients and two workers, 4 ms made a quarter to two fifths fewer syncs than starting a batch every millisecond
whoever was sending, and some tenth less CPU; a few rounds on a noisy machine. 8 ms brought no more. A client that sends
slowly costs the others this much, and no more."""


class GroupCommit:
    """Joins a `SpoolWriter` to gevent's loop. One per worker."""

    def __init__(self, writer: SpoolWriter) -> None:
        self._writer = writer
        self._waiting: deque[Any] = deque()  # greenlets, in the order of their appends
        self._is_looking = False
        self.receiving = 0  # clients whose content is on its way: worth a short wait
        self._submitted_at = 0.0
        self._hub: Any = get_hub()
        self._timer: Any = self._hub.loop.timer(INTERVAL_S, INTERVAL_S)
        self._watcher = self._hub.loop.io(writer.fileno(), READ)
        self._watcher.start(self._on_synced)

    def wait(self) -> SpoolError | None:
        """Wait until what this greenlet has just appended is durable; returns the error if it is not and will not be.

        Must be called right after `SpoolWriter.append`, with no switch in between. Switches greenlets; there is no
        deadline, since the disk's answer has to be known before the client gets one.
        """
        self._waiting.append(getcurrent())
        self._look_soon()
        error: SpoolError | None = self._hub.switch()
        return error

    def _look_soon(self) -> None:
        if not self._is_looking:
            self._is_looking = True
            self._hub.loop.run_callback(self._look)

    def _look(self) -> None:
        """At the end of the loop's turn: start a batch, unless it should grow a little."""
        self._is_looking = False
        if self.receiving and monotonic() - self._submitted_at < INTERVAL_S:
            if not self._timer.active:
                self._timer.again(self._submit)  # a timer that is merely started a second time fires at once
        else:
            self._submit()

    def _submit(self) -> None:
        self._timer.stop()
        if self._writer.submit():  # not while a batch is under way; `_on_synced` comes back to it
            self._submitted_at = monotonic()

    def _on_synced(self) -> None:
        ended = self._writer.collect()
        if ended is None:
            return
        count, error = ended
        waiting = self._waiting
        batch = [waiting.popleft() for _ in range(count)]
        if waiting:
            self._look_soon()
        for waiter in batch:
            waiter.switch(error)

    def close(self) -> None:
        """Stop watching. What still waits is not resumed."""
        for watcher in (self._watcher, self._timer):
            watcher.stop()
            watcher.close()
