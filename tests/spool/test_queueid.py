"""Queue ids: packing, text, and what is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mta.spool import queueid

PLACES = st.tuples(
    st.integers(0, queueid.MAX_SHARD),
    st.integers(0, queueid.MAX_SEGMENT),
    st.integers(0, queueid.MAX_OFFSET_BYTES // 64).map(lambda units: units * 64),
)


@given(PLACES)
def test_pack_and_text_lose_nothing(place: tuple[int, int, int]) -> None:
    location = queueid.pack(*place)
    assert 0 <= location < 1 << 63
    assert queueid.unpack(location) == place
    if location:
        assert queueid.parse(queueid.text(location)) == location


@given(PLACES, PLACES)
def test_locations_grow_with_their_places(one: tuple[int, int, int], other: tuple[int, int, int]) -> None:
    assert (queueid.pack(*one) < queueid.pack(*other)) == (one < other)


@pytest.mark.parametrize(
    "place", [(-1, 0, 0), (1 << 12, 0, 0), (0, -1, 0), (0, 1 << 31, 0), (0, 0, -64), (0, 0, 1 << 26), (0, 0, 8)]
)
def test_no_such_place(place: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match=r"spool|offset"):
        queueid.pack(*place)


@pytest.mark.parametrize(
    "text", ["", "0", "01", "A", "g", " 1", "1\n", "0x1", "8000000000000000", "1" * 17, "-1", "1_0"]
)
def test_not_a_queue_id(text: str) -> None:
    with pytest.raises(ValueError, match="not a queue id"):
        queueid.parse(text)
