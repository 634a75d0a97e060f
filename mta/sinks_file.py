"""The memory file in which the queue manager says which transports have all the mail they may have waiting.

The supervisor makes it once; it outlasts reloads. The queue manager writes, any number of SMTP workers read, and nobody
waits. Little-endian words of 8 bytes, each stored whole:

    0     magic
    8     generation: odd while the rest is being written, and another one after each change
    16    how many transports are full
    24    for each, the hash of its name (XXH3)

A reader that finds the same even generation before and after has read one state; otherwise it goes on with the last one
it had. Names stand as hashes so that workers of an older configuration, which live on for a while after a reload, find
theirs. When the queue manager is gone the supervisor clears the file: then nothing is full.
"""

import mmap
import os
from collections.abc import Collection, Mapping

from xxhash import xxh3_64_intdigest

from mta.errors import IpcError

MAGIC = int.from_bytes(b"mta-snk1", "little")
SLOTS = 509  # one page; further transports that are full are not told of
BYTES = 4096

_GENERATION, _COUNT, _FIRST = 1, 2, 3  # words


def create() -> int:
    """A new memory file in which nothing is full; returns its descriptor. Raises `OSError`."""
    fd = os.memfd_create("mta-sinks", os.MFD_CLOEXEC)
    os.ftruncate(fd, BYTES)
    os.pwrite(fd, MAGIC.to_bytes(8, "little"), 0)
    return fd


def _words(fd: int, access: int) -> memoryview:
    """The file as numbers; raises `IpcError` for any other than `create` makes."""
    try:
        words = memoryview(mmap.mmap(fd, BYTES, access=access)).cast("Q")
    except (OSError, ValueError) as error:
        raise IpcError(f"the memory file of full transports cannot be used: {error}") from None
    if words[0] != MAGIC:
        raise IpcError("the memory file of full transports is of another version; restart the supervisor")
    return words


def _hash(name: str) -> int:
    return xxh3_64_intdigest(name.encode())


class Writer:
    """Says which transports are full."""

    def __init__(self, fd: int) -> None:
        """`fd` can be closed afterwards. Raises `IpcError`."""
        self._words = _words(fd, mmap.ACCESS_WRITE)
        self._generation = -1  # that of our last state

    def write(self, names: Collection[str]) -> None:
        """These are full from now on, and no others. Does not block."""
        words = self._words
        hashes = sorted(map(_hash, names))[:SLOTS]
        generation = words[_GENERATION] | 1
        words[_GENERATION] = generation
        words[_COUNT] = len(hashes)
        for index, number in enumerate(hashes):
            words[_FIRST + index] = number
        self._generation = (generation + 1) % (1 << 64)
        words[_GENERATION] = self._generation

    def is_current(self) -> bool:
        """Whether nobody has written since we did."""
        return self._words[_GENERATION] == self._generation


class Reader:
    """One worker's view of the file. No system calls."""

    def __init__(self, fd: int, names: Collection[str]) -> None:
        """`names` are the transports that may be asked for; `fd` can be closed afterwards. Raises `IpcError`."""
        self._words = _words(fd, mmap.ACCESS_READ)
        self._names: Mapping[int, str] = {_hash(name): name for name in names}
        self._generation = -1
        self._full: frozenset[str] = frozenset()

    def full(self) -> frozenset[str]:
        """The transports that are full now."""
        generation = self._words[_GENERATION]
        if generation != self._generation and not generation & 1:
            self._look(generation)
        return self._full

    def _look(self, generation: int) -> None:
        words = self._words
        hashes = words[_FIRST : _FIRST + min(words[_COUNT], SLOTS)].tolist()
        if words[_GENERATION] == generation:
            self._full = frozenset(self._names[number] for number in hashes if number in self._names)
            self._generation = generation
