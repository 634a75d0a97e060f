"""Networks as a table: the first that an IP address is in gives the value. A line is `network value`."""

import ipaddress
from collections.abc import Iterable

from mta.networks import parse_network
from mta.tables.text import gather, split

NETWORKS = 1_000_000


class CidrTable:
    """Networks and their values, in order; an IPv4-mapped IPv6 address is the IPv4 one, as in `mta.networks`."""

    def __init__(self, lines: Iterable[bytes]) -> None:
        """Raises `BadTable` for what is no network."""
        # By the bits of an address and those behind the prefix: from what stands before them to place and value.
        self._networks: dict[tuple[int, int], dict[int, tuple[int, bytes]]] = {}
        self._count = 0
        gather(lines, self._take)

    def __len__(self) -> int:
        return self._count

    def _take(self, text: bytes) -> str | None:
        key, value = split(text) or (text, b"")
        if self._count == NETWORKS:
            return f"is one too many; {NETWORKS} networks are allowed"
        try:
            network = parse_network(key.decode("utf-8", "backslashreplace"))
        except ValueError as error:
            return f"{key.decode('utf-8', 'backslashreplace')!r} {error}"
        rest = network.max_prefixlen - network.prefixlen
        same_length = self._networks.setdefault((network.max_prefixlen, rest), {})
        same_length.setdefault(int(network.network_address) >> rest, (self._count, value))
        self._count += 1
        return None

    def get(self, key: bytes) -> bytes | None:
        """The value of the first network that the address is in; None for all others and for what is no address.

        Does not block; takes as long as there are different lengths of prefixes, however many networks.
        """
        try:
            ip = ipaddress.ip_address(key.decode("ascii").partition("%")[0])
        except ValueError:
            return None
        mapped = ip.ipv4_mapped if isinstance(ip, ipaddress.IPv6Address) else None
        address = mapped or ip
        number, bits = int(address), address.max_prefixlen
        found = [
            prefixes[number >> rest]
            for (size, rest), prefixes in self._networks.items()
            if size == bits and number >> rest in prefixes
        ]
        return min(found)[1] if found else None
