"""What a session asks of, or tells, whoever drives it.

`Sender`, `Recipient`, `DataCommand` and `Message` are questions: the driver answers each with the session's `accept_…`
or with `refuse` before it asks for the next event. `START_TLS` and `Xclient` are, too: the driver does what they say
and calls `restart`, or refuses. The others are statements.
"""

from enum import Enum, auto

import msgspec

from mta.fastparse import Unstuffer


class Signal(Enum):
    """Events that carry nothing."""

    NEED_DATA = auto()  # all input is used up: send the output, then `receive` more
    CLOSE = auto()  # send the output, then close the connection
    DROPPED = auto()  # the message being received was refused or given up; forget its content
    START_TLS = auto()  # may TLS begin? The driver says so itself (`replies.R220_START_TLS`), shakes hands, restarts


# The same by names of their own: in Python 3.11 a member costs ten times as much to look up in its class.
NEED_DATA, CLOSE, DROPPED, START_TLS = Signal


class Sender(msgspec.Struct, gc=False):
    """MAIL FROM: `address` is the reverse-path without brackets, empty for `<>`; `size_bytes` is 0 if not told."""

    address: bytes
    size_bytes: int


class Recipient(msgspec.Struct, gc=False):
    """RCPT TO: the parts of the forward-path; `domain` is lower case, and empty for a bare `postmaster`."""

    local: bytes
    domain: bytes


class DataCommand(msgspec.Struct, gc=False):
    """DATA, or the first BDAT: may the content come?"""


class Content(msgspec.Struct, gc=False):
    """A piece of the message's content, dots unstuffed; more follows."""

    data: bytes


class Message(msgspec.Struct):
    """The last piece of the content. `facts` holds what was counted in passing: size, bare CR, Received fields..."""

    data: bytes
    facts: Unstuffer


class Xclient(msgspec.Struct):
    """XCLIENT: who the client is, says one whom the listener trusts; None where that is not known."""

    attributes: dict[str, str | None]


class Xforward(msgspec.Struct):
    """XFORWARD: where the message was before, for the log. (A statement: it has been accepted.)"""

    attributes: dict[str, str | None]


Event = Signal | Sender | Recipient | DataCommand | Content | Message | Xclient | Xforward
