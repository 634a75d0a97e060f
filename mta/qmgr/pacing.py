"""How many messages one destination may have in hand at once, and how many may go a second. Time is an argument.

The window opens by one message with every success, so that a destination that answers is at its full width after a few
rounds, and closes by one with every attempt that finds nobody. When failures without a success between them make up a
cohort (a window's worth: each counts as one part of the window it met), the destination is taken to be down: nothing is
tried there for a while, then one message goes as a probe, and success opens the window again. This is the feedback of
Postfix's queue manager with its defaults: +1, -1, one cohort.
"""

import math

INITIAL = 5  # messages in flight to a destination that has not answered yet; Postfix's initial_destination_concurrency
BURST_S = 0.1  # a rate lets through so much at once: several turns of the manager, or a limit would become a lower one


class Window:
    """The window of one destination, in messages in flight.

    `maximum` is how far it opens and `initial` where it starts (at `maximum`, if that is smaller); `suspend_s` is how
    long a destination that is down is left alone.
    """

    __slots__ = ("cohort", "initial", "maximum", "reason", "size", "suspend_s", "suspended_until_at")

    def __init__(self, maximum: int, suspend_s: float, *, initial: int = INITIAL) -> None:
        self.maximum = maximum
        self.initial = initial
        self.suspend_s = suspend_s
        self.size = min(initial, maximum)
        self.cohort = 0.0  # failures since the last success, as parts of a window
        self.suspended_until_at = 0.0  # monotonic; 0: not suspended
        self.reason = ""  # why it is suspended, for people

    def resize(self, maximum: int, initial: int) -> None:
        """Another number of delivery workers: a window that was fully open stays so."""
        self.size = maximum if self.size == self.maximum else min(self.size, maximum)
        self.maximum, self.initial = maximum, initial

    def succeeded(self, wanted: int) -> None:
        """A message was delivered, one of `wanted` in flight and in line. A window that nobody needs does not open."""
        self.cohort = 0.0
        if self.size < self.maximum and self.size < wanted + self.initial:
            self.size += 1
            self.suspended_until_at = 0.0  # whatever others met meanwhile: it answers

    def unreachable(self, now: float, reason: str) -> None:
        """The destination did not answer; `reason` is one line for people."""
        if self.suspended_until_at:
            return  # the rest of what was in flight when it went down
        self.cohort += 1.0 / self.size
        self.size -= 1
        if self.cohort >= 1.0 or not self.size:
            self.size = 0
            self.suspended_until_at = now + self.suspend_s
            self.reason = reason

    def is_suspended(self, now: float) -> bool:
        """Whether nothing may be tried now. When the pause has passed, the window opens for one probe."""
        if not self.suspended_until_at:
            return False
        if now < self.suspended_until_at:
            return True
        self.resume()
        return False

    def resume(self) -> None:
        """End the pause, if there is one, and allow a probe."""
        if self.suspended_until_at:
            self.suspended_until_at = 0.0
            self.cohort = 0.0
            self.size = 1


class Rate:
    """At most `per_s` messages a second, and at once what `BURST_S` of that is, and one more."""

    __slots__ = ("_at", "_most", "_parts", "per_s")

    def __init__(self, per_s: float) -> None:
        self.per_s = per_s
        self._most = 1.0 + per_s * BURST_S  # the one, so that nothing is lost where somebody comes a little late
        self._parts = max(1.0, per_s * BURST_S)  # messages that may go; grows with time
        self._at = -math.inf  # when that was so

    def allowed(self, now: float) -> int:
        """How many messages may go now."""
        if now > self._at:
            self._parts = min(self._most, self._parts + (now - self._at) * self.per_s)
            self._at = now
        return int(self._parts + 1e-6)  # what adding parts up may have lost

    def take(self, count: int) -> None:
        """So many go; no more than are allowed."""
        self._parts -= count

    def ready_at(self) -> float:
        """When one more may go (monotonic, seconds), if none goes before; by rounding no later than `allowed` says."""
        return self._at + max(0.0, 1.0 - 5e-7 - self._parts) / self.per_s
