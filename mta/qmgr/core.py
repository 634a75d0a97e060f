"""The manager without its sockets: log, active set, journal and cleaner, and the order in which they work.

`take` brings messages in, `settle` writes down what became of them; in between the caller hands out jobs. The outcomes
of jobs go straight to `active`. The same object, without anybody to deliver, answers `mta queue` while no manager runs.
"""

import math
import random
from pathlib import Path

from mta import drain, log, routing
from mta.config import Config, Transport
from mta.envelope import Envelope
from mta.errors import SpoolError
from mta.qmgr import recount, shares
from mta.qmgr.active import ActiveSet
from mta.qmgr.bounce import Bounces
from mta.qmgr.cleaner import Census, Cleaner
from mta.qmgr.clock import Clock
from mta.qmgr.intake import Intake
from mta.qmgr.journal import Journal
from mta.qmgr.lines import Terms
from mta.qmgr.own import OwnShard
from mta.qmgr.pacing import INITIAL
from mta.qmgr.parking import Parking
from mta.qmgr.progress import Progress, SegmentProgress
from mta.qmgr.recount import Marker
from mta.qmgr.rows import Detail, Recipient, Row, State
from mta.qmgr.scheduler import Scheduler
from mta.qmgr.shard import Consumer
from mta.qmgr.sinks import Sinks
from mta.spool.record import Record

COMMIT_S = 0.1  # between commits while outcomes come in; what a crash can deliver twice is no older than this
COMMIT_OUTCOMES = 1000  # a batch this large is not kept waiting
LOAD_AT_ONCE = 500  # messages whose time has come, between two commits
RETRY_S = 1.0  # after a failure of the journal
LOOK_S = 1.0  # between looks for new and for abandoned shards
MOVE_S = 5.0  # between looks for segments with few survivors

CONNECTION_WINDOW = 8  # messages in flight per connection or command: one at work, others coming and going
BATCH_WINDOW = 2048  # messages in flight for transports that work in batches


def terms(transport: Transport) -> Terms:
    """What a transport allows. Those that work in batches need not find out how much they can take."""
    is_client = transport.kind in ("smtp", "lmtp", "http")
    takes_one_by_one = is_client or transport.kind == "pipe"
    return Terms(
        window=transport.concurrency * CONNECTION_WINDOW if takes_one_by_one else BATCH_WINDOW,
        initial=INITIAL if is_client else BATCH_WINDOW,
        rate=transport.rate,
        destination_rate=transport.destination_rate,
        by_domain=transport.kind in ("smtp", "lmtp") and not transport.host,  # each domain has a next hop of its own
    )


