"""How far a shard may be read, whatever state its writer is in; recycled segments; claims."""

import os
import shutil
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st
from spooltools import WRITTEN_NOT_SYNCED, FakeDisk, append, body_of, envelope_of, read_back

from mta.errors import SpoolCorrupt, SpoolError, SpoolFailed
from mta.spool import layout, queueid, reader, reclaim
from mta.spool.position import PositionFile
from mta.spool.reader import Readable, ShardReader
from mta.spool.recovery import AHEAD_BYTES, Segment
from mta.spool.writer import SpoolWriter


def test_a_spool_that_is_not_there(tmp_path: Path) -> None:
    assert reader.shards(tmp_path / "none") == []
    assert reader.segments(tmp_path / "none", 0) == []
    assert not reader.is_claimed(tmp_path / "none", 0)
    follower = ShardReader(tmp_path / "none", 0)
    assert follower.committed() is None
    assert follower.readable() == []
    follower.close()


def test_readable_while_the_writer_lives_and_after(tmp_path: Path) -> None:
    writer = SpoolWriter(tmp_path, segment_bytes=2048)
    follower = ShardReader(tmp_path, 0)
    (first,) = reader.segments(tmp_path, 0)
    assert follower.readable() == [Readable(first, 0)]
    append(writer, 0)
    writer.commit()
    assert follower.readable() == [Readable(first, 832)]
    while writer.next_location() >> 20 & 0x7FFFFFFF == first:
        append(writer, 1)
    writer.commit()
    append(writer, 2)
    writer.commit()
    second = first + 1
    assert follower.readable() == [Readable(first, None), Readable(second, 832)]
    writer.close()
    assert follower.readable() == [Readable(first, None), Readable(second, 832)]
    follower.close()


def test_a_segment_prepared_ahead_is_not_readable(tmp_path: Path) -> None:
    writer = SpoolWriter(tmp_path, segment_bytes=2048)
    for number in range(2):
        append(writer, number)
        writer.commit()
    writer._supply.start()
    writer._supply.wait(10)
    assert len(reader.segments(tmp_path, 0)) == 2
    follower = ShardReader(tmp_path, 0)
    assert len(follower.readable()) == 1
    follower.close()
    writer.close()
    assert len(reader.segments(tmp_path, 0)) == 1


def test_a_successor_does_not_hide_what_a_dead_writer_left(tmp_path: Path) -> None:
    """The dead one's last segment is read to its end as soon as somebody else has the shard."""
    dead = SpoolWriter(tmp_path, segment_bytes=2048)
    for number in range(5):
        append(dead, number)
        dead.commit()
    copy = tmp_path / "copy"
    shutil.copytree(layout.shards_folder(tmp_path), copy / "shards")
    assert read_back(copy).numbers == [0, 1, 2, 3, 4]
    successor = SpoolWriter(copy)
    assert successor.shard == 0
    assert read_back(copy).numbers == [0, 1, 2, 3, 4]
    append(successor, 5)
    assert read_back(copy).numbers == [0, 1, 2, 3, 4]
    successor.commit()
    assert read_back(copy).numbers == [0, 1, 2, 3, 4, 5]
    successor.close()
    dead.close()


@pytest.mark.parametrize("committed", [0, 2])
def test_what_a_dead_writer_had_not_committed_stays_away(tmp_path: Path, committed: int) -> None:
    """It was refused (452), or never answered: its sender tries again. So before as after somebody takes the shard."""
    disks: list[FakeDisk] = []

    def make_disk(**arguments: object) -> FakeDisk:
        disks.append(FakeDisk(**arguments))
        return disks[-1]

    dead = SpoolWriter(tmp_path, segment_bytes=2048, make_disk=make_disk)
    for number in range(committed):
        append(dead, number)
    dead.commit()
    for number in range(10, 20):
        append(dead, number)
    disks[0].failures = [WRITTEN_NOT_SYNCED]
    dead.submit()  # and then its process is killed
    copy = tmp_path / "copy"
    shutil.copytree(layout.shards_folder(tmp_path), copy / "shards")
    assert len(reader.segments(copy, 0)) > 3
    assert read_back(copy).numbers == list(range(committed))
    successor = SpoolWriter(copy)
    append(successor, 20)
    successor.commit()
    found = read_back(copy)
    assert found.numbers == [*range(committed), 20]
    assert not found.torn
    assert not found.problems
    successor.close()
    with pytest.raises(SpoolFailed):
        dead.close()


def test_a_position_of_another_boot_is_not_believed(tmp_path: Path) -> None:
    writer = SpoolWriter(tmp_path)
    append(writer, 0)
    writer.commit()
    path = layout.shard_folder(tmp_path, 0) / "position"
    words = bytearray(path.read_bytes())
    words[24] ^= 1
    path.write_bytes(words)
    follower = ShardReader(tmp_path, 0)
    assert follower.committed() is None
    assert follower.readable() == []
    writer.close()
    assert [each.stop for each in follower.readable()] == [None]
    follower.close()


def test_a_position_in_the_making(tmp_path: Path) -> None:
    folder = layout.shard_folder(tmp_path, 0)
    folder.mkdir(parents=True)
    (folder / "position").write_bytes(b"")
    follower = ShardReader(tmp_path, 0)
    assert follower.committed() is None
    PositionFile.create(folder, 7).close()
    position = follower.committed()
    assert position is not None
    assert (position.segment, position.offset) == (7, 0)
    follower.close()


