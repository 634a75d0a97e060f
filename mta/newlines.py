"""Content whose lines all end in CR LF, for receivers that see a line end, or the end of a message, in something else.

Some servers take LF, or CR, for a line end, or drop NULs before they look: to them a dot between two of these ends the
message, and what follows is a command (SMTP smuggling). RFC 5321 section 2.3.8 has CR and LF in content only as CR LF.
"""

_BLANKS = bytes.maketrans(b"\r\0", b"  ")


class Normaliser:
    """Takes content in pieces, and gives it back normalised.

    An LF with no CR before it becomes CR LF, since that is what its sender meant. A CR with no LF behind it becomes a
    blank: as a line end it could end a header before its time. So does a NUL. Nothing else changes, CR LF stays, and
    normalised content passes unchanged. Nothing blocks; memory is that of a piece.
    """

    __slots__ = ("_held",)

    def __init__(self) -> None:
        self._held = False  # the CR at the end of the last piece, until it is known what follows

    def feed(self, data: bytes) -> bytes:
        """The next piece, normalised; less a CR at its end. Where nothing changes it is the same object."""
        if not data:
            return data
        if self._held:
            data = b"\r" + data
        self._held = data.endswith(b"\r")
        if self._held:
            data = data[:-1]
        if data.count(b"\r") == data.count(b"\n") == data.count(b"\r\n") and b"\0" not in data:
            return data
        return data.replace(b"\r\n", b"\n").translate(_BLANKS).replace(b"\n", b"\r\n")

    def finish(self) -> bytes:
        """The end of the content: what was held back."""
        rest = b" " if self._held else b""
        self._held = False
        return rest
