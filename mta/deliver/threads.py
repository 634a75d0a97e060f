"""Transports whose work blocks: native threads, each with a deliverer of its own, that take works in batches.

Works wait in memory until a thread is free. A batch is what has come in meanwhile, so a lone work waits for nobody.
"""

import traceback
from collections import deque
from collections.abc import Sequence
from typing import NamedTuple, Protocol

from gevent.event import AsyncResult
from gevent.threadpool import ThreadPool

from mta import log
from mta.deliver.attempt import Work
from mta.envelope import Envelope
from mta.errors import SpoolError
from mta.ipc import DEFERRED, Result


class Ended(NamedTuple):
    """How one work fared: a result for each recipient; where some have none, `error` says why it could not be read."""

    work: Work
    envelope: Envelope | None
    results: list[Result]
    error: SpoolError | None
    destination_down: bool = False
    retry_after_s: float = 0.0


class Deliverer(Protocol):
    """What a thread does with a batch."""

    def deliver(self, works: list[Work]) -> list[Ended]:
        """Deliver every work to all its recipients; returns how each fared. Blocks; runs in a native thread."""

    def stop(self) -> None:
        """The process ends: what is on its way has had its time. Called in the hub's thread; does not block."""


class Threads:
    """The transport around deliverers."""

    def __init__(self, deliverers: Sequence[Deliverer], relay: str, batch_recipients: int) -> None:
        """One native thread runs for each deliverer; `relay` is what the log says of who took a message.

        A batch holds works for `batch_recipients` at most, or one work.
        """
        self._deliverers = deliverers
        self._free = list(deliverers)
        self._relay = relay
        self._batch_recipients = batch_recipients
        self._pool = ThreadPool(len(deliverers))
        self._waiting: deque[Work] = deque()

    def take(self, works: list[Work]) -> None:
        """Queue works; starts a thread where one is free."""
        self._waiting.extend(works)
        while self._waiting and self._free:
            self._start(self._free.pop())

    def abandon(self) -> None:
        """Forget the works no thread has begun."""
        while self._waiting:
            self._waiting.popleft().forget()

    def close(self) -> None:
        """Stop what is still on its way."""
        for deliverer in self._deliverers:
            deliverer.stop()

    def _start(self, deliverer: Deliverer) -> None:
        waiting = self._waiting
        batch: list[Work] = []
        room = self._batch_recipients
        while waiting and (len(waiting[0].job.recipients) <= room or not batch):
            work = waiting.popleft()
            batch.append(work)
            room -= len(work.job.recipients)

        def ended(result: "AsyncResult[list[Ended]]") -> None:
            if self._waiting:
                self._start(deliverer)
            else:
                self._free.append(deliverer)
            if result.exception is not None:  # a fault of ours, which a newer version may not have
                log.problem("a batch of deliveries failed", error="".join(traceback.format_exception(result.exception)))
                for work in batch:
                    work.settle_all(None, "", DEFERRED, "4.3.0", "internal error")
                return
            for one in result.get() or ():
                one.work.settle_read(
                    one.envelope,
                    self._relay,
                    one.results,
                    one.error,
                    destination_down=one.destination_down,
                    retry_after_s=one.retry_after_s,
                )

        self._pool.spawn(deliverer.deliver, batch).rawlink(ended)
