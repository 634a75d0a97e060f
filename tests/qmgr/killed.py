"""What ends a manager's process at a step of its work, for tests of what its successor finds."""

import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

KILLED = 9  # its exit code


class KilledDatabase:
    """A database connection whose process dies just before a certain statement."""

    def __init__(self, database: sqlite3.Connection, fuse: "Fuse") -> None:
        self._database = database
        self._fuse = fuse

    @property
    def in_transaction(self) -> bool:
        return self._database.in_transaction

    def execute(self, *arguments: Any) -> sqlite3.Cursor:
        self._fuse.burn()
        return self._database.execute(*arguments)

    def executemany(self, *arguments: Any) -> sqlite3.Cursor:
        self._fuse.burn()
        return self._database.executemany(*arguments)

    def close(self) -> None:
        self._database.close()


class Fuse:
    """Ends the process after some steps."""

    def __init__(self, steps: int) -> None:
        self.steps = steps

    def burn(self) -> None:
        self.steps -= 1
        if self.steps == 0:
            os._exit(KILLED)


def quick_folder(tmp_path: Path) -> Iterator[Path]:
    """A folder in memory where there is one: syncs cost nothing there, and what survives a kill is the same."""
    memory = Path("/dev/shm")
    folder = Path(tempfile.mkdtemp(dir=memory if os.access(memory, os.W_OK) else tmp_path))
    yield folder
    shutil.rmtree(folder)
