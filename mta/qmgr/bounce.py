"""Telling senders what became of their messages: who is told, when, and how that survives a crash.

A message that has something to tell stands in the journal in state TELLING: recipients have failed, or were delivered
and their sender asked to hear of it, or it is late. `write` makes the notifications and appends them to the manager's
own shard as ordinary messages with the null sender; when they are on disk, the rows of the originals lose what was
told, in the next commit of the journal. A crash before the shard's commit leaves the originals as they were, one
between the two commits makes notifications twice; none is lost.

Who is told:

- Nobody about a copy (`envelope.COPY`): one that has failed stays in the queue as failed.
- Nobody about a message with the null sender: such failures are dropped, or go to our postmaster (`bounces.double`);
  when that fails, they are dropped.
- Nobody about one whose sender there is no route to. They go to our postmaster in the same way, or stay in the queue as
  failed: nothing is thrown away for want of a line in the configuration.
- About a failure, unless NOTIFY of the recipient leaves FAILURE out; about a delay, if `queue.delay_warning_s` is set,
  once a message, under the same condition; about success only where NOTIFY has SUCCESS (RFC 3461 section 4.1).

Reading originals and writing blocks; a call handles at most `AT_ONCE` messages and reads about `READ_BYTES`.
"""

import random
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

import msgspec
from xxhash import xxh3_64_intdigest

from mta import envelope as envelopes
from mta import log
from mta.config import Config
from mta.dsn import report, templates
from mta.dsn.report import Action, Frame, Kind
from mta.envelope import Envelope, is_copy
from mta.errors import SpoolError
from mta.ipc import DELIVERED, FAILED
from mta.qmgr import retry
from mta.qmgr.clock import Clock
from mta.qmgr.journal import Journal
from mta.qmgr.message import OVER
from mta.qmgr.original import Original
from mta.qmgr.own import OwnShard
from mta.qmgr.progress import Progress
from mta.qmgr.rows import NEVER_WALL, Recipient, Row, State
from mta.spool import queueid
from mta.spool.reader import MessageReader

AT_ONCE = 200  # messages told of in one call
READ_BYTES = 16 * 1024 * 1024  # of originals read in one call, about
RETRY_S = 1.0  # after a failure of the shard

POSTMASTER = b"postmaster"


class Counts(msgspec.Struct):
    """Notifications since this process began: written, and failures that nobody was told of though somebody should."""

    sent: int = 0
    dropped: int = 0


class _Note(msgspec.Struct):
    """A line for the log, once it is true."""

    kind: Kind
    to: bytes
    recipients: int
    bounce: str  # the queue id of the notification; empty where there is none
    reason: str = ""  # why there is none
    is_kept: bool = False  # and what failed stays in the queue


