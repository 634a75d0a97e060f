"""Keys: the one form in which addresses are asked for, and the forms under which a recipient may be listed."""

from typing import NamedTuple

from mta.smtp.address import AddressError, parse_domain


def folded(key: bytes) -> bytes:
    """A key in lower case, what is behind its last @ in A-labels where it is a domain; never longer than it must be.

    Bytes that are not UTF-8 stay as they are.
    """
    if key.isascii():
        return key.lower()
    local, at, domain = key.rpartition(b"@")
    if at and not domain.isascii():
        try:
            domain = parse_domain(domain)
        except AddressError:
            local, at, domain = key, b"", b""
    elif not at:
        local, domain = key, b""
    return _lower(local) + at + domain.lower()


def split(key: bytes) -> tuple[bytes, bytes]:
    """What stands before a key's last @, and behind it; all is before it where there is none."""
    local, at, domain = key.rpartition(b"@")
    return (local, domain) if at else (key, b"")


class Name(NamedTuple):
    """A key that stands for one recipient, and the extension that was left out of it (with its first character)."""

    key: bytes
    extension: bytes = b""


def names(local: bytes, domain: bytes, extension: bytes) -> list[Name]:
    """What a recipient may be listed as by name, in order: the address, and the address without its extension.

    `local` and `domain` are those of an address that was parsed; `extension` is the character that begins one, or
    empty. A quoted local part has none, nor one that begins with that character.
    """
    at = local.find(extension, 1) if extension and not local.startswith(b'"') else -1
    found = [Name(_lower(local) + b"@" + domain)]
    if at > 0:
        found.append(Name(_lower(local[:at]) + b"@" + domain, local[at:]))
    return found


def everybody_key(domain: bytes) -> bytes:
    """The key that stands for everybody in a domain."""
    return b"@" + domain


def recipient_keys(local: bytes, domain: bytes, extension: bytes) -> list[bytes]:
    """The keys to ask for, in order: those of `names`, and the one for everybody in the domain."""
    return [*(name.key for name in names(local, domain, extension)), everybody_key(domain)]


def _lower(text: bytes) -> bytes:
    try:
        return text.decode().lower().encode()
    except UnicodeDecodeError:
        return text
