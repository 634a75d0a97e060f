"""A message as a mail for one next hop (`mta.smtp.client_mail`): its envelope, as far as that host gets it."""

import msgspec

from mta.deliver.attempt import Work
from mta.deliver.messages import Message
from mta.smtp.client import Client
from mta.smtp.client_mail import Mail
from mta.spool import queueid


def mail(message: Message, recipients: tuple[int, ...], client: Client, *, require_tls: bool) -> Mail:
    """The envelope for those `recipients`. SMTPUTF8 is dropped where it was declared, is not offered and not needed."""
    envelope = message.envelope
    addresses = [envelope.recipients[index] for index in recipients]
    smtputf8 = envelope.smtputf8
    if smtputf8 and not client.offers(b"SMTPUTF8"):
        is_ascii = all(address.isascii() for address in (envelope.sender, *addresses))
        smtputf8 = not (is_ascii and _has_ascii_header(message))
    made = Mail(
        envelope.sender,
        addresses,
        message.size_bytes,
        envelope.eight_bit,
        smtputf8,
        envelope.binary,
        envelope.bare_newlines,
        require_tls=require_tls,
    )
    dsn = envelope.dsn
    if dsn is None:
        return made
    return msgspec.structs.replace(
        made,
        ret=dsn.ret,
        envid=dsn.envid,
        notify=[dsn.notify[index] for index in recipients],
        orcpt=[dsn.orcpt[index] for index in recipients],
    )


def handed_over(mail: Mail, message: Message, work: Work) -> Mail:
    """Mail for who takes over from us, with what only that host may know (`mta.smtp.xfer`)."""
    queue_id = queueid.text(work.job.queue_id)
    envelope = message.envelope
    via = [envelope.via[index] for index in work.job.recipients] if envelope.via else ()
    return msgspec.structs.replace(mail, arrived_wall=envelope.received_wall, queue_id=queue_id, via=via)


def _has_ascii_header(message: Message) -> bool:
    """Whether nothing up to the first empty line needs SMTPUTF8. Reads no further; raises `SpoolError`."""
    before = b""
    for chunk in message.chunks():
        header, empty_line, _ = (before + chunk).partition(b"\r\n\r\n")
        if not header.isascii():
            return False
        if empty_line:
            break
        before = header[-3:]
    return True
