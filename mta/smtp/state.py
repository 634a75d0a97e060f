"""The session's states, and which command leads where: a table, and nothing else decides what is legal.

A command that is absent under a state is answered with that state's refusal and changes nothing. The value is the state
after the command has been *accepted*; a refused command leaves the state as it was. RFC 5321 section 4.1.4; for BDAT
RFC 3030 section 2, for STARTTLS RFC 3207 section 4, for LMTP RFC 2033 section 4.
"""

from collections.abc import Mapping
from enum import IntEnum, auto

import msgspec

from mta.smtp import replies
from mta.smtp.replies import Reply


class State(IntEnum):
    """Where a session stands. (Numbers, because an Enum's hash is slow and the table is asked for every command.)"""

    CONNECTED = auto()  # greeted by us, not yet by the client
    READY = auto()  # HELO, EHLO or LHLO was given; no transaction
    MAIL = auto()  # a transaction has a sender
    RCPT = auto()  # and at least one recipient
    BDAT = auto()  # and some content, in chunks; the next is to come
    CHUNK = auto()  # the bytes of a chunk are coming; lines are no commands
    DATA = auto()  # content is coming; lines are no commands
    CLOSED = auto()  # the last reply is given


# The same by names of their own: in Python 3.11 a member costs ten times as much to look up in its class.
CONNECTED, READY, MAIL, RCPT, BDAT, CHUNK, DATA, CLOSED = State


Table = Mapping[State, Mapping[bytes, State | None]]  # None: the state stays
Refusals = Mapping[State, Mapping[bytes, Reply]]


class Rules(msgspec.Struct, frozen=True):
    """The order of commands of one protocol, and the refusal of a command that exists but has no place in a state."""

    transitions: Table
    out_of_order: Refusals


def _rules(hellos: tuple[bytes, ...], hello_first: Reply, misplaced: dict[bytes, Reply]) -> Rules:
    anywhere: dict[bytes, State | None] = {b"NOOP": None, b"HELP": None, b"VRFY": None, b"QUIT": State.CLOSED}
    anywhere |= dict.fromkeys(hellos, State.READY)
    between: dict[bytes, State | None] = {b"RSET": None, b"XCLIENT": None, b"XFORWARD": None}
    transitions: Table = {
        State.CONNECTED: {**anywhere, **between},
        State.READY: {**anywhere, **between, b"STARTTLS": None, b"MAIL": State.MAIL},
        State.MAIL: {**anywhere, b"RSET": State.READY, b"RCPT": State.RCPT},
        State.RCPT: {
            **anywhere,
            b"RSET": State.READY,
            b"RCPT": State.RCPT,
            b"DATA": State.DATA,
            b"BDAT": State.CHUNK,
        },
        State.BDAT: {**anywhere, b"RSET": State.READY, b"BDAT": State.CHUNK},
        State.CHUNK: {},
        State.DATA: {},
        State.CLOSED: {},
    }
    in_transaction = dict.fromkeys((b"STARTTLS", b"XCLIENT", b"XFORWARD"), replies.R503_IN_TRANSACTION)
    out_of_order: Refusals = {
        State.CONNECTED: {
            **dict.fromkeys((b"MAIL", b"RCPT", b"DATA", b"BDAT", b"STARTTLS"), hello_first),
            **misplaced,
        },
        State.READY: {**dict.fromkeys((b"RCPT", b"DATA", b"BDAT"), replies.R503_NEED_MAIL), **misplaced},
        State.MAIL: {
            **in_transaction,
            **misplaced,
            b"MAIL": replies.R503_NESTED_MAIL,
            b"DATA": replies.R503_NEED_RECIPIENT,
            b"BDAT": replies.R503_NEED_RECIPIENT,
        },
        State.RCPT: {**in_transaction, **misplaced, b"MAIL": replies.R503_NESTED_MAIL},
        State.BDAT: {
            **in_transaction,
            **misplaced,
            **dict.fromkeys((b"MAIL", b"RCPT", b"DATA"), replies.R503_IN_BDAT),
        },
    }
    return Rules(transitions, out_of_order)


SMTP = _rules((b"EHLO", b"HELO"), replies.R503_HELLO_FIRST, {})
LMTP = _rules((b"LHLO",), replies.R503_LHLO_FIRST, dict.fromkeys((b"EHLO", b"HELO"), replies.R503_LMTP))

NOT_IMPLEMENTED = frozenset((b"AUTH", b"ETRN", b"EXPN", b"SAML", b"SEND", b"SOML", b"TURN"))
"""Commands of other RFCs that we know and do not offer: 502 rather than 500 (RFC 5321 section 4.2.4)."""

NOT_SMTP = frozenset((b"CONNECT", b"DELETE", b"GET", b"HEAD", b"OPTIONS", b"POST", b"PUT"))
"""First words of HTTP: somebody lets a browser or a proxy talk to us, and the session ends at once."""
