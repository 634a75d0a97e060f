"""Cases of microseconds, timed against each other within one run: by pytest-benchmark, or in turns without it."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from timeit import Timer
from typing import Any

import pytest

Case = Callable[[], Any]
Benchmark = Any  # pytest-benchmark has no types


@contextmanager
def gathered(
    request: pytest.FixtureRequest, figures: Callable[[dict[str, float]], Iterable[str]]
) -> Iterator[dict[str, float]]:
    """The least time of each case that has run, in seconds; at the end the `figures` that come of them are printed."""
    found: dict[str, float] = {}
    yield found
    if found:
        with request.config.pluginmanager.get_plugin("capturemanager").global_and_fixture_disabled():
            print("", *figures(found), sep="\n")


def run(benchmark: Benchmark, least_s: dict[str, float], title: str, case: Case) -> None:
    """One case, grouped by what stands before the colon of its title."""
    benchmark.group = title.partition(":")[0]
    benchmark(case)
    if benchmark.stats is not None:  # absent when benchmarks are disabled
        least_s[title] = benchmark.stats.stats.min


def in_turn(cases: Mapping[str, Case], rounds: int) -> dict[str, float]:
    """The least time of each case, in seconds, of so many rounds through all of them."""
    timers = {title: Timer(case) for title, case in cases.items()}
    loops = {title: max(1, timer.autorange()[0] // 20) for title, timer in timers.items()}
    least_s = dict.fromkeys(cases, float("inf"))
    for _ in range(rounds):
        for title, timer in timers.items():
            least_s[title] = min(least_s[title], *(s / loops[title] for s in timer.repeat(3, loops[title])))
    return least_s
