"""The checks of one listener, stage by stage."""

from typing import Literal

from mta.policy.content import ContentFacts, check_header, check_hops, check_newlines
from mta.policy.recipient import KnownRecipients, LocalDomains
from mta.policy.verdict import ACCEPT, Verdict


class Chain:
    """What a listener refuses. Made once and shared by all its sessions; holds no state of theirs."""

    __slots__ = ("_domains", "_header_bytes", "_hops", "_recipients", "_refuses_newlines")

    def __init__(
        self,
        domains: LocalDomains,
        *,
        bare_newlines: Literal["refuse", "normalise", "keep"],
        hops: int,
        header_bytes: int,
        recipients: KnownRecipients | None = None,
    ) -> None:
        """`hops` and `header_bytes` are the limits of the listener; only with "refuse" are line ends looked at.

        Without `recipients`, all of the local domains are known.
        """
        self._recipients = recipients
        self._domains = domains
        self._refuses_newlines = bare_newlines == "refuse"
        self._hops = hops
        self._header_bytes = header_bytes

    @property
    def postmaster(self) -> bytes:
        """The address that a bare `postmaster` stands for."""
        return self._domains.postmaster

    def recipient(self, local: bytes, domain: bytes) -> Verdict:
        """At RCPT: `domain` is lower case, and empty for a bare `postmaster`. Waits where a table has to be asked."""
        verdict = self._domains.check(domain)
        if self._recipients is None or verdict is not ACCEPT:
            return verdict
        return self._recipients.check(local, domain)

    def content(self, facts: ContentFacts, binary: bool = False) -> Verdict:
        """When the content has come to its end; `binary` content (RFC 3030 section 3) has no lines to be judged.

        Never waits.
        """
        if self._refuses_newlines and not binary:
            verdict = check_newlines(facts)
            if verdict is not ACCEPT:
                return verdict
        verdict = check_header(facts, self._header_bytes)
        if verdict is not ACCEPT:
            return verdict
        return check_hops(facts, self._hops)
