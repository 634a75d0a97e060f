"""The Received field that we prepend (RFC 5321 section 4.4). Pure: the time comes as an argument."""

from datetime import UTC, datetime
from functools import lru_cache

_SAFE = bytes(
    c if (chr(c).isalnum() and c < 128) or c in b".-_:[]" else ord("?") for c in range(256)
)  # what of a HELO name may stand in a header; the rest becomes "?", so nothing can be forged with it


@lru_cache(maxsize=4)
def date(wall: int) -> bytes:
    """Seconds since the epoch as a date-time of RFC 5322 section 3.3, in UTC."""
    return datetime.fromtimestamp(wall, UTC).strftime("%a, %d %b %Y %H:%M:%S +0000").encode("ascii")


def received(
    *, helo: bytes, client: bytes, hostname: bytes, protocol: bytes, queue_id: bytes, recipient: bytes, when: bytes
) -> bytes:
    """One Received field, CR LF included.

    `client` is the peer's address as a literal without brackets (`192.0.2.1`, `IPv6:2001:db8::1`); `recipient` is empty
    unless the message has just one (naming several would disclose blind copies); `when` is a `date`.
    """
    name = helo.translate(_SAFE)
    to = b"\r\n\tfor <%b>" % recipient if recipient else b""
    return b"Received: from %b ([%b])\r\n\tby %b with %b id %b%b;\r\n\t%b\r\n" % (
        name,
        client,
        hostname,
        protocol,
        queue_id,
        to,
        when,
    )
