"""Which line of a TOML text each key stands on; `tomllib` does not tell.

The text has been read by `tomllib` before, so it is known to be right, and this scanner needs to see no more than the
structure: tables, keys, and where values end.
"""

import re
from bisect import bisect_right

Path = tuple[str | int, ...]
"""The way to a value: keys, and indices into arrays. `("listen", 0, "address")`, say."""

Fault = tuple[Path, str]
"""Where in the file, and what is wrong there and what is allowed: without the path, which the reader puts in front."""

_BLANK = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_BARE = re.compile(r"[^\s,\]}#]+(?: [^\s,\]}#]+)*")  # a number, a date (which may have a blank inside), true, false
_STRINGS = (
    re.compile(r'"""(?:[^\\]|\\.)*?"{3,5}(?!")', re.DOTALL),
    re.compile(r"'''.*?'{3,5}(?!')", re.DOTALL),
    re.compile(r'"(?:[^"\\\n]|\\.)*"'),
    re.compile(r"'[^'\n]*'"),
)
_KEY = re.compile(r'[ \t]*([A-Za-z0-9_-]+|"(?:[^"\\\n]|\\.)*"|\'[^\'\n]*\')[ \t]*(\.?)')


def lines_of(text: str) -> dict[Path, int]:
    """The line (from 1) of every table, key and array element in a TOML text that `tomllib` accepts."""
    return _Scanner(text).scan()


class _Scanner:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._starts = [0] + [match.end() for match in re.finditer("\n", text)]
        self._lines: dict[Path, int] = {}
        self._counts: dict[Path, int] = {}  # of elements in arrays of tables

    def scan(self) -> dict[Path, int]:
        table: Path = ()
        self._skip()
        while self._at < len(self._text):
            if self._text[self._at] == "[":
                table = self._header()
            else:
                self._pair(table)
            self._skip()
        return self._lines

    def _skip(self) -> None:
        match = _BLANK.match(self._text, self._at)
        self._at = match.end() if match else self._at

    def _note(self, path: Path) -> None:
        self._lines.setdefault(path, bisect_right(self._starts, self._at))

    def _header(self) -> Path:
        is_array = self._text.startswith("[[", self._at)
        start = self._at
        self._at += 2 if is_array else 1
        keys = self._keys()
        self._at = self._text.index("]", self._at) + (2 if is_array else 1)
        end, self._at = self._at, start
        path: Path = ()
        for number, key in enumerate(keys):
            path = (*path, key)
            if is_array and number == len(keys) - 1:
                self._counts[path] = self._counts.get(path, 0) + 1
            self._note(path)
            if path in self._counts:
                path = (*path, self._counts[path] - 1)
                self._note(path)
        self._at = end
        return path

    def _pair(self, table: Path) -> None:
        start = self._at
        keys = self._keys()
        equals = self._text.index("=", self._at)
        self._at = start
        path = table
        for key in keys:
            path = (*path, key)
            self._note(path)
        self._at = equals + 1
        self._skip()
        self._value(path)

    def _keys(self) -> list[str]:
        keys = []
        while match := _KEY.match(self._text, self._at):
            key = match[1]
            keys.append(key[1:-1] if key[0] in "\"'" else key)
            self._at = match.end()
            if not match[2]:
                break
        return keys

    def _value(self, path: Path) -> None:
        opening = self._text[self._at]
        if opening == "[":
            self._elements(path)
        elif opening == "{":
            self._pairs(path)
        else:
            patterns = _STRINGS if opening in "\"'" else (_BARE,)
            match = next((m for pattern in patterns if (m := pattern.match(self._text, self._at))), None)
            self._at = match.end() if match else len(self._text)

    def _elements(self, path: Path) -> None:
        self._at += 1
        number = 0
        while True:
            self._skip()
            if self._text[self._at] == "]":
                break
            if self._text[self._at] == ",":
                self._at += 1
                continue
            self._note((*path, number))
            self._value((*path, number))
            number += 1
        self._at += 1

    def _pairs(self, path: Path) -> None:
        self._at += 1
        while True:
            self._skip()
            if self._text[self._at] == "}":
                break
            if self._text[self._at] == ",":
                self._at += 1
                continue
            self._pair(path)
        self._at += 1
