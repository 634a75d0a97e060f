"""What a request of `mta queue` can be refused with, and how far a long answer is."""

import msgspec

from mta.errors import MtaError
from mta.spool import queueid


class Refusal(MtaError):
    """A request that cannot be answered; one line. The asker's to mend."""


class Seen(msgspec.Struct, frozen=True):
    """How many messages have been looked at, of how many, about."""

    count: int
    total: int


def location(text: str) -> int:
    """The place that a queue id names; raises `Refusal` for what is none."""
    try:
        return queueid.parse(text)
    except ValueError as error:
        raise Refusal(str(error)) from None
