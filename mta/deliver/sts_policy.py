"""What a domain says of MTA-STS (RFC 8461): its record in the DNS, its policy, and which hosts that allows. Pure.

A record or a policy with a fault is none at all, as RFC 8461 has it, and the fault is said in words. In two things more
is taken than the grammar has: white space before the end of a record, and empty lines behind a policy.
"""

import enum
import re
from collections.abc import Iterable

import msgspec

POLICY_BYTES = 65536  # RFC 8461 section 3.3
MAX_AGE_S = 31_557_600  # RFC 8461 section 3.2: a year
PATTERNS = 256  # hosts in one policy; the largest have some ten

_VERSION = b"v=STSv1;"
_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,31}")
_ID = re.compile(r"[A-Za-z0-9]{1,32}")
_RECORD_VALUE = re.compile(r"[!-:<>-~]+")
_VALUE = re.compile(r"[^\x00-\x20\x7f](?:[^\x00-\x1f\x7f]*[^\x00-\x20\x7f])?")
_AGE = re.compile(r"[0-9]{1,10}")
_LABEL = "[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_PATTERN = re.compile(rf"(?:\*\.)?{_LABEL}(?:\.{_LABEL})*")
_NAME_CHARACTERS = 253
_ONCE = ("version", "mode", "max_age")


class Mode(enum.Enum):
    """How a policy is meant: mail that it does not allow waits; it is delivered, and reported; or there is none."""

    ENFORCE = "enforce"
    TESTING = "testing"
    NONE = "none"


class Policy(msgspec.Struct, frozen=True, array_like=True):
    """A policy. `patterns` are names of hosts in lower case; `*.` in front stands for exactly one label."""

    mode: Mode
    max_age_s: int
    patterns: tuple[str, ...]

    @property
    def lines(self) -> list[str]:
        """The policy in its own words, for reports."""
        mx = [f"mx: {pattern}" for pattern in self.patterns]
        return ["version: STSv1", f"mode: {self.mode.value}", *mx, f"max_age: {self.max_age_s}"]

    def allows(self, host: str) -> bool:
        """Whether a host of that name (A-labels) is one that the policy names (RFC 8461 section 4.1)."""
        host = host.lower().rstrip(".")
        label, _, parent = host.partition(".")
        if not label or "*" in host:  # the DNS may hold such names, and none is one of a host
            return False
        return host in self.patterns or f"*.{parent}" in self.patterns


class BadPolicy(ValueError):
    """The text is no policy; says why, in words of ours."""


def record_id(texts: Iterable[bytes]) -> str:
    """The id in the one MTA-STS record among the TXT records of a name; empty where there is none that counts.

    RFC 8461 section 3.1.
    """
    found = [text for text in texts if text.startswith(_VERSION)]
    if len(found) != 1:
        return ""
    ids = []
    fields = found[0].decode("ascii", "replace").strip(" \t").removesuffix(";").split(";")[1:]
    for field in fields:
        key, _, value = field.strip(" \t").partition("=")
        if key == "id":
            ids.append(value)
        elif not (_KEY.fullmatch(key) and _RECORD_VALUE.fullmatch(value)):
            return ""
    return ids[0] if len(ids) == 1 and _ID.fullmatch(ids[0]) else ""


def parse(data: bytes) -> Policy:
    """Read a policy; raises `BadPolicy`. RFC 8461 section 3.2."""
    if len(data) > POLICY_BYTES:
        raise BadPolicy("too long")
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise BadPolicy("not UTF-8") from None
    fields: dict[str, str] = {}
    patterns: list[str] = []
    for number, line in enumerate(text.replace("\r\n", "\n").rstrip(" \t\n").split("\n"), 1):
        key, value = _field(line, number)
        if key == "mx":
            patterns.append(_pattern(value))
        elif key in _ONCE:
            fields.setdefault(key, value)  # of several the first one counts
    if fields.get("version") != "STSv1":
        raise BadPolicy("no version STSv1")
    try:
        mode = Mode(fields.get("mode", ""))
    except ValueError:
        raise BadPolicy("no mode that there is") from None
    age = fields.get("max_age", "")
    if not _AGE.fullmatch(age) or int(age) > MAX_AGE_S:
        raise BadPolicy(f"no max_age from 0 to {MAX_AGE_S}")
    if not patterns and mode is not Mode.NONE:
        raise BadPolicy("no mx")
    if len(patterns) > PATTERNS:
        raise BadPolicy(f"more than {PATTERNS} mx")
    return Policy(mode, int(age), tuple(dict.fromkeys(patterns)))


def _field(line: str, number: int) -> tuple[str, str]:
    key, colon, value = line.partition(":")
    value = value.strip(" \t")
    if not (colon and _KEY.fullmatch(key) and _VALUE.fullmatch(value)):
        raise BadPolicy(f"line {number} is no field")
    return key, value


def _pattern(text: str) -> str:
    if len(text) > _NAME_CHARACTERS or not _PATTERN.fullmatch(text):
        raise BadPolicy("an mx that is no name of a host")
    return text.lower()
