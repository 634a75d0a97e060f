"""Files that are filled ahead, so that records overwrite blocks instead of growing a file."""

from pathlib import Path

from xxhash import xxh3_64_intdigest

from mta.spool import layout
from mta.spool.claim import Claim
from mta.spool.reader import ShardReader
from mta.spool.recovery import Segment
from mta.spool.segment import FILL, PROBE, SegmentFile
from mta.spool.writer import SpoolWriter

SEGMENT_BYTES = 8 * 1024 * 1024
BODY = b"x" * 100_000


def append(writer: SpoolWriter, count: int) -> list[int]:
    locations = [
        writer.append(b"envelope", [BODY], body_bytes=len(BODY), body_hash=xxh3_64_intdigest(BODY))
        for _ in range(count)
    ]
    writer.commit()
    return locations


def stored(root: Path) -> list[int]:
    shard = ShardReader(root, 0)
    locations = []
    for readable in shard.readable():
        segment = Segment.open(root, 0, readable.segment)
        locations += [record.location for record in segment.records(0, readable.stop)]
        assert segment.problems == []
        segment.close()
    shard.close()
    return locations


def test_a_growing_segment_is_left_for_a_filled_one(tmp_path):
    writer = SpoolWriter(tmp_path, segment_bytes=SEGMENT_BYTES)
    locations = append(writer, 45)  # over the mark: the next segment is being prepared
    preparing = writer._supply._thread
    assert preparing is not None
    preparing.join(30.0)
    locations += append(writer, 12)  # over the next look: it is ready
    first, second = (
        layout.shard_folder(tmp_path, 0) / name.file for name in layout.segment_names(tmp_path / "shards/0")
    )
    assert first.stat().st_size < SEGMENT_BYTES
    assert second.stat().st_size == SEGMENT_BYTES
    assert not writer._segment.grows
    assert stored(tmp_path) == locations
    writer.close()
    assert stored(tmp_path) == locations


def test_a_new_file_without_room_grows(tmp_path, monkeypatch):
    claim = Claim(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr("mta.spool.segment.FILL", _Refused())
        segment = SegmentFile.create(claim, fill_bytes=SEGMENT_BYTES)
    assert segment.grows
    assert segment.path.stat().st_size == len(PROBE)
    segment.discard(tmp_path)
    claim.release()


def test_a_file_that_is_needed_at_once_is_not_filled_to_its_end(tmp_path):
    claim = Claim(tmp_path)
    asked = iter([False, False, True])
    segment = SegmentFile.create(claim, fill_bytes=SEGMENT_BYTES, is_urgent=lambda: next(asked))
    assert segment.grows
    assert segment.path.stat().st_size == 2 * len(FILL)
    segment.discard(tmp_path)
    claim.release()


class _Refused(bytes):
    """A block that no disk takes whole."""

    def __len__(self) -> int:
        return 4096
