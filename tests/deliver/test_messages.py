"""Reading from a real spool: what was written is what is read, and damage is noticed."""

import select
from pathlib import Path

import pytest
from xxhash import xxh3_64_intdigest

from mta import envelope as envelopes
from mta.deliver.messages import SEGMENTS_OPEN, SpoolMessages
from mta.errors import SpoolCorrupt, SpoolError
from mta.spool import queueid
from mta.spool.writer import SpoolWriter
from tests.support.deliveries import mail

ENVELOPE = mail("joe@example.org", "jim@example.org")


def append(writer: SpoolWriter, body: bytes) -> int:
    location = writer.append(
        envelopes.encode(ENVELOPE), [body], body_bytes=len(body), body_hash=xxh3_64_intdigest(body)
    )
    writer.commit()
    return location


@pytest.mark.parametrize("size", [0, 1, 4096, 16384, 20000, 200_000])
def test_small_messages(tmp_path: Path, size: int) -> None:
    writer = SpoolWriter(tmp_path)
    body = bytes(range(256)) * (size // 256 + 1)
    location = append(writer, body[:size])
    message = SpoolMessages(tmp_path).read(location)
    assert message.envelope == ENVELOPE
    assert message.size_bytes == size
    assert b"".join(message.chunks()) == body[:size]
    writer.close()


def test_damage_is_noticed(tmp_path: Path) -> None:
    writer = SpoolWriter(tmp_path)
    location = append(writer, b"x" * 5000)
    writer.close()
    (segment,) = [path for path in tmp_path.glob("shards/*/*.segment") if b"xxxx" in path.read_bytes()]
    data = bytearray(segment.read_bytes())
    data[data.index(b"xxxx") + 100] ^= 1
    segment.write_bytes(data)
    with pytest.raises(SpoolCorrupt):
        SpoolMessages(tmp_path).read(location)


def test_what_is_not_there(tmp_path: Path) -> None:
    writer = SpoolWriter(tmp_path)
    location = append(writer, b"x")
    shard, segment, offset = queueid.unpack(location)
    with pytest.raises(SpoolError):
        SpoolMessages(tmp_path).read(queueid.pack(shard, segment + 1000, 0))
    with pytest.raises(SpoolCorrupt):
        SpoolMessages(tmp_path).read(queueid.pack(shard, segment, offset + 64))
    writer.close()


def test_large_messages_can_be_read_twice(tmp_path: Path) -> None:
    writer = SpoolWriter(tmp_path)
    pieces = [bytes([n]) * 200_000 for n in range(5)]
    body = writer.bodies.open()
    body.write(pieces)
    body.finish(xxh3_64_intdigest(b"".join(pieces)))
    while not body.durable:
        assert select.select([writer.bodies.fileno()], [], [], 10)[0]
        writer.bodies.collect()
    location = writer.append_large(envelopes.encode(ENVELOPE), body)
    writer.commit()
    message = SpoolMessages(tmp_path).read(location)
    assert message.size_bytes == 1_000_000
    for _ in range(2):
        assert b"".join(message.chunks()) == b"".join(pieces)
    (path,) = tmp_path.glob("bodies/*.body")
    path.write_bytes(b"y" + path.read_bytes()[1:])
    with pytest.raises(SpoolCorrupt):
        list(message.chunks())
    writer.close()


def test_segments_are_opened_again(tmp_path: Path) -> None:
    messages = SpoolMessages(tmp_path)
    locations = []
    for _ in range(SEGMENTS_OPEN + 3):
        writer = SpoolWriter(tmp_path)  # each writer begins a segment of its own
        locations.append(append(writer, b"body"))
        writer.close()
    for location in locations * 2:
        assert b"".join(messages.read(location).chunks()) == b"body"
