"""The active set: the messages that the manager has in hand, bounded in number and in recipients.

A message comes in from the log (`admit`) or from the journal (`load`), becomes one job or several, and leaves when the
last outcome is there: for good, or into the journal to wait for its next attempt. One that is delivered at the first
attempt touches nothing but memory and a number in the journal's next batch. Somebody may want it back before that
(`recall`): then what is in flight ends, and nothing more is handed out.
"""

import itertools
import random
from collections.abc import Collection, Iterable

from mta import log
from mta.config import Queue
from mta.drain import PEER
from mta.envelope import COPY, Envelope, is_copy
from mta.ipc import DEFERRED, DELIVERED, RECIPIENTS_PER_JOB, Job, Outcome, Result
from mta.qmgr.clock import Clock
from mta.qmgr.ending import Ending
from mta.qmgr.journal import Journal
from mta.qmgr.message import OVER, Aim, Message, aim_of
from mta.qmgr.progress import OFFSET_MASK, Progress, SegmentProgress
from mta.qmgr.rows import Row, State
from mta.qmgr.scheduler import Answer, Scheduler
from mta.routing import Router
from mta.spool import queueid
from mta.spool.record import Record

RECIPIENTS_PER_MESSAGE = 5  # the set holds at most this many times its messages: one with 1000 costs 100 KB
ASIDE = "4.4.5", "put aside: its destination is slow, and others go first"  # RFC 3463 section 3.5: congestion
ASIDE_S = 3600.0  # mail that was put aside is tried again after so long, or up to twice that, if not before
NO_ROUTE = "no route for this recipient"
_FIRST = (0,)


