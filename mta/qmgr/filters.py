"""Which messages `mta queue` means: filters, all of which must hold. Pure; time is an argument.

A filter that may be given several times holds when one of its values does. Addresses and domains are patterns in which
`*` stands for anything; letters of ASCII match in either case. What is asked about recipients is asked of those that
have not got the message, as far as is known.
"""

import itertools
import re
from collections.abc import Callable, Collection, Iterable
from typing import Literal

import msgspec

from mta.qmgr.names import domain_of
from mta.qmgr.rows import Recipient

State = Literal["queued", "active", "waiting", "held", "failed"]

_CODE = re.compile(r"[245](\.\d{1,3}){0,2}")  # an enhanced status code, or the first parts of one


class Filter(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What a message must be. Ages count from its acceptance; `reason` is part of a text, or the first parts of an
    enhanced status code (`4.2` is 4.2.2, and not 4.20.1)."""

    sender: list[str] = []
    recipient: list[str] = []
    domain: list[str] = []
    reason: list[str] = []
    transport: list[str] = []
    state: State | None = None
    older_s: float | None = None
    younger_s: float | None = None
    larger_bytes: int | None = None
    smaller_bytes: int | None = None


Route = Callable[[str, bytes, bytes, str, str], str | None]
"""Which transport a recipient's mail takes: where the message was moved to, recipient, sender, listener, `via`."""


class Facts(msgspec.Struct, gc=False):
    """What filters look at. `moved_to` is the transport that somebody chose; empty where the routes say it, or `vias`,
    which has an entry for each recipient, or none at all."""

    state: str
    sender: bytes
    recipients: Collection[bytes]
    received_wall: float
    size_bytes: int
    results: Iterable[Recipient] = ()
    moved_to: str = ""
    listener: str = ""
    vias: Collection[str] = ()


class Pattern:
    """A text with `*` for anything, to be compared with whole addresses or domains. As quick on any input."""

    __slots__ = ("_first", "_last", "_middle", "_whole")

    def __init__(self, text: str) -> None:
        if text.startswith("<") and text.endswith(">"):
            text = text[1:-1]
        first, *rest = text.encode("utf-8", "surrogateescape").lower().split(b"*")
        self._first, self._whole = first, not rest
        *self._middle, self._last = rest or [b""]

    def matches(self, data: bytes) -> bool:
        """Whether all of `data` is as the pattern says."""
        data = data.lower()
        if self._whole:
            return data == self._first
        if not data.startswith(self._first):
            return False
        at = len(self._first)
        for part in self._middle:
            found = data.find(part, at)
            if found < 0:
                return False
            at = found + len(part)
        return data.endswith(self._last) and len(data) - len(self._last) >= at


Test = Callable[[Facts], bool]


def matcher(wanted: Filter, now_wall: float, route: Route) -> Test:
    """What tells whether a message is wanted.

    `route` says which transport a recipient's mail takes (`mta.qmgr.active.ActiveSet.transport`).
    """
    tests = [*_address_tests(wanted), *_size_tests(wanted, now_wall)]
    if wanted.state is not None:
        tests.append(lambda facts: facts.state == wanted.state)
    if wanted.transport:
        names = set(wanted.transport)
        tests.append(
            lambda facts: any(
                route(facts.moved_to, address, facts.sender, facts.listener, via) in names
                for address, via in zip(facts.recipients, facts.vias or itertools.repeat(""), strict=False)
            )
        )
    if wanted.reason:
        reasons = [_reason_test(text) for text in wanted.reason]
        tests.append(lambda facts: any(test(result) for result in facts.results for test in reasons))
    return lambda facts: all(test(facts) for test in tests)


def is_empty(wanted: Filter) -> bool:
    """Whether a filter lets every message through."""
    return all(getattr(wanted, name) in ([], None) for name in Filter.__struct_fields__)


def _address_tests(wanted: Filter) -> list[Test]:
    tests: list[Test] = []
    if wanted.sender:
        senders = [Pattern(text) for text in wanted.sender]
        tests.append(lambda facts: any(pattern.matches(facts.sender) for pattern in senders))
    if wanted.recipient:
        recipients = [Pattern(text) for text in wanted.recipient]
        tests.append(lambda facts: any(one.matches(address) for address in facts.recipients for one in recipients))
    if wanted.domain:
        domains = [Pattern(text) for text in wanted.domain]
        tests.append(lambda facts: any(one.matches(domain_of(a)) for a in facts.recipients for one in domains))
    return tests


def _size_tests(wanted: Filter, now_wall: float) -> list[Test]:
    tests: list[Test] = []
    older_s, younger_s, larger, smaller = (
        *(wanted.older_s, wanted.younger_s),
        *(wanted.larger_bytes, wanted.smaller_bytes),
    )
    if older_s is not None:
        tests.append(lambda facts: now_wall - facts.received_wall >= older_s)
    if younger_s is not None:
        tests.append(lambda facts: now_wall - facts.received_wall < younger_s)
    if larger is not None:
        tests.append(lambda facts: facts.size_bytes > larger)
    if smaller is not None:
        tests.append(lambda facts: facts.size_bytes < smaller)
    return tests


def _reason_test(text: str) -> Callable[[Recipient], bool]:
    if _CODE.fullmatch(text):
        return lambda result: result.code == text or result.code.startswith(f"{text}.")
    words = text.lower()
    return lambda result: words in result.text.lower()
