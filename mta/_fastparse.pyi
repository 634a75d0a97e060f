"""What `mta.fastparse` offers; the compiled module and its oracle `mta._fastparse_py` agree to the byte.

None of it does I/O, blocks, or switches greenlets. Data may be any object with a contiguous buffer of bytes; it is read
from `start` up to `end` (negative: its length) and never referenced after the call, so a receive buffer can be used
again at once. Objects are not safe for use from several threads at a time.
"""

from typing import TypeAlias

_Data: TypeAlias = bytes | bytearray | memoryview

LINE_TOO_LONG: int
LINE_BARE_LF: int

def parse_command(line: bytes) -> tuple[bytes, bytes]:
    """A command line without its CR LF -> (verb in upper case, argument without blanks around it).

    The verb ends at the first space or tab; it is empty when the line begins with one. Known verbs come as the same
    object each time. RFC 5321 section 2.4 (verbs in any case) and RFC 5321 section 4.1.1.
    """

def parse_path(argument: bytes, keyword: bytes) -> tuple[bytes, bytes, bytes] | None:
    """The argument of MAIL or RCPT, in its common shape -> (local part, domain, parameters).

    `keyword` is b"FROM" or b"TO"; blanks behind its colon are accepted. `<>` gives an empty local part and domain. The
    common shape is a dot-atom of at most 64 bytes and a domain of letters, digits and hyphens, A-labels left out:
    RFC 5321 section 4.1.2 and RFC 5321 section 4.5.3.1. None means "not that", not "wrong": `mta.smtp.address` knows
    the whole grammar.
    """

class LineSplitter:
    """Cuts a stream into command lines, however it arrives.

    `limit_bytes` is the longest line taken, CR LF included (RFC 5321 section 4.5.3.1.4). Memory is bounded by the limit
    and one feed when the caller asks for lines until None before it feeds again.
    """

    def __init__(self, limit_bytes: int) -> None: ...
    def feed(self, data: _Data, start: int = 0, end: int = -1) -> None:
        """Take `data[start:end]`. Raises ValueError when these are not within the data."""

    def next_line(self) -> bytes | int | None:
        """The next line without its CR LF; None when more data is needed.

        LINE_BARE_LF stands for a line that ended in LF without CR, LINE_TOO_LONG for one over the limit, reported once,
        when its LF has come. The bytes of both are dropped. A CR elsewhere stays in the line for the grammar to refuse.
        """

    def take(self, limit_bytes: int) -> bytes:
        """What is not yet returned as a line, up to so many bytes; what is behind them is cut into lines as if new.

        Raises ValueError for a negative number.
        """

    @property
    def pending(self) -> int:
        """Bytes not yet returned as a line."""

class Unstuffer:
    """Takes the stream behind DATA or BDAT apart: content, and facts about it.

    Behind DATA a dot that begins a line is removed, and only CR LF . CR LF ends the message, the beginning counting as
    behind CR LF (RFC 5321 section 4.5.2). Nothing else does: a CR or an LF on its own is content, and is reported.
    Behind BDAT (RFC 3030 section 2) nothing is removed and nothing ends it; the caller, who counts, says when it has
    ended. One object serves one message, in however many chunks it comes.

    Over `limit_bytes` of content the stream is read on to its real end, so that no part of it is taken for a command;
    the content returned stops at the limit.
    """

    def __init__(self, limit_bytes: int, stuffed: bool = True) -> None:
        """`stuffed` says that a dot which begins a line was doubled: True behind DATA, False behind BDAT."""

    def feed(self, data: _Data, start: int = 0, end: int = -1) -> bytes:
        """Take `data[start:end]`; the content found in it, as bytes of its own.

        Raises ValueError when the message has ended already or the bounds are not within the data.
        """

    def end(self) -> None:
        """The content has ended, so that a CR as its last byte has no LF behind it. Nothing can be fed after it.

        A message behind DATA needs no such call. `done` stays as it is.
        """

    @property
    def done(self) -> bool:
        """CR LF . CR LF has been read; never when nothing was stuffed."""

    @property
    def consumed(self) -> int:
        """Index in the data of the last feed behind what was read: behind the final CR LF when done, else its end."""

    @property
    def size(self) -> int:
        """Bytes of content so far, also those over the limit (RFC 1870 section 3 counts the same way)."""

    @property
    def oversize(self) -> bool:
        """There is more content than the limit."""

    @property
    def header_end(self) -> int:
        """Offset in the content behind the first empty line, where the body begins; -1 when there is none so far."""

    @property
    def bare_cr(self) -> bool:
        """There is a CR with no LF behind it."""

    @property
    def bare_lf(self) -> bool:
        """There is an LF with no CR before it."""

    @property
    def nul(self) -> bool:
        """There is a byte 0."""

    @property
    def eight_bit(self) -> bool:
        """There is a byte over 127 (RFC 6152)."""

    @property
    def longest_line(self) -> int:
        """Bytes of the longest line so far, the present one included, CR LF not counted. Only CR LF ends a line."""

    @property
    def received_count(self) -> int:
        """Received fields in the header (RFC 5321 section 6.3), in any case, the colon behind the name at once.

        Those are counted that begin within the first 128 KiB: each hop adds its own at the top.
        """

class Stuffer:
    """The way back: content to the stream behind DATA, in pieces (RFC 5321 section 4.5.2)."""

    def __init__(self) -> None: ...
    def feed(self, data: _Data) -> bytes:
        """A dot that begins a line doubled. Bytes with no such dot are returned as the same object, not copied."""

    def finish(self) -> bytes:
        """The end: dot CR LF, with a CR LF before it when the content does not end in one."""

def stuff(data: _Data) -> bytes:
    """A whole content -> all that goes over the wire behind DATA, the final dot CR LF included."""
