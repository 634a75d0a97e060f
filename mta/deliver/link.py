"""The connection to the queue manager: packets of jobs in, packets of outcomes out.

A connection is the worker's incarnation (`mta.ipc`): when it ends, works not begun are forgotten, what is on its way is
finished without anyone to tell, and a new connection is tried until the manager is back.

Outcomes are gathered. The first after a pause is sent as soon as the loop has run its course; under load a packet
goes every `PAUSE_S`, so that the manager is woken at most 125 times a second by each worker, whatever the number of
messages.
"""

import socket
from collections.abc import Callable, Mapping
from contextlib import suppress
from time import monotonic

import gevent
from gevent.event import Event
from gevent.hub import get_hub
from gevent.socket import wait_write

from mta import ipc, log
from mta.deliver.attempt import Transport, Work
from mta.deliver.recent import Recent
from mta.errors import IpcError
from mta.ipc import DEFERRED, Job, Outcome, Outcomes

PAUSE_S = 0.008  # between two packets of outcomes
BACKOFF_MIN_S = 0.02  # a manager that restarts is back within a tenth of a second
BACKOFF_MAX_S = 1.0
FINISH_S = 5.0  # what is in hand of a lost connection delays the next one by no more
SEND_S = 1.0  # the last outcomes of a worker that ends may take so long


class Connection:
    """One connection and the works that came over it; dropped whole when it ends."""

    def __init__(self, channel: socket.socket, transports: Mapping[str, Transport], recent: Recent) -> None:
        """`channel` has said hello; it becomes this object's own."""
        channel.setblocking(False)
        self._channel = channel
        self._transports = transports
        self._recent = recent
        self._outcomes: list[Outcome] = []
        self._send_due = False
        self._sent_at = 0.0
        self._closed = False
        self._in_hand = 0
        self._idle = Event()
        self._idle.set()
        loop = get_hub().loop
        self._run_callback = loop.run_callback
        self._pause = loop.timer(PAUSE_S, PAUSE_S)  # stopped when it has run once
        self._readable = loop.io(channel.fileno(), 1)
        self._writable = loop.io(channel.fileno(), 2)

    def serve(self) -> str:
        """Hand out jobs until the connection ends; returns why it did. Blocks the greenlet."""
        hub = get_hub()
        while True:
            hub.wait(self._readable)
            try:
                packet = self._channel.recv(ipc.PACKET_BYTES)
            except BlockingIOError:
                continue
            except OSError as error:
                return error.strerror or repr(error)
            if not packet:
                return "end of file"
            try:
                message = ipc.decode(packet)
            except IpcError as error:
                return str(error)
            if not isinstance(message, ipc.Jobs):
                return f"{type(message).__name__} where Jobs belong"
            self._hand_out(message.jobs)

    def finish(self, grace_s: float) -> None:
        """Forget works not begun and wait, at most `grace_s` seconds, for the others. Blocks the greenlet."""
        for transport in self._transports.values():
            transport.abandon()
        self._idle.wait(grace_s)

    def flush(self) -> None:
        """Send what outcomes there are; blocks the greenlet for at most `SEND_S` seconds."""
        deadline = monotonic() + SEND_S
        while self._outcomes and not self._closed and monotonic() < deadline:
            self._send()
            if self._outcomes:
                with suppress(TimeoutError):
                    wait_write(self._channel.fileno(), timeout=SEND_S / 10, timeout_exc=TimeoutError())

    def close(self) -> None:
        """Let go of the connection. Works still in hand end without being reported."""
        self._closed = True
        for watcher in (self._readable, self._writable, self._pause):
            watcher.stop()
            watcher.close()
        self._channel.close()
        self._outcomes.clear()
        self._recent.disconnected()

    def _hand_out(self, jobs: list[Job]) -> None:
        report = self._report
        self._in_hand += len(jobs)
        self._idle.clear()
        groups: dict[str, list[Work]] = {}
        for job in jobs:
            if self._recent.claim(job):
                report(job, Outcome(job.number))
                continue
            group = groups.get(job.transport)
            if group is None:
                group = groups[job.transport] = []
            group.append(Work(job, report))
        for name, works in groups.items():
            transport = self._transports.get(name)
            if transport is not None:
                transport.take(works)
                continue
            for work in works:  # the manager's configuration is newer than ours, or older
                work.settle_all(None, "", DEFERRED, "4.3.5", f"this worker knows no transport {name!a}")

    def _report(self, job: Job, outcome: Outcome | None) -> None:
        """A work has ended, or is forgotten (None). Neither blocks nor raises."""
        self._in_hand -= 1
        if not self._in_hand:
            self._idle.set()
        if outcome is None:
            return
        if self._closed:
            if not outcome.results:
                self._recent.delivered_late(job)
            return
        if not outcome.results:
            self._recent.delivered(job)
        self._outcomes.append(outcome)
        if not self._send_due:
            self._send_due = True
            if monotonic() - self._sent_at >= PAUSE_S:
                self._run_callback(self._send)
            else:
                self._pause.again(self._send)

    def _send(self) -> None:
        """Send all outcomes, or as many as the socket takes; the rest follows when it is writable."""
        self._pause.stop()
        self._writable.stop()
        self._send_due = False
        if self._closed:
            return
        self._sent_at = monotonic()
        packets = packed(self._outcomes)
        for sent, (packet, count) in enumerate(packets):
            try:
                self._channel.send(packet)
            except BlockingIOError:
                self._send_due = True
                self._writable.start(self._send)
                self._outcomes = self._outcomes[sum(count for _, count in packets[:sent]) :]
                return
            except OSError:  # the reader of this connection sees its end, and says so
                break
        self._outcomes.clear()


