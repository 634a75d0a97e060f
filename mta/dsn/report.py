"""A notification as a message, written from facts."""

import enum
import re
import textwrap
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from email.header import Header
from email.utils import format_datetime

import msgspec

from mta.dsn import fields
from mta.dsn.fields import field, folded
from mta.dsn.returned import Returned
from mta.dsn.templates import Template

TEXT_CHARACTERS = 72  # of a line of text
_REPLY = re.compile(r"[2-5][0-9][0-9](?= |$)")
TEXT_LISTED = 100  # recipients that the text names; the part for programs has all


class Kind(enum.Enum):
    """What is told; the value is the name of its template."""

    FAILURE = "failure"
    DELAY = "delay"
    SUCCESS = "success"
    DOUBLE = "double"  # of a failure, to our postmaster


class Action(enum.Enum):
    """What became of a recipient (RFC 3464 section 2.3.3); with the class of its status code."""

    FAILED = "5"
    DELAYED = "4"
    DELIVERED = "2"
    RELAYED = "2 relayed"  # to a next hop that sends no notifications of success


class Original(msgspec.Struct, frozen=True):
    """The message that is reported on. `envid` and `sender` as in `mta.envelope`; times in seconds of the epoch."""

    sender: bytes
    queue_id: str
    arrival_wall: float
    envid: bytes = b""
    smtputf8: bool = False


class Recipient(msgspec.Struct, frozen=True):
    """What became of one recipient. `original` is its ORCPT, decoded; `code` and `text` as in `mta.ipc.Result`.

    `remote` is the name of the host that `text` is about; where that begins with a code, it is that host's reply.
    """

    address: bytes
    action: Action
    code: str
    text: str
    original: bytes = b""
    remote: str = ""


class Frame(msgspec.Struct, frozen=True):
    """What a notification needs of ourselves: `to` is its recipient, `domain` that of our postmaster.

    `token` makes its Message-ID and its boundary: a word that nobody can guess and that is used once.
    `retry_until_wall` is when a delayed message is given up.
    """

    kind: Kind
    to: bytes
    hostname: str
    domain: str
    now_wall: float
    token: str
    retry_until_wall: float = 0.0


class Report(msgspec.Struct, frozen=True):
    """A notification: its content, and what its envelope has to say of it."""

    content: bytes
    eight_bit: bool
    smtputf8: bool


def write(
    frame: Frame,
    original: Original,
    recipients: Sequence[Recipient],
    returned: Returned,
    templates: Mapping[str, Template],
) -> Report:
    """The notification that tells `frame.to` of `recipients`. `templates` by the names of `Kind`."""
    addresses = [frame.to, *(one.address for one in recipients), *(one.original for one in recipients)]
    header_is_ascii = returned.header().isascii()
    international = original.smtputf8 and not (header_is_ascii and all(address.isascii() for address in addresses))
    template = templates[frame.kind.value]
    parts = [
        _text(frame, original, recipients, template),
        _status(frame, original, recipients, international=international),
    ]
    if returned.data:
        parts.append(_returned(returned, international=international and not header_is_ascii))
    boundary = _boundary(frame.token, parts)
    body = b"".join(b"--%b\r\n%b\r\n" % (boundary, part) for part in parts) + b"--%b--\r\n" % boundary
    eight_bit = not body.isascii()
    head = [
        field("From", f"Mail Delivery System <MAILER-DAEMON@{frame.hostname}>"),
        field("To", fields.mailbox(frame.to, international=international)),
        folded("Subject", _subject(template.subject)),
        field("Date", _date(frame.now_wall)),
        field("Message-ID", f"<{frame.token}@{frame.hostname}>"),
        b"MIME-Version: 1.0\r\n",
        b"Auto-Submitted: auto-replied\r\n",
    ]
    message_id = returned.message_id()
    if message_id:
        head.append(field("References", message_id))
    head.append(b'Content-Type: multipart/report; report-type=delivery-status;\r\n\tboundary="%b"\r\n' % boundary)
    if eight_bit:
        head.append(b"Content-Transfer-Encoding: 8bit\r\n")
    content = b"".join([*head, b"\r\n", b"This is a message in parts (MIME).\r\n\r\n", body])
    return Report(content, not content.isascii(), international)


