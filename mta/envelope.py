"""The envelope: what SMTP said about a message, kept beside its content (RFC 5321 section 2.3.1).

Stored in the spool as MessagePack, fields in the order of the class; a new field goes to the end with a default, so
that what an older version wrote can still be read. Addresses are the bytes of the wire (UTF-8 where SMTPUTF8 was used),
without angle brackets; the null reverse-path is the empty string.
"""

import msgspec

COPY = "&"
"""Begins an entry of `Envelope.via` that is a copy.

An entry is empty where the routes say which transport it is, else the name of one. `&archive` is a copy for the
transport `archive`: it goes there or nowhere, never to where its address leads, and never concerns the sender.
"""


def is_copy(via: str) -> bool:
    """Whether this is the `via` of a copy."""
    return via.startswith(COPY)


class Dsn(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What the sender asked for in delivery status notifications (RFC 3461 section 4).

    `ret` is FULL, HDRS or empty; `envid` the envelope identifier, decoded from xtext. `notify` and `orcpt` have one
    entry for each recipient of the envelope: the NOTIFY keywords in upper case, joined by commas (`NEVER`,
    `SUCCESS,DELAY`) or empty; and the original recipient as `type;address` (`rfc822;joe@example.com`), decoded, or
    empty.
    """

    ret: str
    envid: bytes
    notify: tuple[str, ...]
    orcpt: tuple[bytes, ...]


class Envelope(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One message's envelope.

    `sender` is the reverse-path; `recipients` the forward-paths in the order they were accepted: their index in this
    tuple is how every later stage names a recipient. `queue_id` is set only where a message was moved or made by
    ourselves and must keep the id its sender was told; everywhere else the id is the record's address.
    """

    sender: bytes
    recipients: tuple[bytes, ...]
    received_wall: float  # seconds since the epoch, when the message was accepted
    client: str = ""  # peer's address, as in the log
    helo: bytes = b""
    protocol: str = "ESMTP"  # as in the Received field (RFC 3848)
    session: str = ""  # session id of the log
    eight_bit: bool = False  # BODY=8BITMIME was declared, or 8-bit content seen (RFC 6152)
    smtputf8: bool = False  # SMTPUTF8 was declared (RFC 6531)
    queue_id: int = 0
    trace: bytes = b""  # the Received field of ours; goes before the content wherever the message goes
    dsn: Dsn | None = None  # None where the sender asked for nothing
    binary: bool = False  # BODY=BINARYMIME: the content is no sequence of lines (RFC 3030)
    bare_newlines: bool = False  # the content has a NUL, or a CR or LF outside CR LF, and keeps it
    require_tls: bool = False  # REQUIRETLS: not to be relayed without verified TLS (RFC 8689)
    listener: str = ""  # address of the [[listen]] it came in by; empty where it did not come over SMTP
    via: tuple[str, ...] = ()  # of each recipient, the transport decided at acceptance; see `COPY`; () is none for all


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Envelope)


def encode(envelope: Envelope) -> bytes:
    """The envelope as the spool stores it."""
    return _encoder.encode(envelope)


def decode(data: bytes) -> Envelope:
    """Read back what `encode` made; raises `ValueError` when the bytes are no envelope."""
    try:
        return _decoder.decode(data)
    except msgspec.MsgspecError as error:
        raise ValueError(f"not an envelope: {error}") from None