class ActiveSet:
    """The messages in hand. Nothing here waits or does I/O; journal changes gather in its batch."""

    def __init__(
        self,
        settings: Queue,
        router: Router,
        scheduler: Scheduler,
        journal: Journal,
        progress: Progress,
        clock: Clock,
        rng: random.Random,
        *,
        tells: bool,
    ) -> None:
        """`tells`: senders are told of failures and delays (`mta.qmgr.bounce`)."""
        self.messages: dict[int, Message] = {}
        self.recipients = 0  # of all messages
        self._settings = settings
        self._router = router
        self._scheduler = scheduler
        self._journal = journal
        self._progress = progress
        self._clock = clock
        self._rng = rng
        self._tells = tells
        self._ending = Ending(settings, journal, progress, clock, rng, tells=tells)
        self.counts = self._ending.counts
        self._numbers = itertools.count(1)

    def room(self) -> int:
        """How many more messages may come in."""
        return 0 if self.is_full() else self._settings.active - len(self.messages)

    def is_full(self) -> bool:
        """Whether no more messages may come in."""
        limit = self._settings.active
        return len(self.messages) >= limit or self.recipients >= RECIPIENTS_PER_MESSAGE * limit

    # In

    def admit(self, record: Record, envelope: Envelope, segment: SegmentProgress) -> bool:
        """Take a message that was read from the log; returns whether there is room for more recipients."""
        location = record.location
        recipients = envelope.recipients
        message = self.messages[location] = Message(
            location,
            location,
            segment,
            envelope.sender,
            recipients,
            envelope.received_wall,
            envelope.session,
            record.body_bytes,
            record.body_file,
            listener=envelope.listener,
            vias=envelope.via,
        )
        if envelope.dsn is not None:
            message.success = self.asks_success(envelope)
        segment.open[location & OFFSET_MASK] = None
        if len(recipients) == 1 and not envelope.via:  # nearly all mail
            self.recipients += 1
            transport = self._router.transport(recipients[0], message.sender, message.listener)
            if transport is not None:
                message.jobs = 1
                job = Job(next(self._numbers), location, location, transport, _FIRST, 1)
                self._scheduler.add(job, self._scheduler.destination(transport, recipients[0]))
                return True
        else:
            self.recipients += len(recipients)
        self._dispatch(message, range(len(recipients)))
        return not self.is_full()

    def asks_success(self, envelope: Envelope) -> bool:
        """Whether a sender wants to hear of success, and is told (RFC 3461 section 4.1)."""
        return self._tells and envelope.dsn is not None and any("SUCCESS" in words for words in envelope.dsn.notify)

    def load(self, row: Row) -> None:
        """Take a message whose time has come from the journal."""
        message = self._take_row(row)
        message.aim = aim_of(row)
        if message.aim is Aim.RETRY:
            self._dispatch(message, [r.index for r in row.detail.recipients if r.status not in OVER])
        else:
            self._end(message)

    def expire(self, row: Row) -> None:
        """Give up a message that waits or is held as if its lifetime had ended."""
        message = self._take_row(row)
        message.aim = Aim.EXPIRE
        self._end(message)

    def bounce(self, row: Row) -> None:
        """Give up a message that waits, is held or has failed, and have its sender told."""
        message = self._take_row(row)
        message.aim = Aim.BOUNCE
        self._end(message)

    def _take_row(self, row: Row) -> Message:
        message = self.messages[row.location] = Message(
            row.location,
            row.queue_id,
            None,
            row.sender,
            {recipient.index: recipient.address for recipient in row.detail.recipients},
            row.received_wall,
            row.detail.session,
            row.size_bytes,
            row.body,
            row.attempts,
            unreached={recipient.index: recipient for recipient in row.detail.recipients},
            transport=row.detail.transport,
            listener=row.detail.listener,
            warned=row.detail.warned,
            success=row.detail.success,
            vias={recipient.index: recipient.via for recipient in row.detail.recipients if recipient.via},
        )
        self.recipients += len(message.recipients)
        self._journal.shift(row, State.ACTIVE)
        return message

    def load_due(self, limit: int) -> int:
        """Take up to `limit` messages whose time has come; returns how many. The journal has just been committed."""
        now_wall = self._clock.wall()
        rows = self._journal.due(now_wall, limit)
        for row in rows:
            self.load(row)
            if self.is_full():
                break
        if len(rows) < limit and not self.is_full():
            self._journal.look_ahead(after_wall=now_wall)
        return len(rows)

    def discard(self, record: Record, segment: SegmentProgress) -> None:
        """Let a message that was read from the log go undelivered."""
        self._progress.settle(segment, record.location & OFFSET_MASK)
        if record.body_file:
            self._journal.release_body(record.body_file)
        log.removed(queueid.text(record.location))

    def transport(self, moved_to: str, recipient: bytes, sender: bytes, listener: str, via: str = "") -> str | None:
        """Where a recipient's mail goes: where it was moved to, else `via` (as in the envelope), else by the routes.

        The first two count while there is such a transport. A copy goes nowhere without its own: the routes would lead
        it to the recipient, who has the message already. For the same reason copies are still made here when a peer
        takes over everything else (`mta.drain`).
        """
        transports = self._scheduler.transports
        if PEER in transports and not is_copy(via):
            return PEER
        if moved_to in transports:
            return moved_to
        if via:
            name = via.removeprefix(COPY)
            if name in transports:
                return name
            if is_copy(via):
                return None
        return self._router.transport(recipient, sender, listener)

    def transports(self, row: Row) -> list[str]:
        """Where the mail of each recipient of a row goes; "" is nowhere."""
        detail = row.detail
        return [
            self.transport(detail.transport, one.address, row.sender, detail.listener, one.via) or ""
            for one in detail.recipients
        ]

    def _dispatch(self, message: Message, indices: Iterable[int]) -> None:
        """Make the jobs of a message, for the recipients with these indices."""
        groups: dict[tuple[str, str], list[int]] = {}
        for index in indices:
            recipient = message.recipients[index]
            via = message.via(index)
            transport = self.transport(message.transport, recipient, message.sender, message.listener, via)
            if transport is None:
                why = f"no transport {via.removeprefix(COPY)} for this copy" if is_copy(via) else NO_ROUTE
                self._ending.note(message, Result(index, DEFERRED, "4.3.5", why))
            else:
                destination = self._scheduler.destination(transport, message.recipients[index])
                groups.setdefault((transport, destination), []).append(index)
        add = self._scheduler.add if message.segment is not None else self._scheduler.add_again
        for (transport, destination), group in groups.items():
            for start in range(0, len(group), RECIPIENTS_PER_JOB):
                part = tuple(group[start : start + RECIPIENTS_PER_JOB])
                number, attempt = next(self._numbers), message.attempts + 1
                message.jobs += 1
                add(Job(number, message.location, message.queue_id, transport, part, attempt), destination)
        if not message.jobs:
            self._end(message)

    # Outcomes

    def finish(self, worker: int, outcome: Outcome) -> None:
        """A worker is through with a job."""
        answer, now, reason = Answer.GOOD, 0.0, ""
        if outcome.destination_down:
            reason = next((result.text for result in outcome.results if result.status != DELIVERED), "no answer")
            answer, now = Answer.DOWN, self._clock.monotonic()
        elif outcome.results and not any(result.status == DELIVERED for result in outcome.results):
            answer = Answer.NONE
        job = self._scheduler.finish(worker, outcome.number, answer, now=now, reason=reason)
        if job is None:
            return
        message = self.messages[job.location]
        message.tried = True
        if outcome.results or outcome.destination_down:
            self._take_results(message, job, outcome)
        elif message.success:
            for index in job.recipients:
                self._ending.note(message, Result(index, DELIVERED, "2.0.0", ""), outcome)
        else:
            self.counts.delivered += len(job.recipients)
            if message.unreached is not None:
                for index in job.recipients:
                    message.unreached.pop(index, None)
        message.jobs -= 1
        if not message.jobs:
            self._end(message)

    def _take_results(self, message: Message, job: Job, outcome: Outcome) -> None:
        """Note each recipient's result; one without a result has not got the message, as far as we know."""
        message.retry_after_s = max(message.retry_after_s, outcome.retry_after_s)
        results = {result.recipient: result for result in outcome.results}
        for index in job.recipients:
            result = results.get(index) or Result(index, DEFERRED, "4.3.0", "the delivery worker told no result")
            self._ending.note(message, result, outcome)

    def defer_suspended(self, now: float) -> int:
        """Defer, without an attempt, what waits for a destination that is down. Returns the number of jobs."""
        refused = self._scheduler.suspended(now)
        for job, reason in refused:
            message = self.messages[job.location]
            for index in job.recipients:
                result = Result(index, DEFERRED, "4.4.1", f"delivery temporarily suspended: {reason}")
                self._ending.note(message, result)
                self._ending.log(log.deferred, message, message.recipients[index], job.transport, result)
            message.jobs -= 1
            if not message.jobs:
                self._end(message)
        return len(refused)

    def leave(self, worker: int) -> int:
        """A delivery worker is gone: others get its jobs, but for those of recalled messages. Returns how many."""
        count = self._scheduler.leave(worker)
        self._withdraw([message for message in self.messages.values() if message.aim is not Aim.RETRY])
        return count

    def put_aside(self, jobs: Iterable[Job], destination: str) -> None:
        """Let the journal hold what was cut out of the line of a destination (`mta.qmgr.parking`)."""
        now_wall = self._clock.wall()
        for job in jobs:
            message = self.messages[job.location]
            message.jobs -= 1
            message.missed(job.recipients)
            for recipient in map((message.unreached or {}).__getitem__, job.recipients):
                if not recipient.text:
                    recipient.status, recipient.code, recipient.text = DEFERRED, *ASIDE
            if message.jobs:
                continue  # the rest of it is at work elsewhere; these recipients have their turn at the next attempt
            expiry_wall = message.received_wall + self._settings.lifetime_s
            if message.tried or message.aim is not Aim.RETRY or now_wall >= expiry_wall:
                self._end(message)
                continue
            due_wall = min(now_wall + ASIDE_S * (1.0 + self._rng.random()), expiry_wall)
            row = message.row(State.WAITING, due_wall, message.attempts)
            row.destination = destination
            self._ending.put(message, row)
            self._forget(message)

    # Orders. They walk all jobs, so give them some hundred messages at once.

    def remove(self, messages: Collection[Message]) -> None:
        """Let messages go undelivered; jobs of theirs that a worker has are not called back."""
        unwanted = {message.location for message in messages}
        if unwanted:
            self._scheduler.remove(lambda job: job.location in unwanted)
        for message in messages:
            message.unreached = None
            self._end(message)
            log.removed(queueid.text(message.queue_id))

    def recall(self, messages: Collection[Message], aim: Aim, *, transport: str = "") -> None:
        """Hand out nothing more of messages; when what is in flight has ended, do with the rest as `aim` says.

        `transport` names where they go from then on; empty leaves that as it is. The journal's next batch says so, too:
        after a crash they are held, go the new way, or are given up.
        """
        wanted = {message.location: message for message in messages}
        for job in self._scheduler.flying(wanted):
            wanted[job.location].missed(job.recipients)
        for message in messages:
            before = message.row_state
            message.aim, message.transport = aim, transport or message.transport
            if message.segment is None:
                row = message.row(message.row_state, self._clock.wall(), message.attempts)
                self._journal.put(row, before=before)
        for message in self._withdraw(messages):
            self._ending.put(message, message.row(message.row_state, self._clock.wall(), message.attempts))

    def _withdraw(self, messages: Iterable[Message]) -> list[Message]:
        """Take jobs out of their lines. Messages without any left are at their end; returns the others."""
        wanted = {message.location: message for message in messages}
        for job in self._scheduler.withdraw(wanted):
            message = wanted[job.location]
            message.jobs -= 1
            message.missed(job.recipients)
        for message in wanted.values():
            if not message.jobs:
                self._end(message)
        return [message for message in wanted.values() if message.jobs]

    # Out

    def _end(self, message: Message) -> None:
        """The last outcome of a round is there."""
        self._ending.end(message)
        self._forget(message)

    def _forget(self, message: Message) -> None:
        del self.messages[message.location]
        self.recipients -= len(message.recipients)
