"""What tables that are made of lines have in common: which content belongs to which kind, and reading a file of them.

Blocks on files, and knows neither gevent nor a clock; the check of a configuration uses it, too.
"""

import os
from collections.abc import Callable
from typing import NamedTuple, Protocol

from mta.regular_file import open_regular
from mta.tables.cidr import CidrTable
from mta.tables.regexp import RegexpTable
from mta.tables.settings import Table
from mta.tables.text import BadTable, TextTable

FILE_BYTES = 268_435_456
"""Largest file that is read: some millions of lines, and a bound on what a mistake can cost."""


class Content(Protocol):
    """What was made of the lines."""

    def get(self, key: bytes) -> bytes | None:
        """The value, or None. Does not block."""


Make = Callable[[list[bytes]], Content]
"""Makes the content of lines; raises `BadTable`."""

MAKERS: dict[str, Make] = {"inline": TextTable, "file": TextTable, "regexp": RegexpTable, "cidr": CidrTable}
"""By the kind of a table."""


class Identity(NamedTuple):
    """What changes when a file does."""

    device: int
    inode: int
    size_bytes: int
    changed_ns: int


def identity(status: os.stat_result) -> Identity:
    """The identity of a file."""
    return Identity(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)


def read_file(path: str, make: Make) -> tuple[Identity, Content]:
    """Read a file, and make its content. Raises `OSError` and `BadTable`. Blocks."""
    with open_regular(path) as file:
        status = os.fstat(file.fileno())
        data = file.read(FILE_BYTES + 1)
    if len(data) > FILE_BYTES:
        raise OSError(0, f"it is larger than {FILE_BYTES} bytes")
    if b"\0" in data:
        raise BadTable([(data.count(b"\n", 0, data.index(b"\0")) + 1, "has a NUL; this is no text file")])
    return identity(status), make([line.removesuffix(b"\r") for line in data.split(b"\n")])


def told(path: str, error: OSError | BadTable) -> list[str]:
    """What is wrong with a file, in sentences that begin with `file:` or `file:line:`."""
    if isinstance(error, BadTable):
        return [f"{path}:{line}: {words}" for line, words in error.faults]
    return [f"{path}: cannot be read: {error.strerror}"]


def check_file(settings: Table) -> list[str]:
    """The faults of the file of a table that is made of lines, each as `file:line: what is wrong`. Blocks."""
    make = MAKERS.get(settings.kind)
    if make is None or not settings.path:
        return []
    try:
        read_file(settings.path, make)
    except (OSError, BadTable) as error:
        return told(settings.path, error)
    return []


def from_entries(settings: Table) -> Content:
    """The content of a table whose lines are in the settings. Raises `BadTable`, lines counted from 1."""
    return MAKERS[settings.kind]([entry.encode() for entry in settings.entries])
