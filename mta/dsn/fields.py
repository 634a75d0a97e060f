"""Header fields with values that come from elsewhere: nothing gets out of its line, and no line is too long."""

import re

from mta.smtp import xtext

LINE_CHARACTERS = 76  # where a text is folded (RFC 5322 section 2.1.1)
VALUE_BYTES = 900  # longest value on one line, longest word of a text; 998 is the most a line may have
_WORD_CHARACTERS = VALUE_BYTES // 4

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_NOT_ASCII = re.compile(r"[^ -~]")
_ATOM = re.compile(rb"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]{1,64}")
_STATUS = re.compile(r"[245]\.[0-9]{1,3}\.[0-9]{1,3}")
_ATEXT = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~\x80-\U0010ffff-]"
_MAILBOX = re.compile(
    rf'(?:{_ATEXT}+(?:\.{_ATEXT}+)*|"(?:[ !#-\[\]-~\x80-\U0010ffff]|\\[ -~])*")'
    r"(?:@(?:[A-Za-z0-9.\x80-\U0010ffff-]+|\[[A-Za-z0-9:.-]+\]))?"
)


def clean(value: bytes | str, *, ascii_only: bool = False) -> str:
    """A value as one line of printable text: what else it has becomes "?", or U+FFFD where it is not UTF-8."""
    text = value.decode("utf-8", "replace") if isinstance(value, bytes) else value
    return (_NOT_ASCII if ascii_only else _CONTROL).sub("?", text)


def field(name: str, value: str) -> bytes:
    """A field on one line, cut where it would be too long for one."""
    data = value.encode()
    if len(data) > VALUE_BYTES:
        data = data[:VALUE_BYTES].decode("utf-8", "ignore").encode()
    return b"%b: %b\r\n" % (name.encode(), data)


def folded(name: str, text: str) -> bytes:
    """A field whose value is a text: runs of blanks become one, and it is folded at blanks."""
    lines, line = [], f"{name}:"
    for word in _words(text):
        if len(line) + 1 + len(word) > LINE_CHARACTERS and not line.endswith(":"):
            lines.append(line)
            line = ""
        line += " " + word
    return ("\r\n".join([*lines, line]) + "\r\n").encode()


def _words(text: str) -> list[str]:
    words = []
    for word in text.split():
        if len(word.encode()) <= VALUE_BYTES:
            words.append(word)
        else:
            words += [word[start : start + _WORD_CHARACTERS] for start in range(0, len(word), _WORD_CHARACTERS)]
    return words


def status(code: str, digit: str) -> str:
    """A status code of the class `digit` (RFC 3463 section 2): `code` where it is one, otherwise an unspecific one."""
    return code if code[:1] == digit and _STATUS.fullmatch(code) else f"{digit}.0.0"


def recipient(address: bytes, *, international: bool) -> str:
    """An address with its type in front, for Final-Recipient (RFC 3464 section 2.3.2, RFC 6533 section 3)."""
    return _typed("rfc822" if address.isascii() else "utf-8", address, international=international)


def original_recipient(value: bytes, *, international: bool) -> str:
    """The decoded value of ORCPT, for Original-Recipient (RFC 3464 section 2.3.1); empty where it is none."""
    kind, _, address = value.partition(b";")
    if not address or _ATOM.fullmatch(kind) is None:
        return ""
    return _typed(kind.decode().lower(), address, international=international)


def _typed(kind: str, address: bytes, *, international: bool) -> str:
    if address.isascii() or international:
        return f"{kind}; {clean(address)}"
    try:
        return f"utf-8; {xtext.encode_address(address, smtputf8=False).decode()}"
    except ValueError:
        return f"rfc822; {clean(address, ascii_only=True)}"


def mailbox(address: bytes, *, international: bool) -> str:
    """An address for the To field; a group without members where it could not stand there."""
    text = clean(address, ascii_only=not international)
    if text.encode() != address or len(address) > VALUE_BYTES or _MAILBOX.fullmatch(text) is None:
        return "undisclosed-recipients:;"
    return f"<{text}>"
