"""Patterns: the first match, and which of them take too long."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mta.tables.pattern_cost import WAYS, ways
from mta.tables.regexp import PATTERN_BYTES, RegexpTable
from mta.tables.text import BadTable


def fault(line: bytes) -> str:
    with pytest.raises(BadTable) as caught:
        RegexpTable([line])
    return caught.value.faults[0][1]


def test_the_first_match_counts() -> None:
    table = RegexpTable([rb"^joe@ one", rb"/^(joe|jane)@example\.org$/  two", b"# no", rb"/a b/ three", rb"/\// four"])
    assert table.get(b"joe@example.org") == b"one"
    assert table.get(b"JANE@Example.org") == b"two"
    assert table.get(b"jane@example.organic") is None
    assert table.get(b"xa bx") == b"three"
    assert table.get(b"a/b") == b"four"
    assert len(table) == 4


def test_a_pattern_alone() -> None:
    assert RegexpTable([b"@example"]).get(b"joe@example.org") == b""
    assert RegexpTable([b"/@example/"]).get(b"joe@example.org") == b""


def test_a_value_is_taken_as_it_is() -> None:
    assert RegexpTable([b"^(.*)@ $1 \\1"]).get(b"joe@example.org") == b"$1 \\1"


def test_a_key_longer_than_any_address() -> None:
    assert RegexpTable([b"a x"]).get(b"a" * 320) == b"x"
    assert RegexpTable([b"a x"]).get(b"a" * 321) is None


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b"(", "is no pattern: missing ), unterminated subpattern at position 0"),
        (b"a** x", "is no pattern: multiple repeat"),
        (b"/a", "a pattern that begins with / must end with one"),
        (b"/a/i x", "a pattern that begins with / must end with one"),
        (b"if /a/", "Postfix's !, if and endif are not known here"),
        (b"!/a/ x", "Postfix's !, if and endif are not known here"),
        (b"a" * (PATTERN_BYTES + 1), "has a pattern of more than"),
        (b"^(a+)+$ x", "has a pattern that can take too long"),
    ],
)
def test_faults(line: bytes, words: str) -> None:
    assert fault(line).startswith(words)


def test_patterns_that_take_too_long_together() -> None:
    slow = rb"^a{0,3}a{0,300}a{0,300}b x"
    fast = [b"user%d@example x" % number for number in range(1000)]
    assert len(RegexpTable([slow] * 10 + fast)) == 1010
    with pytest.raises(BadTable) as caught:
        RegexpTable([slow] * 13)
    assert [line for line, _ in caught.value.faults] == [12, 13]


@pytest.mark.parametrize(
    "pattern",
    [
        rb"(a+)+$",
        rb"^(a|a)*$",
        rb"^(a|ab)*c",
        rb"^(a?){30}a{30}$",
        rb"^" + b"a?" * 30 + b"a" * 30,
        rb".*x.*y",
        rb"^.*a.*b.*c",
        rb"^(?:.*,){12}x",
        rb"^(?=(a+)+b)",
        rb"^((a*)b?)*\2$",
        rb"(?>(?:a*b?){20})",
        rb"(?:(?:a|b|aa){9}c?)*+",
    ],
)
def test_patterns_that_can_take_too_long(pattern: bytes) -> None:
    re.compile(pattern)
    assert ways(pattern) > WAYS


@pytest.mark.parametrize(
    "pattern",
    [
        rb"^joe@example\.org$",
        rb"@example\.(org|net|com)$",
        rb"^.*@example\.org$",
        rb".*@example\.org$",
        rb"^[^@]*-owner@.*\.example$",
        rb"^(?:joe|jane)(?:\+.*)?@example\.org$",
        rb"^[a-z]++[0-9]*+@(?>[a-z]+)\.(?:[a-z]*+\.)*+example$",
        rb"^[0-9a-f]{8}-[0-9a-f]{4}@",
        rb"^(?!postmaster)[^@]+@",
    ],
)
def test_patterns_that_are_harmless(pattern: bytes) -> None:
    assert 1 <= ways(pattern) <= WAYS
    assert RegexpTable([pattern + b" x"])


PIECES = st.recursive(
    st.sampled_from([b"a", b"b", b".", b"[ab]", b"^", b"$", b""]),
    lambda inner: st.one_of(
        st.tuples(inner, inner).map(b"".join),
        st.tuples(inner, inner).map(lambda pair: b"(?:%b|%b)" % pair),
        st.tuples(inner, st.sampled_from([b"*", b"+", b"?", b"{2,5}", b"*?", b"*+"])).map(
            lambda pair: b"(?:%b)%b" % pair
        ),
    ),
    max_leaves=8,
)


@given(PIECES, st.text("ab", max_size=320))
def test_what_is_taken_comes_to_an_end(pattern: bytes, key: str) -> None:
    """It would not, for some of these patterns, if they were tried."""
    try:
        table = RegexpTable([pattern + b" x"] if pattern else [])
    except BadTable:
        return
    found = table.get(key.encode())
    assert found in (b"x", None)
