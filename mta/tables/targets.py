"""Values of aliases: addresses, and what they stand for. Pure."""

import re
from collections.abc import Iterator

from mta.smtp.address import AddressError, parse_domain, parse_mailbox

_WORD = re.compile(rb'(?:"(?:[^"\\]|\\.)*+"|[^", \t\r\n])++', re.DOTALL)
_BETWEEN = re.compile(rb"[, \t\r\n]*+")


def words(value: bytes) -> Iterator[bytes]:
    """The addresses in a value, between commas and blanks; raises `AddressError` where there is none, or half a one."""
    at = _BETWEEN.match(value).end()  # type: ignore[union-attr]  # it matches nothing at all, too
    if at == len(value):
        raise AddressError("address", "there is none")
    while at < len(value):
        word = _WORD.match(value, at)
        if word is None:
            raise AddressError("address", "a quote has no end")
        yield word[0]
        at = _BETWEEN.match(value, word.end()).end()  # type: ignore[union-attr]


def place(word: bytes, extension: bytes, local: bytes) -> tuple[bytes, bytes]:
    """What an address in a value means for a recipient with this local part: local part and domain.

    `extension` is carried on to it, if that leaves it an address; `@domain` keeps `local`. Raises `AddressError`.
    """
    if word.startswith(b"@"):
        return local, parse_domain(word[1:])
    mailbox = parse_mailbox(word, smtputf8=True)
    if extension and not mailbox.local.startswith(b'"'):
        try:
            mailbox = parse_mailbox(b"%b%b@%b" % (mailbox.local, extension, mailbox.domain), smtputf8=True)
        except AddressError:  # the client has chosen it too long: no fault of the table
            return mailbox.local, mailbox.domain
    return mailbox.local, mailbox.domain


def fault(value: bytes) -> str | None:
    """What is wrong with the value of an alias; None if nothing."""
    try:
        for word in words(value):
            place(word, b"", b"x")
    except AddressError as error:
        return f"{value.decode('utf-8', 'backslashreplace')!r} is no list of addresses: {error}"
    return None
