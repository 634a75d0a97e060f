"""The content of the message that a connection is receiving: in memory while it is small, on disk when it grows."""

from collections.abc import Callable

import xxhash

from mta.server.service import Shared
from mta.spool import queueid


class IncomingContent:
    """Gathers content and gives it to the spool. Used by one greenlet, from DATA to the answer.

    What is in memory is counted in the worker's account until it is on disk or dropped.
    """

    __slots__ = ("_chunks", "_held_bytes", "_shared", "size_bytes")

    def __init__(self, shared: Shared) -> None:
        self._shared = shared
        self._chunks: list[bytes] = []
        self._held_bytes = 0
        self.size_bytes = 0

    def add(self, data: bytes) -> None:
        """Take another piece."""
        self._chunks.append(data)
        size = len(data)
        self._held_bytes += size
        self._shared.held_bytes += size

    def commit(self, envelope: bytes, seal: Callable[[bytes], bytes]) -> int:
        """Store the message durably; returns its location.

        `seal` makes the trace field that goes before the content from the queue id. Switches greenlets until the disk
        has answered; raises `SpoolError` when the message is not stored, and never will be.
        """
        shared = self._shared
        writer = shared.writer
        try:
            trace = seal(queueid.text(writer.next_location()).encode())
            chunks = [trace, *self._chunks]
            digest = xxhash.xxh3_64()
            for chunk in chunks:
                digest.update(chunk)
            location = writer.append(
                envelope, chunks, body_bytes=len(trace) + self._held_bytes, body_hash=digest.intdigest()
            )
            error = shared.commit.wait()
            if error is not None:
                raise error
            return location
        finally:
            self._release()

    def abort(self) -> None:
        """Forget everything."""
        self._release()

    def _release(self) -> None:
        self._shared.held_bytes -= self._held_bytes
        self._held_bytes = 0
        self._chunks = []
