"""The transport that hands messages to a command, as Postfix's pipe(8) does.

The command's standard input is a file with the whole message: in memory, or for large ones on the disk of the spool,
without a name. So the command is started only when the message was read and its checksum is right, never sees half of
one, may read it or not, and may seek in it.

A command is run for each recipient of a message, or once for all. Up to `concurrency` run at a time, each watched by a
native thread.
"""

import errno
import os
import tempfile
from pathlib import Path
from typing import BinaryIO

from mta.config import Transport as Settings
from mta.deliver.attempt import Work
from mta.deliver.child import Child
from mta.deliver.command import Command, first_line, verdict
from mta.deliver.fields import envelope_fields
from mta.deliver.lines import LocalLines
from mta.deliver.mailbox import split
from mta.deliver.messages import Message, Messages, SpoolMessages
from mta.deliver.threads import Ended, Threads
from mta.errors import SpoolError
from mta.ipc import DEFERRED, FAILED, Result
from mta.spool import queueid

MEMORY_BYTES = 1048576  # larger messages lie on disk while a command has them
SEGMENTS_OPEN = 1  # for each thread

# What kept a command from being started, or its input from being made; anything else is 4.3.0.
_ERROR_CODES = {
    errno.ENOSPC: "4.3.1",
    errno.EDQUOT: "4.3.1",
    errno.ENOENT: "4.3.5",
    errno.EACCES: "4.3.5",
    errno.ENOEXEC: "4.3.5",
    errno.ENOTDIR: "4.3.5",
}


class Runner:
    """Runs one command at a time. One native thread's own."""

    def __init__(self, settings: Settings, home: str, messages: Messages, folder: str) -> None:
        """`home` is the domain of recipients that name none; `folder` is where large messages lie meanwhile."""
        self._settings = settings
        self._command = Command(settings.command)
        self._home = home.encode()
        self._messages = messages
        self._folder = folder
        self._child: Child | None = None
        self._is_stopped = False

    def deliver(self, works: list[Work]) -> list[Ended]:
        """Run the command for each work."""
        return [self._deliver(work) for work in works]

    def stop(self) -> None:
        """End a command that runs, and start no other."""
        self._is_stopped = True
        child = self._child
        if child is not None:
            child.kill()

    def _deliver(self, work: Work) -> Ended:
        job = work.job
        results: list[Result] = []
        try:
            message = self._messages.read(job.location)
        except SpoolError as error:
            return Ended(work, None, results, error)
        values: dict[int, dict[str, bytes]] = {}
        for index in job.recipients:
            found = self._values(job.queue_id, message, index)
            fault = self._command.fault(found)
            if fault:
                code, _, words = fault.partition(" ")
                results.append(Result(index, FAILED, code, words))
            else:
                values[index] = found
        runs = [tuple(values)] if self._settings.per == "message" else [(index,) for index in values]
        try:
            for run in runs:
                if run:
                    fate = self._run(message, run, [values[index] for index in run])
                    results += [Result(index, *fate) for index in run]
        except SpoolError as error:
            return Ended(work, message.envelope, results, error)
        return Ended(work, message.envelope, results, None)

    def _values(self, queue_id: int, message: Message, index: int) -> dict[str, bytes]:
        recipient = message.envelope.recipients[index]
        local, domain = split(recipient)
        return {
            "sender": message.envelope.sender,
            "recipient": recipient,
            "local": local,
            "domain": domain or self._home,
            "queue_id": queueid.text(queue_id).encode(),
            "size": b"%d" % message.size_bytes,
        }

    def _run(
        self, message: Message, recipients: tuple[int, ...], values: list[dict[str, bytes]]
    ) -> tuple[int, str, str]:
        """One run: status, code and text for these recipients. Raises `SpoolError` when the message is damaged."""
        if self._is_stopped:
            return DEFERRED, "4.3.0", "the delivery worker ends"
        try:
            with self._staged(message, recipients) as file:
                child = Child(self._command.argv(values), file.fileno())
        except OSError as error:
            code = _ERROR_CODES.get(error.errno or 0, "4.3.0")
            return DEFERRED, code, f"{self._command.program} cannot be run: {error.strerror or error}"
        self._child = child
        if self._is_stopped:
            child.kill()
        ended = child.wait(self._settings.timeout_s)
        self._child = None
        if ended.exit_code < 0:
            line = first_line(ended.output)
            return DEFERRED, "4.3.0", f"command {ended.reason}: {line}" if line else f"command {ended.reason}"
        return verdict(ended.exit_code, ended.output)

    def _staged(self, message: Message, recipients: tuple[int, ...]) -> BinaryIO:
        """The whole input in a file, at its beginning."""
        if message.size_bytes <= MEMORY_BYTES:
            file: BinaryIO = os.fdopen(os.memfd_create("message"), "w+b", buffering=0)
        else:
            file = tempfile.TemporaryFile(dir=self._folder, buffering=0)  # noqa: SIM115 (the caller closes it)
        settings = self._settings
        lines = LocalLines() if settings.line_end == "lf" else None
        try:
            if settings.envelope_fields:
                fields = envelope_fields(message.envelope, recipients[0] if len(recipients) == 1 else None)
                _write(file, lines.feed(fields) if lines else fields)
            for chunk in message.chunks():
                _write(file, lines.feed(chunk) if lines else chunk)
            if lines:
                _write(file, lines.finish())
            file.seek(0)
        except BaseException:
            file.close()
            raise
        return file


def _write(file: BinaryIO, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[file.write(rest) :]


def make(settings: Settings, home: str, spool: Path) -> Threads:
    """The transport of kind pipe."""
    runners = [
        Runner(settings, home, SpoolMessages(spool, SEGMENTS_OPEN), str(spool)) for _ in range(settings.concurrency)
    ]
    return Threads(runners, settings.command[0], 1)
