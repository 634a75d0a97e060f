"""Mailboxes and paths: the whole grammar of RFC 5321 section 4.1.2, with the additions of RFC 6531 section 3.3.

`mta.fastparse.parse_path` takes the shape that nearly every client sends and says None to the rest; this module takes
the rest, and gives the same answer for that shape. One pass over bounded input, no I/O, nothing blocks.

More is taken than the grammar has, where real clients send it and the meaning is plain: blanks after the colon, an
address without its angle brackets, and underscores in domain names (such names exist in the DNS). Less is taken in two
places: an A-label ("xn--...") must be one that some Unicode name turns into, and U+0080 to U+009F, which are controls,
are in no local part. Source routes are checked and then dropped (RFC 5321 section 4.1.1.3). An address literal with a
tag other than IPv6 is taken when its form is right, though no other tag has been registered.

Two domains are one when their A-labels are the same bytes (RFC 5890 section 2.3.2.4), whichever form, and whichever
case, each was sent in. The dot between labels is U+002E alone (RFC 6531 section 3.3): the others that were dots in
IDNA2003 (U+3002, U+FF0E, U+FF61) are for input fields, not for the wire. Local parts are the business of those who
deliver to them: they are kept and compared as they were sent, and not put into form C.
"""

import ipaddress
import re
import unicodedata
from typing import Literal

import idna
import msgspec

from mta.smtp import limits

Kind = Literal["syntax", "address", "domain", "non-ascii"]


class AddressError(ValueError):
    """A path that is none. `kind` chooses the reply, the text says what is wrong with it, for people.

    `syntax`: the argument is no `FROM:` or `TO:` with a path (5.5.4). `address`: the path or its local part is
    malformed or too long (5.1.3 for a recipient, 5.1.7 for a sender). `domain`: the domain or the literal is (5.1.2,
    5.1.8). `non-ascii`: good, but only where SMTPUTF8 was declared (5.6.7).
    """

    def __init__(self, kind: Kind, reason: str) -> None:
        super().__init__(reason)
        self.kind: Kind = kind


class Mailbox(msgspec.Struct, frozen=True, gc=False):
    """A mailbox: its parts to compare, and `wire` to send on (what stands between the angle brackets).

    `local` has the least quoting that the wire allows, so that `"joe"` and `joe`, which RFC 5321 section 4.1.2 wants
    treated alike, are the same bytes; its case is kept. `domain` is lower case and in A-labels, as names are compared
    (RFC 5890 section 2.3.2.1); a literal has its brackets. `wire` is `local` and the domain as it was sent. The null
    reverse-path has neither part, a bare `postmaster` only a local one.
    """

    local: bytes
    domain: bytes
    wire: bytes

    @property
    def is_null(self) -> bool:
        """Whether this is `<>`."""
        return not self.local

    @property
    def is_postmaster(self) -> bool:
        """Whether this is `postmaster` without a domain: the one of this host (RFC 5321 section 4.5.1)."""
        return not self.domain and not self.is_null

    @property
    def is_ascii(self) -> bool:
        """Whether it can be sent without SMTPUTF8."""
        return self.wire.isascii()


NULL = Mailbox(b"", b"", b"")
POSTMASTER = Mailbox(b"postmaster", b"", b"postmaster")

# The repeats are possessive: what they took they never give back, so none of these can be slow.
_ATOM = rb"[A-Za-z0-9!#$%&'*+/=?^_`{|}~\x80-\xff-]++"
_DOT_STRING = re.compile(rb"%b(?:\.%b)*+" % (_ATOM, _ATOM))
_QUOTED_STRING = re.compile(rb'"(?:[ !#-\[\]-~\x80-\xff]|\\[ -~])*+"')
_QUOTED_PAIR = re.compile(rb"\\(.)")
_NEEDS_PAIR = re.compile(rb'(["\\])')
_DOMAIN = re.compile(rb"[A-Za-z0-9_.\x80-\xff-]++|\[[!-Z^-~]*+\]")
_LABEL = re.compile(rb"[a-z0-9_](?:[a-z0-9_-]{0,62}+(?<!-))?")
_IPV4 = re.compile(rb"(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})")
_IPV6_GROUP = re.compile(rb"[0-9a-f]{1,4}")
_TAGGED = re.compile(rb"(?![0-9a-f]*+:)[a-z0-9-]*+(?<!-):[!-Z^-~]++")  # hexadecimal: an IPv6 address lacking its tag
_BLANKS = b" \t"
_CONTROL = re.compile(r"[\x80-\x9f]")  # those of ASCII are in no grammar here
_LONGEST_IP = 45  # characters, of an IPv6 address that ends in an IPv4 address


