"""The content of the message that a connection is receiving: in memory while it is small, on disk when it grows."""

from collections.abc import Callable

import xxhash

from mta.errors import SpoolError
from mta.server.service import Shared
from mta.spool import queueid
from mta.spool.large import LargeBody

OUTSTANDING_BYTES = 1048576
"""Content of one large message that may wait for the disk while more is received; then the client waits."""


class IncomingContent:
    """Gathers content and gives it to the spool. Used by one greenlet, from DATA to the answer.

    What is in memory is counted in the worker's account until it is on disk or dropped.
    """

    __slots__ = ("_chunks", "_digest", "_error", "_held_bytes", "_is_coming", "_large", "_shared")

    def __init__(self, shared: Shared) -> None:
        self._shared = shared
        self._chunks: list[bytes] = []
        self._digest = xxhash.xxh3_64()
        self._held_bytes = 0  # our part of the account
        self._large: LargeBody | None = None
        self._error: SpoolError | None = None  # the rest of the content is read, and forgotten
        self._is_coming = True
        shared.commit.receiving += 1

    def add(self, data: bytes) -> None:
        """Take another piece. Switches greenlets when a large message comes faster than the disk takes it."""
        if self._error is not None:
            return
        self._digest.update(data)
        if self._large is not None:
            self._write([data])
            return
        self._chunks.append(data)
        self._hold(self._held_bytes + len(data))
        if self._held_bytes > self._shared.limits.large_bytes:
            self._spill()

    def commit(self, make_envelope: Callable[[bytes], bytes]) -> int:
        """Store the message durably; returns its location. `make_envelope` makes the stored envelope for a queue id.

        Switches greenlets until the disk has answered; raises `SpoolError` when the message is not stored, and never
        will be.
        """
        writer = self._shared.writer
        self._has_come()
        try:
            if self._large is not None or self._error is not None:
                self._finish_large()
            envelope = make_envelope(queueid.text(writer.next_location()).encode())
            if self._large is not None:
                location = writer.append_large(envelope, self._large)
                self._large = None
            else:
                location = writer.append(
                    envelope, self._chunks, body_bytes=self._held_bytes, body_hash=self._digest.intdigest()
                )
            error = self._shared.commit.wait()
            if error is not None:
                raise error
            return location
        finally:
            self.abort()

    def abort(self) -> None:
        """Forget everything that is not stored."""
        self._has_come()
        if self._large is not None:
            self._large.abort()
            self._large = None
        self._chunks = []
        self._hold(0)

    def _has_come(self) -> None:
        if self._is_coming:
            self._is_coming = False
            self._shared.commit.receiving -= 1

    def _hold(self, held_bytes: int) -> None:
        self._shared.held_bytes += held_bytes - self._held_bytes
        self._held_bytes = held_bytes

    def _spill(self) -> None:
        """The message has become large: move it to a file of its own."""
        chunks, self._chunks = self._chunks, []
        try:
            self._large = self._shared.bodies.open()
        except SpoolError as error:
            self._fail(error)
        else:
            self._write(chunks)

    def _write(self, chunks: list[bytes]) -> None:
        large = self._large
        assert large is not None
        try:
            large.write(chunks)
            self._hold(large.outstanding_bytes)
            while large.outstanding_bytes > OUTSTANDING_BYTES:
                self._shared.bodies.wait(large)
                self._hold(large.outstanding_bytes)
        except SpoolError as error:
            self._fail(error)

    def _finish_large(self) -> None:
        if self._error is not None:
            raise self._error
        large = self._large
        assert large is not None
        large.finish(self._digest.intdigest())
        while not large.durable:
            self._shared.bodies.wait(large)
            if large.error is not None:
                raise large.error

    def _fail(self, error: SpoolError) -> None:
        self._error = error
        self.abort()
