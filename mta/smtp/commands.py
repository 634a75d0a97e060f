"""What each command does: functions that get the dialogue and the argument, and one table of them. BDAT is not among
them: it is half a command, and the beginning of content (`mta.smtp.session`).

A handler returns a question for the driver, or None when it is done with the command. It is called only where the
table of `mta.smtp.state` allows the command; refusing one leaves the state as it was. No I/O, nothing blocks.
"""

import re
from collections.abc import Callable

from mta.fastparse import parse_path
from mta.smtp import address, limits, parameters, replies, xfer
from mta.smtp.dialogue import Dialogue
from mta.smtp.events import DataCommand, Event, Recipient, Sender, Signal, Xclient, Xforward
from mta.smtp.replies import Reply
from mta.smtp.terms import RCPT_PARAMETERS
from mta.smtp.transaction import NO_RCPT_PARAMETERS, Transaction
from mta.smtp.xclient import XclientError, parse_xclient, parse_xforward

_CHUNK = re.compile(rb"([0-9]{1,20})(?:[ \t]+(LAST))?", re.IGNORECASE)

CHUNK_BYTES = 2**63 - 1
"""Largest chunk. Whoever announces more means to make a counter overflow."""

_BAD_SENDER: dict[address.Kind, Reply] = {
    "syntax": replies.R501_MAIL_SYNTAX,
    "address": replies.R501_SENDER_ADDRESS,
    "domain": replies.R501_SENDER_DOMAIN,
    "non-ascii": replies.R553_NEEDS_SMTPUTF8,
}
_BAD_RECIPIENT: dict[address.Kind, Reply] = {
    "syntax": replies.R501_RCPT_SYNTAX,
    "address": replies.R501_RECIPIENT_ADDRESS,
    "domain": replies.R501_RECIPIENT_DOMAIN,
    "non-ascii": replies.R553_NEEDS_SMTPUTF8,
}


# ---------------------------------------------------------------------------------------------------------------------
# Who is there


def _is_name(argument: bytes) -> bool:
    # RFC 5321 section 4.1.4: a client may be wrong about its name and must not be refused for that, so any printable
    # word will do.
    return 0 < len(argument) <= limits.HELO_BYTES and min(argument) > 32 and max(argument) < 127


def _helo(dialogue: Dialogue, argument: bytes) -> Event | None:
    if not _is_name(argument):
        dialogue.refuse(replies.R501_HELO_SYNTAX)
        return None
    dialogue.greeted(argument, dialogue.terms.hello, extended=False)
    return None


def _ehlo(dialogue: Dialogue, argument: bytes) -> Event | None:
    if not _is_name(argument):
        dialogue.refuse(replies.R501_LHLO_SYNTAX if dialogue.is_lmtp else replies.R501_HELO_SYNTAX)
        return None
    reply = dialogue.terms.extended_hello(
        tls_active=dialogue.tls_active,
        xclient=dialogue.may_xclient,
        xforward=dialogue.may_xforward,
        may_xfer=dialogue.may_xfer,
    )
    dialogue.greeted(argument, reply, extended=True)
    return None


def _starttls(dialogue: Dialogue, argument: bytes) -> Event | None:
    if dialogue.tls_active:
        dialogue.refuse(replies.R503_TLS_ACTIVE)
    elif dialogue.terms.tls == "none":
        dialogue.refuse(replies.R502_NOT_IMPLEMENTED)
    elif argument:
        dialogue.refuse(replies.R501_NO_ARGUMENT)
    elif dialogue.has_input:  # in the clear, by anybody, to be taken as said under TLS: RFC 3207 section 5
        dialogue.close(replies.R554_EARLY_TLS)
    else:
        return Signal.START_TLS
    return None


def _xclient(dialogue: Dialogue, argument: bytes) -> Event | None:
    if not dialogue.may_xclient:
        dialogue.refuse(replies.R550_NO_ACCESS)
        return None
    try:
        return Xclient(parse_xclient(argument))
    except XclientError:
        dialogue.refuse(replies.R501_XCLIENT_SYNTAX)
        return None


def _xforward(dialogue: Dialogue, argument: bytes) -> Event | None:
    if not dialogue.may_xforward:
        dialogue.refuse(replies.R550_NO_ACCESS)
        return None
    try:
        attributes = parse_xforward(argument)
    except XclientError:
        dialogue.refuse(replies.R501_XFORWARD_SYNTAX)
        return None
    dialogue.say(replies.R250_OK)
    return Xforward(attributes)


# ---------------------------------------------------------------------------------------------------------------------
# The envelope


