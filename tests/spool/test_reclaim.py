"""Giving space back: segments, bodies, orphans, survivors that move."""

from collections.abc import Callable
from pathlib import Path

import pytest
from spooltools import append, body_of, envelope_of
from xxhash import xxh3_64_intdigest

from mta import envelope
from mta.envelope import Envelope
from mta.spool import layout, reader, reclaim
from mta.spool.large import LargeBody
from mta.spool.writer import SpoolWriter

Readability = Callable[[int], None]
BODY = b"large " * 1000


def store_body(writer: SpoolWriter, readable: Readability) -> LargeBody:
    """A durable body."""
    body = writer.bodies.open()
    body.write([BODY])
    body.finish(xxh3_64_intdigest(BODY))
    while not body.durable:
        readable(writer.bodies.fileno())
        writer.bodies.collect()
    return body


def make_segments(root: Path, count: int) -> list[int]:
    """A shard with so many segments that nobody writes to."""
    writer = SpoolWriter(root, segment_bytes=512)
    for number in range(count):
        append(writer, number)
        writer.commit()
    writer.close()
    return reader.segments(root, 0)


def test_the_reserve_of_segments_is_bounded(tmp_path: Path) -> None:
    numbers = make_segments(tmp_path, 6)
    assert len(numbers) == 6
    for number in numbers:
        reclaim.free_segment(tmp_path, 0, number, reserve=4)
    assert reader.segments(tmp_path, 0) == []
    assert len(layout.free_segments(tmp_path)) == 4
    reclaim.free_segment(tmp_path, 0, numbers[0])
    reclaim.free_segment(tmp_path, 7, 1)


def test_the_reserve_of_bodies_is_bounded(tmp_path: Path, readable: Readability) -> None:
    writer = SpoolWriter(tmp_path)
    bodies = [store_body(writer, readable) for _ in range(5)]
    reserve = reclaim.BodyReserve(tmp_path, reserve_bytes=3 * len(BODY) + 10, look_every=1)
    for body in bodies:
        body.close()
        reserve.free(body.number)
        reserve.free(body.number)
    assert layout.body_numbers(tmp_path) == []
    assert len(layout.free_bodies(tmp_path)) == 3
    taken = writer.bodies.open()
    taken.write([BODY])
    taken.finish(0)
    while not taken.durable:
        readable(writer.bodies.fileno())
        writer.bodies.collect()
    taken.close()
    reserve.free(taken.number)
    assert len(layout.free_bodies(tmp_path)) == 3, "what writers took makes room again"
    writer.close()


def test_orphans_are_found_and_others_left_alone(tmp_path: Path, readable: Readability) -> None:
    writer = SpoolWriter(tmp_path)
    named = store_body(writer, readable)
    writer.append_large(b"", named)
    writer.commit()
    orphan = store_body(writer, readable)
    orphan.close()  # as the kernel does when its process is killed
    being_written = store_body(writer, readable)
    unwritten = reclaim.unwritten_bodies(tmp_path)
    assert set(unwritten) == {named.number, orphan.number}
    (layout.free_folder(tmp_path) / layout.new_body_name(77)).write_bytes(b"")
    reserve = reclaim.BodyReserve(tmp_path)
    assert reclaim.restore_bodies(tmp_path, unwritten, {named.number}, reserve) == 1
    assert set(layout.body_numbers(tmp_path)) == {named.number, being_written.number}
    assert [number for number, _ in layout.free_bodies(tmp_path)] == [orphan.number]
    assert layout.new_bodies(tmp_path) == []
    being_written.abort()
    writer.close()


def test_names_of_an_earlier_boot_are_put_right(tmp_path: Path, readable: Readability) -> None:
    writer = SpoolWriter(tmp_path)
    living, dead = store_body(writer, readable), store_body(writer, readable)
    for body in (living, dead):
        body.close()
        path = layout.bodies_folder(tmp_path) / layout.body_name(body.number)
        path.rename(layout.free_folder(tmp_path) / layout.free_body_name(body.number, 1))
    reclaim.restore_bodies(tmp_path, [], {living.number}, reclaim.BodyReserve(tmp_path))
    assert layout.body_numbers(tmp_path) == [living.number]
    assert layout.free_bodies(tmp_path) == [(dead.number, layout.boot_stamp())]
    writer.close()


@pytest.mark.parametrize("large", [False, True])
def test_survivors_keep_their_id_when_they_move(tmp_path: Path, large: bool, readable: Readability) -> None:
    writer = SpoolWriter(tmp_path)
    original = Envelope(b"from@example.org", (b"to@example.net",), 12.5)
    if large:
        location = writer.append_large(envelope.encode(original), store_body(writer, readable))
    else:
        location = writer.append(
            envelope.encode(original), [BODY], body_bytes=len(BODY), body_hash=xxh3_64_intdigest(BODY)
        )
    writer.close()
    (old_segment,) = reader.segments(tmp_path, 0)
    mover = SpoolWriter(tmp_path)
    messages = reader.MessageReader(tmp_path)
    moved = reclaim.move(messages, mover, location)
    mover.commit()
    again = reclaim.move(messages, mover, moved)
    mover.commit()
    reclaim.free_segment(tmp_path, 0, old_segment)
    for each in (moved, again):
        record, body = messages.message(each)
        read = envelope.decode(record.envelope)
        assert read.queue_id == location
        assert (read.sender, read.recipients) == (original.sender, original.recipients)
        assert (body if isinstance(body, bytes) else b"".join(body)) == BODY
    assert location not in (moved, again)
    assert len(layout.body_numbers(tmp_path)) == (1 if large else 0)
    messages.close()
    mover.close()


def test_the_helpers_agree(tmp_path: Path) -> None:
    """What the other tests take for granted."""
    writer = SpoolWriter(tmp_path)
    location = append(writer, 5, 123)
    writer.close()
    messages = reader.MessageReader(tmp_path)
    record, body = messages.message(location)
    assert (record.envelope, body) == (envelope_of(5), body_of(5, 123))
    messages.close()
