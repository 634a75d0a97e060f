"""A configured next hop as something to connect to: its addresses, now."""

import socket

from gevent.socket import getaddrinfo

from mta.deliver.peer import Address, ConnectError
from mta.endpoint import Unix, is_ipv6, parse_next_hop
from mta.errors import ConfigError


class Endpoint:
    """Where to connect to. Names are resolved again for each connection."""

    def __init__(self, host: str) -> None:
        """`host` is as in the configuration (`mta.endpoint`); raises `ConfigError` when it is nothing of the kind."""
        self.label = host  # as people and logs see it
        try:
            self._hop = parse_next_hop(host)
        except ValueError as error:
            raise ConfigError([f"transport host {host!r}: {error}"]) from None

    def addresses(self) -> list[Address]:
        """In the order in which to try them. Waits for the resolver where there is a name; raises `ConnectError`."""
        hop = self._hop
        if isinstance(hop, Unix):
            return [Address(socket.AF_UNIX, hop.path)]
        if is_ipv6(hop.host):
            return [Address(socket.AF_INET6, (hop.host, hop.port, 0, 0))]
        if hop.host.replace(".", "").isdigit():
            return [Address(socket.AF_INET, (hop.host, hop.port))]
        try:
            found = getaddrinfo(hop.host, hop.port, type=socket.SOCK_STREAM)
        except OSError as error:
            raise ConnectError("4.4.3", f"cannot resolve {hop.host}: {error.strerror}") from None
        return [Address(family, target) for family, _, _, _, target in found]
