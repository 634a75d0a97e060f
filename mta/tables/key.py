"""Keys: the one form in which addresses are asked for, and the forms under which a recipient may be listed."""

from collections.abc import Iterator

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


def recipient_keys(local: bytes, domain: bytes, extension: bytes) -> Iterator[bytes]:
    """The keys to ask for, in order: the address, the address without its extension, and `@domain`.

    `local` and `domain` are those of an address that was parsed; `extension` is the character that begins one, or
    empty. A quoted local part has none, nor one that begins with that character.
    """
    local = _lower(local)
    yield local + b"@" + domain
    if extension:
        at = local.find(extension, 1)
        if at > 0 and not local.startswith(b'"'):
            yield local[:at] + b"@" + domain
    yield b"@" + domain


def _lower(text: bytes) -> bytes:
    try:
        return text.decode().lower().encode()
    except UnicodeDecodeError:
        return text
