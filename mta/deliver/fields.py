"""The fields that final delivery puts in front of a message (RFC 5321 section 4.4)."""

from mta.envelope import Envelope

_CONTROLS = bytes.maketrans(bytes([*range(32), 127]), b"?" * 33)


def envelope_fields(envelope: Envelope, recipient: int | None) -> bytes:
    """Return-Path and, where there is one recipient (its index), Delivered-To; each line ended by CR LF.

    The envelope's addresses have no control characters, as the server reads them; should one have, `?` stands for it.
    """
    fields = b"Return-Path: <%b>\r\n" % envelope.sender.translate(_CONTROLS)
    if recipient is not None:
        fields += b"Delivered-To: %b\r\n" % envelope.recipients[recipient].translate(_CONTROLS)
    return fields
