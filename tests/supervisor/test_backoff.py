"""How long a dead child stays dead."""

from mta.supervisor.backoff import LONGEST_S, STEADY_S, Backoff


def test_first_restart_is_immediate_then_it_doubles_to_a_minute() -> None:
    backoff = Backoff()
    assert [backoff.wait_s(0) for _ in range(9)] == [0, 1, 2, 4, 8, 16, 32, 60, 60]


def test_a_child_that_worked_well_starts_over() -> None:
    backoff = Backoff()
    for _ in range(5):
        backoff.wait_s(1.0)
    assert backoff.wait_s(STEADY_S) == 0
    assert backoff.wait_s(0) == 1


def test_it_never_overflows() -> None:
    backoff = Backoff()
    assert {backoff.wait_s(0) for _ in range(5000)} <= {0, 1, 2, 4, 8, 16, 32, LONGEST_S}
