"""The manager's own shard of the spool: for messages that are moved, and for those that we make ourselves."""

from pathlib import Path

from mta import log
from mta.errors import SpoolError
from mta.spool.writer import SpoolWriter


class OwnShard:
    """A writer that is made when it is needed. What is appended is committed before anybody else appends."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._writer: SpoolWriter | None = None

    def writer(self) -> SpoolWriter:
        """The writer, claimed at the first call. Blocks then; raises `SpoolError`."""
        if self._writer is None:
            self._writer = SpoolWriter(self._root)
        return self._writer

    def close(self) -> None:
        """Give the shard back."""
        if self._writer is not None:
            try:
                self._writer.close()
            except SpoolError as error:  # nothing is lost: what was not committed is nobody's yet
                log.problem(str(error))
