"""After a crash: cut files, lost sectors, flipped bytes. What was accepted is there, what is torn is not."""

import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from spooltools import FakeDisk, Found, append, body_of, envelope_of, read_back
from xxhash import xxh3_64_digest, xxh3_64_intdigest

from mta.errors import SpoolCorrupt
from mta.spool import layout, position, queueid, reader
from mta.spool.record import HEADER_BYTES, Identity, Record
from mta.spool.recovery import CHUNK_BYTES, Segment
from mta.spool.writer import SpoolWriter

BATCHES = ((0, 1), (2,), (3, 4, 5))  # messages that were synced together
SECTOR_BYTES = 512


class Image:
    """One segment as its writer left it in the middle of things: no end marker, and copies to damage."""

    def __init__(self, root: Path, folder: Path, records: list[Record], stale: bytes) -> None:
        self.root = root
        self.folder = folder
        self.records = records
        self.stale = stale
        (self.name,) = layout.segment_names(folder)
        self.path = folder / self.name.file
        self.whole = self.path.read_bytes()[: records[-1].offset + records[-1].length]

    def put(self, data: bytes) -> Found:
        """Have this content in the segment's file, and read it as after a power failure."""
        self.path.write_bytes(data)
        found = Found()
        found.add(Segment.named(self.root, 0, self.name))
        return found

    def end_of(self, number: int) -> int:
        """Where a message's last byte is, padding left out."""
        record = self.records[number]
        return record.body_offset + record.body_bytes

    def complete(self, size: int) -> list[int]:
        """The messages that are whole when the file has been cut to `size`."""
        return [number for number in range(len(self.records)) if self.end_of(number) <= size]


def make_image(root: Path, *, recycled: bool) -> Image:
    """A segment with BATCHES in it, in a file that is new or full of older records."""
    stale = b""
    if recycled:
        writer = SpoolWriter(root)
        for number in range(900, 920):
            append(writer, number, 50 + number % 300)
        writer.close()
        folder = layout.shard_folder(root, 0)
        (name,) = layout.segment_names(folder)
        stale = (folder / name.file).read_bytes()
        (folder / name.file).rename(layout.free_folder(root) / layout.free_segment_name())
    writer = SpoolWriter(root)
    for batch in BATCHES:
        for number in batch:
            append(writer, number, 100 + number * 30)
        writer.commit()
    copy = root.with_name("copy")
    shutil.copytree(root, copy)
    writer.close()
    power_failure(copy)
    folder = layout.shard_folder(copy, 0)
    (name,) = layout.segment_names(folder)
    segment = Segment.named(copy, 0, name)
    records = list(segment.records())
    segment.close()
    return Image(copy, folder, records, stale)


def power_failure(root: Path) -> None:
    """What is said of the position after one: it is of another boot."""
    for shard in reader.shards(root):
        path = layout.shard_folder(root, shard) / "position"
        path.write_bytes(path.read_bytes()[:24] + bytes(position.POSITION_BYTES - 24))


@pytest.fixture(params=["new file", "recycled file"])
def image(tmp_path: Path, request: pytest.FixtureRequest) -> Image:
    return make_image(tmp_path / "spool", recycled=request.param == "recycled file")


def test_the_image_is_what_the_tests_believe(image: Image) -> None:
    found = image.put(image.whole + image.stale[len(image.whole) :])
    assert found.numbers == [0, 1, 2, 3, 4, 5]
    assert not found.torn
    assert not found.problems
    if image.stale:
        assert len(image.stale) > len(image.whole) + 500
        assert image.whole[:64] != image.stale[:64]


def test_cut_at_every_byte(image: Image) -> None:
    """Whatever part of the last two batches reached the disk: whole messages are found, the rest is cut in silence."""
    for size in range(image.records[2].offset, len(image.whole) + 1):
        found = image.put(image.whole[:size])
        assert found.numbers == image.complete(size)
        assert not found.problems, size
        found = image.put(image.whole[:size] + image.stale[size:])
        assert found.numbers == image.complete(size)
        assert not found.problems, size
        assert found.torn <= 1


def test_sectors_of_the_last_batch_that_never_came(image: Image) -> None:
    """A disk writes in any order: any of the last batch's sectors may be missing while later ones are there."""
    start = image.records[3].offset
    for at in range(start - start % SECTOR_BYTES, len(image.whole), SECTOR_BYTES):
        before = max(at, start)  # a sector begins with bytes of the batch before, which were synced
        end = min(at + SECTOR_BYTES, len(image.whole))
        missing = image.stale[before:end] or bytes(end - before)
        found = image.put(image.whole[:before] + missing + image.whole[end:] + image.stale[len(image.whole) :])
        damaged = [n for n in (3, 4, 5) if image.records[n].offset < end and before < image.end_of(n)]
        assert damaged
        assert found.numbers == [number for number in range(6) if number not in damaged]
        assert not found.problems


