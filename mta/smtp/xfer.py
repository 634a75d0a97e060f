"""X-MTA-XFER, an extension of our own: one mta hands its queue to another (`mta drain --to`).

It is announced to the networks of `xfer` of a listener alone, and is not known to anybody else. Two parameters of MAIL
go with it, both or none, and one of RCPT, in a transaction with those:

    XARRIVED=1763924000.123   when the message was accepted first, seconds since the epoch
    XQUEUEID=8000000000142    its queue id there
    XVIA=store2               the transport that was decided for a recipient; where there is none of that name, the
                              routes say which

A transaction with them is a hand-over. Its recipients were accepted once, by a server that we trust: they are taken
whatever their domain, bounces on their way to a foreign sender as well, and nothing that is decided at acceptance
(who exists, aliases, who may send) is decided again. The rest of the session is as with anybody else. The message keeps
its age, so that its lifetime goes on.
"""

import re

KEYWORD = "X-MTA-XFER"
MAIL_PARAMETERS = frozenset((b"XARRIVED", b"XQUEUEID"))
RCPT_PARAMETERS = frozenset((b"XVIA",))

_ARRIVED = re.compile(rb"[0-9]{1,12}(?:\.[0-9]{1,3})?")
_TRANSPORT = re.compile(rb"[A-Za-z0-9_-]{1,64}")
_QUEUE_ID = re.compile(rb"[1-9a-f][0-9a-f]{0,15}")


def mail_parameters(arrived_wall: float, queue_id: str) -> bytes:
    """What to add to MAIL."""
    return b" XARRIVED=%.3f XQUEUEID=%b" % (arrived_wall, queue_id.encode())


def rcpt_parameters(via: str) -> bytes:
    """What to add to RCPT; nothing where the routes say the transport."""
    return b" XVIA=%b" % via.encode() if via else b""


def parse_via(value: bytes | None) -> str:
    """The value of XVIA; raises `ValueError`."""
    if value is None or not _TRANSPORT.fullmatch(value):
        raise ValueError
    return value.decode()


def parse_arrived(value: bytes | None) -> float:
    """The value of XARRIVED, greater than 0; raises `ValueError`."""
    if value is None or not _ARRIVED.fullmatch(value) or not float(value):
        raise ValueError
    return float(value)


def parse_queue_id(value: bytes | None) -> str:
    """The value of XQUEUEID; raises `ValueError`."""
    if value is None or not _QUEUE_ID.fullmatch(value):
        raise ValueError
    return value.decode()


def kept_arrival(arrived_wall: float, now_wall: float, lifetime_s: float) -> float:
    """When a message counts as accepted that somebody says was at `arrived_wall`: not in the future, and not so long
    ago that it would not be tried even once."""
    return min(now_wall, max(arrived_wall, now_wall - lifetime_s))
