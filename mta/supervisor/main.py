"""The supervisor's loop: starts, watches, replaces and stops the other processes.

Signals only write a byte into a pipe; the loop reads it and picks the sequence to go on with. A sequence is a generator
that yields wherever it has to wait for something to happen; the loop resumes it after every event.
"""

import os
import select
import signal
from collections.abc import Callable, Generator, Iterator
from contextlib import suppress
from pathlib import Path
from time import monotonic
from types import FrameType

import msgspec

from mta import __version__, drain, log
from mta.config import Config
from mta.errors import EX_OK, EX_OSERR, MtaError
from mta.supervisor import folder, generation
from mta.supervisor.child import COMMANDS, Child, Commands
from mta.supervisor.family import Family
from mta.supervisor.orders import Orders

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
START_ORDER = ("qmgr", "deliver", "server")
STOP_ORDER = ("server", "deliver", "qmgr")  # who gives work to others goes first


class Timing(msgspec.Struct, frozen=True):
    """Bounds on waiting, in seconds."""

    start: float = 300.0  # for a child to become ready
    drain: float = 75.0  # for a child to drain, before KILL; SMTP workers give their clients 60
    fast: float = 5.0  # for a child to end after INT, before KILL


USUAL_TIMING = Timing()


class Supervisor:
    """All processes of one `mta`. `load` reads and checks the configuration, at each reload again."""

    def __init__(
        self,
        load: Callable[[], Config],
        *,
        ready_fd: int | None = None,
        commands: Commands = COMMANDS,
        timing: Timing = USUAL_TIMING,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        """Take the spool and open the listening sockets. Raises `MtaError` when one of them is not to be had.

        `ready_fd` gets the line `ready` once all children are, and is closed then.
        """
        self._load = load
        self._ready_fd = ready_fd
        self._timing = timing
        self._clock = clock
        config = load()
        self._owner = folder.account(config.user)
        self._open_log(config)
        folder.prepare(Path(config.spool), self._owner)
        self._lock_fd = folder.lock(Path(config.spool))
        self._orders = Orders(config.spool, clock)
        self._loaded = config  # as the file has it, whatever is made of it
        self._generation = generation.first(drain.applied(config, self._orders.order), clock())
        generation.allow_descriptors(config)
        self._signals_fd, self._signals_end = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._poll = select.poll()
        self._poll.register(self._signals_fd, select.POLLIN)
        self._family = Family(commands, self._owner, self._poll, clock)
        self._phase = "starting"  # running, reloading, draining, stopping
        self._sequence: Iterator[None] = self._starting()
        self._deadline_at: float | None = None  # of what the sequence waits for
        self._wants_reload = False
        self._exit_code: int | None = None

    # -----------------------------------------------------------------------------------------------------------------
    # The loop

    def run(self) -> int:
        """Work until told to stop; returns the exit code. Takes over TERM, INT and HUP meanwhile."""
        previous = {number: signal.signal(number, _enqueue) for number in SIGNALS}
        wakeup_fd = signal.set_wakeup_fd(self._signals_end, warn_on_full_buffer=False)
        try:
            while self._exit_code is None:
                self._resume()
                self._family.tend()
                self._generation.certificates.tend(self._clock())
                self._mind_orders()
                log.flush()
                if self._exit_code is None:
                    for fd, _ in self._poll.poll(self._wait_ms()):
                        self._on_event(fd)
        finally:
            signal.set_wakeup_fd(wakeup_fd)
            for number, handler in previous.items():
                signal.signal(number, handler)
            self._close()
        return self._exit_code

    def _resume(self) -> None:
        """Let the sequence go on, and the one that it hands over to, if it does."""
        resumed = None
        while resumed is not self._sequence:
            resumed = self._sequence
            next(resumed, None)

    def _wait_ms(self) -> int | None:
        look_at = self._orders.due_at if self._phase == "running" else None
        wanted = (self._family.due_at(), self._generation.certificates.due_at, self._deadline_at, look_at)
        times = [at for at in wanted if at is not None]
        return max(0, int((min(times) - self._clock()) * 1000) + 1) if times else None

    def _on_event(self, fd: int) -> None:
        if fd != self._signals_fd:
            self._family.on_event(fd)
            return
        for number in os.read(fd, 512):
            self._on_signal(signal.Signals(number))

    def _on_signal(self, number: signal.Signals) -> None:
        log.note("signal", name=number.name, phase=self._phase)
        if number == signal.SIGINT:
            if self._phase == "stopping":
                self._family.kill()
            else:
                self._begin("stopping", self._stopping(EX_OK))
        elif number == signal.SIGTERM:
            if self._phase not in ("draining", "stopping"):
                self._begin("draining", self._draining())
        elif number == signal.SIGHUP and self._phase == "running":
            self._begin("reloading", self._reloading())
        elif number == signal.SIGHUP and self._phase in ("starting", "reloading"):
            self._wants_reload = True

    def _begin(self, phase: str, sequence: Iterator[None]) -> None:
        self._phase = phase
        self._sequence = sequence
        self._deadline_at = None

    def _mind_orders(self) -> None:
        """Go on with an order to drain that is new, was changed or taken back; end when it is carried out."""
        if self._phase != "running":
            return
        is_empty = drain.is_on(self._generation.config) and any(one.is_empty for one in self._family.living("qmgr"))
        if self._orders.look(at_once=is_empty):  # it may have been taken back a moment ago
            self._begin("reloading", self._renewing(self._loaded))
            self._resume()
        elif is_empty:
            log.note("drained")
            self._begin("draining", self._draining())
            self._resume()

    def _settle(self) -> None:
        """A start or a reload is over."""
        if self._wants_reload:
            self._wants_reload = False
            self._begin("reloading", self._reloading())
        else:
            self._begin("running", iter(()))

    # -----------------------------------------------------------------------------------------------------------------
    # Sequences

    def _starting(self) -> Iterator[None]:
        if os.geteuid() == 0 and self._owner is None:
            log.problem("mail is handled as root; set `user` in the configuration")
        try:
            children = self._start(START_ORDER, self._generation)
        except OSError as error:
            log.problem("the start failed", reason=str(error))
            self._begin("stopping", self._stopping(EX_OSERR))
            return
        lost = yield from self._until_ready(children)
        if lost is not None:
            log.problem("the start failed", role=lost.role, index=lost.index)
            self._begin("stopping", self._stopping(lost.exit_code))
            return
        self._family.put_in_place(children, self._generation, START_ORDER)
        self._tell_ready()
        self._settle()

    def _reloading(self) -> Iterator[None]:
        try:
            loaded = self._load()
        except MtaError as error:
            self._keep_old(str(error))
            return
        yield from self._renewing(loaded)

    def _renewing(self, loaded: Config) -> Iterator[None]:
        """Go over to a configuration, under the order to drain that there is or is not."""
        old = self._generation
        try:
            new = generation.following(drain.applied(loaded, self._orders.order), old, self._clock())
        except MtaError as error:
            self._keep_old(str(error))
            return
        newcomers: list[Child] = []
        try:
            newcomers = self._start(("deliver", "server"), new)
        except OSError as error:
            self._keep_old(str(error))
            new.retire(old)
            return
        lost = yield from self._until_ready(newcomers)
        if lost is not None:
            self._stop([child for child in newcomers if child.exit_status is None])
            new.retire(old)
            self._keep_old(f"a new process did not get ready: {lost.role}")
            return
        self._generation, self._loaded = new, loaded
        self._open_log(new.config)
        new.certificates.tell()
        is_draining = drain.is_on(new.config)
        if is_draining:
            old.listeners.shut()
        self._stop(self._family.put_in_place(newcomers, new, ("deliver", "server")))
        old.retire(new)
        while any(child.is_stopping for child in self._family.living("deliver")):
            yield  # what they have in hand is to be reported to the queue manager that gave it to them
        while is_draining and self._family.living("server"):
            yield  # they may still take mail, and the next queue manager is to say when there is none any more
        yield from self._replace_qmgr(new)
        log.note("reloaded", listen=" ".join(new.listeners.names()))
        self._tell_order()
        self._settle()

    def _replace_qmgr(self, new: generation.Generation) -> Generator[None, None, None]:
        try:
            qmgrs = self._start(("qmgr",), new)
        except OSError as error:
            log.problem("the queue manager goes on with the configuration it has", reason=str(error))
            return
        self._stop(self._family.put_in_place(qmgrs, new, ("qmgr",)))
        yield from self._until_ready(qmgrs)  # if it is lost, its slot has it started again

    def _keep_old(self, reason: str) -> None:
        for line in reason.splitlines():
            log.problem(line)
        log.problem("the configuration stays as it was")
        self._settle()

    def _draining(self) -> Iterator[None]:
        self._family.start_no_more()
        self._stop(self._family.living("server"))
        self._generation.listeners.shut()
        for role in STOP_ORDER:
            self._stop(self._family.living(role))
            while self._family.living(role):
                yield
        self._end(EX_OK)

    def _stopping(self, exit_code: int) -> Iterator[None]:
        self._family.start_no_more()
        for child in self._family.living():
            if child.ready_at is None:
                child.kill()  # it has nothing to finish, and perhaps no handler yet
            else:
                self._family.stop([child], signal.SIGINT, self._timing.fast)
        self._generation.listeners.shut()
        while self._family.living():
            yield
        self._end(exit_code)

    # -----------------------------------------------------------------------------------------------------------------
    # Steps

    def _start(self, roles: tuple[str, ...], new: generation.Generation) -> list[Child]:
        """Start all children of some roles. Raises `OSError`, and then has stopped those it started."""
        children: list[Child] = []
        try:
            for role in roles:
                for index in range(new.count(role)):
                    children.append(self._family.start(role, index, new))
        except OSError:
            self._stop(children)
            raise
        return children

    def _until_ready(self, children: list[Child]) -> Generator[None, None, Child | None]:
        """Wait for all to be ready; returns the first that died, or that had its time, instead."""
        self._deadline_at = self._clock() + self._timing.start
        while True:
            for child in children:
                if child.exit_status is not None:
                    return child
            unready = [child for child in children if child.ready_at is None]
            if not unready:
                self._deadline_at = None
                return None
            if self._clock() >= self._deadline_at:
                self._deadline_at = None
                return unready[0]
            yield

    def _stop(self, children: list[Child]) -> None:
        self._family.stop([child for child in children if not child.is_stopping], signal.SIGTERM, self._timing.drain)

    def _tell_ready(self) -> None:
        running = self._generation
        log.started(
            version=__version__,
            pid=os.getpid(),
            listen=" ".join(running.listeners.names()),
            server=running.count("server"),
            deliver=running.count("deliver"),
            spool=running.config.spool,
        )
        running.certificates.tell()
        self._tell_order()
        with suppress(OSError):  # standard error may be closed; that is no reason to stop
            os.write(2, b"mta: ready\n")
        if self._ready_fd is not None:
            with suppress(OSError):  # nor that whoever wanted to know has gone
                os.write(self._ready_fd, b"ready\n")
                os.close(self._ready_fd)
            self._ready_fd = None

    def _tell_order(self) -> None:
        how = drain.told(self._generation.config)
        if how:
            log.note("draining", to=how, cancel="mta drain --cancel")

    def _open_log(self, config: Config) -> None:
        log.setup("supervisor", 0, config.log)
        if config.log.file:
            folder.give(config.log.file, self._owner)

    def _end(self, exit_code: int) -> None:
        self._exit_code = exit_code
        log.stopped(exit=exit_code)

    def _close(self) -> None:
        self._generation.close()
        self._family.close()
        for fd in (self._signals_fd, self._signals_end, self._lock_fd):
            os.close(fd)


def run(load: Callable[[], Config], *, ready_fd: int | None = None) -> int:
    """Be the supervisor until told to stop; returns the exit code. Raises `MtaError` when it cannot even begin."""
    os.umask(0o077)  # whatever is written may be mail
    return Supervisor(load, ready_fd=ready_fd).run()


def _enqueue(number: int, frame: FrameType | None) -> None:
    """The handler of every signal: `set_wakeup_fd` has its number written to the loop's pipe already."""