def test_a_flipped_byte_of_committed_messages_is_told(image: Image) -> None:
    """A later batch proves that these were synced. All others are still found."""
    for record in image.records[:3]:
        for at in range(record.offset, record.offset + HEADER_BYTES + len(record.envelope)):
            found = image.put(flipped(image.whole, at) + image.stale[len(image.whole) :])
            assert found.numbers == [number for number in range(6) if number != record.ordinal], at
            (problem,) = found.problems
            assert problem.offset_bytes == record.offset
            assert problem.path == str(image.path)
            assert not found.torn


def test_a_flipped_byte_of_the_last_batch_is_torn(image: Image) -> None:
    """It cannot be told from what a power failure leaves."""
    for record in image.records[3:]:
        for at in range(record.offset, image.end_of(record.ordinal)):
            found = image.put(flipped(image.whole, at))
            assert found.numbers == [number for number in range(6) if number != record.ordinal], at
            assert not found.problems


def test_the_position_of_this_boot_tells_more(image: Image) -> None:
    """After the end of a process alone, everything up to the dead writer's position is known to be committed."""
    shard_position = image.folder / "position"
    words = shard_position.read_bytes()[:24]
    shard_position.write_bytes(words + layout.boot_stamp().to_bytes(8, "little") + bytes(32))
    for size in range(image.records[3].offset, image.end_of(5)):
        image.path.write_bytes(image.whole[:size])
        found = read_back(image.root)
        complete = image.complete(size)
        assert found.numbers == complete
        assert [problem.offset_bytes for problem in found.problems] == [image.records[len(complete)].offset]
    image.path.write_bytes(image.whole + image.stale[len(image.whole) :])
    assert read_back(image.root).problems == []


def flipped(data: bytes, at: int) -> bytes:
    """The data with one bit changed."""
    return data[:at] + bytes([data[at] ^ 0x10]) + data[at + 1 :]


def test_every_byte_of_a_closed_segment(tmp_path: Path) -> None:
    """The end marker proves that all was committed: any damage is told, and hits one message only."""
    writer = SpoolWriter(tmp_path)
    locations = [append(writer, number, number * 70) for number in range(4)]
    writer.close()
    folder = layout.shard_folder(tmp_path, 0)
    (name,) = layout.segment_names(folder)
    whole = (folder / name.file).read_bytes()
    segment = Segment.named(tmp_path, 0, name)
    records = list(segment.records())
    assert [record.location for record in records] == locations
    end = segment.end
    segment.close()
    for at in range(end):
        (folder / name.file).write_bytes(flipped(whole, at))
        (hit,) = (record for record in records if record.offset <= at < record.offset + record.length)
        segment = Segment.named(tmp_path, 0, name)
        found = list(segment.records())
        if at < hit.body_offset:
            assert [record for record in records if record is not hit] == found
            assert [problem.offset_bytes for problem in segment.problems] == [hit.offset]
        else:
            assert found == records
            assert not segment.problems
        assert not segment.torn
        if at < hit.body_offset + hit.body_bytes:
            with pytest.raises(SpoolCorrupt, match=r"checksum|stands|length"):
                segment.message(hit.offset)
        segment.close()
    for at in range(end, end + 64):
        (folder / name.file).write_bytes(flipped(whole, at))
        segment = Segment.named(tmp_path, 0, name)
        assert list(segment.records()) == records
        assert not segment.problems
        assert not segment.sealed
        segment.close()


def test_damage_of_any_size_in_the_middle(tmp_path: Path) -> None:
    """Also when it spans several messages, and when the next valid one is far behind it."""
    writer = SpoolWriter(tmp_path)
    for number in range(2000):
        append(writer, number)
    append(writer, 2000, 3_000_000)
    append(writer, 2001)
    writer.close()
    folder = layout.shard_folder(tmp_path, 0)
    (name,) = layout.segment_names(folder)
    segment = Segment.named(tmp_path, 0, name)
    records = list(segment.records())
    with open(folder / name.file, "r+b") as file:
        file.seek(records[10].offset + 5)
        file.write(b"\xff" * (records[1500].offset - records[10].offset - 5))
        file.seek(records[2000].offset + 5)
        file.write(b"\xff" * 100)
    numbers = [int(record.envelope.split()[1]) for record in segment.records()]
    assert numbers == [*range(10), *range(1500, 2000), 2001]
    assert [problem.offset_bytes for problem in segment.problems] == [records[10].offset, records[2000].offset]
    segment.close()


