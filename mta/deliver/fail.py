"""The transport that delivers nothing: every recipient fails, or is deferred, with configured words.

For addresses that no longer are, and for a destination that is to wait while somebody works on it.
"""

from mta.deliver.attempt import Work
from mta.deliver.messages import Messages
from mta.errors import SpoolError
from mta.ipc import DEFERRED, FAILED

RELAY = "none"  # as the log has it


class Fail:
    """Every work ends as soon as it comes; the envelope is read for the log and for whoever tells the sender."""

    def __init__(self, code: str, text: str, messages: Messages) -> None:
        """`code` is an enhanced status code: 4.x.x defers, 5.x.x fails."""
        self._status = DEFERRED if code.startswith("4") else FAILED
        self._code = code
        self._text = text
        self._messages = messages

    def take(self, works: list[Work]) -> None:
        """End each work. Blocks for a read of the disk where a message is old."""
        for work in works:
            try:
                envelope = self._messages.read(work.job.location).envelope
            except SpoolError as error:
                work.settle_read(None, RELAY, [], error)
                continue
            work.settle_all(envelope, RELAY, self._status, self._code, self._text)

    def abandon(self) -> None:
        """Nothing ever waits here."""

    def close(self) -> None:
        """Nothing to let go of."""
