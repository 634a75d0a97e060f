"""The spool alone: `python -m pytest bench/bench_spool.py --benchmark-only`.

Times are per round; a round stores or reads MESSAGES messages, so that the columns of one group can be compared. The
disk is that of pytest's temporary folder (`--basetemp`); a memory disk would measure nothing.
"""

import os
import select
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from xxhash import xxh3_64_intdigest

from mta.envelope import Envelope, encode
from mta.spool import layout, reader, reclaim
from mta.spool.recovery import Segment
from mta.spool.writer import SpoolWriter

MESSAGES = 64
LARGE_BYTES = 1_000_000
LARGE_MESSAGES = 8
TRACE = b"Received: from client.example.com (192.0.2.1) by mx.example.org with ESMTP id 12345678; now\r\n"
CONTENT = b"0123456789" * 6 + b"\r\n"
BODY = [TRACE, CONTENT * 66]
BODY_BYTES = sum(map(len, BODY))
BODY_HASH = xxh3_64_intdigest(b"".join(BODY))
LARGE = [CONTENT * 1000] * (LARGE_BYTES // 62_000)
LARGE_HASH = xxh3_64_intdigest(b"".join(LARGE))
ENVELOPE = encode(
    Envelope(b"sender@example.com", (b"recipient@example.org",), 1.7e9, "192.0.2.1", b"client.example.com")
)

Benchmark = Any  # pytest-benchmark has no types


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A new spool's folder."""
    return tmp_path / "spool"


@pytest.fixture
def writer(root: Path) -> Iterator[SpoolWriter]:
    """A writer whose segments have been written before, as those of a server that runs for some time."""
    writer = SpoolWriter(root)
    for _ in range(3):
        while writer.next_location() & 0xFFFFF < 0xF8000:
            append_all(writer, MESSAGES)
            writer.commit()
        first = writer.next_location() >> 20
        while writer.next_location() >> 20 == first:
            append_all(writer, MESSAGES)
            writer.commit()
        reclaim_old(root, writer)
    yield writer
    writer.close()


def append_all(writer: SpoolWriter, count: int) -> None:
    """Append so many messages of 4 KiB."""
    for _ in range(count):
        writer.append(ENVELOPE, BODY, body_bytes=BODY_BYTES, body_hash=BODY_HASH)


def reclaim_old(root: Path, writer: SpoolWriter) -> None:
    """Free what the writer has left, as the queue manager does."""
    follower = reader.ShardReader(root, writer.shard)
    position = follower.committed()
    assert position is not None
    for number in reader.segments(root, writer.shard):
        if number < position.segment:
            reclaim.free_segment(root, writer.shard, number)
    follower.close()


@pytest.mark.benchmark(group=f"store {MESSAGES} messages of 4 KiB")
@pytest.mark.parametrize("batch", [1, 8, 64])
def test_append_and_commit(benchmark: Benchmark, root: Path, writer: SpoolWriter, batch: int) -> None:
    """Group commit: one sync for each batch."""

    def store() -> None:
        for _ in range(MESSAGES // batch):
            append_all(writer, batch)
            writer.commit()

    benchmark.pedantic(store, rounds=30, setup=lambda: reclaim_old(root, writer))


@pytest.mark.benchmark(group=f"store {MESSAGES} messages of 4 KiB")
def test_file_per_message(benchmark: Benchmark, tmp_path: Path) -> None:
    """The classic way: a file, an fsync and a rename for each message."""
    folder = tmp_path / "queue"
    folder.mkdir()

    def store() -> None:
        for number in range(MESSAGES):
            fd = os.open(folder / "new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            os.writev(fd, [ENVELOPE, *BODY])
            os.fsync(fd)
            os.close(fd)
            os.rename(folder / "new", folder / str(number))

    benchmark.pedantic(store, rounds=10)


@pytest.mark.benchmark(group=f"append {MESSAGES} messages of 4 KiB, the hub's share")
def test_append_alone(benchmark: Benchmark, root: Path, writer: SpoolWriter) -> None:
    """What the event loop pays: locations, appends, and handing the batch over."""

    def store() -> None:
        for _ in range(MESSAGES):
            writer.next_location()
            writer.append(ENVELOPE, BODY, body_bytes=BODY_BYTES, body_hash=BODY_HASH)
        writer.submit()

    def settle() -> None:
        writer.commit()
        reclaim_old(root, writer)

    benchmark.pedantic(store, rounds=100, setup=settle)
    writer.commit()


@pytest.fixture
def full_segment(root: Path) -> tuple[Segment, list[int]]:
    """A segment of 4 KiB messages, and where they are."""
    writer = SpoolWriter(root)
    for _ in range(100):
        append_all(writer, MESSAGES)
        writer.commit()
    shard = writer.shard
    writer.close()
    segment = Segment.open(root, shard, reader.segments(root, shard)[0])
    locations = [record.location for record in segment.records()]
    return segment, locations


@pytest.mark.benchmark(group=f"read {MESSAGES} messages of 4 KiB")
def test_records(benchmark: Benchmark, full_segment: tuple[Segment, list[int]]) -> None:
    """As the queue manager reads: headers and envelopes, in order, behind a living writer."""
    segment, locations = full_segment
    stop = (locations[MESSAGES] & 0xFFFFF) << 6
    assert benchmark(lambda: sum(1 for _ in segment.records(0, stop))) == MESSAGES


@pytest.mark.benchmark(group=f"read {MESSAGES} messages of 4 KiB")
def test_messages(benchmark: Benchmark, root: Path, full_segment: tuple[Segment, list[int]]) -> None:
    """As a delivery worker reads: one by one, with their bodies."""
    messages = reader.MessageReader(root)
    chosen = full_segment[1][: MESSAGES * 97 : 97][:MESSAGES]
    assert len(chosen) == MESSAGES
    benchmark(lambda: [messages.message(location) for location in chosen])
    messages.close()


@pytest.mark.benchmark(group=f"store {LARGE_MESSAGES} bodies of 1 MB")
@pytest.mark.parametrize("files", ["new", "used again"])
def test_large(benchmark: Benchmark, root: Path, files: str) -> None:
    """Bodies in files of their own, all at once, synced, and named by records."""
    writer = SpoolWriter(root)
    reserve = reclaim.BodyReserve(root)
    if files == "used again":
        store_large(writer)

    def clear() -> None:
        for number in layout.body_numbers(root):
            reserve.free(number)
        if files == "new":
            for number, boot in layout.free_bodies(root):
                (layout.free_folder(root) / layout.free_body_name(number, boot)).unlink()

    benchmark.pedantic(store_large, args=(writer,), rounds=15, setup=clear)
    writer.close()


def store_large(writer: SpoolWriter) -> None:
    """Some bodies of 1 MB, from the first byte to the commit."""
    bodies = [writer.bodies.open() for _ in range(LARGE_MESSAGES)]
    for chunk in LARGE:
        for body in bodies:
            body.write([chunk])
    for body in bodies:
        body.finish(LARGE_HASH)
    while not all(body.durable for body in bodies):
        select.select([writer.bodies.fileno()], [], [])
        writer.bodies.collect()
    for body in bodies:
        writer.append_large(ENVELOPE, body)
    writer.commit()
