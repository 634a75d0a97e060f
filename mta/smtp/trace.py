"""The Received field that we prepend (RFC 5321 section 4.4). Pure: the time comes as an argument."""

from datetime import UTC, datetime
from functools import lru_cache

LINE_CHARACTERS = 78
"""Longest line of a header where it can be helped (RFC 5322 section 2.1.1). Names and paths cannot be folded, but the
longest that `mta.smtp.limits` lets in make lines of some 310, and 998 is what there may be."""

_SAFE = bytes(
    c if (chr(c).isalnum() and c < 128) or c in b".-_:[]" else ord("?") for c in range(256)
)  # what of a HELO name may stand in a header; the rest becomes "?", so nothing can be forged with it

# What is left for names on a line: "Received: from ", " ([", "])"; "\tby ", " with UTF8SMTPS", " id ", ";".
_FROM_CHARACTERS = LINE_CHARACTERS - 15 - 3 - 2
_BY_CHARACTERS = LINE_CHARACTERS - 4 - 15 - 4 - 1

# By LMTP, SMTPUTF8, TLS: RFC 3848, RFC 6531 section 4.3. After HELO there is no name for TLS.
_PROTOCOLS = {
    (False, False, False): "ESMTP",
    (False, False, True): "ESMTPS",
    (False, True, False): "UTF8SMTP",
    (False, True, True): "UTF8SMTPS",
    (True, False, False): "LMTP",
    (True, False, True): "LMTPS",
    (True, True, False): "UTF8LMTP",
    (True, True, True): "UTF8LMTPS",
}


def protocol(*, extended: bool, lmtp: bool, smtputf8: bool, tls: bool) -> str:
    """The name of what was spoken, for the Received field: SMTP, ESMTPS, UTF8LMTP...

    `extended`: the session was opened by EHLO or LHLO; `smtputf8`: the transaction declared it.
    """
    return _PROTOCOLS[lmtp, smtputf8, tls] if extended else "SMTP"


@lru_cache(maxsize=4)
def date(wall: int) -> bytes:
    """Seconds since the epoch as a date-time of RFC 5322 section 3.3, in UTC."""
    return datetime.fromtimestamp(wall, UTC).strftime("%a, %d %b %Y %H:%M:%S +0000").encode("ascii")


def received(
    *,
    helo: bytes,
    client: bytes,
    hostname: bytes,
    protocol: bytes,
    queue_id: bytes,
    recipient: bytes,
    when: bytes,
    tls: bytes = b"",
    client_name: bytes = b"",
) -> bytes:
    """One Received field, CR LF included.

    `client` is the peer's address as a literal without brackets (`192.0.2.1`, `IPv6:2001:db8::1`), `client_name` its
    name where one is known; `helo` and `client_name` may hold anything, and what could mean something in a header
    becomes "?". `recipient` is a mailbox (there are no line ends in its grammar), and empty unless the message has just
    one: naming several would disclose blind copies. `when` is a `date`; `tls` is a comment, or more with folds between,
    as `mta.tls_facts` makes them.
    """
    name = helo.translate(_SAFE) or b"unknown"
    after_name, after_host = b" ([", b" "
    if client_name:
        after_name = b"\r\n\t(%b [" % client_name.translate(_SAFE)
    elif len(helo) + len(client) > _FROM_CHARACTERS:
        after_name = b"\r\n\t(["
    if len(hostname) + len(queue_id) > _BY_CHARACTERS:
        after_host = b"\r\n\t"
    return b"Received: from %b%b%b])%b\r\n\tby %b%bwith %b id %b%b;\r\n\t%b\r\n" % (
        name,
        after_name,
        client,
        b"\r\n\t" + tls if tls else b"",
        hostname,
        after_host,
        protocol,
        queue_id,
        b"\r\n\tfor <%b>" % recipient if recipient else b"",
        when,
    )
