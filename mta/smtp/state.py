"""The session's states, and which command leads where: a table, and nothing else decides what is legal.

A command that is absent under a state is answered with that state's refusal and changes nothing. The value is the state
after the command has been *accepted*; a refused command leaves the state as it was. RFC 5321 section 4.1.4.
"""

from enum import IntEnum, auto

from mta.smtp import replies
from mta.smtp.replies import Reply


class State(IntEnum):
    """Where a session stands. (Numbers, because an Enum's hash is slow and the table is asked for every command.)"""

    CONNECTED = auto()  # greeted by us, not yet by the client
    READY = auto()  # HELO or EHLO was given; no transaction
    MAIL = auto()  # a transaction has a sender
    RCPT = auto()  # and at least one recipient
    DATA = auto()  # content is coming; lines are no commands
    CLOSED = auto()  # the last reply is given


ANYWHERE = {
    b"NOOP": None,  # None: the state stays
    b"HELP": None,
    b"VRFY": None,
    b"EHLO": State.READY,
    b"HELO": State.READY,
    b"QUIT": State.CLOSED,
}

TRANSITIONS: dict[State, dict[bytes, State | None]] = {
    State.CONNECTED: {**ANYWHERE, b"RSET": None},
    State.READY: {**ANYWHERE, b"RSET": None, b"MAIL": State.MAIL},
    State.MAIL: {**ANYWHERE, b"RSET": State.READY, b"RCPT": State.RCPT},
    State.RCPT: {**ANYWHERE, b"RSET": State.READY, b"RCPT": State.RCPT, b"DATA": State.DATA},
    State.DATA: {},
    State.CLOSED: {},
}

OUT_OF_ORDER: dict[State, dict[bytes, Reply]] = {
    State.CONNECTED: dict.fromkeys((b"MAIL", b"RCPT", b"DATA"), replies.R503_HELLO_FIRST),
    State.READY: dict.fromkeys((b"RCPT", b"DATA"), replies.R503_NEED_MAIL),
    State.MAIL: {b"MAIL": replies.R503_NESTED_MAIL, b"DATA": replies.R503_NEED_RECIPIENT},
    State.RCPT: {b"MAIL": replies.R503_NESTED_MAIL},
}
"""The refusal of a command that exists but has no place in a state."""

NOT_IMPLEMENTED = frozenset((b"AUTH", b"BDAT", b"ETRN", b"EXPN", b"SAML", b"SEND", b"SOML", b"STARTTLS", b"TURN"))
"""Commands of other RFCs that we know and do not offer: 502 rather than 500 (RFC 5321 section 4.2.4)."""

NOT_SMTP = frozenset((b"CONNECT", b"DELETE", b"GET", b"HEAD", b"OPTIONS", b"POST", b"PUT"))
"""First words of HTTP: somebody lets a browser or a proxy talk to us, and the session ends at once."""
