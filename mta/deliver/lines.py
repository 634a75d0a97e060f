"""Content with local line ends: LF in the place of CR LF, as programs of this system expect it."""


class LocalLines:
    """A converter for content in pieces. A CR that is not before an LF stays."""

    __slots__ = ("_held",)

    def __init__(self) -> None:
        self._held = b""  # a CR at the end of a piece

    def feed(self, data: bytes) -> bytes:
        """The next piece, converted."""
        if self._held:
            data = self._held + data
            self._held = b""
        if data.endswith(b"\r"):
            self._held = b"\r"
            data = data[:-1]
        return data.replace(b"\r\n", b"\n")

    def finish(self) -> bytes:
        """What was held back at the end of the content."""
        held, self._held = self._held, b""
        return held
