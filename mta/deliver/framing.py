"""What is done to content on its way to the wire, besides stuffing (`mta.fastparse.Stuffer`)."""

from collections.abc import Iterable, Iterator

from mta.newlines import Normaliser


class Chunk:
    """Content behind BDAT, in pieces, in the place of a `Stuffer`: it stays as it is, and is counted.

    The server counts as well. What is more than was announced would be commands to it.
    """

    __slots__ = ("_left_bytes",)

    def __init__(self, size_bytes: int) -> None:
        """`size_bytes` is what BDAT announced."""
        self._left_bytes = size_bytes

    def feed(self, data: bytes) -> bytes:
        """The data. Raises `ValueError` when that makes it too much."""
        self._left_bytes -= len(data)
        if self._left_bytes < 0:
            raise ValueError("content longer than it was announced")
        return data

    def finish(self) -> bytes:
        """Nothing: the end needs no mark. Raises `ValueError` when content is missing."""
        if self._left_bytes:
            raise ValueError("content shorter than it was announced")
        return b""


def normalised(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The same content with no line end but CR LF in it."""
    normaliser = Normaliser()
    for piece in pieces:
        yield normaliser.feed(piece)
    yield normaliser.finish()
