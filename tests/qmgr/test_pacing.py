"""Windows and waits: how they open, close and grow, with time and chance as arguments."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mta.config import Queue
from mta.qmgr import retry
from mta.qmgr.pacing import BURST_S, INITIAL, Rate, Window


def open_window(size: int) -> Window:
    """A window that is fully open."""
    return Window(size, 300.0, initial=size)


def test_opens_with_success_and_only_as_far_as_it_is_needed() -> None:
    window = Window(20, 300.0)
    assert window.size == INITIAL
    for wanted in (100, 100, 100):
        window.succeeded(wanted)
    assert window.size == INITIAL + 3
    for _ in range(100):
        window.succeeded(4)
    assert window.size == INITIAL + 4
    for _ in range(100):
        window.succeeded(100)
    assert window.size == 20


def test_no_window_begins_above_its_end() -> None:
    assert Window(2, 300.0).size == 2


def test_closes_with_failures_and_a_cohort_of_them_is_the_end() -> None:
    window = open_window(8)
    sizes = []
    for _ in range(6):  # 1/8 + 1/7 + 1/6 + 1/5 + 1/4 + 1/3 > 1
        assert not window.is_suspended(100.0)
        window.unreachable(100.0, "no answer")
        sizes.append(window.size)
    assert sizes == [7, 6, 5, 4, 3, 0]
    assert window.is_suspended(100.0)
    assert window.is_suspended(399.9)
    assert window.reason == "no answer"
    assert not window.is_suspended(400.0)
    assert window.size == 1
    window.unreachable(401.0, "still none")  # the probe
    assert window.is_suspended(402.0)
    assert not window.is_suspended(701.0)
    for _ in range(20):
        window.succeeded(8)
    assert window.size == 8


def test_a_destination_that_fails_now_and_then_is_not_down() -> None:
    window = open_window(8)
    for _ in range(100):
        window.unreachable(100.0, "no answer")
        window.unreachable(100.0, "no answer")
        window.succeeded(100)
        assert not window.is_suspended(100.0)
        window.succeeded(100)


def test_reports_of_what_was_in_flight_do_not_prolong_a_suspension() -> None:
    window = Window(1, 300.0)
    window.unreachable(0.0, "first")
    window.unreachable(200.0, "second")
    assert window.reason == "first"
    assert not window.is_suspended(300.0)


def test_success_or_a_request_ends_a_suspension() -> None:
    window = Window(1, 300.0)
    window.unreachable(0.0, "down")
    window.succeeded(1)
    assert not window.is_suspended(1.0)
    window.unreachable(2.0, "down")
    window.resume()
    assert window.size == 1


def test_resize() -> None:
    window = open_window(10)
    window.resize(20, 20)
    assert window.size == 20
    window.unreachable(0.0, "down")
    window.resize(30, 30)
    assert (window.size, window.maximum) == (19, 30)
    window.resize(5, 5)
    assert window.size == 5


@given(st.integers(1, 100), st.integers(1, 100), st.lists(st.sampled_from(["ok", "down", "wait", "resume"])))
def test_window_stays_in_bounds(maximum: int, initial: int, events: list[str]) -> None:
    window, now = Window(maximum, 10.0, initial=initial), 1.0
    for event in events:
        if event == "ok":
            window.succeeded(50)
        elif event == "down":
            window.unreachable(now, "down")
        elif event == "resume":
            window.resume()
        else:
            now += 7.0
            window.is_suspended(now)
        assert 0 <= window.size <= maximum
        assert (window.size == 0) == bool(window.suspended_until_at)


@given(
    st.floats(0.01, 1e5),
    st.lists(st.tuples(st.floats(0, 100), st.integers(1, 1000)), min_size=1, max_size=50),
)
def test_a_rate_is_kept_over_any_span(per_s: float, asks: list[tuple[float, int]]) -> None:
    """In no span of time goes more than the rate times that span, and the burst."""
    rate, now, taken = Rate(per_s), 0.0, []
    for pause_s, wanted in asks:
        now += pause_s
        count = min(wanted, rate.allowed(now))
        rate.take(count)
        taken.append((now, count))
        if not rate.allowed(now):
            assert rate.ready_at() > now
            assert rate.allowed(rate.ready_at()) >= 1
            now = rate.ready_at()
    burst = 1.0 + per_s * BURST_S + 1e-3
    for start in range(len(taken)):
        total = 0
        for at, count in taken[start:]:
            total += count
            assert total <= burst + per_s * (at - taken[start][0]) * (1 + 1e-9)


def test_a_rate_is_used_up_where_there_is_enough() -> None:
    rate, sent = Rate(1000.0), 0
    for turn in range(1000):
        count = min(50, rate.allowed(turn * 0.016))
        rate.take(count)
        sent += count
    assert 15_950 <= sent <= 16_100


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
