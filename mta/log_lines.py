"""The lines of the log: their two formats, and when they are written. What there is to tell stands in `mta.log`.

Lines are gathered and written with one system call, whole, and appended, so that several processes can share a file.
The first line after a pause of `PAUSE_MS` is written at once; under load every process's loop calls `flush` several
times a second. Writing never raises and never waits for a reader: when the disk is full, or nobody empties the pipe,
lines are dropped and counted, and an event `lost` tells the count when writing works again.

The file is opened once, in `setup`. To rotate it, rename it and send the supervisor HUP: new processes open the new
file.
"""

import logging
import traceback
from collections.abc import Callable
from time import gmtime, strftime, time

from mta.config import Log
from mta.log_sink import Sink, log_file, standard_error
from mta.log_text import json_text, kv_text

PAUSE_MS = 200  # people who watch a quiet log see each line at once; under load this makes 5 writes a second
PENDING_PIECES = 300  # flushed when this much is pending: 150 lines, about 32 KiB
RARE_CHARACTERS = 16384  # longest text in events of processes, which may carry a traceback

_KINDS_KV = {"id": "%s", "text": "%s", "flag": "%s", "count": "%d", "seconds": "%.3f"}
_KINDS_JSON = {"id": '"%s"', "text": "%s", "flag": "%s", "count": "%d", "seconds": "%.3f"}


class Event:
    """The shape of a line: name and fields; `template` is what follows the process's name, ready for `%`."""

    __slots__ = ("fields", "name", "template")
    all: "list[Event]" = []

    def __init__(self, name: str, **fields: str) -> None:
        self.name = name
        self.fields = fields
        self.shape(_KINDS_KV)
        self.all.append(self)

    def shape(self, kinds: dict[str, str]) -> None:
        """Make the template for one of the two formats."""
        if kinds is _KINDS_JSON:
            fields = "".join(f',"{key}":{kinds[kind]}' for key, kind in self.fields.items())
            self.template = f'"event":"{self.name}"{fields}}}\n'
        else:
            fields = "".join(f" {key}={kinds[kind]}" for key, kind in self.fields.items())
            self.template = f"event={self.name}{fields}\n"


class _State:
    """What the writing functions share: one per process."""

    __slots__ = (
        "due_tick",
        "flushed_tick",
        "full_count",
        "kinds",
        "moment",
        "pieces",
        "prefix",
        "process",
        "second",
        "sink",
        "tick",
    )

    def __init__(self) -> None:
        self.sink: Sink | None = None  # none before `setup`: then each line goes to standard error at once
        self.process = "Z process=mta/0 "  # what stands between the time and the event
        self.kinds = _KINDS_KV
        self.pieces: list[str] = []  # of lines, in pairs: a prefix, and the event
        self.full_count = 2  # pieces at which they are written
        self.tick = 0  # the millisecond, since the epoch, that `prefix` was made for
        self.prefix = ""  # time and process
        self.second = 0  # the second that `moment` was made for
        self.moment = ""
        self.flushed_tick = 0
        self.due_tick = 0  # a line at or after this is flushed at once


_state = _State()
text: Callable[..., str] = kv_text
"""A peer's text as a value of a line; or `json_text`, see `setup`. Look it up for each use."""


def setup(role: str, index: int, settings: Log) -> None:
    """Write as process `role`/`index` to where `settings` say; raises `ConfigError` when the file cannot be opened.

    Also sends what libraries say through stdlib `logging` (warnings and worse) the same way. Opens a file, once.
    """
    global text
    state = _state
    flush()
    sink = log_file(settings.file) if settings.file else standard_error()
    if state.sink is not None:
        state.sink.close()
    state.sink = sink
    state.full_count = PENDING_PIECES
    state.kinds = _KINDS_JSON if settings.format == "json" else _KINDS_KV
    state.process = f'Z","process":"{role}/{index}",' if settings.format == "json" else f"Z process={role}/{index} "
    state.tick = state.second = 0
    text = json_text if settings.format == "json" else kv_text
    for event in Event.all:
        event.shape(state.kinds)
    root = logging.getLogger()
    if not any(isinstance(handler, _Bridge) for handler in root.handlers):
        root.addHandler(_Bridge(logging.WARNING))


def flush() -> None:
    """Write what is pending. One system call, or none; never waits, never raises."""
    state = _state
    if not state.pieces:
        return
    data = "".join(state.pieces).encode("utf-8", "backslashreplace")
    state.pieces.clear()
    state.flushed_tick = int(time() * 1000)
    state.due_tick = state.flushed_tick + PAUSE_MS
    sink = state.sink or standard_error()
    if sink is None:  # there is nowhere to write
        return
    if sink.lost:
        count, sink.lost = sink.lost, 0
        sink.write((state.prefix + _LOST.template % count).encode())
        if sink.lost:  # still no success: the notice itself is no lost event
            sink.lost = count
    sink.write(data)
    if sink is not state.sink:
        sink.close()


def emit(event: str) -> None:
    """Add a line. `event` is a template of an `Event`, filled, or `free_form`; texts in it have been through `text`."""
    state = _state
    tick = int(time() * 1000)
    if tick == state.tick:
        pieces = state.pieces
        pieces.append(state.prefix)
        pieces.append(event)
        if len(pieces) >= state.full_count:
            flush()
        return
    state.tick = tick
    if tick // 1000 != state.second:
        state.second = tick // 1000
        opening = '{"time":"' if state.kinds is _KINDS_JSON else "time="
        state.moment = opening + strftime("%Y-%m-%dT%H:%M:%S.", gmtime(state.second))
    state.prefix = f"{state.moment}{tick % 1000:03d}{state.process}"
    state.pieces += (state.prefix, event)
    # The wall clock may step back, which must not hold lines up: hence two bounds.
    if len(state.pieces) >= state.full_count or not state.flushed_tick <= tick < state.due_tick:
        flush()


class _Bridge(logging.Handler):
    """Sends records of stdlib logging through this log."""

    def emit(self, record: logging.LogRecord) -> None:
        """One line; a traceback becomes part of it."""
        message = record.getMessage()
        if record.exc_info:
            message += "\n" + "".join(traceback.format_exception(*record.exc_info))
        emit(_LIBRARY.template % (record.levelname.lower(), text(record.name), text(message, RARE_CHARACTERS)))


_LOST = Event("lost", lines="count")
_LIBRARY = Event("library", level="id", logger="text", text="text")


def free_form(event: str, fields: dict[str, object]) -> str:
    """What `emit` takes, for an event that may have any fields: one that is rare."""
    if _state.kinds is _KINDS_JSON:
        return f'"event":"{event}"' + "".join(f',"{key}":{_value(value)}' for key, value in fields.items()) + "}\n"
    return f"event={event}" + "".join(f" {key}={_value(value)}" for key, value in fields.items()) + "\n"


def _value(value: object) -> str:
    """Any value of a rare event: numbers bare, all else as text."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return f"{value:.3f}"
    return text(value if isinstance(value, bytes) else str(value), RARE_CHARACTERS)
