"""What is told of TLS with a host, for reports that its domain may ask for (RFC 8460): the policy, and the outcome."""

from collections.abc import Iterable
from typing import NamedTuple

from mta.deliver.peer import Connection
from mta.deliver.sts_policy import Policy as StsPolicy
from mta.dns.message import Tlsa
from mta.smtp.client import Step

POLICY_CHARACTERS = 900  # of a policy in the log; lines that would make more are left away

SUCCESS = "success"
NO_STARTTLS = "starttls-not-supported"
INVALID_TLSA = "tlsa-invalid"
DNSSEC_INVALID = "dnssec-invalid"
VALIDATION = "validation-failure"
NOT_IN_POLICY = "the host is not in the policy"


class Applied(NamedTuple):
    """The policy that a host is tried under: its kind, its lines joined by `;`, the patterns of hosts by blanks.

    `domain` is the one that has the policy, where that is not the recipient's. `trouble` is the result, whatever comes
    of the connection, and why; or both are empty.
    """

    kind: str = "no-policy-found"
    domain: str = ""
    text: str = ""
    patterns: str = ""
    trouble: tuple[str, str] = ("", "")


def sts(policy: StsPolicy, *, is_allowed: bool) -> Applied:
    """A policy of MTA-STS, and whether the host is in it."""
    trouble = ("", "") if is_allowed else (VALIDATION, NOT_IN_POLICY)
    return Applied("sts", "", _joined(policy.lines, ";"), _joined(policy.patterns, " "), trouble)


def tlsa(base: bytes, records: Iterable[Tlsa]) -> Applied:
    """TLSA records at a base domain (RFC 7672 section 2.2.3); without any that can be used, they are invalid."""
    lines = [f"{one.usage} {one.selector} {one.matching} {one.data.hex()}" for one in records]
    trouble = ("", "") if lines else (INVALID_TLSA, "none of the records can be used")
    return Applied("tlsa", base.decode("ascii", "backslashreplace"), _joined(lines, ";"), "", trouble)


def outcome(connection: Connection) -> tuple[str, str]:
    """What came of TLS, and why for people; empty where the connection ended before."""
    client = connection.client
    reason = client.failure.text if client.failure is not None else ""
    if connection.tls_failed:
        return connection.tls_result, reason
    if connection.cipher:
        return SUCCESS, ""
    if client.step is Step.READY or (client.failure is not None and client.failure.code == "4.7.4"):
        return NO_STARTTLS, reason
    return "", ""


def _joined(lines: Iterable[str], between: str) -> str:
    kept: list[str] = []
    room = POLICY_CHARACTERS
    for line in lines:
        room -= len(line) + 1
        if room < 0:
            break
        kept.append(line)
    return between.join(kept)
