"""Patterns as a table: the first that is found in the key gives the value.

A line is `pattern value`, or `/pattern/ value` as Postfix writes it (with blanks and all; `\\/` is a slash). Patterns
are those of Python's `re`, found anywhere in the key unless anchored by ^ and $, without regard to case. The value is
taken as it is: nothing in it is replaced.
"""

import re
import warnings
from collections.abc import Iterable

from mta.tables.pattern_cost import SUBJECT_BYTES, TABLE_WAYS, WAYS, ways
from mta.tables.text import gather

PATTERNS = 10_000
PATTERN_BYTES = 1024

_PLAIN = re.compile(rb"([^ \t]++)(?:[ \t]++(.*+))?", re.DOTALL)
_SLASHED = re.compile(rb"/((?:[^/\\]|\\.)++)/(?:[ \t]++(.*+))?", re.DOTALL)


def split(text: bytes) -> tuple[bytes, bytes] | None:
    """Pattern and value of a line, the value empty where there is none; None where it is no such line."""
    match = (_SLASHED if text.startswith(b"/") else _PLAIN).fullmatch(text)
    return None if match is None else (match[1], match[2] or b"")


class RegexpTable:
    """Patterns and their values, in order."""

    def __init__(self, lines: Iterable[bytes]) -> None:
        """Raises `BadTable` for what is no pattern, and for patterns that may take too long."""
        self._patterns: list[tuple[re.Pattern[bytes], bytes]] = []
        self._ways = 0  # of all of them
        gather(lines, self._take)

    def __len__(self) -> int:
        return len(self._patterns)

    def _take(self, text: bytes) -> str | None:
        if text.startswith((b"!", b"if ", b"if/", b"endif")):
            return "Postfix's !, if and endif are not known here"
        parts = split(text)
        if parts is None:
            return "a pattern that begins with / must end with one, and only a value may follow"
        pattern, value = parts
        if len(self._patterns) == PATTERNS:
            return f"is one too many; {PATTERNS} patterns are allowed"
        if len(pattern) > PATTERN_BYTES:
            return f"has a pattern of more than {PATTERN_BYTES} bytes"
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of what might mean something else in a later Python
                compiled = re.compile(pattern, re.IGNORECASE)
                count = ways(pattern)
        except (re.error, OverflowError, RecursionError) as error:
            return f"is no pattern: {error}"
        if count > WAYS:
            return (
                "has a pattern that can take too long; anchor it with ^, let repeats not overlap or nest, "
                "or make them possessive, as in [^@]*+"
            )
        self._ways += count
        if self._ways > TABLE_WAYS:
            return "is one too many: together with those before it, it can take too long; anchor patterns with ^"
        self._patterns.append((compiled, value))
        return None

    def get(self, key: bytes) -> bytes | None:
        """The value of the first pattern that is found in the key, or None; a longer key than any address has none.

        Does not block; takes a microsecond a pattern, more for patterns with repeats.
        """
        if len(key) > SUBJECT_BYTES:
            return None
        for pattern, value in self._patterns:
            if pattern.search(key) is not None:
                return value
        return None
