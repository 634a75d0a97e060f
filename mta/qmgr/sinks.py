"""Which transports are full: those with as many messages waiting or in hand as `queue_limit` allows.

What is unread in the log does not count: nobody knows yet where it goes. A transport that takes its mail slowly, or
not at all, has it put aside in the journal before long (`mta.qmgr.shares`), where it counts. Held and failed messages
do not: they wait for an administrator, not for the transport.
"""

from collections.abc import Callable, Collection, Mapping

from mta import log

RELIEF = 0.9  # of its limit: with no more a full transport is so no longer; not by turns with each message
LOOK_S = 0.25  # between looks


class Sinks:
    """Looks at the counts now and then, and tells who is to know.

    `limits` are those of the transports that have one. `count` says how many messages one has.
    """

    def __init__(self, limits: Mapping[str, int], count: Callable[[str], int]) -> None:
        self.limits = limits
        self.full: set[str] = set()
        self._count = count
        self._publish: Callable[[Collection[str]], None] = _nobody
        self._is_known: Callable[[], bool] = _true
        self._look_at = 0.0

    def tell(self, publish: Callable[[Collection[str]], None], is_known: Callable[[], bool], now: float) -> None:
        """From now on somebody is to know; what is full now is published at once.

        `publish` takes the names (`mta.sinks_file.Writer.write`), `is_known` says whether what it was given stands.
        """
        self.look(now)
        self._publish, self._is_known = publish, is_known
        publish(self.full)

    def look(self, now: float) -> None:
        """See who has become full, and who is so no more; once in `LOOK_S` at most (`now` is monotonic, seconds)."""
        if now < self._look_at:
            return
        self._look_at = now + LOOK_S
        before = set(self.full)
        for name, limit in self.limits.items():
            count = self._count(name)
            if name not in self.full and count >= limit:
                self.full.add(name)
                log.note("sink_full", transport=name, messages=count, limit=limit)
            elif name in self.full and count <= int(limit * RELIEF):
                self.full.discard(name)
                log.note("sink_relieved", transport=name, messages=count, limit=limit)
        if self.full != before or not self._is_known():
            self._publish(self.full)


def _nobody(_names: Collection[str]) -> None:
    return


def _true() -> bool:
    return True
