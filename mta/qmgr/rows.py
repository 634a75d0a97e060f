"""The rows of the journal: messages that wait, are held or have failed, and how they stand in the table `message`."""

import enum
import math
from typing import Any, Literal

import msgspec

from mta.qmgr.tally import Mark


class State(enum.IntEnum):
    """Where a message with a row stands."""

    WAITING = 0  # for its due time
    ACTIVE = 1  # in the manager's hands
    FAILED = 2  # given up, kept and listed
    HELD = 3  # until somebody releases it
    HOLDING = 4  # in the manager's hands, and held as soon as what is in flight has ended
    TELLING = 5  # in nobody's hands: its sender is to be told of something; then it waits, or is done with


NEVER_WALL = math.inf  # due time of a row in state TELLING that is to be held when its sender has been told
IN_HAND = (State.ACTIVE, State.HOLDING)


class Recipient(msgspec.Struct, array_like=True, gc=False):
    """A recipient that has not got the message, or its sender is to be told: its last result (`mta.ipc.Result`).

    `status` is 0 before the first. `remote` is the next hop that the text is about, where there was one; `relayed` says
    of a delivered one that the message went on to a host that tells nobody. `via` is as in the envelope.
    """

    index: int
    address: bytes
    status: int = 0
    code: str = ""
    text: str = ""
    remote: str = ""
    relayed: bool = False
    via: str = ""


class Detail(msgspec.Struct, array_like=True):
    """What a row keeps besides its columns."""

    session: str
    recipients: list[Recipient]
    transport: str = ""  # where somebody moved it to, instead of where the routes lead; empty: nobody did
    warned: bool = False  # its sender has been told of the delay
    success: bool = False  # its sender may be to be told of success
    listener: str = ""  # the one it came in by
    mark: Mark | None = None  # what the row counts for; the journal sets it
    ending: Literal["", "expire", "bounce"] = ""  # of one in hand: what is done when what is in flight has ended


class Row(msgspec.Struct):
    """A message that waits, is held or has failed. `body` is the id of its large body, 0 when it has none."""

    location: int
    queue_id: int
    state: State
    due_wall: float
    attempts: int
    received_wall: float
    sender: bytes
    size_bytes: int
    body: int
    detail: Detail
    destination: str = ""  # whose line it was cut out of

    @property
    def inline_bytes(self) -> int:
        """What of it lies in its segment, about."""
        return 0 if self.body else self.size_bytes


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Detail)


def detail(data: bytes) -> Detail:
    """The column `detail`; raises `msgspec.MsgspecError`."""
    return _decoder.decode(data)


def columns(row: Row) -> tuple[object, ...]:
    """A row as the table has it."""
    return (
        row.location,
        None if row.queue_id == row.location else row.queue_id,
        row.state,
        row.due_wall,
        row.attempts,
        row.received_wall,
        row.sender,
        row.size_bytes,
        signed(row.body),
        _encoder.encode(row.detail),
        row.destination or None,
    )


def row(location: int, queue_id: int | None, state: int, *rest: Any) -> Row:
    """The row that columns are; raises `msgspec.MsgspecError` and `ValueError`."""
    due, attempts, received, sender, size, body, data, destination = rest
    address = location if queue_id is None else queue_id
    return Row(
        *(location, address, State(state), due, attempts, received, sender, size, unsigned(body), detail(data)),
        destination=destination or "",
    )


def signed(number: int) -> int:
    """A number of 64 bits as SQLite takes it."""
    return number - (1 << 64) if number >> 63 else number


def unsigned(number: int) -> int:
    """The number that `signed` was given."""
    return number & (1 << 64) - 1
