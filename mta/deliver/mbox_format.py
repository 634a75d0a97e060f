"""Messages as an mbox file has them (mboxrd, RFC 4155 appendix A). Pure.

A message begins with a line `From sender date`, its lines end in LF, a line that begins with `From ` behind any number
of `>` gets one `>` more (so that a reader can take exactly one away), and an empty line follows it.
"""

import re
from time import asctime, gmtime

from mta.deliver.lines import LocalLines

_QUOTED = re.compile(rb"(\n>*)(?=From )")
_QUOTED_AT_START = re.compile(rb"(>*)(?=From )")
_UNFIT = re.compile(rb"[^!-~\x80-\xff]")
_FROM = b"From "


def separator(sender: bytes, received_wall: float) -> bytes:
    """The line in front of a message, with its LF; the date is UTC."""
    return b"From %b %b\n" % (_UNFIT.sub(b"_", sender) or b"MAILER-DAEMON", asctime(gmtime(received_wall)).encode())


class Quoter:
    """Content, fields of ours included, on its way into an mbox file."""

    __slots__ = ("_at_line_start", "_held", "_last", "_lines")

    def __init__(self) -> None:
        self._lines = LocalLines()
        self._at_line_start = True  # nothing but > has come since the last line end (what is held aside)
        self._held = b""  # what may be the beginning of `From `
        self._last = b""  # the last byte that was given out

    def feed(self, data: bytes) -> bytes:
        """The next piece, quoted."""
        return self._quoted(self._lines.feed(data))

    def finish(self) -> bytes:
        """The end: what was held back, a line end where there is none, and the empty line."""
        rest = self._quoted(self._lines.finish()) + self._held
        last = rest[-1:] or self._last
        return rest + (b"\n" if last in (b"\n", b"") else b"\n\n")

    def _quoted(self, data: bytes) -> bytes:
        data = self._held + data
        self._held = b""
        if not data:
            return data
        start = _QUOTED_AT_START.match(data) if self._at_line_start else None
        quoted = _QUOTED.sub(rb"\1>", data)
        if start is not None:
            quoted = b">" + quoted
        line_at = data.rfind(b"\n") + 1
        line = data[line_at:].lstrip(b">")
        self._at_line_start = (line_at > 0 or self._at_line_start) and _FROM.startswith(line) and line != _FROM
        if self._at_line_start and line:
            self._held = line
            quoted = quoted[: -len(line)]
        self._last = quoted[-1:] or self._last
        return quoted
