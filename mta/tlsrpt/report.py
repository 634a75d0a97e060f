"""Counting the sessions of a day, and the report that a domain gets (RFC 8460 section 4)."""

import gzip
import hashlib
import json
import re
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, NamedTuple

EVENT = "tls_result"
SUCCESS = "success"
KINDS = ("sts", "tlsa", "no-policy-found")
POLICIES = 100  # of one domain, which may have another one for each session; further ones are told of by kind alone
DETAILS = 1000  # kinds of failures in one policy, by host, address and reason; further ones are told without those
REASON_CHARACTERS = 200
NAME_CHARACTERS = 100  # of each of the two names in the name of a file

_DOMAIN = re.compile(r"[a-z0-9_](?:[a-z0-9_.-]{0,251}[a-z0-9_])?")


class _Policy(NamedTuple):
    """A policy as the log tells it; `text` has its lines, joined by `;`."""

    kind: str
    domain: str
    text: str
    patterns: str


class _Failure(NamedTuple):
    """In which way sessions failed, and where."""

    result: str
    own_address: str = ""
    host: str = ""
    address: str = ""
    reason: str = ""


class _Counts:
    """The sessions under one policy."""

    def __init__(self) -> None:
        self.successful = 0
        self.failures: Counter[_Failure] = Counter()


class Reporter(NamedTuple):
    """Who reports: our name, and the address that questions go to."""

    hostname: str
    contact: str


class Day:
    """The sessions of one day (UTC), by domain."""

    def __init__(self, day: date) -> None:
        self.day = day
        self._domains: dict[str, dict[_Policy, _Counts]] = {}

    def add(self, record: Mapping[str, Any]) -> None:
        """Count a record of the log (`mta.log_reader`), where it is one of this day that is about TLS with hosts."""
        if record.get("event") != EVENT or not str(record.get("time", "")).startswith(self.day.isoformat()):
            return
        text = {key: str(value) for key, value in record.items()}
        domain, kind, result = text.get("domain", ""), text.get("policy", ""), text.get("result", "")
        if not _DOMAIN.fullmatch(domain) or kind not in KINDS or not result:
            return
        policy = _Policy(kind, text.get("policy_domain", ""), text.get("policy_text", ""), text.get("patterns", ""))
        policies = self._domains.setdefault(domain, {})
        if policy not in policies and len(policies) >= POLICIES:
            policy = _Policy(kind, domain, "", "")
        counts = policies.setdefault(policy, _Counts())
        if result == SUCCESS:
            counts.successful += 1
            return
        own_address, host, address = (text.get(key, "") for key in ("own_address", "host", "address"))
        failure = _Failure(result, own_address, host, address, text.get("reason", "")[:REASON_CHARACTERS])
        if failure not in counts.failures and len(counts.failures) >= DETAILS:
            failure = _Failure(result)
        counts.failures[failure] += 1

    @property
    def domains(self) -> list[str]:
        """All that there were sessions with, sorted."""
        return sorted(self._domains)

    def sessions(self, domain: str) -> tuple[int, int]:
        """How many sessions were successful, and how many failed."""
        found = self._domains[domain].values()
        return sum(counts.successful for counts in found), sum(counts.failures.total() for counts in found)

    def report(self, domain: str, reporter: Reporter) -> dict[str, Any]:
        """The report for a domain. The same day makes the same report, with the same id."""
        begin, end = _bounds(self.day)
        return {
            "organization-name": reporter.hostname,
            "date-range": {"start-datetime": _text(begin), "end-datetime": _text(end)},
            "contact-info": reporter.contact,
            "report-id": report_id(self.day, domain, reporter),
            "policies": [_policy(policy, counts) for policy, counts in sorted(self._domains[domain].items(), key=_key)],
        }

    def file_name(self, domain: str, reporter: Reporter) -> str:
        """What its file is called, without the endings (RFC 8460 section 5.1)."""
        begin, end = _bounds(self.day)
        names = (_short(reporter.hostname), _short(domain))
        return "!".join((*names, str(int(begin.timestamp())), str(int(end.timestamp()))))


def report_id(day: date, domain: str, reporter: Reporter) -> str:
    """The id of a report, which no other one has."""
    digest = hashlib.sha256(f"{day.isoformat()} {domain}".encode()).hexdigest()[:24]
    return f"{day.isoformat()}.{digest}@{reporter.hostname}"


def compressed(report: Mapping[str, Any]) -> bytes:
    """A report as JSON, compressed by gzip."""
    return gzip.compress(json.dumps(report, indent=1).encode(), mtime=0)


def _key(item: tuple[_Policy, _Counts]) -> _Policy:
    return item[0]


def _policy(policy: _Policy, counts: _Counts) -> dict[str, Any]:
    said: dict[str, Any] = {"policy-type": policy.kind}
    if policy.text:
        said["policy-string"] = policy.text.split(";")
    said["policy-domain"] = policy.domain
    if policy.patterns:
        said["mx-host"] = policy.patterns.split()
    found: dict[str, Any] = {
        "policy": said,
        "summary": {
            "total-successful-session-count": counts.successful,
            "total-failure-session-count": counts.failures.total(),
        },
    }
    if counts.failures:
        found["failure-details"] = [_failure(*item) for item in sorted(counts.failures.items())]
    return found


def _failure(failure: _Failure, count: int) -> dict[str, Any]:
    named = {
        "result-type": failure.result,
        "sending-mta-ip": failure.own_address,
        "receiving-mx-hostname": failure.host,
        "receiving-ip": failure.address,
        "failed-session-count": count,
        "failure-reason-code": failure.reason,
    }
    return {key: value for key, value in named.items() if value}


def _bounds(day: date) -> tuple[datetime, datetime]:
    """The first second of a day, and its last."""
    begin = datetime.combine(day, time(), UTC)
    return begin, begin + timedelta(days=1, seconds=-1)


def _text(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def _short(name: str) -> str:
    """A name, or what stands for it where it would make the name of a file too long."""
    return name if len(name) <= NAME_CHARACTERS else hashlib.sha256(name.encode()).hexdigest()
