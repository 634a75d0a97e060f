"""The cache: how long, how much, in which order; time is made up."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mta.dns.answer import Answer, Status
from mta.dns.cache import (
    ENTRY_BYTES,
    FAILURE_S,
    NEGATIVE_MAX_S,
    TTL_MAX_S,
    TTL_MIN_S,
    Cache,
    Key,
    lifetime_s,
    weigh,
)
from mta.dns.message import Mx, Tlsa


def key(number: int) -> Key:
    return b"%d" % number, 1


def answer(
    ttl_s: int = 300, status: Status = Status.OK, records: tuple[object, ...] = ("192.0.2.1",)
) -> Answer[object]:
    return Answer(status, records if status is Status.OK else (), True, ttl_s, b"a.example", "")


def test_an_answer_is_kept_for_its_time() -> None:
    cache = Cache(10)
    assert cache.get(key(1), 1000.0) is None
    assert cache.put(key(1), answer(300), 1000.0) == answer(300)
    assert cache.get(key(1), 1000.0) == answer(300)
    assert cache.get(key(1), 1000.5) == answer(299)
    assert cache.get(key(1), 1299.9) == answer(0)
    assert len(cache) == 1
    assert cache.get(key(1), 1300.0) is None
    assert (len(cache), cache.held_bytes) == (0, 0)


def test_types_are_apart() -> None:
    cache = Cache(10)
    cache.put((b"a", 1), answer(1), 0)
    assert cache.get((b"a", 28), 0) is None


@pytest.mark.parametrize(
    ("status", "ttl_s", "expected"),
    [
        (Status.OK, 0, TTL_MIN_S),
        (Status.OK, 77, 77),
        (Status.OK, 2**31 - 1, TTL_MAX_S),
        (Status.NXDOMAIN, 0, TTL_MIN_S),
        (Status.NXDOMAIN, 77, 77),
        (Status.NXDOMAIN, 2**31 - 1, NEGATIVE_MAX_S),
        (Status.NODATA, 2**31 - 1, NEGATIVE_MAX_S),
        (Status.FAILED, 0, FAILURE_S),
        (Status.FAILED, 2**31 - 1, FAILURE_S),
    ],
)
def test_bounds_of_time(status: Status, ttl_s: int, expected: int) -> None:
    assert lifetime_s(status, ttl_s) == expected
    cache = Cache(10)
    assert cache.put(key(1), answer(ttl_s, status), 0.0).ttl_s == expected
    assert cache.get(key(1), expected - 0.001) is not None
    assert cache.get(key(1), expected) is None


def test_the_least_recently_used_goes_first() -> None:
    cache = Cache(3)
    for number in range(3):
        cache.put(key(number), answer(), 0.0)
    cache.get(key(0), 0.0)
    cache.put(key(3), answer(), 0.0)
    assert [number for number in range(4) if cache.get(key(number), 0.0)] == [0, 2, 3]
    cache.put(key(0), answer(), 0.0)
    cache.put(key(4), answer(), 0.0)
    cache.put(key(5), answer(), 0.0)
    assert [number for number in range(6) if cache.get(key(number), 0.0)] == [0, 4, 5]


def test_a_new_answer_takes_the_place_of_the_old() -> None:
    cache = Cache(3)
    cache.put(key(1), answer(10, records=("192.0.2.1",) * 3), 0.0)
    cache.put(key(1), answer(20, Status.NXDOMAIN), 5.0)
    assert cache.get(key(1), 5.0) == answer(20, Status.NXDOMAIN)
    assert len(cache) == 1
    assert cache.held_bytes == weigh(key(1), answer(20, Status.NXDOMAIN))


def test_nothing_is_kept_where_nothing_may_be() -> None:
    cache = Cache(0)
    cache.put(key(1), answer(), 0.0)
    assert (len(cache), cache.held_bytes, cache.get(key(1), 0.0)) == (0, 0, None)


def test_large_answers_displace_others_by_their_size() -> None:
    cache = Cache(100)
    for number in range(100):
        cache.put(key(number), answer(), 0.0)
    assert len(cache) == 100
    large = answer(records=(b"x" * 10 * ENTRY_BYTES,))
    for number in range(100, 112):
        cache.put(key(number), large, 0.0)
        assert cache.held_bytes <= 100 * ENTRY_BYTES
    assert cache.get(key(111), 0.0) == large
    assert len(cache) < 100
    assert cache.get(key(0), 0.0) is None


def test_an_answer_that_alone_fills_the_cache_is_not_kept() -> None:
    cache = Cache(16)
    cache.put(key(1), answer(), 0.0)
    for records in (
        (b"x" * 4 * ENTRY_BYTES,),
        (Mx(1, b"a." * 2000 + b"b"),),
        (Tlsa(3, 1, 1, bytes(4000)),),
        ("a",) * 40,
    ):
        large = answer(records=records)
        assert cache.put(key(2), large, 0.0) == large
        assert cache.get(key(2), 0.0) is None
    assert cache.get(key(1), 0.0) is not None
    assert len(cache) == 1


Operation = tuple[str, int, int, int]


@given(
    st.integers(0, 4),
    st.lists(st.tuples(st.sampled_from(["put", "get"]), st.integers(0, 6), st.integers(0, 9), st.integers(0, 3))),
)
def test_any_use(entries: int, operations: list[Operation]) -> None:
    """Against a model that keeps everything: what is there is right and not too old; what is missing was displaced."""
    cache = Cache(entries)
    truth: dict[int, tuple[int, float]] = {}  # ttl, when put
    recent: list[int] = []  # by use, oldest first
    now = 0.0
    for what, number, ttl_s, passes_s in operations:
        now += passes_s
        if what == "put":
            cache.put(key(number), answer(ttl_s), now)
            truth[number] = (max(ttl_s, TTL_MIN_S), now)
            recent = [*(other for other in recent if other != number), number][-entries:] if entries else []
        else:
            found = cache.get(key(number), now)
            ttl, put_at = truth.get(number, (0, 0.0))
            lives = number in recent and now < put_at + ttl
            assert (found is not None) == lives
            if found is not None:
                assert found == answer(int(put_at + ttl - now))
            recent = [other for other in recent if other != number] + ([number] if lives else [])
        assert len(cache) == len(recent)
        assert cache.held_bytes == sum(weigh(key(other), answer()) for other in recent)
