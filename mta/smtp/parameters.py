"""ESMTP parameters: what stands behind the path in MAIL and RCPT (RFC 5321 section 4.1.1.11).

A parameter is a row of a table: its keyword, the field it fills, and the check that turns its value into that field's.
An extension adds a row, and a field to the struct. Nothing here does I/O or blocks.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from mta.smtp import replies
from mta.smtp.replies import Reply


class ParameterError(ValueError):
    """A parameter that is refused; `reply` is what to answer, the text names the parameter."""

    def __init__(self, reply: Reply, reason: str) -> None:
        super().__init__(reason)
        self.reply = reply


class MailParameters(msgspec.Struct, frozen=True, gc=False):
    """What MAIL declared. `size` is in bytes, 0 where none was given (RFC 1870 section 5)."""

    size: int = 0
    eight_bit: bool = False  # BODY=8BITMIME (RFC 6152)
    smtputf8: bool = False


class Row(msgspec.Struct, frozen=True):
    """A parameter: the field it fills, and what makes its value (None where it has none) into the field's.

    The check raises `ValueError` or `KeyError` for a value that it does not know.
    """

    field: str
    check: Callable[[bytes | None], Any]


# RFC 5321 section 4.1.2: esmtp-keyword, esmtp-value; RFC 6531 section 3.3 adds UTF-8 to the values.
_PARAMETER = re.compile(rb"([A-Za-z0-9][A-Za-z0-9-]*+)(?:=([!-<>-~\x80-\xff]++))?")


def _size(value: bytes | None) -> int:
    """RFC 1870 section 4: up to 20 digits."""
    if value is None or len(value) > 20 or not value.isdigit():
        raise ValueError
    return int(value)


def _body(value: bytes | None) -> bool:
    """RFC 6152 section 3. BINARYMIME has no place without CHUNKING (RFC 3030 section 3)."""
    return {b"7BIT": False, b"8BITMIME": True}[(value or b"").upper()]


def _flag(value: bytes | None) -> bool:
    """A parameter that takes no value."""
    if value is not None:
        raise ValueError
    return True


MAIL: Mapping[bytes, Row] = {
    b"SIZE": Row("size", _size),
    b"BODY": Row("eight_bit", _body),
    b"SMTPUTF8": Row("smtputf8", _flag),
}
RCPT: Mapping[bytes, Row] = {}


def parse_mail(data: bytes) -> MailParameters:
    """The parameters of MAIL; raises `ParameterError`."""
    return MailParameters(**_parse(data, MAIL))


def parse_rcpt(data: bytes) -> None:
    """Check the parameters of RCPT, of which none is known yet; raises `ParameterError`."""
    _parse(data, RCPT)


def _parse(data: bytes, table: Mapping[bytes, Row]) -> dict[str, Any]:
    """The fields that parameters separated by blanks fill; one that is unknown, repeated or malformed is refused."""
    fields: dict[str, Any] = {}
    for word in data.split():
        match = _PARAMETER.fullmatch(word)
        if match is None:
            raise ParameterError(replies.R501_PARAMETER_VALUE, "malformed parameter")
        keyword = match[1].upper()
        row = table.get(keyword)
        if row is None:
            raise ParameterError(replies.R555_PARAMETER_UNKNOWN, f"{keyword.decode()} is not known")
        if row.field in fields:
            raise ParameterError(replies.R501_PARAMETER_VALUE, f"{keyword.decode()} is given twice")
        try:
            fields[row.field] = row.check(match[2])
        except (ValueError, KeyError):
            raise ParameterError(replies.R501_PARAMETER_VALUE, f"{keyword.decode()} has a bad value") from None
    return fields