@pytest.mark.parametrize(("envelope_bytes", "body_bytes"), [(0xFFFFFFFF, 0), (1 << 28, 0), (40, 1 << 60), (40, 5000)])
def test_a_length_beyond_the_file_is_refused_unread(tmp_path: Path, envelope_bytes: int, body_bytes: int) -> None:
    writer = SpoolWriter(tmp_path)
    append(writer, 0)
    writer.commit()
    offset = queueid.unpack(writer.next_location())[2]
    folder = layout.shard_folder(tmp_path, 0)
    (name,) = layout.segment_names(folder)
    segment = Segment.named(tmp_path, 0, name)
    head = segment.identity.head(1, 0, envelope_of(1), (body_bytes, 0, 0))
    covered = head[8:36] + envelope_bytes.to_bytes(4, "little") + head[40:]
    with open(folder / name.file, "r+b") as file:
        file.seek(offset)
        file.write(xxh3_64_digest(covered, segment.identity.seed) + covered)
    assert [record.ordinal for record in segment.records()] == [0]
    assert segment.torn == [offset]
    with pytest.raises(SpoolCorrupt, match="length exceeds the file"):
        segment.message(offset)
    segment.close()
    writer.close()


def test_records_inside_a_message_are_never_believed(tmp_path: Path) -> None:
    """A sender who knows the format, but not the seed, cannot have a message taken for another one."""
    writer = SpoolWriter(tmp_path)
    (name,) = layout.segment_names(layout.shard_folder(tmp_path, 0))
    guess = Identity(0, name.number, name.seed ^ 1 << 40)  # right in all that the header shows of the seed
    record = guess.head(0, 0, envelope_of(666), (0, 0, xxh3_64_intdigest(b"")))
    body = (record + bytes(-len(record) % 64)) * 3
    writer.append(b"", [body], body_bytes=len(body), body_hash=xxh3_64_intdigest(body))
    append(writer, 1)
    writer.close()
    path = layout.shard_folder(tmp_path, 0) / name.file
    data = path.read_bytes()
    path.write_bytes(bytes(8) + data[8:])
    found = read_back(tmp_path)
    assert found.numbers == [1]
    assert [problem.offset_bytes for problem in found.problems] == [0]


OPERATIONS = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.one_of(st.integers(0, 2000), st.just(CHUNK_BYTES + 7))),
        st.tuples(st.just("commit"), st.just(0)),
        st.tuples(st.just("restart"), st.just(0)),
    ),
    max_size=40,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(operations=OPERATIONS, data=st.data())
def test_everything_committed_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, operations: list[tuple[str, int]], data: st.DataObject
) -> None:
    """Random appends and commits, a power failure in the middle of the last batch, and any of its sectors missing."""
    root = tmp_path_factory.mktemp("spool")
    writer = SpoolWriter(root, segment_bytes=16384, make_disk=FakeDisk)
    committed: list[int] = []
    appended: list[int] = []
    for operation, size in operations:
        if operation == "append":
            append(writer, len(committed) + len(appended), size)
            appended.append(len(committed) + len(appended))
        else:
            writer.commit()
            committed += appended
            appended = []
            if operation == "restart":
                writer.close()
                writer = SpoolWriter(root, segment_bytes=16384, make_disk=FakeDisk)
    safe = {name.file: size_of(root, name) for name in layout.segment_names(layout.shard_folder(root, 0))}
    writer.submit()  # written by the fake, and then the power fails
    copy = root / "copy"
    shutil.copytree(layout.shards_folder(root), copy / "shards")
    power_failure(copy)
    for name in layout.segment_names(layout.shard_folder(copy, 0)):
        tear(layout.shard_folder(copy, 0) / name.file, safe.get(name.file, 0), data)
    found = read_back(copy)
    assert found.numbers[: len(committed)] == committed
    assert not found.problems
    rest = iter(appended)
    assert all(number in rest for number in found.numbers[len(committed) :]), "each at most once, in order"
    writer.close()


def size_of(root: Path, name: layout.SegmentName) -> int:
    """Up to where the segment's file is known to be written."""
    segment = Segment.named(root, 0, name)
    try:
        list(segment.records())
        return segment.end + (64 if segment.sealed else 0)
    finally:
        segment.close()


def tear(path: Path, safe: int, data: st.DataObject) -> None:
    """Cut the file somewhere behind what is safe, or take some sectors from there."""
    content = bytearray(path.read_bytes())
    if len(content) <= safe:
        return
    if data.draw(st.booleans()):
        del content[data.draw(st.integers(safe, len(content))) :]
    for sector in data.draw(st.lists(st.integers(safe // SECTOR_BYTES, len(content) // SECTOR_BYTES), max_size=4)):
        start = max(safe, sector * SECTOR_BYTES)
        end = min(len(content), (sector + 1) * SECTOR_BYTES)
        content[start:end] = bytes(max(0, end - start))
    path.write_bytes(content)


def test_bodies_are_checked_against_the_right_bytes(tmp_path: Path) -> None:
    """A body that was torn though its header is whole is not given out, those around it are."""
    image = make_image(tmp_path / "spool", recycled=False)
    record = image.records[4]
    data = bytearray(image.whole)
    data[record.body_offset : record.body_offset + 10] = bytes(10)
    found = image.put(bytes(data))
    assert found.numbers == [0, 1, 2, 3, 5]
    assert found.torn == 1
    assert body_of(4, record.body_bytes)[:10] != bytes(10)
