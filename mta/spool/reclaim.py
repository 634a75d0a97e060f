"""Giving space back: segments and large bodies in which nothing lives any more. For the queue manager only.

What "lives" means only the journal of outcomes can tell; the callers here have synced it first.
"""

import os
from collections.abc import Iterable
from pathlib import Path

import msgspec

from mta import envelope
from mta.errors import SpoolError
from mta.spool import layout
from mta.spool.claim import is_locked
from mta.spool.reader import MessageReader, body_path
from mta.spool.writer import SpoolWriter

RESERVE_SEGMENTS = 8  # free segment files kept to be written again
RESERVE_BODY_BYTES = 512 * 1024 * 1024  # free body files kept, together
LOOK_EVERY = 64  # bodies deleted, once the reserve is full, until the next look whether it still is


def free_segment(root: Path, shard: int, number: int, *, reserve: int = RESERVE_SEGMENTS) -> None:
    """Give back a segment that its writer has left and in which no message lives. It will not reappear.

    Its file is kept to be written again while fewer than `reserve` are. Harmless when the segment is gone already.
    Blocks for a disk write; raises `SpoolError`.
    """
    folder = layout.shard_folder(root, shard)
    try:
        for name in layout.segment_names(folder):
            if name.number == number:
                if len(layout.free_segments(root)) < reserve:
                    os.rename(folder / name.file, layout.free_folder(root) / layout.free_segment_name())
                else:
                    os.unlink(folder / name.file)
                layout.sync_folder(folder)
    except OSError as error:
        raise SpoolError(f"cannot free segment {number:08x} of shard {shard}: {error.strerror}") from error


class BodyReserve:
    """Gives back large bodies, and keeps their files to be written again up to a number of bytes."""

    def __init__(self, root: Path, *, reserve_bytes: int = RESERVE_BODY_BYTES, look_every: int = LOOK_EVERY) -> None:
        """Keep up to `reserve_bytes` in free files; when there are so many, look again every `look_every` bodies."""
        self._look_every = look_every
        self._root = root
        self._reserve_bytes = reserve_bytes
        self._left_bytes = 0  # that may be kept before the next look at what is kept now
        self._skipped = look_every  # bodies freed since the last look

    def free(self, body_file: int) -> None:
        """Give back the file of a body whose message has ended. Harmless when it is gone. Raises `SpoolError`.

        Not synced: should the power fail, the file is back as one that no living message names.
        """
        try:
            path = layout.bodies_folder(self._root) / layout.body_name(body_file)
            size = path.stat().st_size
            self._skipped += 1
            if size > self._left_bytes and self._skipped > self._look_every:
                self._left_bytes = self._reserve_bytes - self._kept_bytes()
                self._skipped = 0
            if size > self._left_bytes:
                path.unlink()
            else:
                self._left_bytes -= size
                path.rename(layout.free_folder(self._root) / layout.free_body_name(body_file, layout.boot_stamp()))
        except FileNotFoundError:
            return
        except OSError as error:
            raise SpoolError(f"cannot free body {body_file:016x}: {error.strerror}") from error

    def _kept_bytes(self) -> int:
        """Bytes in free files now; writers take some all the time."""
        total = 0
        with os.scandir(layout.free_folder(self._root)) as entries:
            for entry in entries:
                if entry.name.endswith(".body"):
                    try:
                        total += entry.stat().st_size
                    except FileNotFoundError:  # a writer took it
                        continue
        return total


def unwritten_bodies(root: Path) -> list[int]:
    """Large bodies that no writer is working on. To be asked before the shards are read: see `restore_bodies`."""
    found = []
    for number in layout.body_numbers(root):
        if not _is_locked(layout.bodies_folder(root) / layout.body_name(number)):
            found.append(number)
    return found


def restore_bodies(root: Path, unwritten: Iterable[int], living: set[int], reserve: BodyReserve) -> int:
    """At the start of the queue manager: put the files of large bodies in order; returns how many were given back.

    First `unwritten_bodies`, then read all shards for the bodies that living messages name (`living`), then this: a
    body that had no writer before the reading, and no record at its end, is an orphan. Free files of an earlier boot
    get back the name that `living` says they should have, and are then free to be taken. Raises `SpoolError`.
    """
    try:
        stamp = layout.boot_stamp()
        for number, boot in layout.free_bodies(root):
            if boot == stamp:
                continue
            old = layout.free_folder(root) / layout.free_body_name(number, boot)
            if number in living:
                old.rename(layout.bodies_folder(root) / layout.body_name(number))
            else:
                old.rename(layout.free_folder(root) / layout.free_body_name(number, stamp))
        for name in layout.new_bodies(root):
            path = layout.free_folder(root) / name
            if not _is_locked(path):
                path.unlink(missing_ok=True)
    except OSError as error:
        raise SpoolError(f"cannot put the bodies in order: {error.strerror}") from error
    orphans = [number for number in unwritten if number not in living]
    for number in orphans:
        reserve.free(number)
    return len(orphans)


def move(reader: MessageReader, writer: SpoolWriter, location: int) -> int:
    """Append a copy of a living message to `writer`, so that its segment can go; returns the new location.

    The message keeps its queue id. A large body is not copied: both records name its file. The caller commits the
    writer, then notes the new location in its journal, then forgets the old one; a crash in between leaves the message
    twice, with the same queue id. Blocks for the disk; raises `SpoolError`.
    """
    record, body = reader.message(location)
    old = envelope.decode(record.envelope)
    new = envelope.encode(msgspec.structs.replace(old, queue_id=old.queue_id or location))
    if isinstance(body, bytes):
        return writer.append(new, [body], body_bytes=record.body_bytes, body_hash=record.body_hash)
    return writer.append_reference(new, record.body_bytes, record.body_file, record.body_hash)


def body_exists(root: Path, body_file: int) -> bool:
    """Whether the file of a large body is there."""
    return body_path(root, body_file).exists()


def _is_locked(path: Path) -> bool:
    """Whether a writer holds the file; one that is gone counts as held."""
    try:
        return is_locked(path)
    except FileNotFoundError:
        return True
