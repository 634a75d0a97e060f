"""Actions: what the value of an access table says is to be done, in the words of Postfix's access(5).

A value is `OK`, `DUNNO`, `REJECT` or `DEFER` (which are 550 and 450), or a code; behind these three there may be an
enhanced code and a text, as in `550 5.7.1 go away`. Words may be in either case. What is not understood is no action,
and nobody guesses one: whoever asks puts the mail off and tells the administrator.
"""

import re
from enum import Enum
from typing import Literal

from mta.smtp import replies
from mta.smtp.replies import Reply, refusal

Stage = Literal["client", "helo", "sender", "recipient"]
"""What a table is asked about. The reason of a refusal says it: `client-access` and so on."""

TEXT_BYTES = 400
"""Longest text that a table may put into a reply; with codes and the reason it fits into a line of 512 bytes
(RFC 5321 section 4.5.3.1.5)."""

ALLOWED = "OK, DUNNO, REJECT, DEFER, or a code as 450 or 550, the last three with [x.y.z] [text]"

_TEXT = re.compile(rb"[ -~]*")
# The code as RFC 5321 section 4.2 has it, the enhanced code as RFC 2034 section 4.
_REPLY = re.compile(rb"([45][0-5][0-9])(?: +([0-9]\.[0-9]{1,3}\.[0-9]{1,3})(?![^ ]))?(?: +(.*))?")
_CODES = {b"REJECT": b"550", b"DEFER": b"450"}
_SILENT: dict[tuple[Stage, int], Reply] = {
    ("client", 450): replies.R450_CLIENT_ACCESS,
    ("client", 550): replies.R550_CLIENT_ACCESS,
    ("helo", 450): replies.R450_HELO_ACCESS,
    ("helo", 550): replies.R550_HELO_ACCESS,
    ("sender", 450): replies.R450_SENDER_ACCESS,
    ("sender", 550): replies.R550_SENDER_ACCESS,
    ("recipient", 450): replies.R450_RECIPIENT_ACCESS,
    ("recipient", 550): replies.R550_RECIPIENT_ACCESS,
}
"""The replies of tables that give no text of their own, by stage and kind."""


class Decision(Enum):
    """What is no reply."""

    OK = "ok"  # nothing further is asked
    DUNNO = "dunno"  # as if the table had nothing


_DECISIONS = {b"OK": Decision.OK, b"DUNNO": Decision.DUNNO}


class BadAction(ValueError):
    """A value that is no action; the text says why, to be read behind the value."""


def parse_action(value: bytes, stage: Stage) -> Decision | Reply:
    """Read the value that the table of that stage gave; raises `BadAction`.

    Text that comes back in a reply is printable ASCII of at most `TEXT_BYTES` bytes, whatever the table has.
    """
    value = value.replace(b"\t", b" ").strip(b" ")
    if not _TEXT.fullmatch(value):
        raise BadAction("has other characters than printable ASCII")
    word, _, rest = value.partition(b" ")
    name = word.upper()
    if name in _DECISIONS:
        if rest:
            raise BadAction(f"has text behind it; {ALLOWED} is allowed")
        return _DECISIONS[name]
    match = _REPLY.fullmatch(_CODES.get(name, word) + b" " + rest)
    if match is None:
        raise BadAction(f"is no action; {ALLOWED} is allowed")
    code, enhanced, text = (part.decode().strip() for part in match.groups(b""))
    if enhanced and enhanced[0] != code[0]:
        raise BadAction("has two codes of which one is for now, the other for good")
    if len(text) > TEXT_BYTES:
        raise BadAction(f"has a text of more than {TEXT_BYTES} bytes")
    silent = _SILENT[stage, 450 if code[0] == "4" else 550]
    if not text and not enhanced and int(code) == silent.code:
        return silent
    return refusal(int(code), enhanced or f"{code[0]}.7.1", text or _text(silent), silent.reason)


def _text(reply: Reply) -> str:
    """What a reply says between its codes and its reason."""
    return reply.text.split(" ", 2)[2].rpartition(" [")[0]
