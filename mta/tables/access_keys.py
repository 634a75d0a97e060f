"""Keys for access tables: the forms under which a client, a HELO name or an address may be listed, as access(5) has it.

Each function takes what is asked about and gives the keys in the order in which they are asked for: the whole first,
then ever larger parts of the world. Tables of patterns and networks are asked for the first alone.
"""

import ipaddress
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice

from mta.tables.key import folded, names, split

PARENTS = 8
"""Domains above a domain that are asked for, the largest of them: a bound on what a name of a hundred labels costs."""

NULL = b"<>"
"""The key of the null sender."""

Keys = Callable[[bytes], Iterator[bytes]]

WHOLE = ("regexp", "cidr")
"""Kinds that are asked for the whole alone: their lines say themselves which parts of it matter, as in Postfix."""


def keys_of(stage: str, kind: str, extension: bytes) -> Keys:
    """The keys that a table of that kind is asked for: about a "client", "helo", "sender" or "recipient".

    `extension` is the character that begins one, or empty.
    """
    by_stage: dict[str, Keys] = {"client": client_keys, "helo": helo_keys}
    keys = by_stage.get(stage, partial(address_keys, extension=extension))
    return partial(_first, keys) if kind in WHOLE else keys


def client_keys(host: bytes) -> Iterator[bytes]:
    """The address of a client; then with one part after the other taken from its end: `192.0.2`, `192.0`, `192`.

    An IPv6 address is in its shortest form (RFC 5952 section 4), of which the parts that do not end in a colon are
    keys: of `2001:db8::1`, `2001:db8` and `2001`. What is no address is one key.
    """
    try:
        ip = ipaddress.ip_address(host.decode("ascii").partition("%")[0])
    except ValueError:
        yield host
        return
    mapped = ip.ipv4_mapped if isinstance(ip, ipaddress.IPv6Address) else None
    text = str(mapped or ip).encode()
    mark = b":" if b":" in text else b"."
    while text:
        if not text.endswith(b":"):
            yield text
        text = text.rpartition(mark)[0]


def helo_keys(name: bytes) -> Iterator[bytes]:
    """The name that a client gave for itself, without a dot at its end, then the domains above it."""
    yield from _domain_keys(name.lower().removesuffix(b"."))


def address_keys(address: bytes, extension: bytes) -> Iterator[bytes]:
    """`user+tag@domain`, `user@domain`, `domain` and those above it, `user+tag@`, `user@`; of an empty address, `<>`.

    `extension` is the character that begins one, or empty.
    """
    if b"@" not in address:
        yield folded(address) or NULL
        return
    local, domain = split(folded(address))
    keys = [name.key for name in names(local, domain, extension)]
    yield from keys
    yield from _domain_keys(domain)
    yield from (key.removesuffix(domain) for key in keys)


def _first(keys: Keys, about: bytes) -> Iterator[bytes]:
    return islice(keys(about), 1)


def _domain_keys(domain: bytes) -> Iterator[bytes]:
    yield domain
    if domain.startswith(b"["):
        return
    labels = domain.split(b".")
    for count in range(min(len(labels) - 1, PARENTS), 0, -1):
        if labels[-count]:
            yield b".".join(labels[-count:])
