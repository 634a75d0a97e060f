"""Filters of `mta queue`: each alone, all together, and patterns against another way of saying the same."""

import re

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mta.qmgr.filters import Facts, Filter, Pattern, is_empty, matcher
from mta.qmgr.names import domain_of
from mta.qmgr.rows import Recipient

NOW_WALL = 10_000.0

FACTS = Facts(
    "waiting",
    b"Me@Sender.example",
    (b"a@one.example", b"b@sub.two.example"),
    NOW_WALL - 3600,
    1000,
    [Recipient(0, b"a@one.example", 4, "4.2.2", "Mailbox full"), Recipient(1, b"b@sub.two.example")],
)


def route(moved_to: str, address: bytes, sender: bytes, listener: str, via: str) -> str | None:
    return moved_to or via or {b"a@one.example": "store", b"b@sub.two.example": None}.get(address)


def matches(facts: Facts = FACTS, **wanted: object) -> bool:
    return matcher(msgspec.convert(wanted, Filter), NOW_WALL, route)(facts)


@pytest.mark.parametrize(
    "wanted",
    [
        {},
        {"sender": ["me@sender.example"]},
        {"sender": ["<me@sender.example>"]},
        {"sender": ["x", "*@sender.example"]},
        {"recipient": ["B@sub.*"]},
        {"domain": ["ONE.example"]},
        {"domain": ["*.two.example"]},
        {"reason": ["mailbox"]},
        {"reason": ["4"]},
        {"reason": ["4.2"]},
        {"reason": ["4.2.2"]},
        {"reason": ["nothing", "full"]},
        {"transport": ["store"]},
        {"state": "waiting"},
        {"older_s": 3600},
        {"younger_s": 3601},
        {"larger_bytes": 999},
        {"smaller_bytes": 1001},
        {"older_s": 60, "younger_s": 7200, "domain": ["one.example"], "larger_bytes": 1},
    ],
)
def test_what_matches(wanted: dict[str, object]) -> None:
    assert matches(**wanted)
    assert is_empty(msgspec.convert(wanted, Filter)) == (not wanted)


@pytest.mark.parametrize(
    "wanted",
    [
        {"sender": [""]},
        {"sender": ["<>"]},
        {"sender": ["sender.example"]},
        {"recipient": ["*@sender.example"]},
        {"domain": ["two.example"]},
        {"domain": ["example"]},
        {"reason": ["4.2.20"]},
        {"reason": ["4.20"]},
        {"reason": ["5"]},
        {"reason": ["no such user"]},
        {"transport": ["relay"]},
        {"state": "held"},
        {"older_s": 3601},
        {"younger_s": 3600},
        {"larger_bytes": 1000},
        {"smaller_bytes": 1000},
        {"sender": ["*"], "larger_bytes": 1000},
    ],
)
def test_what_does_not(wanted: dict[str, object]) -> None:
    assert not matches(**wanted)
    assert not is_empty(msgspec.convert(wanted, Filter))


def test_the_null_sender_and_addresses_without_a_domain() -> None:
    facts = Facts("queued", b"", (b"postmaster",), NOW_WALL, 1)
    assert matches(facts, sender=["<>"])
    assert matches(facts, sender=["*"])
    assert matches(facts, recipient=["postmaster"])
    assert not matches(facts, domain=["postmaster"])
    assert matches(facts, domain=[""])
    assert not matches(facts, reason=["4"])
    assert domain_of(b"a@b@C.example") == b"c.example"


def test_where_it_was_moved_to_counts() -> None:
    facts = msgspec.structs.replace(FACTS, moved_to="relay")
    assert matches(facts, transport=["relay"])
    assert not matches(facts, transport=["store"])


def test_rubbish_is_no_filter() -> None:
    for wanted in ({"state": "odd"}, {"sender": "a"}, {"older_s": "1h"}, {"colour": ["red"]}):
        with pytest.raises(msgspec.ValidationError):
            msgspec.convert(wanted, Filter)


_few = st.text("aB@.é", max_size=12)


@given(st.text("aB*.é@", max_size=8), _few)
def test_patterns_are_what_they_say(pattern: str, text: str) -> None:
    """Against a regular expression made of the same pattern."""

    def lower(value: str) -> str:
        return value.encode().lower().decode()

    expected = re.fullmatch(".*".join(map(re.escape, lower(pattern).split("*"))), lower(text)) is not None
    assert Pattern(pattern).matches(text.encode()) == expected


@given(_few)
def test_every_text_is_a_pattern_for_itself(text: str) -> None:
    assert Pattern(text).matches(text.swapcase().encode() if text.isascii() else text.encode())
    assert Pattern("*").matches(text.encode())


def test_what_was_decided_for_each_recipient_counts() -> None:
    facts = msgspec.structs.replace(FACTS, vias=["", "archive"])
    assert matches(facts, transport=["archive"])
    assert matches(facts, transport=["store"])
    assert not matches(transport=["archive"])
