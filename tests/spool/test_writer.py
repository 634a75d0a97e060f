"""The writer: batches, order, rotation, the position, closing."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from spooltools import Clock, FakeDisk, append, body_of, envelope_of, read_back

from mta.errors import SpoolError
from mta.spool import layout, queueid, reader
from mta.spool.writer import SpoolWriter

SMALL_SEGMENT = 8192


def fake_writer(root: Path, **options: object) -> tuple[SpoolWriter, FakeDisk]:
    """A writer over a disk that can be held."""
    made: list[FakeDisk] = []

    def make(**arguments: object) -> FakeDisk:
        made.append(FakeDisk(**arguments))
        return made[-1]

    return SpoolWriter(root, make_disk=make, clock=Clock(), **options), made[0]


def test_what_is_committed_is_read_back(tmp_path: Path) -> None:
    writer = SpoolWriter(tmp_path)
    locations = [append(writer, number, size) for number, size in enumerate([0, 1, 63, 64, 700, 4096, 300_000])]
    writer.commit()
    messages = reader.MessageReader(tmp_path)
    for number, location in enumerate(locations):
        record, body = messages.message(location)
        assert record.location == location
        assert record.ordinal == number
        assert record.envelope == envelope_of(number)
        assert body == body_of(number, record.body_bytes)
    messages.close()
    found = read_back(tmp_path)
    assert found.numbers == list(range(7))
    assert found.locations == locations
    writer.close()
    assert read_back(tmp_path).numbers == list(range(7))


def test_next_location_is_where_the_message_goes(tmp_path: Path) -> None:
    writer = SpoolWriter(tmp_path, segment_bytes=SMALL_SEGMENT)
    for number in range(100):
        expected = writer.next_location()
        assert append(writer, number, number * 37 % 3000) == expected
        if number % 7 == 0:
            writer.commit()
    writer.commit()
    assert read_back(tmp_path).numbers == list(range(100))
    assert len(reader.segments(tmp_path, 0)) > 5
    writer.close()
    found = read_back(tmp_path)
    assert found.numbers == list(range(100))
    assert not found.problems
    assert not found.torn


def test_nothing_is_readable_before_its_sync(tmp_path: Path) -> None:
    writer, _ = fake_writer(tmp_path)
    assert not writer.submit()
    append(writer, 1)
    assert read_back(tmp_path).numbers == []
    assert writer.submit()
    assert read_back(tmp_path).numbers == [1], "published by the disk thread itself"
    assert writer.collect() == (1, None)
    assert writer.collect() is None
    writer.close()


def test_one_batch_at_a_time_and_the_next_one_gathers(tmp_path: Path) -> None:
    writer, disk = fake_writer(tmp_path)
    disk.held = True
    append(writer, 0)
    assert writer.submit()
    for number in range(1, 5):
        append(writer, number)
        assert not writer.submit()
    assert writer.collect() is None
    disk.release()
    assert writer.collect() == (1, None)
    assert writer.submit()
    assert writer.collect() == (4, None)
    assert disk.jobs == 2
    assert read_back(tmp_path).numbers == [0, 1, 2, 3, 4]
    writer.close()


def test_wake_and_position_follow_each_sync(tmp_path: Path) -> None:
    wake_fd = os.eventfd(0, os.EFD_NONBLOCK)
    writer = SpoolWriter(tmp_path, wake_fd=wake_fd)
    follower = reader.ShardReader(tmp_path, writer.shard)
    start = follower.committed()
    assert start is not None
    assert (start.offset, start.messages, start.total) == (0, 0, 0)
    append(writer, 0)
    append(writer, 1)
    writer.commit()
    assert os.eventfd_read(wake_fd) == 1
    after = follower.committed()
    assert after is not None
    assert queueid.pack(writer.shard, after.segment, after.offset) == writer.next_location()
    assert (after.messages, after.total) == (2, 2)
    follower.close()
    writer.close()


def test_the_completion_wakes_the_owner(tmp_path: Path, readable: Callable[[int], None]) -> None:
    writer = SpoolWriter(tmp_path)
    append(writer, 0)
    writer.submit()
    readable(writer.fileno())
    assert writer.collect() == (1, None)
    writer.close()


def test_batches_of_several_segments_stay_in_order(tmp_path: Path) -> None:
    """While one batch is on its way, so much is appended that it fills further segments."""
    writer, disk = fake_writer(tmp_path, segment_bytes=2048)
    disk.held = True
    append(writer, 0)
    writer.submit()
    for number in range(1, 20):
        append(writer, number)
    assert len(reader.segments(tmp_path, 0)) > 3
    disk.release()
    ended = [writer.collect()]
    while writer.submit():
        ended.append(writer.collect())
    assert None not in ended
    assert sum(count for count, _ in ended) == 20
    assert {error for _, error in ended} == {None}
    assert read_back(tmp_path).numbers == list(range(20))
    writer.close()
    found = read_back(tmp_path)
    assert found.numbers == list(range(20))
    assert not found.torn
    assert not found.problems


def test_left_segments_end_with_a_marker(tmp_path: Path) -> None:
    writer = SpoolWriter(tmp_path, segment_bytes=2048)
    for number in range(20):
        append(writer, number)
        writer.commit()
    writer.close()
    numbers = reader.segments(tmp_path, 0)
    assert len(numbers) > 4
    for number in numbers:
        segment = reader.Segment.open(tmp_path, 0, number)
        records = list(segment.records())
        assert segment.sealed
        assert segment.end == records[-1].offset + records[-1].length
        segment.close()


def test_writers_take_different_shards(tmp_path: Path) -> None:
    writers = [SpoolWriter(tmp_path) for _ in range(3)]
    assert [writer.shard for writer in writers] == [0, 1, 2]
    assert reader.shards(tmp_path) == [0, 1, 2]
    assert [reader.is_claimed(tmp_path, shard) for shard in range(4)] == [True, True, True, False]
    for number, writer in enumerate(writers):
        append(writer, number)
        writer.commit()
    writers[1].close()
    assert not reader.is_claimed(tmp_path, 1)
    again = SpoolWriter(tmp_path)
    assert again.shard == 1
    append(again, 3)
    again.commit()
    assert read_back(tmp_path).numbers == [0, 1, 3, 2]
    for writer in (writers[0], again, writers[2]):
        writer.close()


def test_looking_for_a_writer_never_takes_a_shard_from_one(tmp_path: Path) -> None:
    writer = SpoolWriter(tmp_path)
    writer.close()
    for _ in range(100):
        assert not reader.is_claimed(tmp_path, 0)
    writer = SpoolWriter(tmp_path)
    assert writer.shard == 0
    for _ in range(100):
        assert reader.is_claimed(tmp_path, 0)
    writer.close()


def test_segment_numbers_are_never_used_twice(tmp_path: Path) -> None:
    """Not even when every file has been freed and the clock says the same second."""
    seen: set[int] = set()
    for _ in range(5):
        writer = SpoolWriter(tmp_path, segment_bytes=1024)
        for number in range(6):
            append(writer, number)
            writer.commit()
        writer.close()
        numbers = reader.segments(tmp_path, 0)
        assert seen.isdisjoint(numbers)
        seen.update(numbers)
        for name in layout.segment_names(layout.shard_folder(tmp_path, 0)):
            (layout.shard_folder(tmp_path, 0) / name.file).unlink()


def test_an_unused_writer_leaves_no_segment(tmp_path: Path) -> None:
    SpoolWriter(tmp_path).close()
    assert reader.segments(tmp_path, 0) == []
    assert read_back(tmp_path).numbers == []


def test_close_writes_what_was_appended(tmp_path: Path) -> None:
    writer = SpoolWriter(tmp_path)
    append(writer, 0)
    writer.submit()
    append(writer, 1)
    writer.close()
    assert read_back(tmp_path).numbers == [0, 1]


def test_a_wrong_length_is_refused(tmp_path: Path) -> None:
    writer = SpoolWriter(tmp_path)
    with pytest.raises(ValueError, match="length"):
        writer.append(b"", [b"abc"], body_bytes=4, body_hash=0)
    writer.close()


def test_a_path_that_cannot_be_a_spool(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(SpoolError, match="ENOTDIR"):
        SpoolWriter(tmp_path / "file" / "spool")


@pytest.mark.parametrize("size", [0, 63, (64 << 20) + 1])
def test_segment_sizes_have_bounds(tmp_path: Path, size: int) -> None:
    with pytest.raises(ValueError, match="segment"):
        SpoolWriter(tmp_path, segment_bytes=size)
