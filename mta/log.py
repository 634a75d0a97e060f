"""The log: one line an event, one function per event.

A line is either logfmt (key=value, values quoted where they must be) or a JSON object; both have the same keys in the
same order: `time` (UTC), `process` (role/index), `event`, then the queue id and the session id where the event has
them, then the rest. What a peer sent is escaped (`mta.log_text`).

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
from mta.tls_facts import TlsFacts

PAUSE_MS = 200  # people who watch a quiet log see each line at once; under load this makes 5 writes a second
PENDING_PIECES = 300  # flushed when this much is pending: 150 lines, about 32 KiB
RARE_CHARACTERS = 16384  # longest text in events of processes, which may carry a traceback


# ---------------------------------------------------------------------------------------------------------------------
# Values


def _value(value: object) -> str:
    """Any value of a rare event: numbers bare, all else as text."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return f"{value:.3f}"
    return _text(value if isinstance(value, bytes) else str(value), RARE_CHARACTERS)


# ---------------------------------------------------------------------------------------------------------------------
# Lines

_KINDS_KV = {"id": "%s", "text": "%s", "flag": "%s", "count": "%d", "seconds": "%.3f"}
_KINDS_JSON = {"id": '"%s"', "text": "%s", "flag": "%s", "count": "%d", "seconds": "%.3f"}

_FLAGS = ("false", "true")


class _Event:
    """The shape of a line: name and fields; `template` is what follows the process's name, ready for `%`."""

    __slots__ = ("fields", "name", "template")
    all: "list[_Event]" = []

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
_text: Callable[..., str] = kv_text  # or json_text


def setup(role: str, index: int, settings: Log) -> None:
    """Write as process `role`/`index` to where `settings` say; raises `ConfigError` when the file cannot be opened.

    Also sends what libraries say through stdlib `logging` (warnings and worse) the same way. Opens a file, once.
    """
    global _text
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
    _text = json_text if settings.format == "json" else kv_text
    for event in _Event.all:
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


def _emit(event: str) -> None:
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
        text = record.getMessage()
        if record.exc_info:
            text += "\n" + "".join(traceback.format_exception(*record.exc_info))
        _emit(_LIBRARY.template % (record.levelname.lower(), _text(record.name), _text(text, RARE_CHARACTERS)))


# ---------------------------------------------------------------------------------------------------------------------
# Events: mail. Ids are printed as they are (they are ours); texts of peers are escaped.

_CONNECT = _Event("connect", session="id", client="id", listener="id")
_DISCONNECT = _Event(
    "disconnect", session="id", client="id", reason="text", messages="count", commands="count", seconds="seconds"
)
_REFUSED = _Event(
    "refused",
    queue="id",
    session="id",
    client="id",
    stage="id",
    reason="id",
    reply="text",
    sender="text",
    to="text",
)
_TLS = _Event(
    "tls",
    session="id",
    client="id",
    version="id",
    cipher="id",
    server_name="text",
    fingerprint="text",
    verified="flag",
    resumed="flag",
)
_TLS_FAILED = _Event("tls_failed", session="id", client="id", reason="text")
_QUEUED = _Event(
    "queued",
    queue="id",
    session="id",
    client="id",
    sender="text",
    recipients="count",
    size_bytes="count",
    seconds="seconds",
)
_DELIVERED = _Event(
    "delivered",
    queue="id",
    session="id",
    to="text",
    transport="id",
    relay="text",
    tls="text",
    delay_s="seconds",
    text="text",
)
_DEFERRED = _Event(
    "deferred",
    queue="id",
    session="id",
    to="text",
    transport="id",
    relay="text",
    tls="text",
    delay_s="seconds",
    code="text",
    text="text",
)
_FAILED = _Event("failed", **_DEFERRED.fields)
_REMOVED = _Event("removed", queue="id")
_BOUNCED = _Event("bounced", queue="id", session="id", bounce="id", kind="id", to="text", recipients="count")
_NOT_BOUNCED = _Event("not_bounced", queue="id", session="id", to="text", recipients="count", reason="text")
_TLS_RESULT = _Event(
    "tls_result",
    domain="text",
    policy="id",
    policy_domain="text",
    result="id",
    reason="text",
    host="text",
    address="text",
    own_address="text",
    policy_text="text",
    patterns="text",
)


def connect(session: str, client: str, listener: str) -> None:
    """A client was accepted; `listener` is the address as configured."""
    _emit(_CONNECT.template % (session, client, listener))


def disconnect(session: str, client: str, reason: str, messages: int, commands: int, seconds: float) -> None:
    """A session is over; `reason` says who ended it and how, `messages` counts those accepted in it."""
    _emit(_DISCONNECT.template % (session, client, _text(reason), messages, commands, seconds))


def refused(
    session: str, queue_id: str, client: str, stage: str, reply: bytes, reason: str, sender: bytes, recipient: bytes
) -> None:
    """Something was refused; `reply` is exactly what the client was sent, `stage` the command it answered.

    `reason` is the word of `mta.smtp.reasons` that the reply ends with.
    """
    texts = (_text(reply.rstrip(b"\r\n")), _text(sender), _text(recipient))
    _emit(_REFUSED.template % (queue_id, session, client, stage, reason, *texts))


