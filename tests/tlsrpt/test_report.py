"""Reports of TLS: what is counted, what is said, and the message around it."""

import email
import email.policy
import gzip
import json
from datetime import UTC, date, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mta.tlsrpt import mail
from mta.tlsrpt.report import DETAILS, POLICIES, Day, Reporter, compressed

DAY = date(2026, 5, 4)
US = Reporter("mx.example.net", "tls@example.net")
POLICY = "version: STSv1;mode: enforce;mx: *.example.org;max_age: 1000"


def record(result: str, /, **more: str) -> dict[str, Any]:
    """A line of the log."""
    return {
        "time": "2026-05-04T08:15:02.713Z",
        "process": "deliver/0",
        "event": "tls_result",
        "domain": "example.org",
        "policy": "sts",
        "policy_domain": "example.org",
        "result": result,
        "reason": "",
        "host": "mx1.example.org",
        "address": "192.0.2.1",
        "own_address": "198.51.100.1",
        "policy_text": POLICY,
        "patterns": "*.example.org",
        **more,
    }


def test_a_report() -> None:
    day = Day(DAY)
    for _ in range(3):
        day.add(record("success"))
    for address in ("192.0.2.1", "192.0.2.1", "192.0.2.2"):
        day.add(record("certificate-expired", address=address, reason="certificate has expired"))
    base = "mx1.example.org"
    day.add(record("success", policy="tlsa", policy_domain=base, policy_text="3 1 1 ab;3 1 1 cd", patterns=""))
    missing = {"policy_text": "", "patterns": "", "host": "", "address": "", "own_address": ""}
    day.add(record("sts-policy-fetch-error", **missing))
    assert day.domains == ["example.org"]
    assert day.sessions("example.org") == (4, 4)
    found = day.report("example.org", US)
    policies = found.pop("policies")
    assert found.pop("report-id").endswith("@mx.example.net")
    assert found == {
        "organization-name": "mx.example.net",
        "date-range": {"start-datetime": "2026-05-04T00:00:00Z", "end-datetime": "2026-05-04T23:59:59Z"},
        "contact-info": "tls@example.net",
    }
    assert policies == [
        {
            "policy": {"policy-type": "sts", "policy-domain": "example.org"},
            "summary": {"total-successful-session-count": 0, "total-failure-session-count": 1},
            "failure-details": [{"result-type": "sts-policy-fetch-error", "failed-session-count": 1}],
        },
        {
            "policy": {
                "policy-type": "sts",
                "policy-string": ["version: STSv1", "mode: enforce", "mx: *.example.org", "max_age: 1000"],
                "policy-domain": "example.org",
                "mx-host": ["*.example.org"],
            },
            "summary": {"total-successful-session-count": 3, "total-failure-session-count": 3},
            "failure-details": [
                {
                    "result-type": "certificate-expired",
                    "sending-mta-ip": "198.51.100.1",
                    "receiving-mx-hostname": "mx1.example.org",
                    "receiving-ip": address,
                    "failed-session-count": count,
                    "failure-reason-code": "certificate has expired",
                }
                for address, count in (("192.0.2.1", 2), ("192.0.2.2", 1))
            ],
        },
        {
            "policy": {
                "policy-type": "tlsa",
                "policy-string": ["3 1 1 ab", "3 1 1 cd"],
                "policy-domain": "mx1.example.org",
            },
            "summary": {"total-successful-session-count": 1, "total-failure-session-count": 0},
        },
    ]


@pytest.mark.parametrize(
    "other",
    [
        {"time": "2026-05-03T23:59:59.999Z"},
        {"time": "2026-05-05T00:00:00.000Z"},
        {"event": "delivered"},
        {"domain": ""},
        {"domain": "../../etc/passwd"},
        {"domain": "a/b"},
        {"domain": "A.example"},
        {"policy": "mine"},
        {"result": ""},
    ],
)
def test_what_is_not_counted(other: dict[str, str]) -> None:
    day = Day(DAY)
    day.add(record("success", **other))
    assert day.domains == []


def test_kinds_of_failures_are_bounded() -> None:
    day = Day(DAY)
    for number in range(2 * DETAILS):
        day.add(record("validation-failure", reason=f"{number}"))
    (policy,) = day.report("example.org", US)["policies"]
    assert policy["summary"]["total-failure-session-count"] == 2 * DETAILS
    assert len(policy["failure-details"]) == DETAILS + 1
    assert policy["failure-details"][0] == {"result-type": "validation-failure", "failed-session-count": DETAILS}


