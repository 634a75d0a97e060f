"""A table whose lines are in a file, read again when the file has changed."""

import os
from collections.abc import Callable

from gevent import get_hub

from mta.errors import TableDown
from mta.tables.lines import Content, Identity, Make, identity, read_file, told
from mta.tables.text import BadTable

CHECK_S = 1.0
"""The file is looked at once in so many seconds, at most."""

SETTLED_S = 2.0
"""A file that was written to within so many seconds may be half a file, and is not read yet."""

Report = Callable[[str], None]
"""Tells an administrator of a sentence, which begins with `file:line:` where there is one."""


class WatchedTable:
    """The content of a file, made by `make` from its lines; `make` raises `BadTable`.

    `clock` gives monotonic seconds, `wall` those of the clock that files are dated with.
    """

    def __init__(
        self,
        path: str,
        make: Make,
        report: Report,
        *,
        clock: Callable[[], float],
        wall: Callable[[], float],
    ) -> None:
        """Reads the file, and blocks on it; what is wrong is reported, and the table is down until it is mended."""
        self._path = path
        self._make = make
        self._report = report
        self._clock = clock
        self._wall = wall
        self._content: Content | None = None
        self._seen: Identity | None = None  # what was read, or tried to be
        self._faults: list[str] = []  # as reported last
        self._is_reading = False
        self._look_at = clock() + CHECK_S
        try:
            self._take(*read_file(path, make))
        except (OSError, BadTable) as error:
            self._fail(error)

    def get(self, key: bytes) -> bytes | None:
        """The value, or None; raises `TableDown` when the file could not be read yet.

        Switches greenlets when the file has changed; others go on with what there was.
        """
        if self._clock() >= self._look_at and not self._is_reading:
            self._look()
        if self._content is None:
            raise TableDown(self._faults[0])
        return self._content.get(key)

    def _look(self) -> None:
        self._look_at = self._clock() + CHECK_S
        try:
            now = identity(os.stat(self._path))
        except OSError as error:
            self._seen = None
            self._fail(error)
            return
        age_s = self._wall() - now.changed_ns / 1e9
        if now == self._seen or (0 <= age_s < SETTLED_S and self._content is not None):
            return
        self._is_reading = True
        try:
            read = get_hub().threadpool.apply(_read, (self._path, self._make))
        finally:
            self._is_reading = False
        if isinstance(read, OSError | BadTable):
            self._seen = now
            self._fail(read)
        else:
            self._take(*read)

    def _take(self, seen: Identity, content: Content) -> None:
        self._seen, self._content, self._faults = seen, content, []

    def _fail(self, error: OSError | BadTable) -> None:
        """Tell what is wrong, once, and go on with what there was."""
        faults = told(self._path, error)
        if faults != self._faults:
            self._faults = faults
            for fault in faults:
                self._report(fault)


def _read(path: str, make: Make) -> tuple[Identity, Content] | OSError | BadTable:
    """As `read_file`, in a thread of gevent's pool, which would print what is raised there."""
    try:
        return read_file(path, make)
    except (OSError, BadTable) as error:
        return error
