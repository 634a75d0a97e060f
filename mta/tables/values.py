"""Judging what the lines of a table say, where more than the kind of the table is known: one that has actions, say.

Blocks on files, and knows neither gevent nor a clock; the check of a configuration uses it.
"""

from collections.abc import Callable

from mta.tables import regexp, text
from mta.tables.lines import MAKERS, read_file, told
from mta.tables.settings import Table
from mta.tables.text import BadTable

Judge = Callable[[bytes, bytes], str | None]
"""Given key (or pattern, or network) and value of a line: what is wrong with them, or None."""


class _Judged:
    """Takes lines as a table does, and judges them; has no keys."""

    def __init__(self, lines: list[bytes], kind: str, judge: Judge) -> None:
        split = regexp.split if kind == "regexp" else text.split

        def take(line: bytes) -> str | None:
            parts = split(line)
            return None if parts is None else judge(*parts)  # what is no line at all, the table itself tells

        text.gather(lines, take)

    def get(self, key: bytes) -> bytes | None:
        """Nothing."""


def entry_faults(settings: Table, judge: Judge) -> list[tuple[int, str]]:
    """The faults of the lines in the settings: their numbers, from 1, and what is wrong there."""
    if settings.kind not in MAKERS or settings.path:
        return []
    try:
        _Judged([entry.encode() for entry in settings.entries], settings.kind, judge)
    except BadTable as error:
        return error.faults
    return []


def file_faults(settings: Table, judge: Judge) -> list[str]:
    """The faults of the lines in the table's file, each as `file:line: what is wrong`. Blocks."""
    if settings.kind not in MAKERS or not settings.path:
        return []
    try:
        read_file(settings.path, lambda lines: _Judged(lines, settings.kind, judge))
    except BadTable as error:
        return told(settings.path, error)
    except OSError:  # which the check of the file tells
        return []
    return []
