"""What is looked at once a second: the deadlines of all connections, stress, the disk.

A timer of its own for each wait would cost every command two operations on the loop's heap; the deadlines are
minutes, so a second does not matter. The cost is one comparison a connection and second.
"""

from time import monotonic
from typing import Any

from gevent import get_hub

from mta import log
from mta.server.service import Shared
from mta.server.stream import DeadlineExceeded

SWEEP_S = 1.0


class Deadlines:
    """Advances the worker's clock and ends waits that took too long."""

    def __init__(self, shared: Shared) -> None:
        self._shared = shared
        self._timer: Any = get_hub().loop.timer(SWEEP_S, SWEEP_S)
        self._timer.start(self.sweep)

    def sweep(self) -> None:
        """One look at all connections."""
        shared = self._shared
        now_s = shared.clock.now_s = monotonic()
        shared.look_at_disk()
        is_stressed = shared.is_crowded()
        if is_stressed != shared.is_stressed:
            shared.is_stressed = is_stressed
            log.note("stress" if is_stressed else "relief", connections=len(shared.connections))
            if is_stressed:
                for connection in shared.connections:
                    connection.hurry()
        late = [c.stream for c in shared.connections if c.stream.is_parked and c.stream.deadline_at <= now_s]
        for stream in late:
            stream.wake(DeadlineExceeded())

    def stop(self) -> None:
        """No more sweeps."""
        self._timer.stop()
        self._timer.close()