class Core:
    """Everything between the log and the jobs.

    Opening reads the journal and finds the shards; it blocks, and raises `SpoolError`. The caller holds the lock of the
    folder `qmgr` in the spool.
    """

    def __init__(self, config: Config, clock: Clock, rng: random.Random) -> None:
        root = Path(config.spool)
        self.clock = clock
        self.settings = config.queue
        self.transports = frozenset(config.transport)
        self.draining = drain.told(config)
        self.has_swept = False  # under an order to drain: all that waited was made due once
        self.journal = Journal(root / "qmgr" / "journal.db")
        self.progress = Progress(self.journal.segments())
        allowed = {name: terms(transport) for name, transport in config.transport.items()}
        self.scheduler = Scheduler(allowed, suspend_s=config.queue.retry_min_s)
        router = routing.router(config)
        self.active = ActiveSet(
            *(config.queue, router, self.scheduler, self.journal, self.progress, clock, rng), tells=config.bounces.send
        )
        self.marker = Marker(self.journal, self.active.transports, clock, recount.routes(config))
        limits = {name: one.queue_limit for name, one in config.transport.items() if one.queue_limit}
        self.sinks = Sinks(limits, self.load)
        self.parking = Parking(
            *(config.queue.active, self.scheduler, self.active, self.journal), spares_the_only_one=not limits
        )
        self._own = OwnShard(root)
        self.cleaner = Cleaner(root, self.journal, self.progress, self._own)
        self.bounces = Bounces(
            *(config, self.journal, self.progress, self._own),
            *(lambda address: router.transport(address) is not None, clock, rng),
        )
        self._census: Census | None = Census(root, self.journal.bodies())  # before the ends of the log are taken
        self._consume: Consumer = self._count_and_admit
        self.intake = Intake(root, self.progress, self.active.discard)
        self._census_ends = self.intake.ends()
        self.healthy = True  # the journal can be written
        self._commit_at = -math.inf
        self._look_at = self._move_at = clock.monotonic()
        self._restore()

    def _restore(self) -> None:
        """Bring the journal's view of segments and the spool's together."""
        for name, rows, row_bytes in self.journal.places():
            self.progress.add_rows(name, rows, row_bytes)
        present = self.intake.segments()
        for name, segment in list(self.progress.segments.items()):
            if name in present:
                segment.done = self.journal.done(name)
            elif not segment.rows:  # freed just before a crash
                self.progress.forget(segment)
                self.journal.forget(name)
            else:
                log.problem("a segment that holds waiting messages is gone", segment=f"{name:x}", messages=segment.rows)

    def close(self) -> None:
        """Close all files. What was not committed is lost."""
        self.intake.close()
        self.cleaner.close()
        self._own.close()
        self.journal.close()

    def take(self, now: float) -> int:
        """Bring in what can be read and what is due, as far as there is room; returns how much mail was moved."""
        if not self.healthy:
            return 0
        cut = self.parking.cut(now)
        room = self.active.room()
        if self.journal.due_wall <= self.clock.wall():
            room -= self.settings.active // 10  # kept for messages whose time has come
        return cut + self.intake.read(room, self._consume) + self.active.defer_suspended(now)

    def _count_and_admit(self, record: Record, envelope: Envelope, segment: SegmentProgress) -> bool:
        """As `ActiveSet.admit`, while large bodies are being counted."""
        if self._census is not None:
            self._census.seen(record)
        return self.active.admit(record, envelope, segment)

    def take_unread(self, record: Record, envelope: Envelope) -> Row:
        """Give a message that was not read in yet a row, as one that waits and is due: the log is passed over there."""
        if self._census is not None:
            self._census.seen(record)
        now_wall = self.clock.wall()
        row = Row(
            record.location,
            record.location,
            State.WAITING,
            now_wall,
            0,
            envelope.received_wall,
            envelope.sender,
            record.body_bytes,
            record.body_file,
            Detail(
                envelope.session,
                [
                    Recipient(index, address, via=envelope.via[index] if envelope.via else "")
                    for index, address in enumerate(envelope.recipients)
                ],
                success=self.active.asks_success(envelope),
                listener=envelope.listener,
            ),
        )
        self.journal.put(row, before=None)
        self.progress.add_row(row.location, row.inline_bytes)
        self.progress.settle_unread(row.location)
        return row

    def settle(self, now: float) -> int:
        """Commit, free and look around, each when it is time; returns how many waiting messages came in."""
        if self.healthy:
            self.marker.step(now)
        if now >= self._commit_at and self.healthy and self.bounces.due(now):
            self._bounce(now)
        pending = self.pending()
        if now >= self._commit_at or (pending >= COMMIT_OUTCOMES and self.healthy):
            is_due = self.journal.due_wall <= self.clock.wall() and self.active.room() > 0
            if (pending or is_due) and self.commit(now):
                loaded = self.parking.refill()
                if is_due and self.active.room() > 0:
                    loaded += self.active.load_due(min(LOAD_AT_ONCE, self.active.room()))
                if loaded or is_due:
                    return loaded
        if now >= self._look_at:
            self._look_at = now + LOOK_S
            self._look(now)
            if not self.pending():
                return self.parking.refill()
        return 0

    def _bounce(self, now: float) -> None:
        """Tell senders what is to be told; the commit that follows says so. Blocks."""
        self.bounces.write(now)
        self.intake.look()  # our own shard may be new

    def load(self, transport: str) -> int:
        """The messages that wait for a transport, are about to be given to it, or are with it."""
        return self.journal.loads.get(transport, 0) + self.scheduler.load(transport)

    def pending(self) -> int:
        """Changes that the next commit would write."""
        return self.journal.pending() + self.progress.pending()

    def commit(self, now: float) -> bool:
        """Write down what has become of messages, and free what is free then; whether that worked. Blocks."""
        batch = self.progress.batch()
        self._commit_at = now + COMMIT_S
        try:
            self.journal.commit(batch)
        except SpoolError as error:
            self._commit_at = now + RETRY_S
            if self.healthy:
                log.problem(f"the journal cannot be written: {error}")
            self.healthy = False
            return False
        self.progress.committed(batch)
        self.healthy = True
        if self.sinks.limits:
            self.sinks.look(now)
        self.cleaner.free()
        return True

    def _look(self, now: float) -> None:
        """What is to be done once a second."""
        if self.sinks.limits:
            self.sinks.look(now)
        self.intake.look()
        if self._census is not None and self.intake.has_passed(self._census_ends):
            census, self._census = self._census, None
            self._consume = self.active.admit
            try:
                census.finish(self.cleaner.reserve)
            except SpoolError as error:
                log.problem(str(error))
        if not self.pending():  # what the batch says is not true before it is on disk
            self.cleaner.free()
        if now >= self._move_at and self.healthy:
            self._move_at = now + MOVE_S
            if self.cleaner.move_survivors():
                self._move_at = now  # there may be more
                self.commit(now)

    def timeout_s(self, now: float) -> float:
        """How long there is nothing to do if nothing happens."""
        wait = self._look_at - now
        if self.pending() or self.bounces.due(now):
            wait = min(wait, self._commit_at - now)
        if self.active.room() > 0:
            wait = min(wait, max(self.journal.due_wall - self.clock.wall(), self._commit_at - now))
        if self.healthy:
            wait = min(wait, self.marker.wait_s(now))
        if self.parking.is_watching():
            wait = min(wait, shares.LOOK_S)
        wake_at = self.scheduler.next_at()
        if wake_at is not None and self.healthy:
            wait = min(wait, wake_at - now)
        return max(0.0, wait)
