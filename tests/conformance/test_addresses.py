"""The addresses of is_email and flanker in MAIL and RCPT: the legal ones get 250, the others 501."""

import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from mta.policy.recipient import LocalDomains
from mta.policy.verdict import ACCEPT, Verdict
from tests.support import memory
from tests.support.conformance import FOLDER, needs_conformance
from tests.support.memory import MemoryConnection

pytestmark = needs_conformance

ISEMAIL = FOLDER / "address" / "isemail" / "test" / "tests.xml"
FLANKER = FOLDER / "address" / "flanker" / "tests" / "fixtures"

LEGAL = {
    "ISEMAIL_VALID_CATEGORY",
    "ISEMAIL_RFC5321",
    "ISEMAIL_DNSWARN",  # legal in form; only a look-up, which nobody makes for a syntax check, finds no such domain
}

HEADER_FORM = "a name or a comment beside the mailbox: the form of headers (RFC 5322 section 3.4), not of paths"
# What we answer to otherwise legal rows of flanker, and why.
FLANKER_REFUSED = {
    'Bill Gates <"billy"@retired.Micr!osoft99.com>': HEADER_FORM,
    "Steve Jobs <steve@apple.com>": HEADER_FORM,
    'Matt "The Matt" Mickiewicz <matt.Mickiewicz@99designs.com>': HEADER_FORM,
    '"<john@smith.com>" <john@smith.com>': HEADER_FORM,
    "(this is a comment) test@example.com": HEADER_FORM,
    "(this is a comment)test@example.com": HEADER_FORM,
    "test@example.com(this is a comment)": HEADER_FORM,
    "test@example.com (this is a comment)": HEADER_FORM,
}


class Everywhere(LocalDomains):
    """Takes mail for every domain, so that only the form of a recipient counts."""

    def check(self, domain: bytes) -> Verdict:
        return ACCEPT


def answers(address: bytes) -> dict[str, list[int]]:
    """The codes of the answers to an address in MAIL and in RCPT; several when it breaks the line."""
    connection = MemoryConnection(memory.door(domains=Everywhere([], "mx.example.org")))
    declared = b"" if address.isascii() else b" SMTPUTF8"
    connection.receive(b"EHLO client.example.com\r\n")
    mail = connection.receive(b"MAIL FROM:<%b>%b\r\n" % (address, declared))
    connection.receive(b"RSET\r\nMAIL FROM:<>%b\r\n" % declared)
    rcpt = connection.receive(b"RCPT TO:<%b>\r\n" % address)
    return {
        "MAIL": [int(line[:3]) for line in mail.splitlines()],
        "RCPT": [int(line[:3]) for line in rcpt.splitlines()],
    }


def isemail() -> list[Any]:
    """The rows of is_email. Control characters stand there as the symbols for them (U+2400 and on)."""
    if not ISEMAIL.exists():
        return []
    found = []
    for test in ElementTree.parse(ISEMAIL).getroot().iter("test"):
        text = test.findtext("address") or ""
        address = re.sub("[\u2400-\u241f]", lambda match: chr(ord(match[0]) - 0x2400), text)
        found.append(pytest.param(address.encode(), test.findtext("category"), id=f"isemail-{test.get('id')}"))
    return found


def flanker(name: str) -> list[str]:
    """The rows of a file of flanker's, without its remarks."""
    path: Path = FLANKER / name
    if not path.exists():
        return []
    lines = (re.sub(r"(^|\s{2,})#.*", "", line) for line in path.read_text().splitlines())
    return [line for line in lines if line.strip()]


ISEMAIL_ROWS = isemail()
FLANKER_LEGAL = flanker("mailbox_valid.txt")
FLANKER_ILLEGAL = flanker("mailbox_invalid.txt")


def test_all_rows_are_there() -> None:
    assert (len(ISEMAIL_ROWS), len(FLANKER_LEGAL), len(FLANKER_ILLEGAL)) == (164, 151, 85)
    assert set(FLANKER_LEGAL) >= FLANKER_REFUSED.keys()


@pytest.mark.parametrize(("address", "category"), ISEMAIL_ROWS)
def test_isemail(address: bytes, category: str) -> None:
    if address == b"":
        assert answers(address) == {"MAIL": [250], "RCPT": [501]}  # `<>` is the null reverse-path
    elif category in LEGAL:
        assert answers(address) == {"MAIL": [250], "RCPT": [250]}
    elif b"\n" in address:
        # The line ends there. What comes before is refused, and what comes after is no command either.
        assert all(code in (500, 501) for codes in answers(address).values() for code in codes)
    else:
        assert answers(address) == {"MAIL": [501], "RCPT": [501]}


@pytest.mark.parametrize("address", FLANKER_LEGAL)
def test_flanker_legal(address: str) -> None:
    code = 501 if address in FLANKER_REFUSED else 250
    assert answers(address.encode()) == {"MAIL": [code], "RCPT": [code]}


@pytest.mark.parametrize("address", FLANKER_ILLEGAL)
def test_flanker_illegal(address: str) -> None:
    assert answers(address.encode()) == {"MAIL": [501], "RCPT": [501]}
