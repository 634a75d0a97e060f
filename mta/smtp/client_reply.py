"""Replies as a client reads them (RFC 5321 section 4.2): bytes in, whole replies out, nothing a peer sends trusted.

A line may end in a bare LF, and be longer than the 512 bytes of RFC 5321 section 4.5.3.1.5, within a bound; everything
else that is not a reply is an error.
"""

import re

import msgspec

from mta.smtp import limits

LINE_BYTES = 4 * limits.REPLY_LINE_BYTES  # some servers quote whole policies or URLs in a line
TEXT_CHARACTERS = 400  # of a reply's text that are kept for the log and for people

_LAST = {b"%d " % code: code for code in range(200, 600)}  # how the last or only line of a reply begins
_CODE = re.compile(rb"[2-5][0-9][0-9](?=[ -]|$)")
_ENHANCED = re.compile(rb"([245]\.[0-9]{1,3}\.[0-9]{1,3})(?= |$)")
_UNPRINTABLE = re.compile(r"[^ -~]")


class Reply(msgspec.Struct, frozen=True, gc=False):
    """One reply: its code, and the text of each line."""

    code: int
    lines: tuple[bytes, ...]

    @property
    def enhanced(self) -> str:
        """The enhanced status code (RFC 2034 section 4); where there is none that fits the code: `2.0.0` and so on."""
        match = _ENHANCED.match(self.lines[0])
        if match and match[1][0] == self.code // 100 + 48:
            return match[1].decode()
        return f"{self.code // 100}.0.0"

    @property
    def text(self) -> str:
        """Code and text on one line of printable ASCII; lines joined by blanks, what is too long cut."""
        return f"{self.code} {printable(b' '.join(self.lines))}".rstrip()


class ReplyReader:
    """Cuts what a peer sends into replies. Holds at most one reply, within the limits above.

    `error` is empty until the peer says something that is no reply; what it says afterwards cannot be understood.
    """

    __slots__ = ("_code", "_lines", "_rest", "error")

    def __init__(self) -> None:
        self.error = ""
        self._rest = b""  # of a line not yet ended
        self._code = 0  # of a reply whose last line has not come; 0 when there is none
        self._lines: list[bytes] = []

    def feed(self, data: bytes) -> list[Reply]:
        """The replies that are whole with `data`, up to an error."""
        lines = (self._rest + data if self._rest else data).split(b"\n")
        rest = self._rest = lines.pop()
        replies: list[Reply] = []
        for line in lines:
            code = _LAST.get(line[:4])
            if code is None or self._code or len(line) > LINE_BYTES:
                reply = self._line(line)
                if self.error:
                    return replies
                if reply is not None:
                    replies.append(reply)
            else:
                replies.append(Reply(code, (line[4:].removesuffix(b"\r"),)))
        if len(rest) > LINE_BYTES:
            self.error = f"a reply line of more than {LINE_BYTES} bytes"
        return replies

    @property
    def has_part(self) -> bool:
        """Whether something has come of a reply that is not whole."""
        return bool(self._rest or self._lines)

    def _line(self, line: bytes) -> Reply | None:
        """A line that is not, or may not be, a reply by itself."""
        line = line.removesuffix(b"\r")
        code = int(line[:3]) if _CODE.match(line) else 0
        if len(line) > LINE_BYTES:
            self.error = f"a reply line of more than {LINE_BYTES} bytes"
        elif not code:
            self.error = f"no reply: {printable(line)[:100]}"
        elif self._code and code != self._code:
            self.error = f"a reply of {self._code} goes on with {code}"
        elif len(self._lines) >= limits.MULTILINE_REPLY_LINES:
            self.error = f"a reply of more than {limits.MULTILINE_REPLY_LINES} lines"
        if self.error:
            return None
        self._lines.append(line[4:])
        if line[3:4] == b"-":
            self._code = code
            return None
        reply = Reply(code, tuple(self._lines))
        self._code = 0
        self._lines = []
        return reply


def printable(data: bytes) -> str:
    """A peer's bytes as printable ASCII of at most `TEXT_CHARACTERS`; other bytes become `\\xNN`."""
    text = data[:TEXT_CHARACTERS].decode("latin-1")
    if text.isascii() and text.isprintable():
        return text
    return _UNPRINTABLE.sub(lambda match: f"\\x{ord(match[0]):02x}", text)[:TEXT_CHARACTERS]
