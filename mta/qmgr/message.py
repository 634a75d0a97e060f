"""A message in the manager's hands: plain data, and how it becomes a row of the journal."""

import enum
from collections.abc import Iterable
from typing import Literal

import msgspec

from mta.ipc import DELIVERED, FAILED
from mta.qmgr.progress import SegmentProgress
from mta.qmgr.rows import IN_HAND, Detail, Recipient, Row, State

OVER = (DELIVERED, FAILED)


class Aim(enum.Enum):
    """What becomes of a message when its jobs have ended and some recipients have not got it."""

    RETRY = enum.auto()  # it waits for its next attempt, or has expired
    HOLD = enum.auto()
    REQUEUE = enum.auto()  # it waits, and is due at once
    EXPIRE = enum.auto()
    BOUNCE = enum.auto()  # as EXPIRE, and its sender is told in any case


_ENDINGS: dict[Aim, Literal["expire", "bounce"]] = {Aim.EXPIRE: "expire", Aim.BOUNCE: "bounce"}
_AIMS = {name: aim for aim, name in _ENDINGS.items()}


def aim_of(row: Row) -> Aim:
    """What becomes of a message whose row has been in hand when a manager ended."""
    return _AIMS[row.detail.ending] if row.detail.ending else Aim.RETRY


class Message(msgspec.Struct, gc=False):
    """A message in hand. Free of cycles that would need the collector: `segment` does not refer back."""

    location: int
    queue_id: int
    segment: SegmentProgress | None  # where its log record is to be settled; None once it has a row
    sender: bytes
    recipients: tuple[bytes, ...] | dict[int, bytes]
    received_wall: float
    session: str
    size_bytes: int
    body: int
    attempts: int = 0  # finished ones
    jobs: int = 0  # not finished
    tried: bool = False  # a worker has answered for one of this round's jobs
    unreached: dict[int, Recipient] | None = None  # by index; those that have not got it, as far as is known
    transport: str = ""  # where somebody moved it to
    warned: bool = False  # its sender has been told of the delay
    listener: str = ""  # the one it came in by
    retry_after_s: float = 0.0  # the longest wait that a destination asked for in this round
    success: bool = False  # its sender may be to be told of who has got it: then these are in `unreached`, too
    vias: tuple[str, ...] | dict[int, str] = ()  # of its recipients, as in the envelope; by index those that have one
    aim: Aim = Aim.RETRY

    def via(self, index: int) -> str:
        """The `via` of a recipient, as in the envelope."""
        if isinstance(self.vias, dict):
            return self.vias.get(index, "")
        return self.vias[index] if self.vias else ""

    @property
    def row_state(self) -> State:
        """The state of its row, once it has one."""
        return State.HOLDING if self.aim is Aim.HOLD else State.ACTIVE

    def missed(self, indices: Iterable[int]) -> None:
        """Recipients have not got it so far."""
        if self.unreached is None:
            self.unreached = {}
        for index in indices:
            self.unreached.setdefault(index, Recipient(index, self.recipients[index], via=self.via(index)))

    def row(self, state: State, due_wall: float, attempts: int) -> Row:
        """Its row in the journal, as things stand."""
        return Row(
            self.location,
            self.queue_id,
            state,
            due_wall,
            attempts,
            self.received_wall,
            self.sender,
            self.size_bytes,
            self.body,
            Detail(
                *(self.session, list((self.unreached or {}).values()), self.transport),
                warned=self.warned,
                success=self.success,
                listener=self.listener,
                ending=_ENDINGS.get(self.aim, "") if state in IN_HAND else "",
            ),
        )


class Counts(msgspec.Struct):
    """Recipients, since this process began."""

    delivered: int = 0
    deferred: int = 0
    failed: int = 0
