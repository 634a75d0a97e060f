"""Messages between the queue manager, the delivery workers and the `queue` command.

The queue manager listens on a SEQPACKET socket in the spool (`qmgr/socket`, mode 0600): a packet is a message, so half
of one cannot be read, and a closed connection says that the other side is gone with everything it had in hand. The
first packet of a connection is a `Hello`. Then a delivery worker receives `Jobs` and sends `Outcomes`; a control client
sends one `Request` and receives `Reply` packets, the last with `more` unset. All are MessagePack arrays, told apart by
tag.

Unix socket paths are short (108 bytes) while spool paths need not be: both sides go through /proc/self/fd.
"""

import errno
import os
import socket
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import msgspec

from mta.errors import IpcError

PACKET_BYTES = 131072  # largest packet; under the kernel's default buffer of 212992 bytes
JOBS_PER_PACKET = 256  # with RECIPIENTS_PER_JOB, keeps a packet of jobs below PACKET_BYTES
RECIPIENTS_PER_JOB = 64  # and the outcome of a job too, with a text of up to TEXT_BYTES for each
PASSED, RELAYED = "passed", "relayed"
DELIVERED, DEFERRED, FAILED = 2, 4, 5  # of `Result.status`: the first digit of RFC 3463 section 2
TEXT_BYTES = 1024  # longest text of a result


class Hello(msgspec.Struct, frozen=True, array_like=True, tag="hello"):
    """Who connects: role "deliver" or "control"."""

    role: str
    pid: int


class Job(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One message to be handed to one destination.

    `number` names the job in its outcome and is unique on a connection. `location` is the record's address
    (`mta.spool.queueid`), `queue_id` the id the sender was told. `recipients` are indices into the envelope.
    """

    number: int
    location: int
    queue_id: int
    transport: str
    recipients: tuple[int, ...]
    attempt: int


class Jobs(msgspec.Struct, frozen=True, array_like=True, tag="jobs"):
    """Work for a delivery worker."""

    jobs: list[Job]


class Result(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """How one recipient fared: `status` is DELIVERED, DEFERRED or FAILED.

    `code` is the enhanced status code, `text` one line of printable ASCII for people.
    """

    recipient: int
    status: int
    code: str
    text: str


class Outcome(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The end of a job: a `Result` for every recipient, or an empty tuple when all were delivered.

    `destination_down` tells that the destination itself did not answer, so that others for it need not be tried now.
    `retry_after_s` is how long the destination asked us to wait with those that are deferred; 0 where it did not.
    `remote` is the name of the next hop that the results' texts are about, empty where there is none. `onward` is set
    where messages went on to another mail system: PASSED with what the sender asked for in DSN, so that it is not for
    us to tell of success, RELAYED without.
    """

    number: int
    results: tuple[Result, ...] = ()
    destination_down: bool = False
    retry_after_s: float = 0.0
    remote: str = ""
    onward: str = ""


class Outcomes(msgspec.Struct, frozen=True, array_like=True, tag="outcomes"):
    """What became of jobs."""

    outcomes: list[Outcome]


class Request(msgspec.Struct, frozen=True, array_like=True, tag="request"):
    """A question or an order from `mta queue`; what `verb` may be stands in `mta.qmgr.control`."""

    verb: str
    arguments: dict[str, Any] = {}


class Reply(msgspec.Struct, frozen=True, array_like=True, tag="reply"):
    """Part of an answer. `error` is empty or one line; `more` says that another packet follows.

    `seen` messages of about `total` have been looked at by then, where that is worth telling (`total` is not 0).
    """

    items: list[dict[str, Any]] = []
    error: str = ""
    more: bool = False
    seen: int = 0
    total: int = 0


Message = Hello | Jobs | Outcomes | Request | Reply

_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[Message] = msgspec.msgpack.Decoder(Message)


def encode(message: Message) -> bytes:
    """A message as one packet."""
    return _encoder.encode(message)


def decode(packet: bytes | memoryview) -> Message:
    """One packet as a message; raises `IpcError` when it is none of ours."""
    try:
        return _decoder.decode(packet)
    except msgspec.MsgspecError as error:
        raise IpcError(f"not a message of ours: {error}") from None


def batches(jobs: Sequence[Job]) -> list[Jobs]:
    """Jobs cut into packets that fit."""
    return [Jobs(list(jobs[i : i + JOBS_PER_PACKET])) for i in range(0, len(jobs), JOBS_PER_PACKET)]


def listen(folder: str) -> socket.socket:
    """Listen on `socket` in `folder`, in place of whatever stood there. The caller holds the folder's lock."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    directory = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        path = f"/proc/self/fd/{directory}/socket"
        with suppress(FileNotFoundError):
            os.unlink(path)
        mask = os.umask(0o177)
        try:
            listener.bind(path)
        finally:
            os.umask(mask)
        listener.listen(64)
    finally:
        os.close(directory)
    return listener


def connect(folder: str, hello: Hello) -> socket.socket:
    """Connect to the queue manager of the spool whose `qmgr` folder this is, and say hello.

    Blocks for as long as the connection takes (the peer is local). Raises `IpcError` when nobody listens there.
    """
    channel = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        directory = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            channel.connect(f"/proc/self/fd/{directory}/socket")
        finally:
            os.close(directory)
        channel.send(encode(hello))
    except OSError as error:
        channel.close()
        name = errno.errorcode.get(error.errno or 0, "")
        raise IpcError(f"the queue manager does not answer in {folder} ({name})") from None
    return channel
