"""Next hops as something to connect to: their addresses, now. `Endpoint` is a configured one."""

import socket
from typing import NamedTuple, Protocol

from gevent.socket import getaddrinfo

from mta.deliver.peer import Address, ConnectError, Connection
from mta.deliver.tls import PLAIN, Policy
from mta.deliver.tls_result import Applied
from mta.endpoint import Unix, is_ipv6, parse_next_hop
from mta.errors import ConfigError


class Target(NamedTuple):
    """Something to connect to: the address, how people and logs see it, which TLS it gets, and whose policy that is."""

    address: Address
    label: str
    tls: Policy
    applied: Applied = Applied()


class Endpoints(Protocol):
    """Where a relay may connect to."""

    @property
    def label(self) -> str:
        """How people and logs see all of it."""

    @property
    def can_verify(self) -> bool:
        """Whether there can be a connection with the server that is meant, and nobody else."""

    def targets(self) -> list[Target]:
        """In the order in which to try them. May wait; raises `ConnectError`."""

    def tried(self, target: Target, connection: Connection, domain: bytes) -> None:
        """TLS as it is demanded of a target was tried for mail to `domain`, or the connection ended before."""

    def failed(self, address: Address) -> None:
        """There was no connection to an address, or none that takes mail."""

    def answered(self, address: Address) -> None:
        """An address takes mail."""


class Endpoint:
    """Where to connect to. Names are resolved again for each connection."""

    def __init__(self, host: str, tls: Policy = PLAIN) -> None:
        """`host` is as in the configuration (`mta.endpoint`); raises `ConfigError` when it is nothing of the kind."""
        self.label = host  # as people and logs see it
        self.can_verify = tls.is_verified
        self._tls = tls
        try:
            self._hop = parse_next_hop(host)
        except ValueError as error:
            raise ConfigError([f"transport host {host!r}: {error}"]) from None

    def targets(self) -> list[Target]:
        """As `addresses`."""
        return [Target(address, self.label, self._tls) for address in self.addresses()]

    def tried(self, target: Target, connection: Connection, domain: bytes) -> None:
        """Nobody is told of configured hosts."""

    def failed(self, address: Address) -> None:
        """Nothing is remembered."""

    def answered(self, address: Address) -> None:
        """Nothing is remembered."""

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
