"""The spool in the hands of a command: the queue while mta does not run, and the content of messages.

Apart from mta.cli_ask, since what is imported here takes its time to load.
"""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from mta import envelope as envelopes
from mta import ipc, log
from mta.cli_ask import Unanswered
from mta.config import Config
from mta.envelope import Envelope
from mta.errors import IpcError, SpoolError
from mta.qmgr import store
from mta.spool import queueid
from mta.spool.reader import MessageReader
from mta.supervisor import folder

KEPT_BYTES = 16 * 1024 * 1024  # of an answer in memory, the rest in a temporary file
LOOKING = ("list", "show", "stats", "shape")  # requests that change nothing


def answer(config: Config, request: ipc.Request) -> Iterator[ipc.Reply]:
    """Answer as the queue manager would, with the queue in our own hands for as long as that takes.

    The answer is complete before any of it is given out, so that a pager on our output does not keep a manager that is
    started meanwhile from its queue. Files belong to the user that mta runs as: root becomes that user for good.
    Raises `Unanswered` when somebody else holds the queue, `SpoolError`, `ConfigError`.
    """
    account = folder.account(config.user)
    if request.verb not in LOOKING and config.log.file:
        log.setup("queue", 0, config.log)
    if account is not None:
        os.setgroups(account.groups)
        os.setgid(account.gid)
        os.setuid(account.uid)
    with tempfile.SpooledTemporaryFile(KEPT_BYTES) as kept:
        try:
            for reply in store.answer(config, request):
                packet = ipc.encode(reply)
                kept.write(len(packet).to_bytes(4, "big") + packet)
        except IpcError as error:
            raise Unanswered(str(error)) from None
        finally:
            log.flush()
        kept.seek(0)
        while size := kept.read(4):
            again = ipc.decode(kept.read(int.from_bytes(size, "big")))
            if isinstance(again, ipc.Reply):
                yield again


class Content:
    """A message of the spool as it would be delivered: our trace fields, then what was received."""

    def __init__(self, spool: str, location: int) -> None:
        """Read the message at `location`. Blocks for the disk; raises `SpoolError`."""
        self._reader = MessageReader(Path(spool))
        self._location = location
        record, self._body = self._reader.message(location)
        try:
            self.envelope: Envelope = envelopes.decode(record.envelope)
        except ValueError as error:
            raise SpoolError(f"{queueid.text(location)}: {error}") from error

    def chunks(self) -> Iterator[bytes]:
        """The content in order, once. Blocks; raises `SpoolError` behind the last chunk when it is damaged."""
        yield self.envelope.trace
        yield from (self._body,) if isinstance(self._body, bytes) else self._body
