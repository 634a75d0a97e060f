"""Names of the DNS: as text (`example.org`) and on the wire (RFC 1035 section 4.1.4), compressed or not.

Inside this package a name is its wire form in lower case: two names are the same when their bytes are. `lower()` on the
whole is right, as the lengths in it are below the letters.
"""

import re

NAME_BYTES = 255
"""Longest name on the wire, lengths and the root's zero included (RFC 1035 section 2.3.4)."""

LABEL_BYTES = 63

POINTERS = 127
"""Most pointers in one name: one for each label that fits into it. More than one for each is of no use to anybody."""

HEADER_BYTES = 12
"""No name is within the first bytes of a message, which are its header."""

ROOT = b"\0"

_PLAIN = re.compile(rb"[!-\-/-\[\]-~]+")  # printable, and neither dot nor backslash
_ESCAPE = re.compile(rb"\\(\d{3}|[!-/:-~])")  # of a byte by its number, or of a character that is no digit
_SPECIAL = re.compile(rb"[^!-\-/-\[\]-~]")


class BadName(ValueError):
    """There is no such name in the DNS, or no name at that place in a message; the text says why."""


def to_wire(text: bytes) -> bytes:
    """The wire form, in lower case, of a name with or without a dot at its end; raises `BadName`."""
    if b"\\" in text:
        labels = _unescaped(text)
    else:
        if text == b".":
            return ROOT
        labels = text.removesuffix(b".").split(b".")
        if not _PLAIN.fullmatch(text.replace(b".", b"")):
            raise BadName("empty, or with characters that have to be escaped")
    pieces = []
    for label in labels:
        if not 0 < len(label) <= LABEL_BYTES:
            raise BadName("with an empty label, or with one of more than 63 bytes")
        pieces.append(bytes((len(label),)) + label)
    pieces.append(ROOT)
    wire = b"".join(pieces)
    if len(wire) > NAME_BYTES:
        raise BadName("longer than 255 bytes")
    return wire.lower()


def _unescaped(text: bytes) -> list[bytes]:
    """The labels of a name that has escapes in it."""
    labels = [bytearray()]
    position = 0
    while position < len(text):
        byte = text[position]
        if byte == 0x5C:
            match = _ESCAPE.match(text, position)
            if match is None:
                raise BadName("with an escape that is none")
            number = int(match[1]) if len(match[1]) == 3 else match[1][0]
            if number > 255:
                raise BadName("with an escape of more than 255")
            labels[-1].append(number)
            position = match.end()
            continue
        if byte == 0x2E:
            labels.append(bytearray())
        elif 0x20 < byte < 0x7F:
            labels[-1].append(byte)
        else:
            raise BadName("with characters that have to be escaped")
        position += 1
    if not labels[-1]:
        labels.pop()  # the dot at the end
    return [bytes(label) for label in labels]


def to_text(wire: bytes) -> bytes:
    """The text of a wire form that `to_wire` or `read` gave: printable ASCII without a dot at its end; the root is `.`.

    `to_wire` of it gives the wire form again.
    """
    labels = []
    position = 0
    while length := wire[position]:
        label = wire[position + 1 : position + 1 + length]
        labels.append(label if _PLAIN.fullmatch(label) else _SPECIAL.sub(_escape, label))
        position += 1 + length
    return b".".join(labels) or b"."


def _escape(match: re.Match[bytes]) -> bytes:
    return b"\\%03d" % match[0][0]


def read(data: bytes, offset: int) -> tuple[bytes, int]:
    """The name that begins at `offset` of a message, in lower case, and the offset behind it; raises `BadName`.

    Work and result are bounded by `NAME_BYTES` and `POINTERS`, whatever `data` is.
    """
    pieces = []
    size = 1
    end = 0  # behind the first pointer, once there was one
    limit = offset
    for _ in range(POINTERS + 1):
        while True:
            if offset >= len(data):
                raise BadName("cut off")
            length = data[offset]
            if not 0 < length <= LABEL_BYTES:
                break
            size += 1 + length
            if size > NAME_BYTES:
                raise BadName("longer than 255 bytes")
            pieces.append(data[offset : offset + 1 + length])
            offset += 1 + length
        if not length:
            pieces.append(ROOT)
            return b"".join(pieces).lower(), end or offset + 1
        if length < 0xC0:
            raise BadName("with a label of an unknown kind")
        if offset + 2 > len(data):
            raise BadName("cut off")
        target = (length & 0x3F) << 8 | data[offset + 1]
        if not HEADER_BYTES <= target < limit:
            raise BadName("with a pointer that does not point backwards")
        end = end or offset + 2
        offset = limit = target
    raise BadName("with too many pointers")


def skip(data: bytes, offset: int) -> int:
    """The offset behind the name at `offset`, which is not looked at further; raises `BadName` where it is cut off."""
    while offset < len(data):
        length = data[offset]
        if length >= 0xC0:
            if offset + 2 > len(data):
                break
            return offset + 2
        if length > LABEL_BYTES:
            raise BadName("with a label of an unknown kind")
        offset += 1 + length
        if not length:
            return offset
    raise BadName("cut off")


def is_within(wire: bytes, zone: bytes) -> bool:
    """Whether a name is that of the zone, or below it; both on the wire, in lower case."""
    while len(wire) > len(zone):
        wire = wire[1 + wire[0] :]
    return wire == zone
