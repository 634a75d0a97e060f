"""The oracle of `mta._fastparse`: the same names with the same results, written another way.

Everything here goes byte by byte through named states, or through a regular expression of the grammar; nothing is
shared with the compiled module, so that a mistake has to be made twice to go unseen. Tests compare the two on every
split of every input. It runs in place of the compiled module only with `MTA_PURE_PYTHON=1`, thousands of times slower.
What the names mean is written in `mta/_fastparse.pyi`.
"""

import enum
import re

LINE_TOO_LONG = 1
LINE_BARE_LF = 2

CR = 0x0D
LF = 0x0A
DOT = 0x2E

# --- commands ---------------------------------------------------------------------------------------------------------

VERBS = {
    verb: verb
    for verb in (
        *(b"MAIL", b"RCPT", b"DATA", b"EHLO", b"QUIT", b"RSET", b"HELO", b"NOOP", b"VRFY", b"HELP", b"EXPN"),
        *(b"LHLO", b"BDAT", b"AUTH", b"STARTTLS", b"XCLIENT", b"XFORWARD"),
    )
}

# RFC 5321 section 4.1.2: Mailbox with a Dot-string and a Domain of Let-dig and Ldh-str; the sizes are those of
# RFC 5321 section 4.5.3.1 and RFC 1035 section 2.3.4.
_ATOM = rb"[A-Za-z0-9!#$%&'*+\-/=?^_`{|}~]+"
# RFC 5890 section 2.3.1 keeps labels with "--" in the third and fourth place, as A-labels have it, for itself.
_LABEL = rb"(?![A-Za-z0-9-]{2}--)[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_PATH = re.compile(
    rb":[ \t]*(?P<path><(?:(?P<local>%b(?:\.%b)*)@(?P<domain>%b(?:\.%b)*))?>)(?:[ \t](?P<parameters>.*))?"
    % (_ATOM, _ATOM, _LABEL, _LABEL),
    re.DOTALL,
)


def _require_bytes(*values: object) -> None:
    for value in values:
        if type(value) is not bytes:
            raise TypeError(f"bytes expected, not {type(value).__name__}")


def parse_command(line: bytes) -> tuple[bytes, bytes]:
    _require_bytes(line)
    found = re.match(rb"([^ \t]*)(.*)", line, re.DOTALL)
    assert found is not None
    verb = found[1].upper()
    return VERBS.get(verb, verb), found[2].strip(b" \t")


def parse_path(argument: bytes, keyword: bytes) -> tuple[bytes, bytes, bytes] | None:
    _require_bytes(argument, keyword)
    if argument[: len(keyword)].upper() != keyword:
        return None
    found = _PATH.fullmatch(argument, len(keyword))
    if found is None or len(found["path"]) > 256:
        return None
    local, domain, parameters = (found[name] or b"" for name in ("local", "domain", "parameters"))
    if len(local) > 64 or len(domain) > 255:
        return None
    return local, domain, parameters.strip(b" \t")


# --- lines ------------------------------------------------------------------------------------------------------------


def _slice(data: bytes | bytearray | memoryview, start: int, end: int) -> bytes:
    length = len(data)
    if end < 0:
        end = length
    if not 0 <= start <= end <= length:
        raise ValueError(f"start {start} and end {end} are not within {length} bytes")
    return bytes(data[start:end])


class LineSplitter:
    def __init__(self, limit_bytes: int) -> None:
        if limit_bytes < 2:
            raise ValueError("limit_bytes has to have room for CR LF")
        self._limit_bytes = limit_bytes
        self._pending = bytearray()
        self._dropped = False  # the beginning of an over-long line

    @property
    def pending(self) -> int:
        return len(self._pending)

    def feed(self, data: bytes | bytearray | memoryview, start: int = 0, end: int = -1) -> None:
        self._pending += _slice(data, start, end)

    def next_line(self) -> bytes | int | None:
        before, newline, after = self._pending.partition(b"\n")
        if not newline:
            if self._dropped or len(before) >= self._limit_bytes:
                self._pending.clear()
                self._dropped = True
            return None
        self._pending = after
        too_long = self._dropped or len(before) + 1 > self._limit_bytes
        self._dropped = False
        if too_long:
            return LINE_TOO_LONG
        return bytes(before[:-1]) if before.endswith(b"\r") else LINE_BARE_LF

    def take(self, limit_bytes: int) -> bytes:
        if limit_bytes < 0:
            raise ValueError("limit_bytes is negative")
        taken = bytes(self._pending[:limit_bytes])
        del self._pending[:limit_bytes]
        self._dropped = False
        return taken


