"""Finding messages, wherever they are: unread in the log, in the active set, in the journal.

A walk gives pages of at most `PAGE_ROWS`, so that the mail has its turn between two of them. A message wanders while
that goes on, from the log to the active set and from there to the journal, and back from there: walking log, active set
and journal in this order meets every message that is there all the time at least once.
"""

import itertools
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from mta import envelope as envelopes
from mta.envelope import Envelope
from mta.errors import SpoolError
from mta.qmgr.core import Core
from mta.qmgr.filters import Facts
from mta.qmgr.message import Message
from mta.qmgr.progress import OFFSET_MASK, SEGMENT_SHIFT
from mta.qmgr.rows import IN_HAND, NEVER_WALL, Row, State
from mta.spool import queueid
from mta.spool.reader import MessageReader
from mta.spool.record import Record

PAGE_ROWS = 200  # messages looked at before the mail may have its turn: 3 ms, or 10 ms where they are changed

_STATES = {State.FAILED: "failed", State.HELD: "held"}


class Unread(msgspec.Struct):
    """A message that was not read in yet."""

    record: Record
    envelope: Envelope

    @property
    def location(self) -> int:
        """Where it lies, which is its queue id as well."""
        return self.record.location


Found = Message | Row | Unread


class Finder:
    """Looks through the queue of a `Core`. Everything here may read the disk, and raises `SpoolError`."""

    def __init__(self, core: Core, root: Path) -> None:
        self._core = core
        self._root = root

    # One message

    def find(self, location: int) -> Found | None:
        """A message by the id its sender was told."""
        core = self._core
        message = core.active.messages.get(location)
        if message is not None:
            return message
        for message in core.active.messages.values():
            if message.queue_id == location:  # moved
                return message
        row = core.journal.row(location) or core.journal.moved(location)
        if row is not None:
            return core.active.messages.get(row.location, row)
        if self._is_unread(location):
            try:
                return Unread(*self.read(location))
            except SpoolError:  # nothing stands there, or nothing that can be read
                return None
        return None

    def _is_unread(self, location: int) -> bool:
        core = self._core
        if not core.intake.is_unread(location):
            return False
        progress = core.progress.segments.get(location >> SEGMENT_SHIFT)
        offset = location & OFFSET_MASK
        return progress is None or (offset >= progress.position and offset not in progress.done)

    def read(self, location: int) -> tuple[Record, Envelope]:
        """What the log has of a message."""
        reader = MessageReader(self._root)
        try:
            record = reader.record(location)
            return record, envelopes.decode(record.envelope)
        except ValueError as error:
            raise SpoolError(f"{queueid.text(location)}: {error}") from error
        finally:
            reader.close()

    # All messages

    def count(self) -> int:
        """How many there are, about."""
        core = self._core
        return core.intake.unread() + len(core.active.messages) + sum(core.journal.states.values())

    def unread(self) -> Iterator[list[Unread]]:
        """What is not read in when its page comes."""
        records = self._core.intake.records()
        while batch := list(itertools.islice(records, PAGE_ROWS)):
            yield [Unread(*both) for both in batch if both is not None and self._is_unread(both[0].location)]

    def active(self) -> Iterator[list[Message]]:
        """What was in the active set at the start, and is there when its page comes."""
        messages = self._core.active.messages
        locations = list(messages)
        for start in range(0, len(locations), PAGE_ROWS):
            page = map(messages.get, locations[start : start + PAGE_ROWS])
            yield [message for message in page if message is not None]

    def rows(self) -> Iterator[list[Message | Row]]:
        """What is in the journal; messages that are in hand as what they are. May lack rows made meanwhile."""
        core = self._core
        core.commit(core.clock.monotonic())
        after = -1
        while rows := core.journal.rows(after, PAGE_ROWS):
            after = rows[-1].location
            both = [(row, core.active.messages.get(row.location)) for row in rows]
            yield [message or row for row, message in both if message is not None or row.state not in IN_HAND]


def queue_id(found: Found) -> int:
    """The id that the sender was told."""
    return found.location if isinstance(found, Unread) else found.queue_id


def state_name(row: Row) -> str:
    """The state of a row as people are told it."""
    if row.state is State.TELLING and row.due_wall == NEVER_WALL:
        return "held"
    return _STATES.get(row.state, "waiting")


def facts(found: Found) -> Facts:
    """A message as filters see it."""
    if isinstance(found, Unread):
        record, envelope = found.record, found.envelope
        return Facts(
            *("queued", envelope.sender, envelope.recipients, envelope.received_wall, record.body_bytes),
            listener=envelope.listener,
            vias=envelope.via,
        )
    if isinstance(found, Row):
        results = found.detail.recipients
        return Facts(
            state_name(found),
            found.sender,
            [recipient.address for recipient in results],
            found.received_wall,
            found.size_bytes,
            results,
            found.detail.transport,
            found.detail.listener,
            [recipient.via for recipient in results],
        )
    recipients = found.recipients
    return Facts(
        "active",
        found.sender,
        list(recipients.values()) if isinstance(recipients, dict) else recipients,
        found.received_wall,
        found.size_bytes,
        (found.unreached or {}).values(),
        found.transport,
        found.listener,
        [found.via(index) for index in _indices(recipients)] if found.vias else (),
    )


def _indices(recipients: tuple[bytes, ...] | dict[int, bytes]) -> Iterable[int]:
    return recipients if isinstance(recipients, dict) else range(len(recipients))
