"""How a round of a message ends: what became of its recipients, and what the journal has to say of it.

The rows that come of it wait for another attempt, are held or have failed, or are to be told of (`mta.qmgr.bounce`); a
message that has reached everybody leaves nothing behind. Nothing here waits or does I/O; changes gather in the
journal's batch.
"""

import random
from collections.abc import Callable

from mta import log
from mta.config import Queue
from mta.envelope import is_copy
from mta.ipc import DEFERRED, DELIVERED, FAILED, PASSED, RELAYED, Outcome, Result
from mta.qmgr import retry
from mta.qmgr.clock import Clock
from mta.qmgr.journal import Journal
from mta.qmgr.message import OVER, Aim, Counts, Message
from mta.qmgr.progress import OFFSET_MASK, Progress
from mta.qmgr.rows import Recipient, Row, State
from mta.spool import queueid

_REASONS = {Aim.EXPIRE: "expired by the administrator", Aim.BOUNCE: "returned by the administrator"}


class Ending:
    """Ends messages. `counts` are the recipients that have met their end, or not yet."""

    def __init__(
        self,
        settings: Queue,
        journal: Journal,
        progress: Progress,
        clock: Clock,
        rng: random.Random,
        *,
        tells: bool,
    ) -> None:
        """`tells`: senders are told of failures and delays (`mta.qmgr.bounce`)."""
        self.counts = Counts()
        self._settings = settings
        self._journal = journal
        self._progress = progress
        self._clock = clock
        self._rng = rng
        self._tells = tells

    def note(self, message: Message, result: Result, outcome: Outcome | None = None) -> None:
        """Note what became of a recipient; `outcome` is that of the job it was in, where a worker has tried."""
        index = result.recipient
        remote, onward = (outcome.remote, outcome.onward) if outcome is not None else ("", "")
        if message.unreached is None:
            message.unreached = {}
        if result.status == DELIVERED:
            self.counts.delivered += 1
            message.unreached.pop(index, None)
            if message.success and onward != PASSED and not is_copy(message.via(index)):  # else the next hop tells
                message.unreached[index] = Recipient(
                    *(index, message.recipients[index], DELIVERED, result.code, result.text, remote),
                    relayed=onward == RELAYED,
                    via=message.via(index),
                )
            return
        status = FAILED if result.status == FAILED else DEFERRED
        if status == FAILED:
            self.counts.failed += 1
        else:
            self.counts.deferred += 1
        message.unreached[index] = Recipient(
            *(index, message.recipients[index], status, result.code, result.text, remote), via=message.via(index)
        )

    def log(
        self, event: Callable[..., None], message: Message, recipient: bytes, transport: str, result: Result
    ) -> None:
        """Log what befell a recipient without a delivery worker having a part in it."""
        delay_s = self._clock.wall() - message.received_wall
        queue_id = queueid.text(message.queue_id)
        event(queue_id, message.session, recipient, transport, "", result.code, result.text, delay_s)

    def end(self, message: Message) -> None:
        """The last outcome of a round is there."""
        if message.unreached:
            self._keep(message, message.unreached)
        else:
            self._close(message)

    def _close(self, message: Message) -> None:
        """A message is done with: nothing of it is needed any more."""
        if message.segment is not None:
            self._progress.settle(message.segment, message.location & OFFSET_MASK)
        else:
            self._journal.drop(message.location, before=message.row_state)
            self._progress.drop_row(message.location, 0 if message.body else message.size_bytes)
        if message.body:
            self._journal.release_body(message.body)

    def _keep(self, message: Message, unreached: dict[int, Recipient]) -> None:
        """Put a message into the journal: to wait, or as failed."""
        now_wall = self._clock.wall()
        is_old = retry.is_expired(message.received_wall, now_wall, self._settings)
        if message.aim in (Aim.EXPIRE, Aim.BOUNCE) or (is_old and message.aim is not Aim.HOLD):
            self._expire(message, unreached)
        attempts = message.attempts + 1 if message.tried else message.attempts
        state, due_wall = State.FAILED, now_wall
        if any(recipient.status not in OVER for recipient in unreached.values()):
            state = State.HELD if message.aim is Aim.HOLD else State.WAITING
            if message.aim is Aim.RETRY:
                least_s = message.retry_after_s if message.tried else now_wall - message.received_wall
                due_wall += retry.wait_s(attempts, self._settings, self._rng, asked_s=least_s)
        if self._tells and state is not State.HELD and self._has_news(message, unreached, now_wall):
            state = State.TELLING
        if message.aim is Aim.BOUNCE:
            state = State.TELLING
        self.put(message, message.row(state, due_wall, attempts))

    def _has_news(self, message: Message, unreached: dict[int, Recipient], now_wall: float) -> bool:
        """Whether there is something to tell the sender. What becomes of copies is nothing to them."""
        concerned = [recipient for recipient in unreached.values() if not is_copy(recipient.via)]
        is_late = not message.warned and retry.is_late(message.received_wall, now_wall, self._settings)
        return bool(concerned) and (is_late or any(recipient.status in OVER for recipient in concerned))

    def put(self, message: Message, row: Row) -> None:
        """Write a message's row; from then on the log is not needed for it, but as the place where it lies."""
        if message.segment is None:
            self._journal.put(row, before=message.row_state)
            return
        self._journal.put(row, before=None)
        self._progress.add_row(message.location, row.inline_bytes)
        self._progress.settle(message.segment, message.location & OFFSET_MASK)
        message.segment = None

    def _expire(self, message: Message, unreached: dict[int, Recipient]) -> None:
        """The message is too old, or somebody says so: whoever was deferred now has failed."""
        why = _REASONS.get(message.aim, "delivery time expired")
        for recipient in unreached.values():
            if recipient.status not in OVER:
                text = f"{why}; last: {recipient.code} {recipient.text}" if recipient.text else why
                result = Result(recipient.index, FAILED, "5.4.7", text)  # RFC 3463 section 3.5
                recipient.status, recipient.code, recipient.text, recipient.remote = FAILED, result.code, text, ""
                self.counts.failed += 1
                self.log(log.failed, message, recipient.address, "", result)
