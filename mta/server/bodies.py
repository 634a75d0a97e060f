"""Where greenlets wait for the disk to take more of a large message."""

from typing import Any

from gevent import get_hub
from greenlet import getcurrent

from mta.server.stream import READ
from mta.spool.large import LargeBody
from mta.spool.writer import SpoolWriter


class BodyWaits:
    """Joins the large bodies of a `SpoolWriter` to gevent's loop. Their disk thread starts with the first of them."""

    def __init__(self, writer: SpoolWriter) -> None:
        self._writer = writer
        self._hub: Any = get_hub()
        self._watcher: Any = None
        self._waiting: dict[LargeBody, Any] = {}

    def open(self) -> LargeBody:
        """A file for another large message; raises `SpoolError`."""
        bodies = self._writer.bodies
        if self._watcher is None:
            self._watcher = self._hub.loop.io(bodies.fileno(), READ)
            self._watcher.start(self._on_news)
        return bodies.open()

    def wait(self, body: LargeBody) -> None:
        """Wait until something has happened to `body`: look at it again then. Switches greenlets."""
        self._waiting[body] = getcurrent()
        self._hub.switch()

    def _on_news(self) -> None:
        for body, _ in self._writer.bodies.collect():
            waiter = self._waiting.pop(body, None)
            if waiter is not None:
                waiter.switch()
