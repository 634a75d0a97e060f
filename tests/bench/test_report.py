"""The benchmark's arithmetic: what is subtracted, what a ratio means, what meets an aim."""

import dataclasses

import pytest

from bench import report
from bench.cases import CASES, MB, NAMES
from bench.figures import CPU, FINISHED, GENERATOR, SHARE, Cut, figure, megabytes, postfix_figures, slow_figures
from bench.measure import Round
from bench.report import Better, Figure


def round_of(messages: int, seconds: float, busy: float = 3.0) -> Round:
    """A round whose generator and helpers took one second of CPU."""
    return Round(
        messages=messages,
        accepted_s=seconds / 2,
        finished_s=seconds,
        busy_s=busy,
        generator_s=0.75,
        others_s=0.25,
        processes_s=0.0,
    )


def test_quantities() -> None:
    """Rates count wall time, CPU the server's part of the busy time."""
    one = round_of(1_000, 2.0)
    assert (one.accepted_per_s, one.finished_per_s, one.cpu_ms) == (1_000.0, 500.0, 2.0)
    assert megabytes(FINISHED, 2 * MB).of(one) == 1_000.0
    assert (one.generator_ms, one.generator_share) == (0.75, 0.75)
    assert dataclasses.replace(one, generators=2).generator_share == 0.375


@pytest.mark.parametrize(
    ("better", "bound", "ours", "met"),
    [
        (Better.MORE, 4.0, 400.0, True),
        (Better.MORE, 4.0, 399.0, False),
        (Better.LESS, 0.25, 25.0, True),
        (Better.LESS, 0.25, 26.0, False),
        (Better.LESS, 0.0, 10_000.0, True),
    ],
)
def test_aims(better: Better, bound: float, ours: float, met: bool) -> None:
    """A bound is a least ratio or a greatest one, and none is always met."""
    row = Figure("case", "what", [90.0, 100.0, 500.0], [ours], better, bound)
    assert row.met is met
    assert ("**missed**" in row.row()) is not met


@pytest.mark.parametrize(
    ("theirs", "ours", "met"), [([0.9], [0.2], True), ([0.91], [0.2], False), ([0.2], [0.8, 0.95, 0.99], False)]
)
def test_ceilings(theirs: list[float], ours: list[float], met: bool) -> None:
    """A ceiling is one for both sides, whatever their ratio."""
    row = Figure("case", "what", theirs, ours, Better.LESS, ceiling=0.9)
    assert row.met is met
    assert f"| each ≤ 0.900 | {'met' if met else '**missed**'} |" in row.row()


def test_cases_with_our_generator_show_what_it_used() -> None:
    """So that a reader can tell whether it was the limit; smtp-source has no such rows."""
    rounds = {"postfix": [round_of(1_000, 2.0)], "mta": [round_of(8_000, 2.0)]}
    by_name = {case.name: postfix_figures(case, rounds) for case in CASES}
    assert [row.what for row in by_name["bdat"][3:]] == [GENERATOR.name, SHARE.name]
    assert by_name["reused"][3:] == []


def test_slow_clients() -> None:
    """They must not slow down the others, and are cut when their time is up."""
    rounds = {"without": [round_of(1_000, 2.0)], "beside": [round_of(950, 2.0)]}
    speed, _, cut = slow_figures(rounds, Cut(300.0, [300.2, 300.9, 301.0], 5_000))
    assert (speed.ratio, speed.met) == (0.95, True)
    assert cut.met
    assert "5,000 of them with a 421 (left: command_timeout_s) | 300 (300 to 300) | 301 (300 to 301) |" in cut.row()
    assert not slow_figures(rounds, Cut(300.0, [300.2, 331.0, 350.0], 5_000))[2].met


def test_report() -> None:
    """A case's rows as Markdown."""
    rounds = {"postfix": [round_of(1_000, 2.0)], "mta": [round_of(8_000, 2.0), round_of(16_000, 2.0)]}
    text = report.table(postfix_figures(CASES[0], rounds), "Postfix", "mta")
    assert "| finished, messages/s | 500 (500 to 500) | 6,000 (4,000 to 8,000) | 12.0 | ≥ 3.50 | met |" in text
    assert figure("", CPU, rounds["postfix"], rounds["mta"]).ratio == pytest.approx(0.09375)


def test_names() -> None:
    """Cases are selected by name."""
    assert len(set(NAMES)) == len(NAMES)
