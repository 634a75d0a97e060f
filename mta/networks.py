"""Networks of clients: lists of them, as the configuration writes them, and the network that a client counts for.

IPv4 and IPv6 are two worlds: `::/0` has no IPv4 address in it. An IPv4-mapped IPv6 address (`::ffff:192.0.2.1`), as a
PROXY header may name one, is the IPv4 address.
"""

import ipaddress
import socket
from collections.abc import Iterable

ALLOWED = 'an address or a network, as in "192.0.2.1", "192.0.2.0/24" or "2001:db8::/32"'

CACHED = 4096
"""Hosts that a list remembers, a hundred bytes each; busy servers see the same ones again and again."""

_MAPPED = bytes(10) + b"\xff\xff"  # what an IPv4-mapped address begins with (RFC 4291 section 2.5.5.2)

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def parse_network(text: str) -> Network:
    """Read "192.0.2.1", "192.0.2.0/24", "2001:db8::/32"; an IPv4-mapped one is IPv4.

    Raises `ValueError` that says what is wrong with `text`, to be read behind it, and what is allowed or may be meant.
    """
    address, slash, prefix = text.partition("/")
    if "%" in address or (slash and not (prefix.isascii() and prefix.isdigit() and len(prefix) <= 3)):
        raise ValueError(f"is no network; {ALLOWED} is allowed")  # scopes, and masks in place of prefixes
    try:
        network = ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise ValueError(f"is no network; {ALLOWED} is allowed") from None
    if network.network_address != ipaddress.ip_address(address):
        raise ValueError(f'has bits behind its prefix; "{network}" or "{address}" is allowed')
    if network.prefixlen >= 96 and network.network_address.packed.startswith(_MAPPED):
        return ipaddress.IPv4Network((network.network_address.packed[12:], network.prefixlen - 96))
    return network


class Networks:
    """A list of networks, to ask whether a host is in one of them: `host in networks`."""

    __slots__ = ("_cache", "_masks")

    def __init__(self, texts: Iterable[str]) -> None:
        """The networks as `parse_network` takes them; raises `ValueError` as it does."""
        networks = [parse_network(text) for text in texts]
        self._masks = [
            (network.max_prefixlen // 8, int(network.netmask), int(network.network_address)) for network in networks
        ]
        self._cache: dict[str, bool] = {}

    def __contains__(self, host: str) -> bool:
        """Whether a host is in one of the networks; what is no IP address is in none. A tenth of a microsecond when
        the host was asked for before and the list is short or empty, else some."""
        if not self._masks:
            return False
        found = self._cache.get(host)
        if found is None:
            if len(self._cache) >= CACHED:
                self._cache.clear()
            found = self._cache[host] = self._covers(host)
        return found

    def _covers(self, host: str) -> bool:
        try:
            packed = _packed(host)
        except ValueError:
            return False
        number = int.from_bytes(packed, "big")
        return any(size == len(packed) and number & mask == value for size, mask, value in self._masks)


def network_of(host: str, ipv4_prefix: int, ipv6_prefix: int) -> bytes:
    """The network that a host counts for, as a key: the length of the prefix, and the address with the rest zero.

    5 bytes for IPv4, 17 for IPv6. Raises `ValueError` where `host` is no IP address.
    """
    packed = _packed(host)
    bits = len(packed) * 8
    prefix = ipv4_prefix if bits == 32 else ipv6_prefix
    rest = bits - prefix
    return bytes((prefix,)) + (int.from_bytes(packed, "big") >> rest << rest).to_bytes(len(packed), "big")


def _packed(host: str) -> bytes:
    """4 bytes of IPv4 or 16 of IPv6, without a scope (`%eth0`); raises `ValueError`."""
    try:
        if ":" not in host:
            return socket.inet_pton(socket.AF_INET, host)
        packed = socket.inet_pton(socket.AF_INET6, host.partition("%")[0])
    except OSError:
        raise ValueError(f"{host!r} is no IP address") from None
    return packed[12:] if packed.startswith(_MAPPED) else packed