class Bounces:
    """Writes notifications. `has_route` tells whether there is a way to an address."""

    def __init__(
        self,
        config: Config,
        journal: Journal,
        progress: Progress,
        own: OwnShard,
        has_route: Callable[[bytes], bool],
        clock: Clock,
        rng: random.Random,
    ) -> None:
        """Reads the templates; what is wrong with them is told, and those that come with the program stand in."""
        self.counts = Counts()
        self._hostname = config.hostname
        self._domain = next(iter(config.domains.local), config.hostname)
        self._postmaster = POSTMASTER + b"@" + self._domain.encode()
        self._settings = config.bounces
        self._queue = config.queue
        self._journal = journal
        self._progress = progress
        self._own = own
        self._has_route = has_route
        self._clock = clock
        self._rng = rng
        self._root = Path(config.spool)
        self._retry_at = 0.0
        self._templates = templates.built_in()
        if config.bounces.templates:
            self._templates, problems = templates.read(Path(config.bounces.templates))
            for problem in problems:
                log.problem(problem)

    def due(self, now: float) -> bool:
        """Whether `write` has something to do."""
        return self._journal.states[State.TELLING] > 0 and now >= self._retry_at

    def write(self, now: float) -> None:
        """Write notifications, wait until they are on disk, and let the journal's next batch say so.

        A failure of the shard is told, and nothing has changed then.
        """
        rows = self._journal.telling(AT_ONCE)
        now_wall = self._clock.wall()
        told: list[tuple[Row, list[_Note]]] = []
        reader = MessageReader(self._root, open_segments=4)
        read_bytes = 0
        try:
            for row in rows:
                with closing(Original(reader, row, self._settings.full_bytes)) as original:
                    told.append((row, self._tell(original, now_wall)))
                read_bytes += row.inline_bytes
                if read_bytes > READ_BYTES:
                    break
            if any(note.bounce for _, notes in told for note in notes):
                self._own.writer().commit()
        except SpoolError as error:
            log.problem(f"notifications cannot be written: {error}")
            self._retry_at = now + RETRY_S
            with suppress(SpoolError):  # what was appended must not stay behind for the next who commits
                self._own.writer().commit()
            return
        finally:
            reader.close()
        for row, notes in told:
            self._end(row, notes, now_wall)

    # One message

    def _tell(self, original: Original, now_wall: float) -> list[_Note]:
        """Append the notifications that a message calls for. Raises `SpoolError` when the shard does not take them."""
        row = original.row
        failed = [one for one in row.detail.recipients if one.status == FAILED and not is_copy(one.via)]
        notes = [self._tell_failure(original, failed, now_wall)] if failed else []
        if row.sender and self._has_route(row.sender):
            delivered = [one for one in row.detail.recipients if one.status == DELIVERED and original.asks_success(one)]
            is_late = self._is_late(row, now_wall)
            concerned = [one for one in _left(row) if is_late and not is_copy(one.via)]
            late = [one for one in concerned if original.wants(one, "DELAY")]
            if delivered:
                notes.append(self._report(original, Kind.SUCCESS, row.sender, delivered, now_wall))
            if late:
                notes.append(self._report(original, Kind.DELAY, row.sender, late, now_wall))
        return notes

    def _is_late(self, row: Row, now_wall: float) -> bool:
        """Whether a delay is to be told of."""
        return not row.detail.warned and retry.is_late(row.received_wall, now_wall, self._queue)

    def _tell_failure(self, original: Original, failed: list[Recipient], now_wall: float) -> _Note:
        """Tell of a failure whom it concerns, or nobody."""
        sender = original.row.sender
        wanted = [one for one in failed if original.wants(one, "FAILURE")]
        if not wanted:
            return _Note(Kind.FAILURE, sender, len(failed), "", "the sender does not want to hear of it")
        if sender and self._has_route(sender):
            return self._report(original, Kind.FAILURE, sender, wanted, now_wall)
        reason = "there is no route to the sender" if sender else "the message has the null sender"
        if self._settings.double == "postmaster":
            to_others = any(one.address.lower() != self._postmaster.lower() for one in wanted)
            if to_others and self._has_route(self._postmaster):
                return self._report(original, Kind.DOUBLE, self._postmaster, wanted, now_wall)
            reason += ", and no way to the postmaster"
        if sender:
            return _Note(Kind.FAILURE, sender, len(wanted), "", reason, is_kept=True)
        self.counts.dropped += 1
        return _Note(Kind.FAILURE, sender, len(wanted), "", reason)

    def _report(self, original: Original, kind: Kind, to: bytes, recipients: list[Recipient], now_wall: float) -> _Note:
        """Append one notification."""
        row = original.row
        about = report.Original(
            row.sender, queueid.text(row.queue_id), row.received_wall, original.envid, original.smtputf8
        )
        until_wall = row.received_wall + self._queue.lifetime_s
        token = f"{self._rng.getrandbits(96):024x}"
        frame = Frame(kind, to, self._hostname, self._domain, now_wall, token, until_wall)
        told = [
            report.Recipient(one.address, _action(one), one.code, one.text, original.orcpt(one), one.remote)
            for one in recipients
        ]
        content = original.returned() if kind in (Kind.FAILURE, Kind.DOUBLE) else original.header()
        made = report.write(frame, about, told, content, self._templates)
        queue_id = queueid.text(self._append(original, to, made, now_wall))
        self.counts.sent += 1
        return _Note(kind, to, len(recipients), queue_id)

    def _append(self, original: Original, to: bytes, made: report.Report, now_wall: float) -> int:
        envelope = Envelope(
            b"",
            (to,),
            now_wall,
            protocol="",
            eight_bit=made.eight_bit,
            smtputf8=made.smtputf8,
            require_tls=original.require_tls,
        )
        data = made.content
        return self._own.writer().append(
            envelopes.encode(envelope), [data], body_bytes=len(data), body_hash=xxh3_64_intdigest(data)
        )

    # Afterwards

    def _end(self, row: Row, notes: list[_Note], now_wall: float) -> None:
        """What was told of a message is on disk."""
        queue_id = queueid.text(row.queue_id)
        for note in notes:
            if note.bounce:
                log.bounced(queue_id, row.detail.session, note.bounce, note.kind.value, note.to, note.recipients)
            else:
                log.not_bounced(queue_id, row.detail.session, note.to, note.recipients, note.reason)
        left = _left(row)
        keeps = any(note.is_kept for note in notes)
        kept = [one for one in row.detail.recipients if one.status == FAILED and (keeps or is_copy(one.via))]
        if kept and not left:
            detail = msgspec.structs.replace(row.detail, recipients=kept)
            self._journal.put(msgspec.structs.replace(row, state=State.FAILED, detail=detail), before=State.TELLING)
            return
        if not left:
            self._journal.drop(row.location, before=State.TELLING)
            self._progress.drop_row(row.location, row.inline_bytes)
            if row.body:
                self._journal.release_body(row.body)
            return
        warned = row.detail.warned or self._is_late(row, now_wall)
        detail = msgspec.structs.replace(row.detail, recipients=left + kept, warned=warned)
        state = State.HELD if row.due_wall == NEVER_WALL else State.WAITING
        self._journal.put(msgspec.structs.replace(row, state=state, detail=detail), before=State.TELLING)


def _left(row: Row) -> list[Recipient]:
    """Those whose time is still to come."""
    return [one for one in row.detail.recipients if one.status not in OVER]


def _action(recipient: Recipient) -> Action:
    if recipient.status == DELIVERED:
        return Action.RELAYED if recipient.relayed else Action.DELIVERED
    return Action.FAILED if recipient.status == FAILED else Action.DELAYED
