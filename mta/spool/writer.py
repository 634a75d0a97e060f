"""The writer of one shard: messages are gathered, written and synced in batches, and only then accepted.

One batch is on its way at a time; what is appended meanwhile is the next batch. All methods belong to one thread, and
none blocks for the disk except where it says so.
"""

import contextlib
import select
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from mta.errors import SpoolError, SpoolFailed
from mta.spool import queueid
from mta.spool._disk import DiskThread
from mta.spool.batch import Batch, Batches
from mta.spool.claim import Claim
from mta.spool.disk import Disk, translate
from mta.spool.large import LargeBodies, LargeBody
from mta.spool.record import HEADER_BYTES
from mta.spool.segment import SegmentFile, Supply

SEGMENT_BYTES = 64 * 1024 * 1024
GROWN_BYTES = 4 * 1024 * 1024  # in a segment whose file grows, before one that does not is prepared
LOOK_BYTES = 1024 * 1024  # and between looks whether it is ready
RETRY_S = 1.0  # between attempts to get going again after a failure
SUPPLY_WAIT_S = 10.0  # longest wait for the next segment where it was not ready in time


class SpoolWriter:
    """Takes messages into a shard of the spool.

    A message is accepted when `collect` has reported its batch without an error: then it is on the disk, and the queue
    manager has been told. Messages end in the order in which they were appended.
    """

    def __init__(
        self,
        root: Path,
        *,
        wake_fd: int = -1,
        segment_bytes: int = SEGMENT_BYTES,
        clock: Callable[[], float] = time.monotonic,
        make_disk: Callable[..., Disk] = DiskThread,
    ) -> None:
        """Claim a shard below `root` and open its first segment. Blocks; raises `SpoolError` when there is no shard.

        Where only the segment cannot be made (the disk is full), the writer begins unhealthy. `wake_fd` is an eventfd
        that is written after every commit (-1: none). A segment is left when it has `segment_bytes` (at most 64 MiB).
        """
        if not queueid.UNIT_BYTES <= segment_bytes <= SEGMENT_BYTES:
            raise ValueError(f"a segment of {segment_bytes} bytes")
        self._segment_bytes = segment_bytes
        self._clock = clock
        self._make_disk = make_disk
        try:
            self._claim = Claim(root)
            try:
                self._disk = make_disk(wake_fd=wake_fd, position=self._claim.position.memory)
            except OSError:
                self._claim.release()
                raise
        except OSError as error:
            raise translate(error) from error
        self.shard = self._claim.shard
        self._batches = Batches(self._disk)
        self._supply = Supply(self._claim, segment_bytes if segment_bytes > GROWN_BYTES else 0)
        self._error: SpoolError | None = None
        self._retry_at = 0.0
        self._bodies: LargeBodies | None = None
        self._segment = self._first_segment()
        self._mark = self._first_mark()  # where something is to be done about the next segment

    @property
    def bodies(self) -> LargeBodies:
        """Large bodies of this writer's messages (`mta.spool.large`). They get a disk thread of their own."""
        if self._bodies is None:
            self._bodies = LargeBodies(self._claim.root, self._make_disk())
        return self._bodies

    def next_location(self) -> int:
        """The location that the next append will return, if nothing else calls this writer in between.

        Raises `SpoolError` when an append would.
        """
        segment = self._usable_segment()
        return segment.identity.base | segment.end >> 6

    def append(self, envelope: bytes, body: Sequence[bytes], *, body_bytes: int, body_hash: int) -> int:
        """Take a message into memory, to be written with the next batch; returns its location.

        `body` is not copied and must not change until the batch has ended. `body_hash` is its xxh3_64 (intdigest).
        Never blocks for long: at worst for the next segment's name, once in 64 MiB. Raises `SpoolError` while the
        spool is unhealthy; then nothing was taken.
        """
        if sum(map(len, body)) != body_bytes:
            raise ValueError("body_bytes is not the length of the body")
        length = HEADER_BYTES + len(envelope) + body_bytes
        return self._append(envelope, body, (body_bytes, 0, body_hash), length)

    def append_large(self, envelope: bytes, body: LargeBody) -> int:
        """As `append`, for a message whose body is durable in a file of its own.

        The body belongs to the writer from now on; should the batch fail, its file is given back.
        """
        return self._append(envelope, (), body.facts(), HEADER_BYTES + len(envelope), body)

    def append_reference(self, envelope: bytes, body_bytes: int, body_file: int, body_hash: int) -> int:
        """As `append`, for a message whose body is in a file that another record names: that record is being moved."""
        return self._append(envelope, (), (body_bytes, body_file, body_hash), HEADER_BYTES + len(envelope))

    def submit(self) -> bool:
        """Start writing what was appended, unless a batch is on its way. Whether one was started."""
        return self._batches.submit(self._segment)

    def fileno(self) -> int:
        """An eventfd, readable when `collect` has something to do."""
        return self._disk.fileno()

    def collect(self) -> tuple[int, SpoolError | None] | None:
        """The end of the batch on its way: how many messages it had, and the error if it failed. None: not ended yet.

        With an error, everything appended behind the batch has failed too and is in the count.
        """
        ended = self._batches.collect()
        if ended is None:
            return None
        batch, failure = ended
        if failure:
            return self._fail(batch, failure)
        return len(batch.entries), None

    def unhealthy(self) -> SpoolError | None:
        """Why an append would be refused now, or None. Cheap, and no I/O of its own.

        After a failure this, or an append, gets things going again: at most once a second a fresh segment is prepared
        on another thread, and when that worked the spool is healthy.
        """
        if self._error is None:
            return None
        try:
            self._heal()
        except SpoolError as error:
            return error
        return None

    def commit(self) -> None:
        """Write everything appended and wait for it. Blocks; raises `SpoolError` when any of it failed."""
        while self._batches.busy() or self.submit():
            ended = self._wait()
            if ended[1] is not None:
                raise ended[1]

    def close(self) -> None:
        """Write and sync what was appended, mark the end of the segment, give the shard back. Blocks.

        Raises `SpoolError` when the last messages could not be written; everything is closed even so.
        """
        try:
            self.commit()
        finally:
            self._batches.close()
            if self._bodies is not None:
                self._bodies.close()
            self._leave_last_segment()
            self._supply.close()
            self._claim.release()

    def _first_segment(self) -> SegmentFile:
        try:
            return SegmentFile.create(self._claim)
        except OSError as error:
            self._become_unhealthy(translate(error))
            return SegmentFile.absent(self._claim)

    def _append(
        self,
        envelope: bytes,
        body: Sequence[bytes],
        facts: tuple[int, int, int],
        length: int,
        large: LargeBody | None = None,
    ) -> int:
        segment = self._usable_segment()
        offset = segment.end
        segment.end = offset + (length + 63 & -64)
        self._batches.gathered.append((envelope, body, facts, length, large))
        return segment.identity.base | offset >> 6

    def _usable_segment(self) -> SegmentFile:
        """The segment that takes the next message."""
        if self._error is not None:
            self._heal()
        if self._segment.end >= self._mark:
            self._pass_mark()
        return self._segment

    def _first_mark(self) -> int:
        """Half of a segment's blocks; less where it has none yet, since there should be one that has them soon."""
        return GROWN_BYTES if self._segment.grows and self._segment_bytes > GROWN_BYTES else self._segment_bytes // 2

    def _pass_mark(self) -> None:
        """Half of the segment is used: have the next one prepared. All of it is: go there. Sooner where it grows."""
        if self._segment.grows and self._supply.is_ready():
            self._switch_to_next()
            return
        self._supply.start()
        self._mark = self._segment_bytes
        if self._segment.end < self._mark:
            if self._segment.grows:
                self._mark = min(self._mark, self._segment.end + LOOK_BYTES)
            return
        self._supply.wait(SUPPLY_WAIT_S)
        self._switch_to_next()

    def _switch_to_next(self) -> None:
        segment = self._take_prepared()
        if segment is None:
            self._become_unhealthy(SpoolFailed("the disk does not answer: no next segment in time"))
            raise self._error_again()
        self._switch(segment)

    def _take_prepared(self) -> SegmentFile | None:
        """The next segment if it is ready; raises `SpoolError` when preparing it has failed."""
        try:
            return self._supply.take()
        except OSError as error:
            self._become_unhealthy(translate(error))
            raise self._error_again() from error

    def _switch(self, segment: SegmentFile) -> None:
        """Append to another segment from now on."""
        left, self._segment = self._segment, segment
        self._mark = self._first_mark()
        self._batches.leave(left)

    def _fail(self, failed: Batch, failure: int) -> tuple[int, SpoolError]:
        """A batch is not on the disk: it and everything behind it is given up, and so are their segments."""
        error = translate(OSError(failure, ""))
        batches = [failed, *self._batches.drop(self._segment)]
        for batch in batches:
            batch.refuse()
            self._supply.abandon(batch.segment)
        self._become_unhealthy(error)
        return sum(len(batch.entries) for batch in batches), error

    def _become_unhealthy(self, error: SpoolError) -> None:
        self._error = error
        self._retry_at = self._clock() + RETRY_S

    def _error_again(self) -> SpoolError:
        assert self._error is not None
        return self._error.with_traceback(None)

    def _heal(self) -> None:
        """Go on with a fresh segment when one is ready; raises the error while none is."""
        segment = self._take_prepared()
        if segment is None:
            if not self._supply.busy() and self._clock() >= self._retry_at:
                self._supply.start()
            raise self._error_again()
        self._error = None
        self._switch(segment)

    def _wait(self) -> tuple[int, SpoolError | None]:
        """Block until the batch on its way has ended."""
        poll = select.poll()
        poll.register(self._disk.fileno(), select.POLLIN)
        while True:
            poll.poll()
            ended = self.collect()
            if ended is not None:
                return ended

    def _leave_last_segment(self) -> None:
        """Close the current segment in an orderly way."""
        if self._segment.committed:
            self._supply.abandon(self._segment)
        elif not self._segment.abandoned:
            with contextlib.suppress(OSError):  # an empty segment that stays behind does no harm
                self._segment.discard(self._claim.root)