def parse_mailbox(data: bytes, *, smtputf8: bool) -> Mailbox:
    """A mailbox and nothing else (`local@domain`); raises `AddressError`.

    Non-ASCII parts need `smtputf8`: without it they are refused, with it they must be UTF-8 and valid U-labels.
    """
    mailbox, end = _mailbox(data, 0)
    if end != len(data):
        raise AddressError("address", "there is more behind the domain")
    return _permitted(mailbox, smtputf8=smtputf8)


def parse_domain(name: bytes) -> bytes:
    """A domain or address literal in the form that `Mailbox.domain` has; raises `AddressError`."""
    domain, end = _domain(name, 0)
    if end != len(name):
        raise AddressError("domain", "there is more behind the domain")
    return domain


def parse_ip(text: str) -> str:
    """An IP address as the log shows it, whichever way it was written; raises `ValueError`.

    IPv6 is in the form of RFC 5952 section 4, an IPv4 address mapped into IPv6 is written as the IPv4 address that it
    is. A zone (`%eth0`) is refused: it means nothing on another host.
    """
    if len(text) > _LONGEST_IP or "%" in text:
        raise ValueError("no IP address")
    return as_text(ipaddress.ip_address(text))


def as_text(ip: ipaddress.IPv4Address | ipaddress.IPv6Address) -> str:
    """The text that `parse_ip` gives for an address."""
    mapped = ip.ipv4_mapped if isinstance(ip, ipaddress.IPv6Address) else None
    return str(mapped or ip)


def parse_path(argument: bytes, keyword: bytes, *, smtputf8: bool) -> tuple[Mailbox, bytes]:
    """The path in the argument of MAIL (`keyword` FROM) or RCPT (`keyword` TO), and the parameters behind it.

    The null path is for MAIL only, a bare `postmaster` for RCPT only. MAIL says SMTPUTF8 behind the path: parse it with
    `smtputf8=True`, then look at `Mailbox.is_ascii`. Raises `AddressError`.
    """
    colon = len(keyword)
    if argument[:colon].upper() != keyword or argument[colon : colon + 1] != b":":
        raise AddressError("syntax", f"{keyword.decode()}:<address> is missing")
    path = argument[colon + 1 :].lstrip(_BLANKS)
    if not path:
        raise AddressError("syntax", "the address is missing")
    if path.startswith(b"<"):
        mailbox, end = _bracketed(path, reverse=keyword == b"FROM")
    else:
        mailbox, end = _unbracketed(path, reverse=keyword == b"FROM")
    rest = path[end:]
    if rest and rest[0] not in _BLANKS:
        raise AddressError("address", "there is more behind the path")
    return _permitted(mailbox, smtputf8=smtputf8), rest.strip(_BLANKS)


def _permitted(mailbox: Mailbox, *, smtputf8: bool) -> Mailbox:
    if not smtputf8 and not mailbox.is_ascii:
        raise AddressError("non-ascii", "an address with characters outside ASCII needs SMTPUTF8")
    return mailbox


def _bracketed(path: bytes, *, reverse: bool) -> tuple[Mailbox, int]:
    """The mailbox of `<…>` at the start of `path`, and where the path ends."""
    if path.startswith(b"<>"):
        if not reverse:
            raise AddressError("address", "a recipient cannot be empty")
        return NULL, 2
    if not reverse and path[:12].lower() == b"<postmaster>":
        return POSTMASTER, 12
    start = _source_route(path) if path.startswith(b"<@") else 1
    mailbox, end = _mailbox(path, start)
    if path[end : end + 1] != b">":
        raise AddressError("address", "the path does not end in > where it should")
    _bound("path", end + 1, limits.PATH_BYTES)
    return mailbox, end + 1


def _unbracketed(path: bytes, *, reverse: bool) -> tuple[Mailbox, int]:
    """The same for an address without brackets, which counts as long as it would be with them."""
    if not reverse and path[:10].lower() == b"postmaster" and path[10:11] in (b"", b" ", b"\t"):
        return POSTMASTER, 10
    mailbox, end = _mailbox(path, 0)
    _bound("path", end + 2, limits.PATH_BYTES)
    return mailbox, end


def _source_route(path: bytes) -> int:
    """Where the mailbox begins behind `<@one,@two:` (RFC 5321 section 4.1.2, A-d-l)."""
    position = 1
    while path[position : position + 1] == b"@":
        _, position = _domain(path, position + 1)
        if path[position : position + 1] == b":":
            return position + 1
        if path[position : position + 1] != b",":
            break
        position += 1
    raise AddressError("address", "malformed source route")


def _mailbox(data: bytes, start: int) -> tuple[Mailbox, int]:
    """The mailbox at `start`, and where it ends."""
    local, at = _local_part(data, start)
    if data[at : at + 1] != b"@":
        raise AddressError("address", "the local part is malformed, or its @domain is missing")
    domain, end = _domain(data, at + 1)
    return Mailbox(local, domain, local + data[at:end]), end


