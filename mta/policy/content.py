"""What the content of a message may not have, judged by what was counted while it came in."""

from typing import Protocol

from mta.policy.verdict import ACCEPT, Verdict, refuse
from mta.smtp import replies

BARE_NEWLINE = refuse(replies.R550_BARE_NEWLINE)
HEADER_TOO_BIG = refuse(replies.R552_HEADER_TOO_BIG)
LOOP = refuse(replies.R554_LOOP)


class ContentFacts(Protocol):
    """What the checks look at; `mta.fastparse.Unstuffer` has it when it is done."""

    @property
    def size(self) -> int:
        """Bytes of content."""

    @property
    def header_end(self) -> int:
        """Offset behind the empty line that ends the header; -1 when there is none."""

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


def check_header(facts: ContentFacts, header_bytes: int) -> Verdict:
    """Refuse a header of more than `header_bytes`: whoever reads it keeps all of it in memory.

    Content without an empty line is header to its end; but where it has an LF on its own, and such messages are taken,
    its header may have ended in LF LF.
    """
    if facts.header_end >= 0:
        return HEADER_TOO_BIG if facts.header_end > header_bytes else ACCEPT
    return HEADER_TOO_BIG if facts.size > header_bytes and not facts.bare_lf else ACCEPT


def check_hops(facts: ContentFacts, hops: int) -> Verdict:
    """Refuse a message that has passed `hops` hosts: it must be going in circles (RFC 5321 section 6.3)."""
    return LOOP if facts.received_count >= hops else ACCEPT
