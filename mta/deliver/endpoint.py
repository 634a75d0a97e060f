"""The address of a next hop as it is configured: `127.0.0.1:2600`, `[::1]:24`, `relay.example:25` or `unix:/path`."""

import socket

from gevent.socket import getaddrinfo

from mta.deliver.peer import Address, ConnectError
from mta.errors import ConfigError


class Endpoint:
    """Where to connect to. Names are resolved again for each connection."""

    def __init__(self, host: str) -> None:
        """Raises `ConfigError` when `host` has none of the forms above."""
        self.label = host  # as people and logs see it
        self._name = ""
        self._port = 0
        self._fixed: list[Address] = []
        if host.startswith("unix:/"):
            self._fixed = [Address(socket.AF_UNIX, host.removeprefix("unix:"))]
            return
        name, _, port = host.rpartition(":")
        if not name or not port.isdecimal() or not 0 < int(port) < 65536:
            raise ConfigError([f'transport host {host!r}: use "127.0.0.1:2600", "[::1]:24" or "unix:/path"'])
        self._name = name.removeprefix("[").removesuffix("]")
        self._port = int(port)
        try:
            found = socket.getaddrinfo(self._name, self._port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
        except socket.gaierror:
            return  # a name
        self._fixed = [Address(family, target) for family, _, _, _, target in found]

    def addresses(self) -> list[Address]:
        """In the order in which to try them. Waits for the resolver where there is a name; raises `ConnectError`."""
        if self._fixed:
            return self._fixed
        try:
            found = getaddrinfo(self._name, self._port, type=socket.SOCK_STREAM)
        except OSError as error:
            raise ConnectError("4.4.3", f"cannot resolve {self._name}: {error.strerror}") from None
        return [Address(family, target) for family, _, _, _, target in found]