class Link:
    """Keeps a connection. `run` is a greenlet of its own."""

    def __init__(self, connect: Callable[[], socket.socket], transports: Mapping[str, Transport]) -> None:
        """`connect` gives a connection that has said hello or raises `IpcError`; a native thread calls it."""
        self._connect = connect
        self._transports = transports
        self._recent = Recent()
        self._connection: Connection | None = None

    def run(self) -> None:
        """Connect, hand out jobs, connect again; ends only by being killed."""
        backoff_s = BACKOFF_MIN_S
        while True:
            channel = get_hub().threadpool.apply(self._try)
            if isinstance(channel, IpcError):
                gevent.sleep(backoff_s)
                if backoff_s < BACKOFF_MAX_S <= 2 * backoff_s:  # once for each time it is away, and not while it starts
                    log.problem(str(channel))
                backoff_s = min(2 * backoff_s, BACKOFF_MAX_S)
                continue
            backoff_s = BACKOFF_MIN_S
            connection = self._connection = Connection(channel, self._transports, self._recent)
            reason = connection.serve()
            self._connection = None
            connection.close()
            log.problem("the queue manager is gone; connecting again", reason=reason)
            connection.finish(FINISH_S)

    def _try(self) -> socket.socket | IpcError:
        """Runs in a native thread, where gevent would print an exception that is raised."""
        try:
            return self._connect()
        except IpcError as error:
            return error

    def drain(self, grace_s: float) -> None:
        """End in good order once `run` was killed: finish what is begun, within `grace_s` seconds, and report it."""
        connection = self._connection
        if connection is not None:
            connection.finish(grace_s)
            connection.flush()
            connection.close()
        for transport in self._transports.values():
            transport.close()


def packed(outcomes: list[Outcome]) -> list[tuple[bytes, int]]:
    """Outcomes as packets that fit, each with the number of outcomes in it. One outcome always fits (`mta.ipc`)."""
    packet = ipc.encode(Outcomes(outcomes))
    if len(packet) <= ipc.PACKET_BYTES or len(outcomes) == 1:
        return [(packet, len(outcomes))]
    middle = len(outcomes) // 2
    return packed(outcomes[:middle]) + packed(outcomes[middle:])