def test_policies_of_a_domain_are_bounded() -> None:
    """A domain may have another one at each session."""
    day = Day(DAY)
    for number in range(2 * POLICIES):
        day.add(record("success", policy_text=f"version: STSv1;mode: enforce;max_age: {number}"))
        day.add(record("success", policy="tlsa", policy_domain=f"mx{number}.example.org", policy_text="3 1 1 ab"))
    policies = day.report("example.org", US)["policies"]
    assert len(policies) <= POLICIES + 2
    assert day.sessions("example.org") == (4 * POLICIES, 0)
    rest = [one for one in policies if "policy-string" not in one["policy"]]
    assert [one["policy"] for one in rest] == [
        {"policy-type": kind, "policy-domain": "example.org"} for kind in ("sts", "tlsa")
    ]
    assert sum(one["summary"]["total-successful-session-count"] for one in rest) == 3 * POLICIES


texts = st.text(max_size=20)


@given(st.lists(st.fixed_dictionaries({}, optional={key: texts for key in record("x")}), max_size=5))
def test_any_lines_make_a_report_whose_sums_are_right(lines: list[dict[str, str]]) -> None:
    day = Day(DAY)
    for line in lines:
        day.add({**record("success"), **line})
    for domain in day.domains:
        report = json.loads(gzip.decompress(compressed(day.report(domain, US))))
        for policy in report["policies"]:
            failed = sum(detail["failed-session-count"] for detail in policy.get("failure-details", []))
            assert policy["summary"]["total-failure-session-count"] == failed
        assert "/" not in day.file_name(domain, US)


def test_the_same_day_makes_the_same_report() -> None:
    """And no other one has its id."""
    days = [Day(DAY), Day(DAY)]
    for day in days:
        day.add(record("success"))
        day.add(record("success", domain="b.example"))
    first, again = (day.report("example.org", US) for day in days)
    assert compressed(first) == compressed(again)
    assert first["report-id"] != days[0].report("b.example", US)["report-id"]


def test_names_of_files() -> None:
    day = Day(DAY)
    assert day.file_name("example.org", US) == "mx.example.net!example.org!1777852800!1777939199"
    longest = ".".join(["x" * 49] * 5)
    assert len(day.file_name(longest, US)) < 200


def test_no_line_of_the_message_is_too_long() -> None:
    """However many places a domain names: RFC 5322 section 2.1.1."""
    places = [f"{'x' * 64}@{number}.{'y' * 60}.{'z' * 60}.{'u' * 60}.example.org" for number in range(8)]
    domain = ".".join(["d" * 62] * 4)
    text = mail.message(
        b"",
        file_name="x.json.gz",
        report=f"2026-05-04.0123@{domain}",
        domain=domain,
        hostname=domain,
        contact=f"tls@{domain}",
        recipients=places,
        day="2026-05-04",
        sessions=(1, 0),
        now=datetime(2026, 5, 5, tzinfo=UTC),
    )
    assert max(map(len, text.split(b"\r\n"))) <= 998
    made = email.message_from_bytes(text, policy=email.policy.default)
    assert made["To"] == ", ".join(places)
    assert made["Subject"] == f"Report Domain: {domain} Submitter: {domain} Report-ID: <2026-05-04.0123@{domain}>"
    assert b"=?" not in text


def test_the_message() -> None:
    day = Day(DAY)
    day.add(record("success"))
    data = compressed(day.report("example.org", US))
    text = mail.message(
        data,
        file_name="x.json.gz",
        report="1@mx.example.net",
        domain="example.org",
        hostname=US.hostname,
        contact=US.contact,
        recipients=["a@example.org", "b@example.org"],
        day="2026-05-04",
        sessions=(1, 0),
        now=datetime(2026, 5, 5, tzinfo=UTC),
    )
    assert text.count(b"\n") == text.count(b"\r\n")
    made = email.message_from_bytes(text, policy=email.policy.default)
    assert made.get_content_type() == "multipart/report"
    assert made.get_param("report-type") == "tlsrpt"
    assert made["Subject"] == "Report Domain: example.org Submitter: mx.example.net Report-ID: <1@mx.example.net>"
    assert (made["TLS-Report-Domain"], made["TLS-Report-Submitter"]) == ("example.org", "mx.example.net")
    assert made["To"] == "a@example.org, b@example.org"
    first, second = made.iter_parts()
    assert first.get_content_type() == "text/plain"
    assert "Successful sessions: 1" in first.get_content()
    assert second.get_content_type() == "application/tlsrpt+gzip"
    assert second.get_filename() == "x.json.gz"
    assert json.loads(gzip.decompress(second.get_content()))["contact-info"] == US.contact
