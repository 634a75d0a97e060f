"""The encodings of values in DSN parameters: xtext, and the two forms of addresses of type utf-8.

xtext (RFC 3461 section 4) writes any byte as `+HH`; utf-8-addr-xtext and utf-8-addr-unitext (RFC 6533 section 3) write
any character as `\\x{HEX}`, the first of them all that is not ASCII, the second only what a parameter cannot hold. What
is decoded here may stand in a header: it has no control characters. No I/O, nothing blocks; time and memory are linear
in the input, which `limit_bytes` bounds.
"""

import re

from mta.smtp import limits

_XTEXT = re.compile(rb"(?:[!-*,-<>-~]|\+[0-9A-F]{2})*+")
_XTEXT_PAIR = re.compile(rb"\+(..)")
_XTEXT_SPECIAL = re.compile(rb"[^!-*,-<>-~]")

# HEXPOINT of RFC 6533 section 3: what no character of the parameter stands for itself, and no surrogates. Strings in
# ABNF mean both cases, so that hexadecimal digits may be small here; in xtext they may not, by its own words.
_HEXPOINT = (
    r"0[1-9]|1[0-9]|20|2B|3D|5C|7F|[89A-F][0-9A-F]|[1-9A-F][0-9A-F]{2}|[1-9A-CEF][0-9A-F]{3}|D[0-7][0-9A-F]{2}"
    r"|[1-9A-F][0-9A-F]{4}|10[0-9A-F]{4}"
)
_EMBEDDED = r"\\x\{((?i:" + _HEXPOINT + r"))\}"
_ESCAPE = re.compile(_EMBEDDED)
_ADDRESS = re.compile(r"(?:[!-*,-<>-\[\]-~\x80-\U0010ffff]|" + _EMBEDDED + ")++")
_ADDRESS_SPECIAL = re.compile(r"[ +=\\]")
_ADDRESS_SPECIAL_OR_8BIT = re.compile(r"[ +=\\\x80-\U0010ffff]")

_PRINTABLE = re.compile(rb"[ -~]*+")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_ATOM = re.compile(rb"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]++")


def encode(data: bytes) -> bytes:
    """Any bytes as xtext."""
    return _XTEXT_SPECIAL.sub(lambda match: b"+%02X" % match[0][0], data)


def decode(data: bytes, limit_bytes: int) -> bytes:
    """What xtext stands for: printable ASCII, blanks included; raises `ValueError` for anything else.

    The encoded form must not be longer than `limit_bytes`. RFC 3461 section 4.2 and RFC 3461 section 4.4 leave other
    characters out, as they could not stand in a notification; with them an encoded line end is refused.
    """
    if len(data) > limit_bytes or _XTEXT.fullmatch(data) is None:
        raise ValueError("not xtext, or too long")
    if b"+" not in data:
        return data
    plain = _XTEXT_PAIR.sub(lambda match: bytes.fromhex(match[1].decode()), data)
    if _PRINTABLE.fullmatch(plain) is None:
        raise ValueError("encoded control or 8-bit characters")
    return plain


def encode_address(address: bytes, *, smtputf8: bool) -> bytes:
    """An address in UTF-8 as utf-8-addr-unitext with `smtputf8`, as utf-8-addr-xtext without (RFC 6533 section 3).

    Raises `ValueError` where it is empty, not UTF-8, or has control characters.
    """
    text = address.decode()
    if not text or _CONTROL.search(text):
        raise ValueError("empty, or with control characters")
    special = _ADDRESS_SPECIAL if smtputf8 else _ADDRESS_SPECIAL_OR_8BIT
    return special.sub(lambda match: rf"\x{{{ord(match[0]):02X}}}", text).encode()


def decode_address(data: bytes, limit_bytes: int, *, smtputf8: bool) -> bytes:
    """The address in UTF-8 that either form stands for; raises `ValueError`.

    Characters outside ASCII may stand for themselves with `smtputf8` only. That the address is a mailbox is not
    checked: nothing is sent to it. The encoded form must not be longer than `limit_bytes`.
    """
    if len(data) > limit_bytes or not (smtputf8 or data.isascii()):
        raise ValueError("too long, or not ASCII")
    text = data.decode()
    if _ADDRESS.fullmatch(text) is None:
        raise ValueError("no address of type utf-8")
    text = _ESCAPE.sub(lambda match: chr(int(match[1], 16)), text)
    if _CONTROL.search(text):
        raise ValueError("control characters")
    return text.encode()


def encode_original_recipient(recipient: bytes, *, smtputf8: bool) -> bytes:
    """The value of ORCPT for a decoded `type;address` (RFC 3461 section 4.2).

    With `smtputf8` the transaction that it goes into has SMTPUTF8 declared, and an address of type utf-8 may be sent as
    it is. Empty where the value would be longer than the parameter may be, and is better left out: that happens only
    to an address that came with SMTPUTF8 and goes on without. Raises `ValueError` for what `decode_original_recipient`
    does not return.
    """
    kind, _, address = recipient.partition(b";")
    coded = encode_address(address, smtputf8=smtputf8) if kind == b"utf-8" else encode(address)
    value = b"%b;%b" % (kind, coded)
    return value if len(value) <= limits.ORCPT_BYTES else b""


def decode_original_recipient(value: bytes, *, smtputf8: bool) -> bytes:
    """`type;address` out of the value of ORCPT, the type in lower case; raises `ValueError`.

    The type `utf-8` has its own encodings, all others have xtext (RFC 6533 section 3).
    """
    kind, _, coded = value.partition(b";")
    if len(value) > limits.ORCPT_BYTES or not coded or _ATOM.fullmatch(kind) is None:
        raise ValueError("too long, or no type and address")
    kind = kind.lower()
    if kind == b"utf-8":
        return b"utf-8;" + decode_address(coded, limits.ORCPT_BYTES, smtputf8=smtputf8)
    return b"%b;%b" % (kind, decode(coded, limits.ORCPT_BYTES))
