"""The checks of one listener, stage by stage."""

from collections.abc import Callable
from typing import Literal

from mta.policy import content
from mta.policy.content import ContentFacts
from mta.policy.recipient import LocalDomains
from mta.policy.verdict import ACCEPT, Verdict


class Chain:
    """What a listener refuses. Made once and shared by all its sessions; holds no state of theirs and never blocks."""

    __slots__ = ("_content", "_domains")

    def __init__(self, domains: LocalDomains, *, bare_newlines: Literal["refuse", "keep"]) -> None:
        self._domains = domains
        self._content: list[Callable[[ContentFacts], Verdict]] = [content.check_hops]
        if bare_newlines == "refuse":
            self._content.insert(0, content.check_newlines)

    @property
    def postmaster(self) -> bytes:
        """The address that a bare `postmaster` stands for."""
        return self._domains.postmaster

    def recipient(self, domain: bytes) -> Verdict:
        """At RCPT: `domain` is lower case, and empty for a bare `postmaster`."""
        return self._domains.check(domain)

    def content(self, facts: ContentFacts) -> Verdict:
        """When the content has come to its end."""
        for check in self._content:
            verdict = check(facts)
            if verdict is not ACCEPT:
                return verdict
        return ACCEPT
