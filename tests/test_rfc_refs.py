"""Protocol facts cite the RFC in one form, `RFC 5321 section 4.5.2`, so that they can be found and checked."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("mta", "tests", "bench", "docs", "conf")
SUFFIXES = (".py", ".pyx", ".pyi", ".h", ".md", ".toml", ".dialog")
FILES = sorted(
    path
    for path in [*ROOT.glob("*.md"), *(path for folder in FOLDERS for path in (ROOT / folder).rglob("*"))]
    if path.suffix in SUFFIXES and path != Path(__file__).resolve()
)

# What may be cited. A number that is not here is most likely a slip.
RFCS = {
    1035: "Domain names",
    1122: "Requirements for hosts",
    1870: "SIZE",
    1894: "Delivery status notifications (old)",
    2033: "LMTP",
    2034: "ENHANCEDSTATUSCODES",
    2045: "MIME",
    2181: "DNS: clarifications",
    2308: "DNS: negative caching",
    2920: "PIPELINING",
    3030: "CHUNKING, BINARYMIME",
    3207: "STARTTLS",
    3461: "DSN",
    3463: "Enhanced status codes",
    3464: "Delivery status notifications",
    3720: "CRC32C: test vectors",
    3848: "Transmission types",
    3986: "URI",
    4155: "mbox",
    4291: "IPv6 addresses",
    4511: "LDAP",
    4513: "LDAP: authentication",
    4515: "LDAP: filters",
    4954: "AUTH",
    4960: "CRC32C",
    5246: "TLS 1.2",
    5280: "Certificates",
    5321: "SMTP",
    5322: "Internet Message Format",
    5452: "DNS: against forged answers",
    5890: "IDNA: definitions",
    5891: "IDNA: protocol",
    5952: "IPv6 addresses as text",
    6125: "Names in certificates",
    6066: "TLS extensions",
    6068: "mailto",
    6152: "8BITMIME",
    6409: "Submission",
    6522: "multipart/report",
    6531: "SMTPUTF8",
    6532: "Internationalized headers",
    6533: "Internationalized DSN",
    6604: "DNS: codes and aliases",
    6698: "DANE: TLSA",
    6840: "DNSSEC: clarifications",
    6891: "DNS: EDNS",
    6928: "TCP: initial window",
    7504: "521 and 556",
    7505: "Null MX",
    7671: "DANE: operation",
    7672: "DANE for SMTP",
    8446: "TLS 1.3",
    8460: "TLSRPT",
    8461: "MTA-STS",
    8689: "REQUIRETLS",
    8767: "DNS: stale answers",
    8914: "DNS: extended errors",
    8996: "Deprecating TLS 1.0 and 1.1",
    9422: "LIMITS",
    9520: "DNS: failures cached",
}
FORM = re.compile(
    r"RFC (\d{3,5})(?: (?:section \d+(?:\.\d+)*|appendix [A-Z](?:\.\d+)*))?(?![\w§]|\.\d| §| \d| [sS]ec\w*\b)"
)


def problems(text: str) -> list[str]:
    """The mentions of RFCs that are not in the form. (`rfc822` is a type of address and of content.)"""
    found = []
    for mention in re.finditer(r"(?<![A-Za-z0-9_.])RFC(?!s\b|[\"']|822\b)", text, re.IGNORECASE):
        line = text[mention.start() :].partition("\n")[0][:60]
        match = FORM.match(text, mention.start())
        if match is None:
            found.append(f"not in the form: {line}")
        elif int(match[1]) not in RFCS:
            found.append(f"unknown RFC: {line}")
        elif re.match(r",?\s+(?:#\s*)?(?:section|appendix)\b", text[match.end() :]):
            found.append(f"the section is not on the line of its RFC: {line}")
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_citations(path: Path) -> None:
    assert problems(path.read_text(errors="replace")) == []


@pytest.mark.parametrize(
    "text",
    [
        "RFC 5321",
        "RFC 5321 section 4.5.2",
        "(RFC 5322 appendix A.1)",
        "RFC 3463.",
        "the RFCs",
        "rfc822;joe@example.com",
    ],
)
def test_good_form(text: str) -> None:
    assert problems(text) == []


@pytest.mark.parametrize(
    "text",
    [
        "RFC5321",
        "rfc 5321",
        "RFC-5321",
        "RFC 5321, section 4.5.2",
        "RFC 5321 4.5.2",
        "RFC 5321 § 4.5.2",
        "RFC 5321 Section 4.5.2",
        "RFC 5321 sections 3 and 4",
        "RFC 5321 sec. 4",
        "RFC 5321\n    section 4.5.2",
        "RFC 99999",
    ],
)
def test_bad_form(text: str) -> None:
    assert len(problems(text)) == 1
