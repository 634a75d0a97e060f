"""Emptying the queue (`mta drain`): the order as the manager takes it, and what it does by itself under one.

A manager that is to drain was started for it, when nobody took mail any more (`mta.supervisor`). At its start it makes
everything that waits due, once; after that the schedule holds. Where there is a peer, held messages are released, and
failed ones that nobody was told of are tried there, too. When nothing is left at all, it says so to the supervisor.
Damaged places in the log count as something that is left.
"""

from collections.abc import Callable, Iterator

from mta import drain, log
from mta.errors import SpoolError
from mta.qmgr.changing import Changer
from mta.qmgr.core import Core
from mta.qmgr.filters import Filter
from mta.qmgr.items import Item
from mta.qmgr.refusal import Refusal, Seen

RETRY_S = 1.0  # after a failure of the journal

_WAITING = (("retry", Filter()),)
_ALL = (*_WAITING, ("release", Filter()), ("retry", Filter(state="failed")))


def take_order(core: Core, spool: str, to: str) -> Iterator[Item | Seen]:
    """Write an order down, unless it is there already. Blocks; raises `SpoolError`."""
    order = drain.read(spool)
    if order is None or order.to != to:
        order = drain.Order(core.clock.wall(), to)
        drain.write(spool, order)
        log.note("drain", to=to)
    yield {"since_wall": order.since_wall, "to": order.to}


def drop_order(spool: str) -> Iterator[Item | Seen]:
    """Take the order away; tells whether there was one. Blocks; raises `SpoolError`."""
    was_there = drain.read(spool) is not None
    drain.forget(spool)
    if was_there:
        log.note("drain_cancelled")
    yield {"cancelled": was_there}


def is_empty(core: Core) -> bool:
    """Whether no mail is left, and the disk knows it."""
    return not (
        core.active.messages
        or any(core.journal.states.values())
        or core.pending()
        or core.intake.damage()[0]
        or core.intake.unread()
    )


class Draining:
    """What a manager that is to drain does besides."""

    def __init__(self, core: Core, changer: Changer, tell: Callable[[], None]) -> None:
        """`tell` is called once, when the queue is empty."""
        self._core = core
        self._changer = changer
        self._tell = tell
        self._has_told = False
        self._steps: Iterator[Item | Seen] = self._sweep()
        self._next_at = 0.0  # monotonic

    def step(self, now: float) -> int:
        """Go on; returns how much there was to do. Some 200 messages at most."""
        if self._has_told or now < self._next_at:
            return 0
        try:
            if next(self._steps, None) is not None:
                return 1
        except (Refusal, SpoolError) as error:
            log.problem("what waits cannot be tried yet", reason=str(error))
            self._steps = self._sweep()
            self._next_at = now + RETRY_S
            return 0
        self._core.has_swept = True
        if is_empty(self._core):
            self._has_told = True
            self._tell()
        return 0

    def _sweep(self) -> Iterator[Item | Seen]:
        """Everything that is to be tried now."""
        for verb, wanted in _ALL if drain.PEER in self._core.transports else _WAITING:
            yield from self._changer.change(verb, wanted, ids=(), is_all=True, transport="")
