"""Fairness of the scheduler, in the simulation's own time."""

import subprocess
import sys

from bench.simulate_queue import Load, Result, Simulation, trouble
from tests.support.server import ROOT

LOAD = Load(healthy=990, healthy_rate=100.0, seconds=60.0)
ACTIVE = 2_000  # fewer than what those that hang get


def simulate(load: Load) -> Result:
    result = Simulation(load, seed=1, active=ACTIVE).run()
    assert result.held <= ACTIVE
    return result


def test_neither_those_that_hang_nor_a_huge_one_delay_the_others() -> None:
    alone, beside = simulate(LOAD), simulate(trouble(LOAD))
    assert alone.arrived == beside.arrived
    assert alone.delivered == alone.arrived
    assert beside.delivered == beside.arrived
    for percent in (50, 90, 99, 100):
        assert beside.percentile(percent) <= 1.1 * alone.percentile(percent)
    assert beside.delivered_huge >= beside.arrived  # it has its part, too
    assert beside.parked  # the set was full, and somebody gave place


def test_many_that_hang_hold_up_nobody() -> None:
    """A tenth of all destinations, with two thirds of all mail."""
    few = Load(healthy=990, healthy_rate=100.0, hanging=100, hanging_rate=200.0, seconds=60.0)
    beside = simulate(few)
    assert beside.delivered == beside.arrived
    assert beside.percentile(99) <= 1.1 * simulate(LOAD).percentile(99)


def test_one_seed_one_result() -> None:
    load = trouble(Load(healthy=99, healthy_rate=50.0, seconds=10.0))
    assert simulate(load) == simulate(load)


def test_what_it_prints() -> None:
    command = [sys.executable, str(ROOT / "bench" / "simulate_queue.py"), "--seconds", "2", "--rate", "50"]
    lines = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout.splitlines()
    assert len(lines) == 3
    assert "100.0 %" in lines[1]
