"""ESMTP parameters: what stands behind the path in MAIL and RCPT (RFC 5321 section 4.1.1.11).

A parameter is a row of a table: its keyword, and the function that turns its value into fields. An extension adds a
row, and a field to the struct. Which keywords a session offers is the session's to say: any other, known here or not,
gets 555. Nothing here does I/O or blocks.
"""

import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import msgspec

from mta.smtp import limits, replies, xfer, xtext
from mta.smtp.replies import Reply


class ParameterError(ValueError):
    """A parameter that is refused; `reply` is what to answer, the text names the parameter."""

    def __init__(self, reply: Reply, reason: str) -> None:
        super().__init__(reason)
        self.reply = reply


class MailParameters(msgspec.Struct, frozen=True, gc=False):
    """What MAIL declared. `size` is in bytes, 0 where none was given (RFC 1870 section 5)."""

    size: int = 0
    eight_bit: bool = False  # BODY=8BITMIME (RFC 6152), and BINARYMIME, which allows at least that
    binary: bool = False  # BODY=BINARYMIME (RFC 3030 section 3)
    smtputf8: bool = False
    ret: str = ""  # FULL, HDRS, or nothing asked for (RFC 3461 section 4.3)
    envid: bytes = b""  # decoded: printable ASCII and blanks (RFC 3461 section 4.4)
    require_tls: bool = False  # RFC 8689 section 2
    prdr: bool = False  # a reply for each recipient after the content
    arrived_wall: float = 0.0  # of a hand-over (`mta.smtp.xfer`): when it was accepted first; else 0
    handed_id: str = ""  # of a hand-over: its queue id there


class RcptParameters(msgspec.Struct, frozen=True, gc=False):
    """What RCPT declared (RFC 3461 section 4.1, RFC 3461 section 4.2).

    `notify` is its keywords in upper case, joined by commas as they were given; `orcpt` is `type;address`, decoded,
    the type in lower case. Both are empty where nothing was given.
    """

    notify: str = ""
    orcpt: bytes = b""
    via: str = ""  # of a hand-over (`mta.smtp.xfer`): the transport that was decided there


Fields = dict[str, Any]
"""Fields of a struct that a parameter sets."""

Check = Callable[[bytes | None], Fields]
"""Makes the value of a parameter, None where it has none, into fields.

It raises `ValueError` or `KeyError` for a value that it does not know.
"""

# RFC 5321 section 4.1.2: esmtp-keyword, esmtp-value; RFC 6531 section 3.3 adds UTF-8 to the values.
_PARAMETER = re.compile(rb"([A-Za-z0-9][A-Za-z0-9-]*+)(?:=([!-<>-~\x80-\xff]++))?")


def _size(value: bytes | None) -> Fields:
    """RFC 1870 section 4: up to 20 digits."""
    if value is None or len(value) > 20 or not value.isdigit():
        raise ValueError
    return {"size": int(value)}


def _body(value: bytes | None) -> Fields:
    """RFC 6152 section 3, RFC 3030 section 3."""
    return _BODIES[(value or b"").upper()]


_BODIES: Mapping[bytes, Fields] = {
    b"7BIT": {},
    b"8BITMIME": {"eight_bit": True},
    b"BINARYMIME": {"eight_bit": True, "binary": True},
}


def _flag(field: str, value: bytes | None) -> Fields:
    """A parameter that takes no value."""
    if value is not None:
        raise ValueError
    return {field: True}


def _ret(value: bytes | None) -> Fields:
    """RFC 3461 section 4.3."""
    return {"ret": {b"FULL": "FULL", b"HDRS": "HDRS"}[(value or b"").upper()]}


def _envid(value: bytes | None) -> Fields:
    """RFC 3461 section 4.4."""
    if value is None:
        raise ValueError
    return {"envid": xtext.decode(value, limits.ENVID_BYTES)}


def _notify(value: bytes | None) -> Fields:
    """RFC 3461 section 4.1: NEVER alone, or each of the others at most once."""
    keywords = (value or b"").upper().split(b",")
    if keywords != [b"NEVER"] and (len(set(keywords)) < len(keywords) or not _NOTIFY.issuperset(keywords)):
        raise ValueError
    return {"notify": b",".join(keywords).decode()}


_NOTIFY = frozenset((b"SUCCESS", b"FAILURE", b"DELAY"))


def _orcpt(smtputf8: bool, value: bytes | None) -> Fields:
    """RFC 3461 section 4.2, RFC 6533 section 3."""
    if value is None:
        raise ValueError
    return {"orcpt": xtext.decode_original_recipient(value, smtputf8=smtputf8)}


MAIL: Mapping[bytes, Check] = {
    b"SIZE": _size,
    b"BODY": _body,
    b"SMTPUTF8": partial(_flag, "smtputf8"),
    b"RET": _ret,
    b"ENVID": _envid,
    b"REQUIRETLS": partial(_flag, "require_tls"),
    b"PRDR": partial(_flag, "prdr"),
    b"XARRIVED": lambda value: {"arrived_wall": xfer.parse_arrived(value)},
    b"XQUEUEID": lambda value: {"handed_id": xfer.parse_queue_id(value)},
}
RCPT: Mapping[bytes, Check] = {
    b"NOTIFY": _notify,
    b"ORCPT": partial(_orcpt, False),
    b"XVIA": lambda value: {"via": xfer.parse_via(value)},
}
RCPT_SMTPUTF8: Mapping[bytes, Check] = {**RCPT, b"ORCPT": partial(_orcpt, True)}


def parse_mail(data: bytes, known: frozenset[bytes]) -> MailParameters:
    """The parameters of MAIL. `known` are the keywords that the session offers; raises `ParameterError`."""
    given = MailParameters(**_parse(data, MAIL, known))
    if bool(given.arrived_wall) is not bool(given.handed_id):
        raise ParameterError(replies.R501_PARAMETER_VALUE, "XARRIVED and XQUEUEID go together")
    return given


def parse_rcpt(data: bytes, known: frozenset[bytes], *, smtputf8: bool) -> RcptParameters:
    """The parameters of RCPT in a transaction with or without `smtputf8`; else as `parse_mail`."""
    return RcptParameters(**_parse(data, RCPT_SMTPUTF8 if smtputf8 else RCPT, known))


def _parse(data: bytes, table: Mapping[bytes, Check], known: frozenset[bytes]) -> Fields:
    """The fields that parameters separated by blanks set; one that is not known, repeated or malformed is refused."""
    fields: Fields = {}
    seen = set()
    for word in data.replace(b"\t", b" ").split(b" "):
        if not word:
            continue
        match = _PARAMETER.fullmatch(word)
        if match is None:
            raise ParameterError(replies.R501_PARAMETER_VALUE, "malformed parameter")
        keyword = match[1].upper()
        if keyword not in known or keyword not in table:
            raise ParameterError(replies.R555_PARAMETER_UNKNOWN, f"{keyword.decode()} is not known")
        if keyword in seen:
            raise ParameterError(replies.R501_PARAMETER_VALUE, f"{keyword.decode()} is given twice")
        seen.add(keyword)
        try:
            fields |= table[keyword](match[2])
        except (ValueError, KeyError):
            raise ParameterError(replies.R501_PARAMETER_VALUE, f"{keyword.decode()} has a bad value") from None
    return fields
