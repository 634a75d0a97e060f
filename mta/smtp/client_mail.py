"""A mail to send: what a next hop must offer to get it, and the commands that carry its envelope.

What a server announced comes as `keywords`: its EHLO keywords in upper case, each with its value. Nothing here has
state or does I/O.

Content goes by DATA, or by one BDAT where the server offers CHUNKING (RFC 3030): that saves a command, and the server
need not look for the end. Content with line ends of other kinds goes by DATA only, as its length is not known before it
has been normalised; binary content by BDAT only, as it has no lines.

DSN parameters are passed on as they came (RFC 3461 section 5.2.1), or not at all to a server without DSN.
"""

from collections.abc import Mapping, Sequence

import msgspec

from mta.smtp import xfer, xtext

DELIVERED = 2
DEFERRED = 4
FAILED = 5

# What a reply answers, in words for people: here those that a mail's commands have.
MAIL = "MAIL"
RECIPIENT = "RCPT"
DATA = "DATA"
CHUNK = "BDAT"

_XFER = xfer.KEYWORD.encode()

Keywords = Mapping[bytes, bytes]
Commands = list[tuple[str, bytes]]


class Verdict(msgspec.Struct, frozen=True, gc=False):
    """How a recipient, or a connection, fared: `status` 2, 4 or 5, the enhanced code, a line of printable ASCII."""

    status: int
    code: str
    text: str


class Mail(msgspec.Struct, frozen=True, gc=False):
    """An envelope to send. Addresses as on the wire, without brackets; `smtputf8` asks for that parameter.

    `size_bytes` is the length of the content. `binary` content is no sequence of lines; otherwise `bare_newlines` says
    that it has to go through `mta.newlines.Normaliser` first. `require_tls` asks for REQUIRETLS, and is
    only for a server whose certificate was verified. `ret`, `envid`, `notify` and `orcpt` are those of
    `mta.envelope.Dsn`; the last two have an entry for each recipient, or none at all.
    """

    sender: bytes
    recipients: Sequence[bytes]
    size_bytes: int
    eight_bit: bool = False
    smtputf8: bool = False
    binary: bool = False
    bare_newlines: bool = False
    ret: str = ""
    envid: bytes = b""
    notify: Sequence[str] = ()
    orcpt: Sequence[bytes] = ()
    require_tls: bool = False
    arrived_wall: float = 0.0  # of mail that is handed over (`mta.smtp.xfer`), for a server that knows what that is
    queue_id: str = ""
    via: Sequence[str] = ()  # likewise: the transport of each recipient that was decided, or empty; or none at all


def ruled_out(mail: Mail, keywords: Keywords) -> Verdict | None:
    """Why the server cannot get this mail, by what it announced; None when it can."""
    limit = keywords.get(b"SIZE", b"")
    if limit.isdigit() and 0 < int(limit) < mail.size_bytes:  # RFC 1870 section 6.1
        return Verdict(FAILED, "5.3.4", f"the next hop takes at most {int(limit)} bytes")
    if mail.smtputf8 and b"SMTPUTF8" not in keywords:  # RFC 6531 section 3.2
        return Verdict(FAILED, "5.6.7", "the message needs SMTPUTF8, which the next hop does not offer")
    # RFC 3030 section 3 leaves the choice between a conversion, which breaks signatures, and this.
    if mail.binary and not (b"BINARYMIME" in keywords and b"CHUNKING" in keywords):
        return Verdict(FAILED, "5.6.3", "the message is binary, and the next hop does not offer BINARYMIME")
    if mail.require_tls and b"REQUIRETLS" not in keywords:  # RFC 8689 section 4.2.1
        return Verdict(FAILED, "5.7.30", "the message requires TLS, and the next hop does not offer REQUIRETLS")
    return None


def commands(mail: Mail, keywords: Keywords) -> Commands:
    """MAIL, each RCPT and DATA or BDAT, each with what it is called. That an address has no line end is not checked."""
    dsn = b"DSN" in keywords
    lines = [(MAIL, b"MAIL FROM:<%b>%b\r\n" % (mail.sender, _mail_parameters(mail, keywords, dsn=dsn)))]
    dsn_asked = dsn and bool(mail.notify or mail.orcpt)
    handed_over = bool(mail.via) and _XFER in keywords
    if dsn_asked or handed_over:
        for index, recipient in enumerate(mail.recipients):
            words = _rcpt_parameters(mail, index) if dsn_asked else b""
            words += xfer.rcpt_parameters(mail.via[index]) if handed_over else b""
            lines.append((RECIPIENT, b"RCPT TO:<%b>%b\r\n" % (recipient, words)))
    else:
        lines += [(RECIPIENT, b"RCPT TO:<%b>\r\n" % recipient) for recipient in mail.recipients]
    if b"CHUNKING" in keywords and (mail.binary or not mail.bare_newlines):
        lines.append((CHUNK, b"BDAT %d LAST\r\n" % mail.size_bytes))
    else:
        lines.append((DATA, b"DATA\r\n"))
    return lines


def _mail_parameters(mail: Mail, keywords: Keywords, *, dsn: bool) -> bytes:
    parameters = b""
    if b"SIZE" in keywords and not mail.bare_newlines:
        parameters = b" SIZE=%d" % mail.size_bytes
    if mail.binary:
        parameters += b" BODY=BINARYMIME"
    elif mail.eight_bit and b"8BITMIME" in keywords:
        parameters += b" BODY=8BITMIME"
    if mail.smtputf8:
        parameters += b" SMTPUTF8"
    if mail.require_tls:
        parameters += b" REQUIRETLS"
    if mail.queue_id and _XFER in keywords:
        parameters += xfer.mail_parameters(mail.arrived_wall, mail.queue_id)
    if dsn and mail.ret:
        parameters += b" RET=%b" % mail.ret.encode()
    if dsn and mail.envid:
        parameters += b" ENVID=%b" % xtext.encode(mail.envid)
    return parameters


def _rcpt_parameters(mail: Mail, index: int) -> bytes:
    parameters = b""
    if mail.notify and mail.notify[index]:
        parameters = b" NOTIFY=%b" % mail.notify[index].encode()
    if mail.orcpt and mail.orcpt[index]:
        original = xtext.encode_original_recipient(mail.orcpt[index], smtputf8=mail.smtputf8)
        parameters += b" ORCPT=%b" % original if original else b""
    return parameters
