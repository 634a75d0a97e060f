"""What is remembered, and for how long."""

from mta.tables.cache import UNKNOWN, VALUE_BYTES, Cache


def test_lifetimes() -> None:
    cache = Cache(10, 60.0, 5.0)
    cache.put(b"a", b"x", 100.0)
    cache.put(b"b", None, 100.0)
    assert cache.get(b"a", 104.9) == b"x"
    assert cache.get(b"b", 104.9) is None
    assert cache.get(b"b", 105.0) is UNKNOWN
    assert cache.get(b"a", 159.9) == b"x"
    assert cache.get(b"a", 160.0) is UNKNOWN
    assert len(cache) == 0


def test_the_least_recently_used_goes_first() -> None:
    cache = Cache(2, 60.0, 5.0)
    cache.put(b"a", b"1", 0.0)
    cache.put(b"b", b"2", 0.0)
    assert cache.get(b"a", 0.0) == b"1"
    cache.put(b"c", b"3", 0.0)
    assert cache.get(b"b", 0.0) is UNKNOWN
    assert cache.get(b"a", 0.0) == b"1"
    cache.put(b"a", None, 1.0)
    assert cache.get(b"a", 1.0) is None
    assert len(cache) == 2


def test_what_is_not_kept() -> None:
    for cache in (Cache(0, 60.0, 60.0), Cache(9, 0.0, 0.0)):
        cache.put(b"a", b"x", 0.0)
        cache.put(b"b", None, 0.0)
        assert len(cache) == 0
    cache = Cache(9, 60.0, 60.0)
    cache.put(b"a", b"x" * (VALUE_BYTES + 1), 0.0)
    cache.put(b"k" * (VALUE_BYTES + 1), None, 0.0)
    assert len(cache) == 0
