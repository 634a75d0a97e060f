"""How many messages one destination may have in hand at once.

The window opens by one message with every success and halves each time the destination does not answer. When it has
closed, the destination is taken to be down: nothing is tried there for a while, then one message goes as a probe, and
success opens the window again. Time is an argument.
"""


class Window:
    """The window of one destination, in messages in flight.

    `maximum` is where it starts and how far it opens; `suspend_s` is how long a destination that is down is left alone.
    """

    __slots__ = ("maximum", "reason", "size", "suspend_s", "suspended_until_at")

    def __init__(self, maximum: int, suspend_s: float) -> None:
        self.maximum = maximum
        self.suspend_s = suspend_s
        self.size = maximum
        self.suspended_until_at = 0.0  # monotonic; 0: not suspended
        self.reason = ""  # why it is suspended, for people

    def resize(self, maximum: int) -> None:
        """Another number of delivery workers: a window that was fully open stays so."""
        self.size = maximum if self.size == self.maximum else min(self.size, maximum)
        self.maximum = maximum

    def succeeded(self) -> None:
        """A message was delivered."""
        if self.size < self.maximum:
            self.size += 1
            self.suspended_until_at = 0.0  # whatever others met meanwhile: it answers

    def unreachable(self, now: float, reason: str) -> None:
        """The destination did not answer; `reason` is one line for people."""
        if self.suspended_until_at:
            return  # the rest of what was in flight when it went down
        self.size //= 2
        if not self.size:
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
            self.size = 1