def _local_part(data: bytes, start: int) -> tuple[bytes, int]:
    """The local part at `start` with the least quoting, and where it ends."""
    quoted = _QUOTED_STRING.match(data, start)
    match = quoted or _DOT_STRING.match(data, start)
    if match is None:
        raise AddressError("address", "the local part is missing or malformed")
    _bound("local part", len(match[0]), limits.LOCAL_PART_BYTES)
    if not match[0].isascii() and _CONTROL.search(_text(match[0], "address")):
        raise AddressError("address", "the local part has control characters")
    return _least_quoted(match[0][1:-1]) if quoted else match[0], match.end()


def _least_quoted(content: bytes) -> bytes:
    """The shortest way to write a local part, given what stands between its quotes."""
    plain = _QUOTED_PAIR.sub(rb"\1", content)
    if _DOT_STRING.fullmatch(plain):
        return plain
    return b'"%b"' % _NEEDS_PAIR.sub(rb"\\\1", plain)


def _domain(data: bytes, start: int) -> tuple[bytes, int]:
    """The domain or address literal at `start`, lower case and in A-labels, and where it ends."""
    match = _DOMAIN.match(data, start)
    if match is None:
        raise AddressError("domain", "the domain is missing or malformed")
    _bound("domain", len(match[0]), limits.DOMAIN_BYTES)
    domain = match[0].lower()
    if domain.startswith(b"["):
        _check_literal(domain[1:-1])
    elif domain.isascii():
        for label in domain.split(b"."):
            _check_label(label)
    else:
        domain = _to_a_labels(_text(match[0], "domain"))
        _bound("domain", len(domain), limits.DOMAIN_BYTES)
    return domain, match.end()


def _check_label(label: bytes) -> None:
    """An ASCII label in lower case: letters, digits, hyphens within, underscores (RFC 5321 section 4.1.2)."""
    if _LABEL.fullmatch(label) is None:
        raise AddressError("domain", "malformed domain name")
    if label.startswith(b"xn--"):
        # Whatever makes A-labels maps to lower case and to form C first, so an A-label shows neither undone. Asking
        # idna for more would refuse names that exist, such as those with emoji.
        try:
            name = label[4:].decode("punycode")
        except UnicodeError:
            raise AddressError("domain", "malformed A-label in the domain") from None
        if name.isascii() or unicodedata.normalize("NFC", name.lower()) != name:
            raise AddressError("domain", "malformed A-label in the domain")


def _to_a_labels(name: str) -> bytes:
    """A domain of ASCII labels and U-labels (RFC 5890 section 2.3.2.1); capitals stand for their small letters."""
    if not unicodedata.is_normalized("NFC", name):  # before case goes: the Kelvin sign would turn into an ASCII k
        raise AddressError("domain", "malformed U-label in the domain: not in form C")
    labels = []
    # Character by character: the small letter of a sigma would depend on its place in the name.
    for label in "".join(map(str.lower, name)).split("."):
        if label.isascii():
            _check_label(label.encode())
            labels.append(label.encode())
            continue
        try:
            labels.append(idna.alabel(label))
        except UnicodeError as error:
            raise AddressError("domain", f"malformed U-label in the domain: {error}") from None
    return b".".join(labels)


def _check_literal(content: bytes) -> None:
    """What stands between the brackets of an address literal, lower case (RFC 5321 section 4.1.3)."""
    if content.startswith(b"ipv6:"):
        good = _is_ipv6(content[5:])
    else:
        good = _is_ipv4(content) or _TAGGED.fullmatch(content) is not None
    if not good:
        raise AddressError("domain", "malformed address literal")


def _is_ipv4(text: bytes) -> bool:
    match = _IPV4.fullmatch(text)
    return match is not None and all(int(number) <= 255 for number in match.groups())


def _is_ipv6(text: bytes) -> bool:
    """Eight groups, or `::` in place of at least two; the last two may be written as an IPv4 address."""
    head, colon, last = text.rpartition(b":")
    if _is_ipv4(last):
        text = head + colon + b"0:0"
    left, gap, right = text.partition(b"::")
    groups = [group for side in (left, right) if side for group in side.split(b":")]
    right_count = len(groups) <= 6 if gap else len(groups) == 8
    return right_count and all(_IPV6_GROUP.fullmatch(group) for group in groups)


def _text(data: bytes, kind: Kind) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise AddressError(kind, "not UTF-8") from None


def _bound(what: str, length_bytes: int, limit_bytes: int) -> None:
    if length_bytes > limit_bytes:
        raise AddressError("address", f"the {what} is longer than {limit_bytes} bytes")
