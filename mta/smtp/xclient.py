"""XCLIENT and XFORWARD: what a filter that we trust says of the client it stands for.

The grammar is the one that Postfix documents in its XCLIENT_README and XFORWARD_README: attributes of the form
`NAME=value`, each value xtext (RFC 3461 section 4) or a word in brackets that says that there is none. Values come out
decoded and bounded, as printable ASCII; whoever may send the commands is not decided here. No I/O, nothing blocks.
"""

import re
from collections.abc import Callable, Mapping

from mta.smtp import address, limits, xtext


class XclientError(ValueError):
    """An argument that is refused; the text names the attribute."""


_VALUE_CHARACTERS = 255
_PROTOCOL_CHARACTERS = 64

_NAME = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]*+(?<![.-]))?")
_WORD = re.compile(r"[!-~]++")
_PORT = re.compile(r"[0-9]{1,5}")
_ABSENT = ("[UNAVAILABLE]", "[TEMPUNAVAIL]")


def _matching(pattern: re.Pattern[str], limit_characters: int = _VALUE_CHARACTERS) -> Callable[[str], str]:
    """A check that takes a value as it is."""

    def check(value: str) -> str:
        if len(value) > limit_characters or pattern.fullmatch(value) is None:
            raise ValueError
        return value

    return check


def _one_of(*words: str) -> Callable[[str], str]:
    """A check that takes some words in any case, and gives them in upper case."""

    def check(value: str) -> str:
        if value.upper() not in words:
            raise ValueError
        return value.upper()

    return check


def _address(value: str) -> str:
    """An IP address, that of IPv6 behind `IPV6:` (or, which cannot be mistaken either, without it)."""
    if value[:5].upper() != "IPV6:":
        return address.parse_ip(value)
    if ":" not in value[5:]:
        raise ValueError
    return address.parse_ip(value[5:])


def _any_address(value: str) -> str:
    """The same, or any other word: what a message came from need not have been the Internet."""
    try:
        return _address(value)
    except ValueError:
        return _word(value)


def _port(value: str) -> str:
    number = int(value) if _PORT.fullmatch(value) else -1
    if not 0 <= number <= 65535:
        raise ValueError
    return str(number)


_word = _matching(_WORD)
_name = _matching(_NAME)

# What makes each attribute's value, raising ValueError for one that it may not have.
_XCLIENT: Mapping[str, Callable[[str], str]] = {
    "NAME": _name,
    "REVERSE_NAME": _name,
    "ADDR": _address,
    "PORT": _port,
    "PROTO": _one_of("SMTP", "ESMTP", "LMTP"),
    "HELO": _word,
    "LOGIN": _matching(re.compile(r"[ -~]++")),
    "DESTADDR": _address,
    "DESTPORT": _port,
}
_XFORWARD: Mapping[str, Callable[[str], str]] = {
    "NAME": _word,
    "ADDR": _any_address,
    "PORT": _port,
    "PROTO": _matching(_WORD, _PROTOCOL_CHARACTERS),
    "HELO": _word,
    "IDENT": _word,
    "SOURCE": _one_of("LOCAL", "REMOTE"),
}

XCLIENT_ATTRIBUTES = tuple(_XCLIENT)
"""What the answer to EHLO offers behind XCLIENT."""

XFORWARD_ATTRIBUTES = tuple(_XFORWARD)
"""What the answer to EHLO offers behind XFORWARD."""


def parse_xclient(argument: bytes) -> dict[str, str | None]:
    """The attributes in the argument of XCLIENT, at least one; raises `XclientError`.

    Names are in upper case. A value is None where the sender says that it is not known, for now or for good. Addresses
    are as `address.parse_ip` writes them, ports are decimal numbers.
    """
    return _parse(argument, _XCLIENT)


def parse_xforward(argument: bytes) -> dict[str, str | None]:
    """The same for XFORWARD, where names of hosts and protocols, and addresses, may be of any kind."""
    return _parse(argument, _XFORWARD)


def _parse(argument: bytes, checks: Mapping[str, Callable[[str], str]]) -> dict[str, str | None]:
    attributes: dict[str, str | None] = {}
    for word in argument.replace(b"\t", b" ").split(b" "):
        if not word:
            continue
        keyword, _, coded = word.partition(b"=")
        name = keyword.decode("ascii", "replace").upper()
        check = checks.get(name)
        if check is None:
            raise XclientError("unknown attribute")
        if name in attributes:
            raise XclientError(f"{name} is given twice")
        try:
            value = xtext.decode(coded, limits.COMMAND_LINE_BYTES).decode()
            attributes[name] = None if value.upper() in _ABSENT else check(value)
        except ValueError:
            raise XclientError(f"{name} has a bad value") from None
    if not attributes:
        raise XclientError("no attributes")
    return attributes
