"""What the content of a message may not have, judged by what was counted while it came in."""

from typing import Protocol

from mta.policy.verdict import ACCEPT, Verdict, refuse
from mta.smtp import limits, replies

BARE_NEWLINE = refuse(replies.R550_BARE_NEWLINE, "bare-newline")
LOOP = refuse(replies.R554_LOOP, "loop")


class ContentFacts(Protocol):
    """What the checks look at; `mta.fastparse.Unstuffer` has it when it is done."""

    @property
    def bare_cr(self) -> bool:
        """There is a CR with no LF behind it."""

    @property
    def bare_lf(self) -> bool:
        """There is an LF with no CR before it."""

    @property
    def received_count(self) -> int:
        """Received fields in the header."""


def check_newlines(facts: ContentFacts) -> Verdict:
    """Refuse a CR or LF outside CR LF (RFC 5321 section 2.3.8): the next hop might see line ends that we did not."""
    return BARE_NEWLINE if facts.bare_lf or facts.bare_cr else ACCEPT


def check_hops(facts: ContentFacts) -> Verdict:
    """Refuse a message that has passed so many hosts that it must be going in circles (RFC 5321 section 6.3)."""
    return LOOP if facts.received_count >= limits.RECEIVED_HOPS else ACCEPT
