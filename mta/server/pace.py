"""How long a client may take: for a command, for the content of a message, for everything.

A deadline counts for a whole step. Bytes that trickle in do not move that of a command; content has to come at a rate.
So a client that sends a byte now and then is gone as soon as one that sends nothing.
"""

from mta.config import Limits
from mta.server.stream import Clock
from mta.smtp import replies
from mta.smtp.replies import Reply
from mta.smtp.session import Session


class Pace:
    """One connection's. `received_bytes` is the caller's to count up."""

    __slots__ = ("_clock", "_commands", "_ends_at", "_is_content", "_limits", "_rate_at", "_step_at", "received_bytes")

    def __init__(self, limits: Limits, clock: Clock) -> None:
        self._limits = limits
        self._clock = clock
        self._ends_at = clock.now_s + limits.session_timeout_s
        self._step_at = clock.now_s  # when the present step began
        self._commands = -1  # seen when it began
        self._is_content = False
        self._rate_at = 0.0  # when content so far would have come at the lowest rate
        self.received_bytes = 0

    def deadline_at(self, session: Session, *, is_stressed: bool) -> float:
        """Until when the client has to send its next piece, on the worker's clock."""
        if session.is_receiving:
            return self._content_deadline_at(is_stressed=is_stressed)
        if self._commands != session.commands or self._is_content:
            self._is_content = False
            self._commands = session.commands
            self._step_at = self._clock.now_s
        limits = self._limits
        timeout_s = limits.command_timeout_s
        if is_stressed:
            timeout_s = min(timeout_s, limits.stress_timeout_s)
        return min(self._step_at + timeout_s, self._ends_at)

    def _content_deadline_at(self, *, is_stressed: bool) -> float:
        now_s = self._clock.now_s
        limits = self._limits
        if not self._is_content:
            self._is_content = True
            self._step_at = now_s
            self.received_bytes = 0
        timeout_s = limits.data_timeout_s
        if is_stressed:
            timeout_s = min(timeout_s, limits.stress_timeout_s)
        if not limits.data_rate:
            return now_s + timeout_s
        self._rate_at = self._step_at + timeout_s + self.received_bytes / limits.data_rate
        return min(now_s + timeout_s, self._rate_at)

    def last_word(self, session: Session) -> Reply:
        """What a client is told whose deadline has passed."""
        now_s = self._clock.now_s
        if not session.is_receiving:
            return replies.R421_SESSION_TIMEOUT if now_s >= self._ends_at else replies.R421_TIMEOUT
        return replies.R421_TOO_SLOW if self._limits.data_rate and now_s >= self._rate_at else replies.R421_TIMEOUT
