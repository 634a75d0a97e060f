"""An SMTP worker: the process that takes mail in.

One greenlet a connection, one spool writer, one hub. Started by the supervisor with its listening sockets; TERM (or
the supervisor's end) lets the clients finish what they are sending, INT ends at once.
"""

import gc
import signal
import socket
import sys
from itertools import cycle
from pathlib import Path
from time import monotonic, time
from typing import Any

import gevent
import gevent.event
from gevent import get_hub

from mta import fastparse, log
from mta.child import ChildContext
from mta.config import Config
from mta.dns.stub import Resolver
from mta.errors import EX_OK, MtaError
from mta.server.access import AccessBook
from mta.server.clients import ClientTable
from mta.server.commit import GroupCommit
from mta.server.complaints import Complaints
from mta.server.deadlines import Deadlines
from mta.server.directory import Directory
from mta.server.door import Door
from mta.server.listener import Crew, Listener, session_ids
from mta.server.service import Shared
from mta.server.sinks import Sinks, limited
from mta.server.stream import READ, Clock, Draining
from mta.server.tls import TlsContexts
from mta.spool.writer import SpoolWriter
from mta.tables.book import Book

DRAIN_S = 60.0
"""Time for clients to finish what they are sending once we go down; then the connections are cut (the sender tries
again). Longer than a slow sender needs for an ordinary message, shorter than an administrator's patience."""

DRAIN_SWEEP_S = 0.05
"""How often we look then who can be sent away."""

LOG_FLUSH_S = 0.2

TLS_REFRESH_S = 1.0
"""How often we look whether the supervisor has new certificates for us."""

GC_THRESHOLD = (50_000, 20, 100)
"""Sessions make few reference cycles, while a collection has to walk all of 10,000 sessions: collect seldom."""


class Worker:
    """The worker's parts, and how they end."""

    def __init__(self, context: ChildContext, config: Config) -> None:
        self._stopped = gevent.event.Event()
        root = Path(config.spool)
        writer = SpoolWriter(root, wake_fd=context.wake_fd)
        tls = TlsContexts(context.tls_fd, config.tls)
        clients = ClientTable(context.clients_fd)
        self._shared = Shared(
            root, writer, GroupCommit(writer), Clock(monotonic()), config.limits, clients=clients, tls=tls
        )
        self._deadlines = Deadlines(self._shared)
        sinks = Sinks(context.sinks_fd, config) if limited(config) else None  # else nobody asks
        book = Book(config.table, log.problem, monotonic)
        complaints = Complaints(log.problem, monotonic)
        directory = Directory(config, book, complaints, sinks)
        access = AccessBook(config, book, complaints, lambda: Resolver(config.dns, monotonic))
        doors = [
            Door(
                listen,
                config,
                directory.domains,
                has_tls=tls.available,
                recipients=directory.recipients,
                access=access.access(listen),
                make_recipients=directory.make,
            )
            for listen in config.listen
        ]
        crew = Crew()
        ids = session_ids(time(), context.index)
        self._listeners = [
            Listener(socket.socket(fileno=fd), door, self._shared, crew, ids)
            for door, fd in zip(cycle(doors), context.listen_fds, strict=False)
        ]
        loop: Any = get_hub().loop
        self._lifeline = loop.io(context.lifeline_fd, READ)
        self._lifeline.start(self._on_orphaned)
        self._flusher = loop.timer(LOG_FLUSH_S, LOG_FLUSH_S)
        self._flusher.start(log.flush)
        self._refresher = loop.timer(TLS_REFRESH_S, TLS_REFRESH_S)
        self._refresher.start(tls.refresh)

    def run(self) -> None:
        """Serve until told to stop."""
        gevent.signal_handler(signal.SIGTERM, self.drain)
        gevent.signal_handler(signal.SIGINT, self._stopped.set)
        self._stopped.wait()
        self._deadlines.stop()
        self._shared.writer.close()

    def drain(self) -> None:
        """Take no more clients, send the idle ones away, let the others finish; then stop."""
        if self._shared.is_draining:
            return
        self._shared.is_draining = True
        for listener in self._listeners:
            listener.stop()
        self._give_up_at = monotonic() + DRAIN_S
        loop: Any = get_hub().loop
        self._sweeper = loop.timer(0.0, DRAIN_SWEEP_S)
        self._sweeper.start(self._send_away)

    def _send_away(self) -> None:
        # In the hub, never in a greenlet: one that wakes another is not come back to.
        for connection in [c for c in self._shared.connections if c.is_idle()]:
            connection.stream.wake(Draining())
        if not self._shared.connections or monotonic() >= self._give_up_at:
            self._sweeper.stop()
            self._stopped.set()

    def _on_orphaned(self) -> None:
        self._lifeline.stop()
        log.problem("the supervisor is gone, this worker ends")
        for listener in self._listeners:
            listener.shut()
        self.drain()


def main() -> int:
    """Entry of `python -m mta.server.main`; returns the exit code."""
    try:
        context = ChildContext.from_environ()
        config = context.config()
        log.setup(context.role, context.index, config.log)
        worker = Worker(context, config)
    except MtaError as error:
        print(f"mta server: {error}", file=sys.stderr)
        return error.exit_code
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLD)
    log.started(parser=fastparse.IMPLEMENTATION)
    context.ready()
    worker.run()
    log.stopped()
    return EX_OK


if __name__ == "__main__":
    sys.exit(main())
