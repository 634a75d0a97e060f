"""What is refused of the domains of senders."""

import pytest

from mta.policy.sender import NULL_MX, UNCLEAR, UNKNOWN, SenderDomain, Standing
from mta.policy.verdict import ACCEPT, Verdict


def check(standing: Standing, *, null_mx: bool, unknown: bool) -> Verdict:
    rules = SenderDomain(lambda domain: standing, refuses_null_mx=null_mx, refuses_unknown=unknown)
    return rules.check(b"example.com")


@pytest.mark.parametrize("null_mx", [True, False])
@pytest.mark.parametrize("unknown", [True, False])
def test_verdicts(null_mx: bool, unknown: bool) -> None:
    expected = {
        Standing.TAKES_MAIL: ACCEPT,
        Standing.NULL_MX: NULL_MX if null_mx else ACCEPT,
        Standing.UNKNOWN: UNKNOWN if unknown else ACCEPT,
        Standing.UNCLEAR: UNCLEAR if unknown else ACCEPT,
    }
    assert {standing: check(standing, null_mx=null_mx, unknown=unknown) for standing in Standing} == expected


def test_replies() -> None:
    """RFC 7505 section 4.2, RFC 3463 section 3.2."""
    said = [verdict.reply.wire[:10] for verdict in (NULL_MX, UNKNOWN, UNCLEAR) if verdict.reply is not None]
    assert said == [b"550 5.7.27", b"550 5.1.8 ", b"450 4.1.8 "]


@pytest.mark.parametrize("domain", [b"", b"[192.0.2.1]", b"example.org"])
def test_who_is_not_asked_about(domain: bytes) -> None:
    def standing(asked: bytes) -> Standing:
        raise AssertionError(f"{asked!r} was looked up")

    rules = SenderDomain(standing, refuses_null_mx=True, refuses_unknown=True, own=[b"example.org"])
    assert rules.check(domain) is ACCEPT
