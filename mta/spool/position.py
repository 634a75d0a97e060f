"""The committed position of a shard: three words in a mapped file, stored by the disk thread after every sync.

Word 0 is segment << 32 | offset / 64, word 1 the messages of that segment, word 2 the messages since the shard was
claimed, word 3 the boot stamp of the machine. The position is for processes of the same boot; nothing needs it to last,
and one that another boot left behind is not believed. Word 0 is the truth and is stored last; the counts are for
statistics and may be ahead of it for a moment.
"""

import mmap
import os
from pathlib import Path

import msgspec

from mta.spool import layout
from mta.spool._disk import load

POSITION_BYTES = 64


class Position(msgspec.Struct, frozen=True, gc=False):
    """Up to where a shard may be read while its writer lives. `offset` is in bytes."""

    segment: int
    offset: int
    messages: int  # in this segment
    total: int  # since the shard was claimed


def words(segment: int, offset: int, messages: int, total: int) -> tuple[int, int, int]:
    """A position as it is stored; `offset` in bytes."""
    return segment << 32 | offset >> 6, messages, total


class PositionFile:
    """A mapped position, to write or to read. Close it when done."""

    def __init__(self, memory: mmap.mmap) -> None:
        """Take over a mapping of the file."""
        self.memory = memory

    @classmethod
    def create(cls, folder: Path, segment: int) -> "PositionFile":
        """The position of a shard that was just claimed: nothing committed, and `segment` is to come."""
        fd = os.open(folder / "position", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.pwrite(fd, bytes(POSITION_BYTES), 0)  # takes its place now: a mapped hole cannot fail well
            position = cls(mmap.mmap(fd, POSITION_BYTES))
        finally:
            os.close(fd)
        with memoryview(position.memory) as memory, memory.cast("Q") as view:
            view[0] = segment << 32
            view[3] = layout.boot_stamp()  # it is believed from here on
        return position

    @classmethod
    def open(cls, folder: Path) -> "PositionFile":
        """The position of a shard, to read; raises `FileNotFoundError` or `ValueError` where there is none yet."""
        fd = os.open(folder / "position", os.O_RDONLY | os.O_CLOEXEC)
        try:
            return cls(mmap.mmap(fd, POSITION_BYTES, access=mmap.ACCESS_READ))
        finally:
            os.close(fd)

    def read(self) -> Position | None:
        """The position now, or None when no writer of this boot has stored one."""
        if load(self.memory, 3) != layout.boot_stamp():
            return None
        location = load(self.memory, 0)
        return Position(location >> 32, (location & 0xFFFFFFFF) << 6, load(self.memory, 1), load(self.memory, 2))

    def close(self) -> None:
        """Let go of the memory. Its other users must have done so before."""
        self.memory.close()
