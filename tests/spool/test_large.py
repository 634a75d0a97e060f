"""Large bodies: streaming, waiting, durability, recycling, giving up."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from spooltools import FULL, FakeDisk
from xxhash import xxh3_64_intdigest

from mta.errors import SpoolCorrupt, SpoolError, SpoolFull
from mta.spool import layout, reader, reclaim
from mta.spool._disk import CAPACITY, DiskThread
from mta.spool.large import LargeBodies, LargeBody
from mta.spool.writer import SpoolWriter

Readability = Callable[[int], None]


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[SpoolWriter]:
    writer = SpoolWriter(tmp_path)
    yield writer
    writer.close()


def chunks_of(seed: int, size: int, step: int = 65536) -> list[bytes]:
    """A body in chunks."""
    data = (b"%07d\n" % seed * (size // 8 + 1))[:size]
    return [data[at : at + step] for at in range(0, size, step)]


def store(bodies: LargeBodies, chunks: list[bytes], readable: Readability) -> LargeBody:
    """Write a body, waiting as a server does, until it is durable."""
    body = bodies.open()
    for chunk in chunks:
        body.write([chunk])
        while body.outstanding_bytes > 100_000:
            wait_for(bodies, readable)
    body.finish(xxh3_64_intdigest(b"".join(chunks)))
    while not body.durable:
        wait_for(bodies, readable)
        assert body.error is None
    assert body.outstanding_bytes == 0
    return body


def wait_for(bodies: LargeBodies, readable: Readability) -> list[LargeBody]:
    """The next news."""
    readable(bodies.fileno())
    return [body for body, _ in bodies.collect()]


@pytest.mark.parametrize("size", [0, 1, 300_000, 2_000_000])
def test_a_body_is_read_back(writer: SpoolWriter, tmp_path: Path, size: int, readable: Readability) -> None:
    chunks = chunks_of(1, size)
    body = store(writer.bodies, chunks, readable)
    location = writer.append_large(b"the envelope", body)
    writer.commit()
    messages = reader.MessageReader(tmp_path)
    record, content = messages.message(location)
    assert record.envelope == b"the envelope"
    assert (record.body_bytes, record.body_file) == (size, body.number)
    assert not isinstance(content, bytes)
    assert b"".join(content) == b"".join(chunks)
    messages.close()


def test_many_bodies_at_once(writer: SpoolWriter, tmp_path: Path, readable: Readability) -> None:
    """More than the disk thread has room for."""
    bodies = writer.bodies
    count = CAPACITY + 20
    open_bodies = [bodies.open() for _ in range(count)]
    for step in range(3):
        for number, body in enumerate(open_bodies):
            body.write([b"%d:%d," % (number, step)] * 3)
    for number, body in enumerate(open_bodies):
        body.finish(xxh3_64_intdigest(content_of(number)))
    while not all(body.durable for body in open_bodies):
        wait_for(bodies, readable)
    locations = [writer.append_large(b"", body) for body in open_bodies]
    writer.commit()
    messages = reader.MessageReader(tmp_path)
    for number, location in enumerate(locations):
        assert b"".join(messages.message(location)[1]) == content_of(number)
    messages.close()


def content_of(number: int) -> bytes:
    """What the test above writes."""
    return b"".join(b"%d:%d," % (number, step) * 3 for step in range(3))


def test_a_freed_file_is_used_again_and_overwritten(writer: SpoolWriter, tmp_path: Path, readable: Readability) -> None:
    reserve = reclaim.BodyReserve(tmp_path)
    first = store(writer.bodies, chunks_of(1, 500_000), readable)
    writer.append_large(b"", first)
    writer.commit()
    path = layout.bodies_folder(tmp_path) / layout.body_name(first.number)
    inode = path.stat().st_ino
    reserve.free(first.number)
    assert not path.exists()
    second = store(writer.bodies, chunks_of(2, 300_000), readable)
    assert second.number == first.number
    assert path.stat().st_ino == inode
    location = writer.append_large(b"", second)
    writer.commit()
    messages = reader.MessageReader(tmp_path)
    assert b"".join(messages.message(location)[1]) == b"".join(chunks_of(2, 300_000))
    messages.close()


def test_a_free_file_of_an_earlier_boot_is_not_taken(
    writer: SpoolWriter, tmp_path: Path, readable: Readability
) -> None:
    """Its name may be one from before the power failed, and a message may live in it."""
    body = store(writer.bodies, chunks_of(1, 300_000), readable)
    location = writer.append_large(b"", body)
    writer.commit()
    path = layout.bodies_folder(tmp_path) / layout.body_name(body.number)
    path.rename(layout.free_folder(tmp_path) / layout.free_body_name(body.number, 12345))
    assert writer.bodies.open().number != body.number
    messages = reader.MessageReader(tmp_path)
    assert b"".join(messages.message(location)[1]) == b"".join(chunks_of(1, 300_000)), "found under its other name"
    messages.close()


def test_two_writers_never_take_the_same_file(writer: SpoolWriter, tmp_path: Path, readable: Readability) -> None:
    reserve = reclaim.BodyReserve(tmp_path)
    stored = [store(writer.bodies, [b"x"], readable) for _ in range(6)]
    for body in stored:
        body.close()
        reserve.free(body.number)
    other = LargeBodies(tmp_path, DiskThread())
    taken = [bodies.open().number for _ in range(4) for bodies in (writer.bodies, other)]
    assert len(set(taken)) == 8
    assert {body.number for body in stored} <= set(taken)
    other.close()


def test_a_body_given_up_leaves_nothing(writer: SpoolWriter, tmp_path: Path, readable: Readability) -> None:
    bodies = writer.bodies
    idle = bodies.open()
    busy = bodies.open()
    busy.write([b"x" * 1_000_000])
    for body in (idle, busy):
        body.abort()
        body.abort()
        with pytest.raises(ValueError, match="ended"):
            body.write([b"y"])
    while layout.body_numbers(tmp_path):
        wait_for(bodies, readable)
    assert os.listdir(layout.free_folder(tmp_path)) == []


def test_a_recycled_file_given_up_is_free_again(writer: SpoolWriter, tmp_path: Path, readable: Readability) -> None:
    body = store(writer.bodies, [b"x"], readable)
    body.close()
    reclaim.BodyReserve(tmp_path).free(body.number)
    again = writer.bodies.open()
    assert again.number == body.number
    again.abort()
    assert layout.free_bodies(tmp_path) == [(body.number, layout.boot_stamp())]


def test_order_of_calls(writer: SpoolWriter, readable: Readability) -> None:
    body = writer.bodies.open()
    body.write([b"x"])
    with pytest.raises(ValueError, match="durable"):
        writer.append_large(b"", body)
    body.finish(xxh3_64_intdigest(b"x"))
    with pytest.raises(ValueError, match="ended"):
        body.finish(0)
    with pytest.raises(ValueError, match="ended"):
        body.write([b"y"])
    while not body.durable:
        wait_for(writer.bodies, readable)
    body.abort()


def test_a_full_disk(tmp_path: Path) -> None:
    layout.make_folders(tmp_path)
    disk = FakeDisk()
    bodies = LargeBodies(tmp_path, disk)
    body = bodies.open()
    disk.held = True
    body.write([b"x" * 1000])
    disk.failures = [FULL]
    body.write([b"y" * 1000])
    body.finish(0)
    disk.release()
    assert bodies.collect() == [(body, None)]
    ((failed, error),) = bodies.collect()
    assert failed is body
    assert isinstance(error, SpoolFull)
    assert body.outstanding_bytes == 0
    assert not body.durable
    with pytest.raises(SpoolFull):
        body.write([b"z"])
    assert len(layout.body_numbers(tmp_path)) == 1
    body.abort()
    assert layout.body_numbers(tmp_path) == []
    healed = bodies.open()
    healed.write([b"x"])
    healed.finish(0)
    while not healed.durable:
        bodies.collect()
    bodies.close()


def test_no_place_for_a_new_file(writer: SpoolWriter, tmp_path: Path) -> None:
    bodies = writer.bodies
    layout.free_folder(tmp_path).rename(tmp_path / "gone")
    with pytest.raises(SpoolError, match="ENOENT"):
        bodies.open()
    (tmp_path / "gone").rename(layout.free_folder(tmp_path))


@pytest.mark.parametrize("damage", ["flip", "cut", "gone"])
def test_damaged_bodies_are_told(writer: SpoolWriter, tmp_path: Path, damage: str, readable: Readability) -> None:
    body = store(writer.bodies, chunks_of(1, 300_000), readable)
    location = writer.append_large(b"", body)
    writer.commit()
    path = layout.bodies_folder(tmp_path) / layout.body_name(body.number)
    data = path.read_bytes()
    messages = reader.MessageReader(tmp_path)
    if damage == "gone":
        path.unlink()
        with pytest.raises(SpoolError, match=path.name):
            messages.message(location)
    else:
        path.write_bytes(data[:299_999] + (b"?" if damage == "flip" else b""))
        _, content = messages.message(location)
        with pytest.raises(SpoolCorrupt, match="checksum" if damage == "flip" else "ends") as caught:
            b"".join(content)
        assert caught.value.path == str(path)
    messages.close()