def tls(session: str, client: str, facts: TlsFacts) -> None:
    """A TLS handshake succeeded; `fingerprint` and `verified` are about the client's certificate, if it has one."""
    flags = (_FLAGS[facts.client_verified], _FLAGS[facts.resumed])
    texts = (_text(facts.server_name), _text(facts.client_fingerprint))
    _emit(_TLS.template % (session, client, facts.version, facts.cipher, *texts, *flags))


def tls_failed(session: str, client: str, reason: str) -> None:
    """A TLS handshake failed, or the session behind it did; `reason` is OpenSSL's word, or ours."""
    _emit(_TLS_FAILED.template % (session, client, _text(reason)))


def queued(
    queue_id: str, session: str, client: str, sender: bytes, recipients: int, size_bytes: int, seconds: float
) -> None:
    """A message is on disk and was answered with 250; `seconds` since its MAIL command."""
    _emit(_QUEUED.template % (queue_id, session, client, _text(sender), recipients, size_bytes, seconds))


def delivered(
    queue_id: str,
    session: str,
    recipient: bytes,
    transport: str,
    relay: str,
    text: str | bytes,
    delay_s: float,
    tls: str = "",
) -> None:
    """One recipient has the message; `text` is what the next hop said, `delay_s` counts from the message's arrival.

    `tls` is version and cipher, where it went by TLS.
    """
    arguments = (queue_id, session, _text(recipient), transport, _text(relay), _text(tls), delay_s, _text(text))
    _emit(_DELIVERED.template % arguments)


def deferred(
    queue_id: str,
    session: str,
    recipient: bytes,
    transport: str,
    relay: str,
    code: str,
    text: str | bytes,
    delay_s: float,
    tls: str = "",
) -> None:
    """One recipient must wait for another attempt; `code` is the enhanced status code (RFC 3463 section 2)."""
    place = (queue_id, session, _text(recipient), transport, _text(relay), _text(tls))
    arguments = (*place, delay_s, _text(code), _text(text))
    _emit(_DEFERRED.template % arguments)


def failed(
    queue_id: str,
    session: str,
    recipient: bytes,
    transport: str,
    relay: str,
    code: str,
    text: str | bytes,
    delay_s: float,
    tls: str = "",
) -> None:
    """One recipient will never get the message; arguments as in `deferred`."""
    place = (queue_id, session, _text(recipient), transport, _text(relay), _text(tls))
    arguments = (*place, delay_s, _text(code), _text(text))
    _emit(_FAILED.template % arguments)


def removed(queue_id: str) -> None:
    """All recipients of a message are done with, and it has left the queue."""
    _emit(_REMOVED.template % queue_id)


def bounced(queue_id: str, session: str, bounce_id: str, kind: str, recipient: bytes, recipients: int) -> None:
    """`recipient` is told what became of a message, by another one with the queue id `bounce_id`.

    `kind` is failure, delay, success, or double for a failure that our postmaster is told of; `recipients` counts those
    of the message that it is about.
    """
    _emit(_BOUNCED.template % (queue_id, session, bounce_id, kind, _text(recipient), recipients))


def not_bounced(queue_id: str, session: str, sender: bytes, recipients: int, reason: str) -> None:
    """A message has failed for some recipients, and nobody is told; `reason` says why."""
    _emit(_NOT_BOUNCED.template % (queue_id, session, _text(sender), recipients, _text(reason)))


def tls_result(
    domain: str,
    policy: str,
    policy_domain: str,
    result: str,
    reason: str,
    *,
    host: str = "",
    address: str = "",
    own_address: str = "",
    policy_text: str = "",
    patterns: str = "",
) -> None:
    """What came of TLS with a host of a domain, or of the policy that it has for that (`mta.deliver.tls_result`).

    `policy` and `result` are words of RFC 8460 section 4.2 and RFC 8460 section 4.3.
    """
    place = (_text(host), _text(address), _text(own_address))
    arguments = (_text(domain), policy, _text(policy_domain), result, _text(reason), *place)
    _emit(_TLS_RESULT.template % (*arguments, _text(policy_text), _text(patterns)))


# ---------------------------------------------------------------------------------------------------------------------
# Events: processes. Rare, so that they may carry any fields.

_LOST = _Event("lost", lines="count")
_LIBRARY = _Event("library", level="id", logger="text", text="text")


def started(**fields: object) -> None:
    """This process is at work; `fields` tell what one may want to know about it."""
    _emit(_free("started", fields))


def stopped(**fields: object) -> None:
    """This process ends in good order. Flushes."""
    _emit(_free("stopped", fields))
    flush()


def problem(text: str, **fields: object) -> None:
    """Something an administrator should know about; `text` is a sentence, `fields` what it is about."""
    _emit(_free("problem", {"text": text, **fields}))


def corrupt(file: str, offset: int, text: str) -> None:
    """Bytes on disk are not what was written there: which file, at which offset in bytes, and what is wrong."""
    _emit(_free("corrupt", {"file": file, "offset": offset, "text": text}))


def note(event: str, **fields: object) -> None:
    """Any other rare event of a process, `event` being one lower-case word."""
    _emit(_free(event, fields))


def _free(event: str, fields: dict[str, object]) -> str:
    if _state.kinds is _KINDS_JSON:
        return f'"event":"{event}"' + "".join(f',"{key}":{_value(value)}' for key, value in fields.items()) + "}\n"
    return f"event={event}" + "".join(f" {key}={_value(value)}" for key, value in fields.items()) + "\n"
