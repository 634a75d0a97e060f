"""The two clocks, as an object that tests replace."""

import time
from typing import Protocol


class Clock(Protocol):
    """Where time comes from."""

    def monotonic(self) -> float:
        """Seconds that never step: for intervals."""

    def wall(self) -> float:
        """Seconds since the epoch: for what outlives the process."""


class SystemClock:
    """The machine's clocks."""

    monotonic = staticmethod(time.monotonic)
    wall = staticmethod(time.time)
