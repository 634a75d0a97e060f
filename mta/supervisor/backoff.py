"""How long a dead child stays dead."""

FIRST_S = 1.0  # after the first restart, which is immediate
LONGEST_S = 60.0
STEADY_S = 10.0  # a child that was at work for this long had no fault that starting it again at once could repeat


class Backoff:
    """The wait before a restart: nothing at first, then doubling from 1 s to 60 s while the child keeps dying early."""

    def __init__(self) -> None:
        self._failures_count = 0

    def wait_s(self, worked_s: float) -> float:
        """Seconds to wait before the restart of a child that just died after `worked_s` at work (0: never ready)."""
        if worked_s >= STEADY_S:
            self._failures_count = 0
        self._failures_count += 1
        if self._failures_count == 1:
            return 0.0
        return min(LONGEST_S, FIRST_S * 2.0 ** min(self._failures_count - 2, 32))