# --- the DATA stream --------------------------------------------------------------------------------------------------


class _State(enum.Enum):
    """What was read just now. CR LF is a line end wherever it stands; everything else is content."""

    LINE_START = enum.auto()  # CR LF, or nothing yet
    IN_LINE = enum.auto()
    CR = enum.auto()  # a CR within a line
    EMPTY_CR = enum.auto()  # a CR at the start of a line
    DOT = enum.auto()  # a dot at the start of a line: dropped
    DOT_CR = enum.auto()  # such a dot and a CR: held, since an LF would make it the end
    END = enum.auto()


_AFTER_CR = (_State.CR, _State.EMPTY_CR, _State.DOT_CR)


class Unstuffer:
    def __init__(self, limit_bytes: int, stuffed: bool = True) -> None:
        if limit_bytes < 0:
            raise ValueError("limit_bytes is negative")
        self._limit_bytes = limit_bytes
        self._stuffed = stuffed
        self._ended = False  # the caller said so
        self._state = _State.LINE_START
        self._line = bytearray()  # content of the unfinished line
        self._content = bytearray()  # of one feed
        self.consumed = 0
        self.size = 0
        self.header_end = -1
        self.bare_cr = False
        self.bare_lf = False
        self.nul = False
        self.eight_bit = False
        self.longest_line = 0
        self.received_count = 0

    @property
    def done(self) -> bool:
        return self._state is _State.END

    @property
    def oversize(self) -> bool:
        return self.size > self._limit_bytes

    def feed(self, data: bytes | bytearray | memoryview, start: int = 0, end: int = -1) -> bytes:
        if self.done or self._ended:
            raise ValueError("the message has ended already")
        piece = _slice(data, start, end)
        self._content.clear()
        self.consumed = start
        for byte in piece:
            self.consumed += 1
            self._state = self._step(byte)
            if self.done:
                break
        return bytes(self._content)

    def end(self) -> None:
        self._ended = True
        if self._state not in _AFTER_CR:
            return
        self.bare_cr = True
        held = 1 if self._state is _State.DOT_CR else 0
        self.longest_line = max(self.longest_line, len(self._line) + held)

    def _step(self, byte: int) -> _State:
        """Take one byte in the present state; the next state."""
        after_cr = self._state in _AFTER_CR
        if byte == LF and self._state is _State.DOT_CR:
            return _State.END
        if byte == DOT and self._state is _State.LINE_START and self._stuffed:
            return _State.DOT
        if byte == CR and self._state is _State.DOT:
            return _State.DOT_CR
        if self._state is _State.DOT_CR:
            self._emit(CR)  # it was content after all
        if after_cr and byte != LF:
            self.bare_cr = True
        if byte == LF and not after_cr:
            self.bare_lf = True
        self.nul = self.nul or byte == 0
        self.eight_bit = self.eight_bit or byte > 127
        self._emit(byte)
        if byte == LF and after_cr:
            self._end_line()
            return _State.LINE_START
        if byte == CR:
            return _State.EMPTY_CR if self._state is _State.LINE_START else _State.CR
        return _State.IN_LINE

    def _emit(self, byte: int) -> None:
        self.size += 1
        if self.size <= self._limit_bytes:
            self._content.append(byte)
        self._line.append(byte)
        if not self._line.endswith(b"\r\n"):
            self.longest_line = max(self.longest_line, len(self._line) - (byte == CR))
        begins_at = self.size - 9
        if self._line.lower() == b"received:" and self.header_end < 0 and begins_at < 131072:
            self.received_count += 1

    def _end_line(self) -> None:
        if self.header_end < 0 and self._line == b"\r\n":
            self.header_end = self.size
        self._line.clear()


class Stuffer:
    def __init__(self) -> None:
        self._tail = b"\r\n"  # the last two bytes, as if after CR LF

    def feed(self, data: bytes | bytearray | memoryview) -> bytes:
        wire = bytearray()
        for byte in bytes(data):
            if byte == DOT and self._tail == b"\r\n":
                wire.append(DOT)
            wire.append(byte)
            self._tail = self._tail[-1:] + bytes([byte])
        return bytes(wire)

    def finish(self) -> bytes:
        return b".\r\n" if self._tail == b"\r\n" else b"\r\n.\r\n"


def stuff(data: bytes | bytearray | memoryview) -> bytes:
    stuffer = Stuffer()
    return stuffer.feed(data) + stuffer.finish()
