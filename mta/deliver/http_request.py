"""Requests and replies of the http transport, as bytes and values: what is posted, its signature, what a reply means.

Pure. A request is a POST with the message as its body (format `message`), or with two parts of multipart/form-data:
`envelope`, a JSON object, and `message`.

With a key, `X-Mta-Timestamp` has the seconds since the epoch, and `X-Mta-Signature` is `sha256=` and the hexadecimal
HMAC-SHA256 over: that timestamp and LF; in the format `message`, the values of `X-Mta-Queue-Id`,
`X-Mta-Sender` and `X-Mta-Recipients`, each with an LF behind it; and the body.
"""

import hashlib
import hmac
import json
import secrets
from collections.abc import Iterable, Iterator, Sequence
from email.utils import parsedate_to_datetime
from typing import NamedTuple

from mta.deliver.attempt import DELIVERED_CODE
from mta.deliver.command import first_line
from mta.endpoint import Url
from mta.envelope import Envelope
from mta.ipc import DEFERRED, DELIVERED, FAILED

RECIPIENTS_BYTES = 4096  # of the header with the recipients; many servers take no more than 8 KiB for the whole head
RETRY_AFTER_MAX_S = 31_536_000.0
AGENT = b"mta"

_TEMPORARY = {408: "4.4.2", 425: "4.3.0", 429: "4.3.2"}  # of 4xx
_PERMANENT = {413: "5.3.4"}


class Request(NamedTuple):
    """One request: head, and the body as what stands before and behind the content of the message."""

    headers: tuple[tuple[bytes, bytes], ...]
    before: bytes
    behind: bytes

    def head(self, url: Url, size_bytes: int, signature: Sequence[tuple[bytes, bytes]] = ()) -> bytes:
        """Request line and header, for content of `size_bytes`."""
        length = len(self.before) + size_bytes + len(self.behind)
        headers = (
            (b"Host", url.authority.encode()),
            (b"User-Agent", AGENT),
            (b"Content-Length", b"%d" % length),
            *self.headers,
            *signature,
        )
        lines = [b"POST %b HTTP/1.1" % url.target.encode(), *(b"%b: %b" % header for header in headers)]
        return b"\r\n".join([*lines, b"", b""])

    def sign(self, key: bytes, chunks: Iterable[bytes], now_wall: int) -> list[tuple[bytes, bytes]]:
        """The headers of the signature; reads all chunks."""
        stamp = b"%d" % now_wall
        signed = [stamp, *(value for name, value in self.headers if name.startswith(b"X-Mta-"))]
        mac = hmac.new(key, b"".join(value + b"\n" for value in signed), hashlib.sha256)
        mac.update(self.before)
        for chunk in chunks:
            mac.update(chunk)
        mac.update(self.behind)
        return [(b"X-Mta-Timestamp", stamp), (b"X-Mta-Signature", b"sha256=" + mac.hexdigest().encode())]


def message_requests(
    queue_id: str, envelope: Envelope, recipients: Sequence[int]
) -> Iterator[tuple[list[int], Request]]:
    """Requests with the message as their body, as many as it takes to name the recipients in bounded headers."""
    group: list[int] = []
    for index in recipients:
        if group and len(_json([_text(envelope.recipients[each]) for each in (*group, index)])) > RECIPIENTS_BYTES:
            yield group, _message_request(queue_id, envelope, group)
            group = []
        group.append(index)
    yield group, _message_request(queue_id, envelope, group)


def _message_request(queue_id: str, envelope: Envelope, recipients: Sequence[int]) -> Request:
    headers = (
        (b"Content-Type", b"message/rfc822"),
        (b"X-Mta-Queue-Id", queue_id.encode()),
        (b"X-Mta-Sender", _json(_text(envelope.sender))),
        (b"X-Mta-Recipients", _json([_text(envelope.recipients[index]) for index in recipients])),
    )
    return Request(headers, b"", b"")


def form_request(queue_id: str, envelope: Envelope, recipients: Sequence[int]) -> Request:
    """A request with envelope and message as the parts of a form."""
    boundary = secrets.token_hex(24).encode()  # nobody can have put it into a message
    described = {
        "queue_id": queue_id,
        "sender": _text(envelope.sender),
        "recipients": [_text(envelope.recipients[index]) for index in recipients],
        "received": envelope.received_wall,
        "client": envelope.client,
        "helo": _text(envelope.helo),
        "protocol": envelope.protocol,
        "smtputf8": envelope.smtputf8,
    }
    before = (
        b'--%b\r\nContent-Disposition: form-data; name="envelope"\r\nContent-Type: application/json\r\n\r\n%b\r\n'
        b'--%b\r\nContent-Disposition: form-data; name="message"; filename="%b.eml"\r\n'
        b"Content-Type: message/rfc822\r\n\r\n" % (boundary, _json(described), boundary, queue_id.encode())
    )
    headers = ((b"Content-Type", b"multipart/form-data; boundary=" + boundary),)
    return Request(headers, before, b"\r\n--%b--\r\n" % boundary)


def _text(address: bytes) -> str:
    return address.decode("utf-8", "backslashreplace")


def _json(value: object) -> bytes:
    """In ASCII, on one line: fit for a header whatever is in it."""
    return json.dumps(value).encode("ascii")


def verdict(status: int, reason: str, body: bytes) -> tuple[int, str, str]:
    """Status, enhanced status code and text of an outcome for a reply; the text is one printable line."""
    text = first_line(f"{status} {reason}".encode("latin-1", "replace"))
    line = first_line(body)
    text = f"{text}: {line}" if line else text
    if 200 <= status < 300:
        return DELIVERED, DELIVERED_CODE, text
    if 400 <= status < 500 and status not in _TEMPORARY:
        return FAILED, _PERMANENT.get(status, "5.3.0"), text
    if 300 <= status < 400:
        return DEFERRED, "4.3.5", f"redirects are not followed: {text}"
    return DEFERRED, "4.3.2" if status == 503 else _TEMPORARY.get(status, "4.3.0"), text


def retry_after_s(value: str, now_wall: float) -> float:
    """The seconds that a Retry-After field asks for, as a number or a date; 0 where it cannot be understood."""
    value = value.strip()
    if value.isascii() and value.isdigit():
        return min(float(value[:12]), RETRY_AFTER_MAX_S)
    try:
        at_wall = parsedate_to_datetime(value).timestamp()
    except (TypeError, ValueError, OverflowError):
        return 0.0
    return min(max(at_wall - now_wall, 0.0), RETRY_AFTER_MAX_S)
