"""All children: who lives, who takes whose place, who is started again, who is killed for not stopping."""

import os
import select
import signal
from collections.abc import Callable, Collection, Iterable

from mta import clients_file, log, sinks_file
from mta.child import ChildContext
from mta.supervisor.backoff import Backoff
from mta.supervisor.child import Child, Commands
from mta.supervisor.folder import Account
from mta.supervisor.generation import Generation


class Slot:
    """A place for one child, which is filled again when the child dies."""

    __slots__ = ("backoff", "child", "generation", "restart_at")

    def __init__(self, child: Child, generation: Generation) -> None:
        self.child: Child | None = child
        self.generation = generation
        self.backoff = Backoff()
        self.restart_at: float | None = None


class Family:
    """The children of one supervisor. Nothing here blocks, but for the moment that starting a process takes."""

    def __init__(
        self, commands: Commands, owner: Account | None, poll: select.poll, clock: Callable[[], float]
    ) -> None:
        """`commands` says how each role is started, `owner` as whom; descriptors to watch are put into `poll`."""
        self._commands = commands
        self._owner = owner
        self._poll = poll
        self._clock = clock
        self._wake_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._clients_fd = clients_file.create()
        self._sinks_fd = sinks_file.create()
        self._lifeline_fd, self._lifeline_end = os.pipe()
        self._watched: dict[int, Child] = {}  # by pidfd and by status descriptor
        self._living: list[Child] = []
        self._slots: dict[tuple[str, int], Slot] = {}
        self._is_ending = False

    def living(self, role: str = "") -> list[Child]:
        """The children that run, of one role or all."""
        return [child for child in self._living if not role or child.role == role]

    def start(self, role: str, index: int, generation: Generation) -> Child:
        """Start a child; it has no slot yet. Raises `OSError` when there can be no further process just now."""
        status_fd, status_end = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        context = ChildContext(
            role=role,
            index=index,
            config_fd=generation.config_fd,
            lifeline_fd=self._lifeline_fd,
            status_fd=status_end,
            wake_fd=self._wake_fd,
            listen_fds=generation.listeners.descriptors(index) if role == "server" else [],
            tls_fd=generation.certificates.fd if role == "server" else -1,
            clients_fd=self._clients_fd if role == "server" else -1,
            sinks_fd=self._sinks_fd if role in ("server", "qmgr") else -1,
        )
        try:
            child = Child(self._commands[role], context, status_fd, self._owner, self._clock())
        except OSError:
            os.close(status_fd)
            raise
        finally:
            os.close(status_end)
        for fd in (child.pidfd, child.status_fd):
            self._watched[fd] = child
            self._poll.register(fd, select.POLLIN)
        self._living.append(child)
        return child

    def put_in_place(self, newcomers: Iterable[Child], generation: Generation, roles: Collection[str]) -> list[Child]:
        """Give newcomers the slots of their roles; returns those they supersede, slots too many included."""
        taken = {(child.role, child.index): child for child in newcomers}
        for key in [key for key in self._slots if key[0] in roles]:
            del self._slots[key]
        for key, child in taken.items():
            self._slots[key] = Slot(child, generation)
        return [child for child in self._living if child.role in roles and child not in taken.values()]

    def stop(self, children: Iterable[Child], number: signal.Signals, patience_s: float) -> None:
        """Tell children to stop; those still there after `patience_s` are killed."""
        for child in children:
            child.stop(number, self._clock() + patience_s)

    def kill(self) -> None:
        """End all at once."""
        for child in self._living:
            child.kill()

    def start_no_more(self) -> None:
        """From now on the dead stay dead, and whoever ends in good order was not asked too early, whoever asked."""
        self._slots.clear()
        self._is_ending = True

    def on_event(self, fd: int) -> None:
        """`fd` is ready: a child says something, or is gone."""
        child = self._watched.get(fd)
        if child is None:
            return  # closed by an earlier event of the same turn
        if fd == child.pidfd:
            self._bury(child)
        elif not child.take_status(self._clock()):
            self._forget(fd)

    def tend(self) -> None:
        """Do what is due: restarts, and KILL for those that had their time to stop."""
        now = self._clock()
        for child in self._living:
            if child.kill_at is not None and child.kill_at <= now:
                log.problem("did not stop in time, killed", role=child.role, index=child.index, pid=child.pid)
                child.kill()
        for (role, index), slot in self._slots.items():
            if slot.restart_at is not None and slot.restart_at <= now:
                try:
                    slot.child = self.start(role, index, slot.generation)
                    slot.restart_at = None
                except OSError as error:
                    slot.restart_at = now + slot.backoff.wait_s(0)
                    log.problem("a process cannot be started", role=role, index=index, reason=str(error))

    def due_at(self) -> float | None:
        """When `tend` has something to do next."""
        times = [child.kill_at for child in self._living if child.kill_at is not None]
        times += [slot.restart_at for slot in self._slots.values() if slot.restart_at is not None]
        return min(times, default=None)

    def close(self) -> None:
        """Close our descriptors; children that still run see the end of the lifeline."""
        for fd in (self._wake_fd, self._clients_fd, self._sinks_fd, self._lifeline_fd, self._lifeline_end):
            os.close(fd)

    def _bury(self, child: Child) -> None:
        fds = (child.pidfd, child.status_fd)
        if not child.reap():
            return
        for fd in fds:
            self._forget(fd)
        self._living.remove(child)
        if child.role == "qmgr":  # its successor says again what is full, if one is at work already
            sinks_file.Writer(self._sinks_fd).write(())
        about: dict[str, object] = {"role": child.role, "index": child.index, "pid": child.pid, "how": how(child)}
        slot = self._slots.get((child.role, child.index))
        if child.is_stopping or (self._is_ending and child.exit_status == 0):
            log.note("ended", **about)
        elif slot is None or slot.child is not child:
            log.problem("a new process died", **about)
        else:
            now = self._clock()
            wait_s = slot.backoff.wait_s(child.worked_s(now))
            slot.restart_at = now + wait_s
            log.problem("a process died", **about, restart_s=wait_s)
        if slot is not None and slot.child is child:
            slot.child = None

    def _forget(self, fd: int) -> None:
        if self._watched.pop(fd, None) is not None:
            self._poll.unregister(fd)


def how(child: Child) -> str:
    """How a child ended, for people."""
    status = child.exit_status
    if status is None or status >= 0:
        return f"exit code {status}"
    return f"signal {signal.Signals(-status).name}"