def test_recycled_segments_show_nothing_of_their_past(tmp_path: Path) -> None:
    writer = SpoolWriter(tmp_path)
    for number in range(50):
        append(writer, number, 5000)
    writer.close()
    (old,) = reader.segments(tmp_path, 0)
    folder = layout.shard_folder(tmp_path, 0)
    inode = os.stat(folder / layout.segment_names(folder)[0].file).st_ino
    reclaim.free_segment(tmp_path, 0, old)
    assert reader.segments(tmp_path, 0) == []
    assert len(layout.free_segments(tmp_path)) == 1
    writer = SpoolWriter(tmp_path)
    (name,) = layout.segment_names(folder)
    assert name.number > old
    assert os.stat(folder / name.file).st_ino == inode
    assert layout.free_segments(tmp_path) == []
    assert read_back(tmp_path).numbers == []
    append(writer, 100)
    writer.commit()
    assert read_back(tmp_path).numbers == [100]
    writer.close()
    found = read_back(tmp_path)
    assert found.numbers == [100]
    assert not found.torn


def test_an_unused_recycled_segment_goes_back(tmp_path: Path) -> None:
    writer = SpoolWriter(tmp_path)
    append(writer, 0)
    writer.close()
    reclaim.free_segment(tmp_path, 0, reader.segments(tmp_path, 0)[0])
    SpoolWriter(tmp_path).close()
    assert len(layout.free_segments(tmp_path)) == 1
    assert reader.segments(tmp_path, 0) == []


def test_an_old_message_is_not_read_from_a_recycled_file(tmp_path: Path) -> None:
    writer = SpoolWriter(tmp_path)
    location = append(writer, 0)
    writer.close()
    messages = reader.MessageReader(tmp_path)
    messages.record(location)
    reclaim.free_segment(tmp_path, 0, reader.segments(tmp_path, 0)[0])
    writer = SpoolWriter(tmp_path)
    append(writer, 1)
    writer.commit()
    with pytest.raises(SpoolCorrupt, match="no message of this segment"):
        messages.message(location)
    messages.close()
    with pytest.raises(SpoolError, match="no segment"):
        messages.message(location)
    writer.close()


def test_a_message_reader_keeps_few_segments_open(tmp_path: Path) -> None:
    writer = SpoolWriter(tmp_path, segment_bytes=1024)
    locations = [append(writer, number) for number in range(20)]
    writer.commit()
    messages = reader.MessageReader(tmp_path, open_segments=3)
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(2):
        for number, location in enumerate(locations):
            assert messages.message(location)[1] == body_of(number)
    assert len(os.listdir("/proc/self/fd")) == before + 3
    messages.close()
    writer.close()


@pytest.mark.parametrize("offset", [64, 1 << 20])
def test_a_location_where_nothing_is(tmp_path: Path, offset: int) -> None:
    writer = SpoolWriter(tmp_path)
    location = append(writer, 0)
    writer.commit()
    messages = reader.MessageReader(tmp_path)
    with pytest.raises(SpoolCorrupt, match="no message"):
        messages.message(location + offset // 64)
    messages.close()
    writer.close()


class CountingSegment(Segment):
    """Counts its reads of the disk."""

    reads = 0

    def pread(self, size: int, offset: int) -> bytes:
        self.reads += 1
        return super().pread(size, offset)


def test_messages_in_their_order_share_reads(tmp_path: Path) -> None:
    writer = SpoolWriter(tmp_path)
    offsets = [queueid.unpack(append(writer, number, 4000))[2] for number in range(100)]
    writer.close()
    (number,) = reader.segments(tmp_path, 0)
    segment = CountingSegment.open(tmp_path, 0, number)
    assert isinstance(segment, CountingSegment)
    for index, offset in enumerate(offsets):
        assert segment.message(offset)[1] == body_of(index, 4000)
    assert segment.reads < 20
    segment.close()


@given(st.lists(st.integers(0, 5 * AHEAD_BYTES // 2), min_size=1, max_size=12), st.randoms(use_true_random=False))
def test_messages_in_any_order_are_whole(sizes: list[int], random: Random) -> None:
    """The sizes reach beyond what is read at once, and beyond what is read ahead."""
    with TemporaryDirectory() as folder:
        writer = SpoolWriter(Path(folder), segment_bytes=8388608)
        locations = [append(writer, number, size) for number, size in enumerate(sizes)]
        writer.close()
        messages = reader.MessageReader(Path(folder))
        order = [random.randrange(len(sizes)) for _ in range(10)]
        order += [number for number in range(len(sizes)) for _ in range(random.randrange(1, 3))]
        for number in order:
            record, body = messages.message(locations[number])
            assert (record.envelope, body) == (envelope_of(number), body_of(number, sizes[number]))
        messages.close()


@pytest.mark.parametrize("there_bytes", [0, 10, 64, 100, 104, 105, 700])
def test_what_was_read_ahead_before_it_was_whole_is_read_again(tmp_path: Path, there_bytes: int) -> None:
    """The writer has put down a part of the second message when the first is read."""
    writer = SpoolWriter(tmp_path)
    first, second = append(writer, 0), append(writer, 1)
    writer.close()
    (name,) = layout.segment_names(layout.shard_folder(tmp_path, 0))
    path = layout.shard_folder(tmp_path, 0) / name.file
    whole = path.read_bytes()
    at = queueid.unpack(second)[2] + there_bytes
    path.write_bytes(whole[:at] + bytes(len(whole) - at))
    messages = reader.MessageReader(tmp_path)
    assert messages.message(first)[1] == body_of(0)
    with path.open("r+b") as file:  # the same file, as the writer's would be
        file.write(whole)
    assert messages.message(second)[1] == body_of(1)
    messages.close()
