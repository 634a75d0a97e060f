"""Records and policies of MTA-STS: what counts, and what is none."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mta.deliver import sts_policy
from mta.deliver.sts_policy import BadPolicy, Mode, Policy, parse, record_id

GOOD = b"version: STSv1\nmode: enforce\nmx: mail.example.com\nmx: *.example.net\nmax_age: 604800\n"


# ---------------------------------------------------------------------------------------------------------------------
# The record


@pytest.mark.parametrize(
    "texts",
    [
        [b"v=STSv1; id=20160831085700Z;"],
        [b"v=STSv1;id=20160831085700Z"],
        [b"v=STSv1; id=20160831085700Z; "],
        [b"v=STSv1; more=a.b-c!; id=20160831085700Z"],
        [b"v=spf1 -all", b"v=STSv1; id=20160831085700Z;", b"v=STSv10; id=1"],
    ],
)
def test_a_record(texts: list[bytes]) -> None:
    assert record_id(texts) == "20160831085700Z"


@pytest.mark.parametrize(
    "texts",
    [
        [],
        [b"v=STSv1; id=1", b"v=STSv1; id=1"],
        [b"V=STSv1; id=1"],
        [b"v=STSv1 id=1"],
        [b" v=STSv1; id=1"],
        [b"v=STSv1;"],
        [b"v=STSv1; id="],
        [b"v=STSv1; ID=1"],
        [b"v=STSv1; id=" + b"1" * 33],
        [b"v=STSv1; id=a-b"],
        [b"v=STSv1; id=1; id=2"],
        [b"v=STSv1; id=1;; x=1"],
        [b"v=STSv1; id=1; x"],
        [b"v=STSv1; id=1; x=a b"],
        [b"v=STSv1; id=1; x=a=b"],
        [b"v=STSv1; id=\xc3\xa4"],
    ],
)
def test_no_record(texts: list[bytes]) -> None:
    assert record_id(texts) == ""


@given(st.lists(st.binary(max_size=60) | st.binary(max_size=40).map(lambda tail: b"v=STSv1;" + tail), max_size=3))
def test_any_texts_are_a_record_or_none(texts: list[bytes]) -> None:
    assert re.fullmatch("[A-Za-z0-9]{0,32}", record_id(texts))


# ---------------------------------------------------------------------------------------------------------------------
# The policy


def test_a_policy() -> None:
    policy = Policy(Mode.ENFORCE, 604800, ("mail.example.com", "*.example.net"))
    assert parse(GOOD) == policy
    assert "\n".join(policy.lines).encode() + b"\n" == b"".join(
        [b"version: STSv1\nmode: enforce\n", b"mx: mail.example.com\nmx: *.example.net\n", b"max_age: 604800\n"]
    )


@pytest.mark.parametrize(
    "data",
    [
        GOOD.replace(b"\n", b"\r\n"),
        GOOD.rstrip(),
        GOOD + b"\r\n\n",
        GOOD.replace(b": ", b":"),
        GOOD.replace(b"\n", b" \t\n"),
        GOOD + b"mode: none\nmax_age: 1\nversion: STSv2\n",
        GOOD + "x.y_z-1: viele W\u00f6rter\n".encode(),
        GOOD.replace(b"mail", b"MAIL") + b"mx: mail.example.com\n",
        b"mx: mail.example.com\n" + GOOD,
    ],
)
def test_the_same_in_other_words(data: bytes) -> None:
    assert parse(data) == parse(GOOD)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "line 1 is no field"),
        (GOOD.replace(b"STSv1", b"STSv2"), "version"),
        (GOOD.replace(b"version: STSv1\n", b""), "version"),
        (GOOD.replace(b"enforce", b"Enforce"), "mode"),
        (GOOD.replace(b"mode: enforce\n", b""), "mode"),
        (GOOD.replace(b"604800", b"31557601"), "max_age"),
        (GOOD.replace(b"604800", b"-1"), "max_age"),
        (GOOD.replace(b"604800", b"1.5"), "max_age"),
        (GOOD.replace(b"604800", "\u0661".encode()), "max_age"),
        (GOOD.replace(b"604800", b"00000000001"), "max_age"),
        (GOOD.replace(b"max_age: 604800\n", b""), "max_age"),
        (re.sub(rb"mx: .*\n", b"", GOOD), "no mx"),
        (GOOD.replace(b"mail.", b"*.*."), "mx that is no name"),
        (GOOD.replace(b"mail.", b"a*."), "mx that is no name"),
        (GOOD.replace(b"mail.example.com", b"mail.example.com."), "mx that is no name"),
        (GOOD.replace(b"mail.example.com", b"a b"), "mx that is no name"),
        (GOOD.replace(b"mail.example.com", b"x" * 64 + b".com"), "mx that is no name"),
        (GOOD.replace(b"mail.example.com", b".".join([b"x" * 50] * 6)), "mx that is no name"),
        (GOOD + b"mx: a.example\n" * 1000, "more than"),
        (GOOD.replace(b"mode", b"\nmode"), "line 2 is no field"),
        (GOOD.replace(b"mode:", b"mode"), "line 2 is no field"),
        (GOOD.replace(b"mode:", b"mode :"), "line 2 is no field"),
        (GOOD.replace(b"mode:", b" mode:"), "line 2 is no field"),
        (GOOD + b"more:\n", "line 6 is no field"),
        (GOOD + b"more: a\rb\n", "line 6 is no field"),
        (GOOD + b"more: a\0b\n", "line 6 is no field"),
        (GOOD + b"_more: a\n", "line 6 is no field"),
        (GOOD + b"x" * 33 + b": a\n", "line 6 is no field"),
        (b"\xef\xbb\xbf" + GOOD, "line 1 is no field"),
        (GOOD + b"more: \xff\n", "not UTF-8"),
        (GOOD + b"more: " + b"x" * 65536, "too long"),
        (b"<html>", "line 1 is no field"),
    ],
)
def test_no_policy(data: bytes, why: str) -> None:
    with pytest.raises(BadPolicy, match=why):
        parse(data)


def test_none_needs_no_hosts() -> None:
    assert parse(b"version: STSv1\nmode: none\nmax_age: 0") == Policy(Mode.NONE, 0, ())


def test_the_longest_age() -> None:
    assert parse(GOOD.replace(b"604800", b"31557600")).max_age_s == sts_policy.MAX_AGE_S


lines = st.sampled_from(GOOD.splitlines()) | st.text(max_size=30).map(str.encode) | st.binary(max_size=30)


@given(st.lists(lines, max_size=8), st.sampled_from([b"\n", b"\r\n"]))
def test_any_text_is_a_policy_or_none(parts: list[bytes], end: bytes) -> None:
    """And what is one says the same when it is read again."""
    try:
        policy = parse(end.join(parts))
    except BadPolicy:
        return
    assert 0 <= policy.max_age_s <= sts_policy.MAX_AGE_S
    assert policy.patterns or policy.mode is Mode.NONE
    assert parse("\n".join(policy.lines).encode()) == policy


# ---------------------------------------------------------------------------------------------------------------------
# Hosts


@pytest.mark.parametrize(
    ("host", "is_allowed"),
    [
        ("mail.example.com", True),
        ("MAIL.example.COM.", True),
        ("other.example.com", False),
        ("example.com", False),
        ("a.example.net", True),
        ("a.b.example.net", False),
        ("example.net", False),
        (".example.net", False),
        ("*.example.net", False),
        ("xexample.net", False),
        ("", False),
    ],
)
def test_which_hosts_are_allowed(host: str, is_allowed: bool) -> None:
    """A wildcard stands for one label (RFC 8461 section 4.1)."""
    assert parse(GOOD).allows(host) == is_allowed


@given(st.lists(st.sampled_from(["a", "b", "mail", "example", "com", "net"]), min_size=1, max_size=5))
def test_a_wildcard_is_one_label(labels: list[str]) -> None:
    host = ".".join(labels)
    expected = labels == ["mail", "example", "com"] or (len(labels) == 3 and labels[1:] == ["example", "net"])
    assert parse(GOOD).allows(host) == expected
