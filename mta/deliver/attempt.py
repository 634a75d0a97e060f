"""One attempt to deliver: a job in hand, and how it ends.

Whoever ends a job (a transport) says how each recipient fared; here this becomes one line of the log for each
recipient and one outcome for the queue manager. Nothing here blocks.
"""

from collections.abc import Callable, Iterable
from time import time
from typing import Protocol

from mta import log
from mta.drain import PEER
from mta.envelope import Envelope
from mta.errors import SpoolCorrupt, SpoolError
from mta.ipc import DEFERRED, DELIVERED, FAILED, Job, Outcome, Result
from mta.spool import queueid

DELIVERED_CODE = "2.0.0"


class Work:
    """A job in hand. Ends by exactly one call of one of the methods, in the hub's thread; none blocks."""

    __slots__ = ("_report", "job")

    def __init__(self, job: Job, report: Callable[[Job, Outcome | None], None]) -> None:
        """`report` takes the outcome, or None when the work is forgotten; it must neither block nor raise."""
        self.job = job
        self._report = report

    def delivered(self, envelope: Envelope, relay: str, text: str, *, tls: str = "", onward: str = "") -> None:
        """Every recipient has the message; for the log: who took it, what it said, and TLS version and cipher.

        `onward` as in `mta.ipc.Outcome`.
        """
        job = self.job
        queue_id = queueid.text(job.queue_id)
        delay_s = time() - envelope.received_wall
        for recipient in job.recipients:
            to = envelope.recipients[recipient]
            log.delivered(queue_id, envelope.session, to, job.transport, relay, text, delay_s, tls)
        self._report(job, Outcome(job.number, remote=relay if onward else "", onward=onward))

    def discarded(self) -> None:
        """Every recipient is done with, and nobody has looked into the message: the log names recipients by number."""
        job = self.job
        queue_id = queueid.text(job.queue_id)
        for recipient in job.recipients:
            log.delivered(queue_id, "", b"%d" % recipient, job.transport, "none", "discarded", 0.0)
        self._report(job, Outcome(job.number))

    def forget(self) -> None:
        """There is nobody left to report to, and the work was not begun."""
        self._report(self.job, None)

    def settle(
        self,
        envelope: Envelope | None,
        relay: str,
        results: Iterable[Result],
        *,
        destination_down: bool = False,
        retry_after_s: float = 0.0,
        tls: str = "",
        remote: str = "",
        onward: str = "",
    ) -> None:
        """Each recipient has a result of its own. `envelope` is None where it could not be read.

        `remote` and `onward` as in `mta.ipc.Outcome`. What a node that takes over refuses has not failed: whoever gave
        the order is to mend that, and no sender to hear of it.
        """
        job = self.job
        settled = tuple(map(_kept, results) if job.transport == PEER else results)
        if len(settled) < len(job.recipients):
            settled += self._forgotten(settled)
        told = self._log(envelope, relay, settled, tls)
        self._report(job, Outcome(job.number, told, destination_down, retry_after_s, remote, onward))

    def _forgotten(self, settled: tuple[Result, ...]) -> tuple[Result, ...]:
        """Results for those whom a transport said nothing of, a fault of ours that must not cost them their mail."""
        known = {result.recipient for result in settled}
        rest = [index for index in self.job.recipients if index not in known]
        queue_id = queueid.text(self.job.queue_id)
        log.problem("recipients were forgotten", queue=queue_id, transport=self.job.transport, count=len(rest))
        return tuple(Result(index, DEFERRED, "4.3.0", "internal error") for index in rest)

    def _log(
        self, envelope: Envelope | None, relay: str, results: tuple[Result, ...], tls: str = ""
    ) -> tuple[Result, ...]:
        """Write how each recipient fared; returns what the outcome says of it, which is nothing where all is well."""
        job = self.job
        queue_id = queueid.text(job.queue_id)
        session = envelope.session if envelope else ""
        delay_s = time() - envelope.received_wall if envelope else 0.0
        for result in results:
            recipient = envelope.recipients[result.recipient] if envelope else b"%d" % result.recipient
            if result.status == DELIVERED:
                log.delivered(queue_id, session, recipient, job.transport, relay, result.text, delay_s, tls)
            else:
                event = log.deferred if result.status == DEFERRED else log.failed
                event(queue_id, session, recipient, job.transport, relay, result.code, result.text, delay_s, tls)
        return () if all(result.status == DELIVERED for result in results) else results

    def settle_all(
        self,
        envelope: Envelope | None,
        relay: str,
        status: int,
        code: str,
        text: str,
        *,
        destination_down: bool = False,
    ) -> None:
        """Every recipient fares the same."""
        results = [Result(recipient, status, code, text) for recipient in self.job.recipients]
        self.settle(envelope, relay, results, destination_down=destination_down)

    def settle_read(
        self,
        envelope: Envelope | None,
        relay: str,
        results: list[Result],
        error: SpoolError | None,
        *,
        destination_down: bool = False,
        retry_after_s: float = 0.0,
    ) -> None:
        """As `settle`, but where `error` kept the message from being read, recipients without a result share it.

        Damage stays, so the message fails and its sender should hear of it; anything else may pass.
        """
        if error is None:
            self.settle(envelope, relay, results, destination_down=destination_down, retry_after_s=retry_after_s)
            return
        status, code, text = DEFERRED, "4.3.0", f"the stored message cannot be read: {error}"
        if isinstance(error, SpoolCorrupt):
            log.corrupt(error.path, error.offset_bytes, error.reason)
            status, code, text = FAILED, "5.3.0", "the stored message is damaged"
        settled = {result.recipient for result in results}
        rest = [Result(index, status, code, text) for index in self.job.recipients if index not in settled]
        self._report(self.job, Outcome(self.job.number, self._log(envelope, relay, (*results, *rest))))


def _kept(result: Result) -> Result:
    """A refusal by who takes over, as a delay."""
    if result.status != FAILED:
        return result
    return Result(result.recipient, DEFERRED, f"4{result.code[1:]}", f"not taken over: {result.text}")


class Transport(Protocol):
    """A way to hand messages on. All methods are called in the hub's thread and return at once."""

    def take(self, works: list[Work]) -> None:
        """Take works in hand; each ends by itself, before or after this returns."""

    def abandon(self) -> None:
        """Forget the works that are not begun."""

    def close(self) -> None:
        """Let go of connections that are idle. Nothing is in hand."""
