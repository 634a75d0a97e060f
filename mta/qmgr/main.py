"""The queue manager's process: one loop over eventfd, sockets, signals and the lifeline.

A turn does everything there is to do. While mail is moving, turns are spaced by `TURN_S`, or by `BUSY_TURN_S` where
much of it moves, so that under load a hundred wake-ups a second serve any number of messages; a message that comes
alone is handled at once. A turn costs what some ten messages cost, most of it in caches gone cold; the wider spacing
buys back a good part of that (a quarter at 10 ms and 4,000 messages a second) for a delay that nobody sees under load.
"""

import enum
import gc
import os
import random
import selectors
import signal
import socket
import sys
import time
from pathlib import Path

from mta import drain, ipc, log, sinks_file
from mta.child import ChildContext
from mta.config import Config
from mta.errors import EX_OK, MtaError
from mta.qmgr import store
from mta.qmgr.changing import Changer
from mta.qmgr.clock import Clock, SystemClock
from mta.qmgr.control import Control
from mta.qmgr.core import Core
from mta.qmgr.draining import Draining
from mta.qmgr.finding import Finder
from mta.qmgr.peers import Peers

TURN_S = 0.004  # between the beginnings of two turns that moved mail
BUSY_TURN_S = 0.016  # where the first moved at least BUSY_MOVES; small windows, which need quick turns, do not do that
BUSY_MOVES = 32  # records read, jobs handed out and outcomes taken
DRAIN_S = 4.0  # for the outcomes of what is in flight, once no more is handed out
LOCK_POLL_S = 0.05  # between attempts to get the lock from a predecessor that is ending


class Ending(enum.Enum):
    """Whether the process is to end, and how."""

    NO = enum.auto()
    DRAIN = enum.auto()  # wait for outcomes
    NOW = enum.auto()


class Signals:
    """Signals, the lifeline and the wake-up call, as things to select on."""

    def __init__(self, context: ChildContext, selector: selectors.BaseSelector) -> None:
        self.ending = Ending.NO
        self.woken = False  # some worker has committed messages since this was last unset
        self._wake_fd = context.wake_fd
        self._lifeline_fd = context.lifeline_fd
        self._selector = selector
        self._reader, self._writer = socket.socketpair()
        self._reader.setblocking(False)
        self._writer.setblocking(False)
        signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, _do_nothing)  # the wake-up pipe tells
        selector.register(self._reader, selectors.EVENT_READ, self._take_signals)
        selector.register(self._lifeline_fd, selectors.EVENT_READ, self._take_lifeline)

    def watch_commits(self) -> None:
        """From now on, wake up when an SMTP worker has committed messages. The call is for one reader only."""
        os.set_blocking(self._wake_fd, False)
        self._selector.register(self._wake_fd, selectors.EVENT_READ, self._take_wake)

    def _take_signals(self, _mask: int) -> int:
        for number in self._reader.recv(64):
            if number == signal.SIGINT:
                self.ending = Ending.NOW
            elif number == signal.SIGTERM and self.ending is Ending.NO:
                self.ending = Ending.DRAIN
        return 0

    def _take_lifeline(self, _mask: int) -> int:
        """The supervisor is gone: nothing is ever written there."""
        self._selector.unregister(self._lifeline_fd)
        if self.ending is Ending.NO:
            self.ending = Ending.DRAIN
        return 0

    def _take_wake(self, _mask: int) -> int:
        os.read(self._wake_fd, 8)
        self.woken = True
        return 0


def _do_nothing(_number: int, _frame: object) -> None:
    return


class Manager:
    """The loop. `run` returns when the process is to end."""

    def __init__(
        self,
        core: Core,
        peers: Peers,
        signals: Signals,
        selector: selectors.BaseSelector,
        draining: Draining | None = None,
    ) -> None:
        """`draining` is there where the queue is to be emptied."""
        self._draining = draining
        self._core = core
        self._peers = peers
        self._signals = signals
        self._selector = selector
        self._clock: Clock = core.clock

    def run(self) -> None:
        """Work until a signal or the end of the supervisor, then finish what is in flight."""
        timeout_s = 0.0
        while self._signals.ending is Ending.NO:
            timeout_s = self.turn(timeout_s)
        deadline_at = self._clock.monotonic() + DRAIN_S
        while self._signals.ending is Ending.DRAIN and self._core.scheduler.in_flight():
            left_s = deadline_at - self._clock.monotonic()
            if left_s <= 0:
                break
            self._wait(left_s)
        if self._core.pending():
            self._core.commit(self._clock.monotonic())

    def turn(self, timeout_s: float) -> float:
        """Wait up to `timeout_s` for something to happen, then do all there is; returns the next timeout in seconds."""
        core = self._core
        moved = self._wait(timeout_s)
        if self._signals.ending is not Ending.NO:
            return 0.0
        begun_at = self._clock.monotonic()
        moved += core.take(begun_at)
        if self._signals.woken and not moved:  # it may be a shard that was not there before
            core.intake.look()
            moved = core.take(begun_at)
        self._signals.woken = False
        if core.healthy:
            moved += self._peers.send(core.scheduler.assign(begun_at))
        moved += core.settle(self._clock.monotonic())
        if self._draining is not None:
            moved += self._draining.step(self._clock.monotonic())
        if not moved:
            log.flush()
            return core.timeout_s(self._clock.monotonic())
        turn_s = BUSY_TURN_S if moved >= BUSY_MOVES else TURN_S
        pause_s = begun_at + turn_s - self._clock.monotonic()
        if pause_s > 0:
            time.sleep(pause_s)
        return 0.0

    def _wait(self, timeout_s: float) -> int:
        """Serve whatever is ready within `timeout_s`; returns how much mail that moved."""
        return sum(key.data(mask) for key, mask in self._selector.select(timeout_s))


def _await_lock(config: Config, signals: Signals, selector: selectors.BaseSelector) -> int | None:
    """The lock of the queue, once a predecessor has let go of it; `None` when the process is to end before that."""
    while signals.ending is Ending.NO:
        lock = store.try_lock(config)
        if lock is not None:
            return lock
        for key, mask in selector.select(LOCK_POLL_S):
            key.data(mask)
    return None


def run(context: ChildContext) -> int:
    """The whole life of the process; returns its exit code. Raises `MtaError`."""
    config = context.config()
    log.setup(context.role, context.index, config.log)
    with selectors.DefaultSelector() as selector:
        signals = Signals(context, selector)
        lock = _await_lock(config, signals, selector)
        if lock is None:
            return EX_OK
        root = Path(config.spool)
        core = Core(drain.for_queue(config), SystemClock(), random.Random())
        listener = ipc.listen(str(store.folder(config)))
        control = Control(core, root)
        peers = Peers(listener, selector, core.scheduler, core.active, control.answer)
        if context.sinks_fd >= 0:
            told = sinks_file.Writer(context.sinks_fd)
            core.sinks.tell(told.write, told.is_current, core.clock.monotonic())
        signals.watch_commits()
        gc.freeze()  # what is there now stays: no need to walk it again and again
        context.ready()
        log.started(unread=core.intake.unread(), waiting=sum(core.journal.states.values()))
        draining = Draining(core, Changer(core, Finder(core, root)), context.empty) if drain.is_on(config) else None
        Manager(core, peers, signals, selector, draining).run()
        peers.close()
        core.close()
        os.close(lock)
    log.stopped()
    return EX_OK


def main() -> int:
    """Entry of `python -m mta.qmgr.main`."""
    try:
        return run(ChildContext.from_environ())
    except MtaError as error:
        log.problem(str(error))
        log.flush()
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
