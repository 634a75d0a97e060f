"""Windows and waits: how they open, close and grow, with time and chance as arguments."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mta.config import Queue
from mta.qmgr import retry
from mta.qmgr.pacing import Window


def test_halves_until_closed_then_probes() -> None:
    window = Window(8, 300.0)
    sizes = []
    for _ in range(4):
        window.unreachable(100.0, "no answer")
        sizes.append(window.size)
    assert sizes == [4, 2, 1, 0]
    assert window.is_suspended(100.0)
    assert window.is_suspended(399.9)
    assert window.reason == "no answer"
    assert not window.is_suspended(400.0)
    assert window.size == 1
    window.unreachable(401.0, "still none")  # the probe
    assert window.is_suspended(402.0)
    assert not window.is_suspended(701.0)
    for _ in range(20):
        window.succeeded()
    assert window.size == 8


def test_reports_of_what_was_in_flight_do_not_prolong_a_suspension() -> None:
    window = Window(1, 300.0)
    window.unreachable(0.0, "first")
    window.unreachable(200.0, "second")
    assert window.reason == "first"
    assert not window.is_suspended(300.0)


def test_success_or_a_request_ends_a_suspension() -> None:
    window = Window(1, 300.0)
    window.unreachable(0.0, "down")
    window.succeeded()
    assert not window.is_suspended(1.0)
    window.unreachable(2.0, "down")
    window.resume()
    assert window.size == 1


def test_resize() -> None:
    window = Window(10, 300.0)
    window.resize(20)
    assert window.size == 20
    window.unreachable(0.0, "down")
    window.resize(30)
    assert (window.size, window.maximum) == (10, 30)
    window.resize(5)
    assert window.size == 5


@given(st.integers(1, 64), st.lists(st.sampled_from(["ok", "down", "later", "resume"])))
def test_stays_in_bounds_and_closed_means_suspended(maximum: int, events: list[str]) -> None:
    window, now = Window(maximum, 10.0), 1.0
    for event in events:
        if event == "ok":
            window.succeeded()
        elif event == "down":
            window.unreachable(now, "down")
        elif event == "resume":
            window.resume()
        else:
            now += 7.0
            window.is_suspended(now)
        assert 0 <= window.size <= maximum
        assert (window.size == 0) == bool(window.suspended_until_at)


def test_waits_double_up_to_the_longest() -> None:
    queue, rng = Queue(), random.Random(1)
    waits = [retry.wait_s(attempts, queue, rng) for attempts in range(8)]
    for wait, expected in zip(waits, [300, 300, 600, 1200, 2400, 4000, 4000, 4000], strict=True):
        assert expected <= wait <= expected * 1.1
    assert waits[-1] == 4000
    assert waits[0] != waits[1]


@given(st.integers(0, 10_000), st.floats(0.001, 1e6), st.floats(0.001, 1e6), st.integers(0, 2**32))
def test_waits_stay_in_bounds(attempts: int, shortest: float, longest: float, seed: int) -> None:
    queue = Queue(retry_min_s=shortest, retry_max_s=longest)
    wait = retry.wait_s(attempts, queue, random.Random(seed))
    assert shortest <= wait <= max(shortest, longest)
    assert wait == retry.wait_s(attempts, queue, random.Random(seed))


@pytest.mark.parametrize(("age_s", "expired"), [(0, False), (431_999, False), (432_000, True)])
def test_expiry(age_s: float, expired: bool) -> None:
    assert retry.is_expired(1000.0, 1000.0 + age_s, Queue()) is expired