def _mail(dialogue: Dialogue, argument: bytes) -> Event | None:
    terms = dialogue.terms
    tls_active = dialogue.tls_active
    if not tls_active and terms.tls == "required":
        dialogue.refuse(replies.R530_TLS_REQUIRED)
        return None
    if dialogue.mails >= terms.bounds.messages:
        dialogue.close(replies.R421_TOO_MANY_MESSAGES)
        return None
    simple = parse_path(argument, b"FROM")
    if simple is not None:
        local, domain, rest = simple
        sender = local + b"@" + domain if domain else b""
    else:
        try:
            mailbox, rest = address.parse_path(argument, b"FROM", smtputf8=True)
        except address.AddressError as error:
            dialogue.refuse(_BAD_SENDER[error.kind])
            return None
        sender = mailbox.wire
    if not rest:
        if not sender.isascii():
            dialogue.refuse(replies.R553_NEEDS_SMTPUTF8)
            return None
        dialogue.proposed = Transaction(sender)
        return Sender(sender, 0)
    try:
        given = parameters.parse_mail(rest, terms.mail_parameters(tls_active=tls_active, may_xfer=dialogue.may_xfer))
    except parameters.ParameterError as error:
        dialogue.refuse(error.reply)
        return None
    if not given.smtputf8 and not sender.isascii():
        dialogue.refuse(replies.R553_NEEDS_SMTPUTF8)
        return None
    if given.size > terms.bounds.message_bytes:
        dialogue.refuse(replies.R552_TOO_BIG)
        return None
    dialogue.proposed = Transaction(sender, given)
    return Sender(sender, given.size)


def _rcpt(dialogue: Dialogue, argument: bytes) -> Event | None:
    transaction = dialogue.transaction
    assert transaction is not None
    smtputf8 = transaction.parameters.smtputf8
    simple = parse_path(argument, b"TO")
    if simple is not None and simple[1]:
        local, domain, rest = simple
        domain = domain.lower()
    else:
        try:
            mailbox, rest = address.parse_path(argument, b"TO", smtputf8=smtputf8)
        except address.AddressError as error:
            dialogue.refuse(_BAD_RECIPIENT[error.kind])
            return None
        local, domain = mailbox.local, mailbox.domain
    given = NO_RCPT_PARAMETERS
    if rest:
        try:
            known = RCPT_PARAMETERS | xfer.RCPT_PARAMETERS if dialogue.is_handed_over else RCPT_PARAMETERS
            given = parameters.parse_rcpt(rest, known, smtputf8=smtputf8)
        except parameters.ParameterError as error:
            dialogue.refuse(error.reply)
            return None
    if transaction.accepted >= dialogue.terms.bounds.recipients or transaction.is_full:
        # No error of the client's, which may send the rest later: RFC 5321 section 4.5.3.1.10.
        dialogue.decline(replies.R452_TOO_MANY_RECIPIENTS)
        return None
    dialogue.proposed_recipient = given
    return Recipient(local, domain)


# ---------------------------------------------------------------------------------------------------------------------
# The content


def _data(dialogue: Dialogue, argument: bytes) -> Event | None:
    assert dialogue.transaction is not None
    if argument:
        dialogue.refuse(replies.R501_NO_ARGUMENT)
        return None
    if dialogue.transaction.parameters.binary:  # RFC 3030 section 3
        dialogue.refuse(replies.R503_BINARY_DATA)
        return None
    return DataCommand()


def parse_chunk(argument: bytes) -> tuple[int, bool] | None:
    """The argument of BDAT (RFC 3030 section 2): size in bytes, and whether it is the last; None where it is none."""
    match = _CHUNK.fullmatch(argument)
    if match is None or int(match[1]) > CHUNK_BYTES:
        return None
    return int(match[1]), match[2] is not None


# ---------------------------------------------------------------------------------------------------------------------
# Commands that bring no message


def _rset(dialogue: Dialogue, argument: bytes) -> None:
    if argument:
        dialogue.refuse(replies.R501_NO_ARGUMENT)
    elif not dialogue.is_junk():
        dialogue.reset(replies.R250_OK)


def _noop(dialogue: Dialogue, argument: bytes) -> None:
    if not dialogue.is_junk():
        dialogue.say(replies.R250_OK)


def _help(dialogue: Dialogue, argument: bytes) -> None:
    if not dialogue.is_junk():
        dialogue.say(dialogue.terms.help)


def _vrfy(dialogue: Dialogue, argument: bytes) -> None:
    if not dialogue.is_junk():
        dialogue.say(replies.R252_VRFY)


def _quit(dialogue: Dialogue, argument: bytes) -> None:
    if argument:
        dialogue.refuse(replies.R501_NO_ARGUMENT)
    else:
        dialogue.close(replies.R221_BYE)


HANDLERS: dict[bytes, Callable[[Dialogue, bytes], Event | None]] = {
    b"HELO": _helo,
    b"EHLO": _ehlo,
    b"LHLO": _ehlo,
    b"STARTTLS": _starttls,
    b"XCLIENT": _xclient,
    b"XFORWARD": _xforward,
    b"MAIL": _mail,
    b"RCPT": _rcpt,
    b"DATA": _data,
    b"RSET": _rset,
    b"NOOP": _noop,
    b"HELP": _help,
    b"VRFY": _vrfy,
    b"QUIT": _quit,
}
