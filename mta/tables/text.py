"""Tables of text: lines in the configuration (kind inline) or in a file, each a key, blanks and a value."""

import re
from collections.abc import Callable, Iterable

from mta.tables.key import folded

LINE_BYTES = 4096
FAULTS = 20  # told of a file, at most; a file of the wrong kind has as many as lines

# A key is all up to the first blank; a quoted local part may have blanks in it.
_LINE = re.compile(rb'("(?:[^"\\]|\\.)*+"[^ \t]*+|[^" \t][^ \t]*+)(?:[ \t]++(.*+))?', re.DOTALL)


class BadTable(Exception):
    """Lines that make no table. `faults` are pairs of a line's number and what is wrong there."""

    def __init__(self, faults: list[tuple[int, str]]) -> None:
        super().__init__("; ".join(f"line {line}: {words}" for line, words in faults))
        self.faults = faults


def gather(lines: Iterable[bytes], take: Callable[[bytes], str | None]) -> None:
    """Hand each entry to `take`, which returns what is wrong with it, or None; raises `BadTable` when anything is.

    An entry is a line without the blanks at its end; empty lines and those that begin with # are none.
    """
    faults: list[tuple[int, str]] = []
    for number, line in enumerate(lines, 1):
        text = line.rstrip(b" \t")
        if not text or text.startswith(b"#"):
            continue
        if len(text) > LINE_BYTES:
            words: str | None = f"is longer than {LINE_BYTES} bytes"
        elif text[0] in b" \t":  # in Postfix's files such a line goes on with the one before
            words = "begins with a blank; an entry begins at the start of its line, and ends with it"
        else:
            words = take(text)
        if words is not None:
            faults.append((number, words))
            if len(faults) == FAULTS:
                faults.append((number, "too many faults; the rest was not read"))
                break
    if faults:
        raise BadTable(faults)


def split(text: bytes) -> tuple[bytes, bytes] | None:
    """Key and value of an entry, the value empty where there is none; None where a quote does not end."""
    match = _LINE.fullmatch(text)
    return None if match is None else (match[1], match[2] or b"")


class TextTable:
    """Keys and values in memory; keys are compared in the form of `key.folded`."""

    def __init__(self, lines: Iterable[bytes]) -> None:
        """Raises `BadTable`; a key that is there twice is a fault."""
        self._values: dict[bytes, bytes] = {}
        gather(lines, self._take)

    def _take(self, text: bytes) -> str | None:
        parts = split(text)
        if parts is None:
            return "has a quote that does not end"
        key = folded(parts[0])
        if key in self._values:
            return f"{key.decode('utf-8', 'backslashreplace')!r} is there twice"
        self._values[key] = parts[1]
        return None

    def __len__(self) -> int:
        return len(self._values)

    def get(self, key: bytes) -> bytes | None:
        """The value of a key, or None. Does not block."""
        return self._values.get(folded(key))
