"""What of the original message goes back with a notification: all of it, or its header. Reads no more than it needs."""

import re
from collections.abc import Iterable

import msgspec

HEADER_BYTES = 65536  # of a header that is returned alone

_MESSAGE_ID = re.compile(
    rb"^message-id:[ \t]*(?:\r\n[ \t]+)?(<[!-;=?-~]{1,880}>)[ \t]*\r$", re.MULTILINE | re.IGNORECASE
)
_STRAY = re.compile(rb"\0|\r(?!\n)|(?<!\r)\n")


class Returned(msgspec.Struct, frozen=True):
    """Part of an original: `whole` tells whether `data` is the whole message, or whole lines of its header."""

    data: bytes
    whole: bool

    def header(self) -> bytes:
        """The header, as far as it is here, each line with its end."""
        return _header(self.data)

    def message_id(self) -> str:
        """The value of Message-ID with its angle brackets; empty where there is none in plain ASCII."""
        match = _MESSAGE_ID.search(self.header())
        return match[1].decode() if match else ""


NOTHING = Returned(b"", False)


def whole(chunks: Iterable[bytes]) -> Returned:
    """All of a message, which must have lines that end in CR LF; that it is not too large is the caller's business."""
    data = b"".join(chunks)
    return Returned(data if data.endswith(b"\r\n") else data + b"\r\n", True)


def header(chunks: Iterable[bytes]) -> Returned:
    """The header of a message of any kind, at most `HEADER_BYTES` of it; CR and LF on their own become blanks."""
    data = b""
    for chunk in chunks:
        data += chunk[: HEADER_BYTES + 4]
        if b"\r\n\r\n" in data or data.startswith(b"\r\n") or len(data) >= HEADER_BYTES:
            break
    lines = _header(data)
    if len(lines) > HEADER_BYTES:
        lines = lines[: lines.rfind(b"\r\n", 0, HEADER_BYTES) + 2] if b"\r\n" in lines[:HEADER_BYTES] else b""
    if lines and not lines.endswith(b"\r\n"):
        lines += b"\r\n"
    return Returned(_STRAY.sub(b" ", lines), False)


def _header(data: bytes) -> bytes:
    if data.startswith(b"\r\n"):
        return b""
    lines, empty_line, _ = data.partition(b"\r\n\r\n")
    return lines + b"\r\n" if empty_line else lines
