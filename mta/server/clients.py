"""How many connections each client network has, counted over all workers of the machine, without asking anybody.

Each worker writes what it has into a region of a shared memory file (`mta.clients_file` tells the layout) and adds what
stands in the regions of the others. There is one writer for each word, and no lock is ever waited for: numbers may be
behind by what another worker is doing in the same microsecond.

It fails open. A worker that found no free region counts for itself alone, and so it is with a network that found no
free word in its bucket: the others do not see it.
"""

import mmap
import os
from hashlib import blake2b

from mta import record_lock
from mta.clients_file import BUCKET_BYTES, BUCKET_WORDS, GENERATION_WORD, WORD_BYTES, layout

COUNT_BITS = 24
COUNT_BYTES = COUNT_BITS // 8
COUNT_MAX = (1 << COUNT_BITS) - 1  # sixteen times as many as a worker can be allowed to have
MARK_BYTES = WORD_BYTES - COUNT_BYTES


class _Entry:
    """A network that has connections in this worker. `word` is the index of its word in the file, 0 where it has none.

    `mark` is what its word has in its high 5 bytes, `bucket` the place of its bucket in every region, in bytes.
    """

    __slots__ = ("bucket", "count", "high", "mark", "word")

    def __init__(self, mark: bytes, bucket: int, word: int) -> None:
        self.mark = mark
        self.bucket = bucket
        self.word = word
        self.high = int.from_bytes(mark, "little") << COUNT_BITS
        self.count = 0


class ClientTable:
    """One worker's share in the counting. Not for several threads; never blocks, never switches greenlets."""

    def __init__(self, fd: int) -> None:
        """`fd` is a file of `clients_file.create`. Takes the first region that nobody has and clears it: a millisecond.

        Raises `OSError`, and `IpcError` for a file of another version.
        """
        # A description of our own: the inherited one belongs to all workers, and so would its locks.
        self._fd = os.open(f"/proc/self/fd/{fd}", os.O_RDWR | os.O_CLOEXEC)
        try:
            self._layout = layout(self._fd)
            self._memory = mmap.mmap(self._fd, 0)
        except BaseException:
            os.close(self._fd)
            raise
        self._words = memoryview(self._memory).cast("Q")
        self._own: dict[bytes, _Entry] = {}
        self._others: list[tuple[int, int]] = []  # regions of the others, and where each begins
        self._generation = -1
        self._region = self._claim()

    @property
    def is_shared(self) -> bool:
        """Whether the others see what this worker has; not when all regions are taken."""
        return self._region is not None

    def add(self, network: bytes, allowed: int = 0) -> int:
        """Count one more connection of a network; returns how many it has now, in all workers.

        Those of a worker that died are not among them where the sum is over `allowed`, but may be where it is not:
        finding out takes a system call for each worker. Some microseconds; more workers that there might be cost
        nothing.
        """
        entry = self._own.get(network)
        if entry is None:
            entry = self._own[network] = self._enter(network)
        entry.count += 1
        if entry.word:
            self._words[entry.word] = entry.high | min(entry.count, COUNT_MAX)
        return entry.count + self._elsewhere(entry.mark, entry.bucket, allowed - entry.count)

    def remove(self, network: bytes) -> None:
        """Count one less, of those that this worker added; raises `KeyError` where there is none."""
        entry = self._own[network]
        entry.count -= 1
        if entry.word:
            self._words[entry.word] = entry.high | min(entry.count, COUNT_MAX) if entry.count else 0
        if not entry.count:
            del self._own[network]

    def count(self, network: bytes) -> int:
        """How many connections a network has now, in all workers."""
        entry = self._own.get(network)
        if entry is None:
            return self._elsewhere(*self._place(network), 0)
        return entry.count + self._elsewhere(entry.mark, entry.bucket, 0)

    def close(self) -> None:
        """Give the region back and let go of the file. A process that ends has no need to."""
        if self._region is not None:
            record_lock.unlock(self._fd, self._layout.regions + self._region, 1)
            record_lock.unlock(self._fd, self._region, 1)
            self._announce()
        self._words.release()
        self._memory.close()
        os.close(self._fd)

    # -----------------------------------------------------------------------------------------------------------------
    # Words

    def _place(self, network: bytes) -> tuple[bytes, int]:
        """Mark and bucket (its offset in a region, in bytes) of a network."""
        digest = blake2b(network, digest_size=8, key=self._layout.seed).digest()
        bucket = int.from_bytes(digest[MARK_BYTES:], "little") & (self._layout.buckets - 1)
        return digest[:MARK_BYTES], bucket * BUCKET_BYTES

    def _enter(self, network: bytes) -> _Entry:
        mark, bucket = self._place(network)
        word = 0
        if self._region is not None:
            first = (self._layout.offset(self._region) + bucket) // WORD_BYTES
            words = self._words[first : first + BUCKET_WORDS].tolist()
            if 0 in words:
                word = first + words.index(0)
        return _Entry(mark, bucket, word)

    def _elsewhere(self, mark: bytes, bucket: int, allowed: int) -> int:
        """What the other workers have of a network; the dead may be among them while it is no more than `allowed`."""
        if self._words[GENERATION_WORD] != self._generation:
            self._look_around()
        total = self._sum(mark, bucket)
        if total > max(allowed, 0):
            self._others = [other for other in self._others if self._is_live(other[0])]
            total = self._sum(mark, bucket)
        return total

    def _sum(self, mark: bytes, bucket: int) -> int:
        memory = self._memory
        total = 0
        for _, start in self._others:
            words = memory[start + bucket : start + bucket + BUCKET_BYTES]
            at = words.find(mark)
            while at >= 0 and at % WORD_BYTES != COUNT_BYTES:  # no mark, only bytes like it
                at = words.find(mark, at + 1)
            if at >= 0:
                total += int.from_bytes(words[at - COUNT_BYTES : at], "little")
        return total

    # -----------------------------------------------------------------------------------------------------------------
    # Regions

    def _claim(self) -> int | None:
        """The first region that nobody has, cleared and ours; None when all are taken, or memory is."""
        for region in range(self._layout.regions):
            if not record_lock.lock(self._fd, region, 1):
                continue
            try:
                # Writing takes the memory as well: a mapped hole that cannot be filled would kill us later.
                os.pwrite(self._fd, bytes(self._layout.region_bytes), self._layout.offset(region))
            except OSError:
                record_lock.unlock(self._fd, region, 1)
                return None
            record_lock.lock(self._fd, self._layout.regions + region, 1)
            self._announce()
            return region
        return None

    def _announce(self) -> None:
        """Have everybody look for regions anew. A random number, since two workers may do so at once."""
        self._words[GENERATION_WORD] = int.from_bytes(os.urandom(WORD_BYTES), "little")

    def _look_around(self) -> None:
        """Find the regions that are in use: two system calls for each up to the last one, whenever a worker came."""
        self._generation = self._words[GENERATION_WORD]  # first: who comes while we look changes it again
        self._others = []
        regions = self._layout.regions
        for region in range(regions):
            if not record_lock.is_locked(self._fd, regions + region, regions - region):
                break
            if self._is_live(region):
                self._others.append((region, self._layout.offset(region)))

    def _is_live(self, region: int) -> bool:
        """Whether another process that lives has a region."""
        return record_lock.is_locked(self._fd, self._layout.regions + region, 1)