def _text(frame: Frame, original: Original, recipients: Sequence[Recipient], template: Template) -> bytes:
    """The part for people."""
    values = {
        "hostname": frame.hostname,
        "domain": frame.domain,
        "sender": fields.clean(original.sender)[: fields.VALUE_BYTES // 4],
        "queue_id": original.queue_id,
        "arrival": _date(original.arrival_wall),
        "retry_until": _date(frame.retry_until_wall),
        "recipients": _listed(recipients),
    }
    text = template.fill(values).rstrip("\n").replace("\n", "\r\n").encode() + b"\r\n"
    charset = b"us-ascii" if text.isascii() else b"utf-8"
    return _part(b"text/plain; charset=" + charset, text, b"Notification")


def _listed(recipients: Sequence[Recipient]) -> str:
    blocks = []
    for one in recipients[:TEXT_LISTED]:
        address = fields.clean(one.address)[: fields.VALUE_BYTES // 4]
        said = f"host {one.remote} said: " if _is_reply(one) else ""
        lines = textwrap.wrap(
            fields.clean(f"{said}{one.text}"), TEXT_CHARACTERS, initial_indent="    ", subsequent_indent="    "
        )
        blocks.append("\n".join([f"<{address}>:", *lines]))
    if len(recipients) > TEXT_LISTED:
        blocks.append(f"... and {len(recipients) - TEXT_LISTED} more recipients")
    return "\n\n".join(blocks)


def _is_reply(recipient: Recipient) -> bool:
    """Whether the text is what a next hop said by SMTP, and not what we say of it."""
    return bool(recipient.remote) and _REPLY.match(recipient.text) is not None


def _status(frame: Frame, original: Original, recipients: Sequence[Recipient], *, international: bool) -> bytes:
    """The part for programs (RFC 3464 section 2)."""
    lines = [field("Reporting-MTA", f"dns; {frame.hostname}"), field("X-mta-Queue-ID", original.queue_id)]
    if original.envid:
        lines.append(field("Original-Envelope-Id", fields.clean(original.envid, ascii_only=True)))
    lines.append(field("Arrival-Date", _date(original.arrival_wall)))
    for one in recipients:
        lines.append(b"\r\n")
        original_recipient = fields.original_recipient(one.original, international=international)
        if original_recipient:
            lines.append(field("Original-Recipient", original_recipient))
        lines.append(field("Final-Recipient", fields.recipient(one.address, international=international)))
        lines.append(field("Action", one.action.name.lower()))
        lines.append(field("Status", fields.status(one.code, one.action.value[0])))
        if one.remote:
            lines.append(field("Remote-MTA", f"dns; {fields.clean(one.remote, ascii_only=True)}"))
        if one.text.strip():
            kind = "smtp" if _is_reply(one) else "X-mta"
            lines.append(folded("Diagnostic-Code", f"{kind}; {fields.clean(one.text, ascii_only=not international)}"))
        if one.action is Action.DELAYED:
            lines.append(field("Will-Retry-Until", _date(frame.retry_until_wall)))
    kind_of_part = b"message/global-delivery-status" if international else b"message/delivery-status"
    return _part(kind_of_part, b"".join(lines), b"Delivery report")


def _returned(returned: Returned, *, international: bool) -> bytes:
    """The part that has the original (RFC 6522 section 3, RFC 6533 section 5)."""
    if returned.whole:
        kind, words = (b"message/global" if international else b"message/rfc822"), b"Message"
    elif international:
        kind, words = b"message/global-headers", b"Header of the message"
    else:
        kind, words = b"text/rfc822-headers", b"Header of the message"
    return _part(kind, returned.data, words)


def _part(kind: bytes, content: bytes, description: bytes) -> bytes:
    """A part; what is not ASCII in it is marked as such."""
    encoding = b"" if content.isascii() else b"Content-Transfer-Encoding: 8bit\r\n"
    return b"Content-Description: %b\r\nContent-Type: %b\r\n%b\r\n%b" % (description, kind, encoding, content)


def _boundary(token: str, parts: Sequence[bytes]) -> bytes:
    """A boundary that stands in no part."""
    number = 0
    while True:
        boundary = f"{token}={number}".encode()  # "=" and a digit: in no encoded text
        if not any(boundary in part for part in parts):
            return boundary
        number += 1


def _subject(subject: str) -> str:
    return subject if subject.isascii() else Header(subject, "utf-8", maxlinelen=72).encode(linesep=" ")


def _date(wall: float) -> str:
    """A date-time of RFC 5322 section 3.3, in UTC."""
    return format_datetime(datetime.fromtimestamp(int(wall), UTC))
