"""Requests to the queue: to its manager, over the socket, or to the spool itself while mta does not run."""

import importlib
import os
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any, Protocol, TypeVar

from mta import config_load, ipc
from mta.config import Config
from mta.errors import EX_TEMPFAIL, IpcError
from mta.supervisor import folder

TIMEOUT_S = 30.0  # for the next packet of an answer
START_S = 5.0  # for a queue manager that is being replaced
POLL_S = 0.05
BAR_AFTER_S = 0.5  # work that takes longer gets a progress bar

NOT_DONE = 1

T = TypeVar("T")


class Unanswered(IpcError):
    """The queue manager does not answer, or somebody else has the queue in hand: try again."""

    exit_code = EX_TEMPFAIL


class Refused(IpcError):
    """The queue manager understood, and said no."""

    exit_code = NOT_DONE


class Bar(Protocol):
    """A progress bar."""

    def update(self, seen: int, total: int) -> None:
        """So many of so many are done."""

    def close(self) -> None:
        """Take it away."""


def ask(
    config_file: str, verb: str, arguments: dict[str, Any] | None = None, *, words: str = ""
) -> Iterator[dict[str, Any]]:
    """Put a request to the queue; gives the items of its answer as they come.

    As `ask_of`; raises `ConfigError` as well.
    """
    yield from ask_of(config_load.load(config_file), verb, arguments, words=words)


def ask_of(
    config: Config, verb: str, arguments: dict[str, Any] | None = None, *, words: str = ""
) -> Iterator[dict[str, Any]]:
    """The same, where the configuration has been read.

    With `words`, long work shows them with a progress bar, on a terminal. Blocks for up to `TIMEOUT_S` for each packet.
    Raises `Unanswered`, `Refused`, and `SpoolError` while mta does not run.
    """
    request = ipc.Request(verb, arguments or {})
    bar: Bar | None = None
    begun_at = time.monotonic()
    try:
        for reply in _replies(config, request):
            if reply.error:
                raise Refused(reply.error)
            if reply.total and words and sys.stderr.isatty() and time.monotonic() - begun_at > BAR_AFTER_S:
                bar = bar or importlib.import_module("mta.cli_table").Bar(words)
                bar.update(reply.seen, reply.total)
            yield from reply.items
    finally:
        if bar is not None:
            bar.close()


def _replies(config: Config, request: ipc.Request) -> Iterator[ipc.Reply]:
    """From the manager if there is one; from the spool if mta does not run on it."""
    place = os.path.join(config.spool, "qmgr")
    hello = ipc.Hello("control", os.getpid())
    deadline_at = time.monotonic() + START_S
    while True:
        try:
            channel = ipc.connect(place, hello)
        except IpcError as error:
            if not os.path.isdir(place):
                raise Unanswered(str(error)) from None
            if not folder.is_locked(config.spool):
                break
            if time.monotonic() > deadline_at:  # the supervisor has one started again
                raise Unanswered(str(error)) from None
            time.sleep(POLL_S)
        else:
            with channel:
                yield from _exchange(channel, request)
            return
    yield from importlib.import_module("mta.cli_offline").answer(config, request)


def _exchange(channel: Any, request: ipc.Request) -> Iterator[ipc.Reply]:
    channel.settimeout(TIMEOUT_S)
    _wait(lambda: channel.send(ipc.encode(request)))
    while True:
        reply = ipc.decode(_wait(lambda: channel.recv(ipc.PACKET_BYTES)))
        if not isinstance(reply, ipc.Reply):
            raise Unanswered(f"the queue manager answered with {type(reply).__name__}")
        yield reply
        if not reply.more:
            return


def _wait(step: Callable[[], T]) -> T:
    try:
        result = step()
    except TimeoutError:
        raise Unanswered(f"the queue manager did not answer within {TIMEOUT_S:.0f} s") from None
    except OSError as error:
        raise Unanswered(f"the queue manager went away: {error.strerror}") from None
    if result == b"":
        raise Unanswered("the queue manager went away")
    return result
