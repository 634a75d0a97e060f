"""What was delivered lately, so that a restarted queue manager does not make us deliver it again.

A manager that dies forgets outcomes it had not yet put on disk, and hands the same jobs out again. A worker that
outlives it still knows what it delivered. Only the last `KEPT` full deliveries are kept: about what a manager can
have in flight.
"""

from collections import OrderedDict

from mta.ipc import Job

KEPT = 4096

Key = tuple[int, str, tuple[int, ...]]


class Recent:
    """Remembers deliveries of the connections before this one."""

    def __init__(self) -> None:
        self._now: OrderedDict[Key, None] = OrderedDict()  # of this connection, oldest first
        self._before: OrderedDict[Key, None] = OrderedDict()  # of earlier ones: these may be handed out again

    def delivered(self, job: Job) -> None:
        """`job` was delivered to all its recipients."""
        self._now[job.queue_id, job.transport, job.recipients] = None
        if len(self._now) > KEPT:
            self._now.popitem(last=False)

    def delivered_late(self, job: Job) -> None:
        """`job` was delivered, but its connection had ended by then."""
        self._before[job.queue_id, job.transport, job.recipients] = None
        if len(self._before) > KEPT:
            self._before.popitem(last=False)

    def disconnected(self) -> None:
        """The manager is gone: what was delivered may be handed out once more."""
        self._before.update(self._now)
        self._now.clear()
        while len(self._before) > KEPT:
            self._before.popitem(last=False)

    def claim(self, job: Job) -> bool:
        """Whether `job` was delivered before the manager went away. True once: the caller reports it again."""
        if not self._before:
            return False
        key = (job.queue_id, job.transport, job.recipients)
        if key not in self._before:
            return False
        del self._before[key]
        return True
