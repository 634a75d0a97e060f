"""The log: one line an event, one function per event.

A line is either logfmt (key=value, values quoted where they must be) or a JSON object; both have the same keys in the
same order: `time` (UTC), `process` (role/index), `event`, then the queue id and the session id where the event has
them, then the rest. What a peer sent is escaped (`mta.log_text`). How lines are gathered and written, and what becomes
of them when they cannot be, stands in `mta.log_lines`.
"""

from mta import log_lines as lines
from mta.log_lines import Event, emit, free_form
from mta.log_lines import flush as flush
from mta.log_lines import setup as setup
from mta.tls_facts import TlsFacts

_FLAGS = ("false", "true")

# ---------------------------------------------------------------------------------------------------------------------
# Events: mail. Ids are printed as they are (they are ours); texts of peers are escaped.

_CONNECT = Event("connect", session="id", client="id", listener="id")
_DISCONNECT = Event(
    "disconnect", session="id", client="id", reason="text", messages="count", commands="count", seconds="seconds"
)
_REFUSED = Event(
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
_TLS = Event(
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
_TLS_FAILED = Event("tls_failed", session="id", client="id", reason="text")
_QUEUED = Event(
    "queued",
    queue="id",
    session="id",
    client="id",
    sender="text",
    recipients="count",
    size_bytes="count",
    seconds="seconds",
)
_DELIVERED = Event(
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
_DEFERRED = Event(
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
_FAILED = Event("failed", **_DEFERRED.fields)
_REMOVED = Event("removed", queue="id")
_BOUNCED = Event("bounced", queue="id", session="id", bounce="id", kind="id", to="text", recipients="count")
_NOT_BOUNCED = Event("not_bounced", queue="id", session="id", to="text", recipients="count", reason="text")
_TLS_RESULT = Event(
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
    emit(_CONNECT.template % (session, client, listener))


def disconnect(session: str, client: str, reason: str, messages: int, commands: int, seconds: float) -> None:
    """A session is over; `reason` says who ended it and how, `messages` counts those accepted in it."""
    emit(_DISCONNECT.template % (session, client, lines.text(reason), messages, commands, seconds))


def refused(
    session: str, queue_id: str, client: str, stage: str, reply: bytes, reason: str, sender: bytes, recipient: bytes
) -> None:
    """Something was refused; `reply` is exactly what the client was sent, `stage` the command it answered.

    `reason` is the word of `mta.smtp.reasons` that the reply ends with.
    """
    texts = (lines.text(reply.rstrip(b"\r\n")), lines.text(sender), lines.text(recipient))
    emit(_REFUSED.template % (queue_id, session, client, stage, reason, *texts))


def tls(session: str, client: str, facts: TlsFacts) -> None:
    """A TLS handshake succeeded; `fingerprint` and `verified` are about the client's certificate, if it has one."""
    flags = (_FLAGS[facts.client_verified], _FLAGS[facts.resumed])
    texts = (lines.text(facts.server_name), lines.text(facts.client_fingerprint))
    emit(_TLS.template % (session, client, facts.version, facts.cipher, *texts, *flags))


def tls_failed(session: str, client: str, reason: str) -> None:
    """A TLS handshake failed, or the session behind it did; `reason` is OpenSSL's word, or ours."""
    emit(_TLS_FAILED.template % (session, client, lines.text(reason)))


def queued(
    queue_id: str, session: str, client: str, sender: bytes, recipients: int, size_bytes: int, seconds: float
) -> None:
    """A message is on disk and was answered with 250; `seconds` since its MAIL command."""
    emit(_QUEUED.template % (queue_id, session, client, lines.text(sender), recipients, size_bytes, seconds))


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
    place = (queue_id, session, lines.text(recipient), transport, lines.text(relay), lines.text(tls))
    emit(_DELIVERED.template % (*place, delay_s, lines.text(text)))


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
    place = (queue_id, session, lines.text(recipient), transport, lines.text(relay), lines.text(tls))
    arguments = (*place, delay_s, lines.text(code), lines.text(text))
    emit(_DEFERRED.template % arguments)


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
    place = (queue_id, session, lines.text(recipient), transport, lines.text(relay), lines.text(tls))
    arguments = (*place, delay_s, lines.text(code), lines.text(text))
    emit(_FAILED.template % arguments)


def removed(queue_id: str) -> None:
    """All recipients of a message are done with, and it has left the queue."""
    emit(_REMOVED.template % queue_id)


def bounced(queue_id: str, session: str, bounce_id: str, kind: str, recipient: bytes, recipients: int) -> None:
    """`recipient` is told what became of a message, by another one with the queue id `bounce_id`.

    `kind` is failure, delay, success, or double for a failure that our postmaster is told of; `recipients` counts those
    of the message that it is about.
    """
    emit(_BOUNCED.template % (queue_id, session, bounce_id, kind, lines.text(recipient), recipients))


def not_bounced(queue_id: str, session: str, sender: bytes, recipients: int, reason: str) -> None:
    """A message has failed for some recipients, and nobody is told; `reason` says why."""
    emit(_NOT_BOUNCED.template % (queue_id, session, lines.text(sender), recipients, lines.text(reason)))


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
    place = (lines.text(host), lines.text(address), lines.text(own_address))
    arguments = (lines.text(domain), policy, lines.text(policy_domain), result, lines.text(reason), *place)
    emit(_TLS_RESULT.template % (*arguments, lines.text(policy_text), lines.text(patterns)))


# ---------------------------------------------------------------------------------------------------------------------
# Events: processes. Rare, so that they may carry any fields.


def started(**fields: object) -> None:
    """This process is at work; `fields` tell what one may want to know about it."""
    emit(free_form("started", fields))


def stopped(**fields: object) -> None:
    """This process ends in good order. Flushes."""
    emit(free_form("stopped", fields))
    flush()


def problem(text: str, **fields: object) -> None:
    """Something an administrator should know about; `text` is a sentence, `fields` what it is about."""
    emit(free_form("problem", {"text": text, **fields}))


def corrupt(file: str, offset: int, text: str) -> None:
    """Bytes on disk are not what was written there: which file, at which offset in bytes, and what is wrong."""
    emit(free_form("corrupt", {"file": file, "offset": offset, "text": text}))


def note(event: str, **fields: object) -> None:
    """Any other rare event of a process, `event` being one lower-case word."""
    emit(free_form(event, fields))
