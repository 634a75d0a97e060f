"""Which server is asked first, and what is remembered of each; time is made up."""

import pytest

from mta.dns.settings import Server
from mta.dns.upstreams import FAILED_S, PLAIN_S, STRIKES, Upstream, Upstreams

A, B, C = (Server(f"192.0.2.{number}", 53) for number in (1, 2, 3))


@pytest.fixture
def upstreams() -> Upstreams:
    return Upstreams([A, B, C])


def order(upstreams: Upstreams, now: float) -> list[Server]:
    return [upstream.server for upstream in upstreams.order(now)]


def test_the_order_is_that_of_the_settings(upstreams: Upstreams) -> None:
    assert order(upstreams, 0) == [A, B, C]


def test_a_silent_one_is_asked_last_for_a_while(upstreams: Upstreams) -> None:
    first, second, _ = upstreams
    for _ in range(STRIKES - 1):
        first.silent(100)
    assert order(upstreams, 100) == [A, B, C]
    first.silent(100)
    assert order(upstreams, 100) == [B, C, A]
    second.unreachable(100 + FAILED_S - 1)
    assert order(upstreams, 100 + FAILED_S - 1) == [C, A, B]
    assert order(upstreams, 100 + FAILED_S) == [A, C, B]


def test_one_silence_more_is_enough_afterwards(upstreams: Upstreams) -> None:
    first, *_ = upstreams
    first.unreachable(0)
    assert order(upstreams, FAILED_S) == [A, B, C]
    first.silent(FAILED_S)
    assert order(upstreams, FAILED_S) == [B, C, A]


def test_an_answer_forgives(upstreams: Upstreams) -> None:
    first, *_ = upstreams
    for _ in range(STRIKES):
        first.silent(0)
    first.answered()
    assert order(upstreams, 0) == [A, B, C]
    for _ in range(STRIKES - 1):
        first.silent(0)
        assert order(upstreams, 0) == [A, B, C]


def test_when_all_have_failed_the_order_is_as_before(upstreams: Upstreams) -> None:
    for upstream in upstreams:
        upstream.unreachable(0)
    assert order(upstreams, 0) == [A, B, C]


def test_edns() -> None:
    upstream = Upstream(A)
    assert upstream.wants_edns(0, 0)
    assert not upstream.wants_edns(0, 1)  # silence may be the answer to EDNS
    upstream.took_edns()
    assert upstream.wants_edns(0, 1)
    upstream.refused_edns(100)
    assert not upstream.wants_edns(100 + PLAIN_S - 1, 0)
    assert upstream.wants_edns(100 + PLAIN_S, 0)
    assert not upstream.wants_edns(100 + PLAIN_S, 1)
