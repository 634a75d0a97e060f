"""What may be configured of look-ups, and what `/etc/resolv.conf` says."""

import ipaddress
import re
from collections.abc import Iterable
from typing import Annotated, NamedTuple

from msgspec import Meta, Struct, field

RESOLV_CONF = "/etc/resolv.conf"
PORT = 53
RESOLV_CONF_SERVERS = 3
"""So many servers of that file count, as in other programs (MAXNS of resolv.conf(5))."""

ALLOWED = 'an IP address, or one with a port, as in "127.0.0.1", "127.0.0.1:5353", "::1" or "[::1]:5353"'

_WITH_PORT = re.compile(r"(?:\[([^\[\]]*:[^\[\]]*)\]|([^\[\]:]*))(?::([0-9]{1,5}))?")


class Dns(Struct, frozen=True, forbid_unknown_fields=True):
    """Look-ups of names."""

    servers: Annotated[
        list[str],
        Meta(
            description="recursive resolvers to ask, in this order; none are those of /etc/resolv.conf",
            examples=[["127.0.0.1", "[::1]:5353"]],
        ),
    ] = field(default_factory=list)
    trust_ad: Annotated[
        bool,
        Meta(
            description="believe the resolvers when they say that an answer is signed (AD bit); only where they "
            "validate, and nobody between them and us can change what they say"
        ),
    ] = False
    timeout_s: Annotated[
        float, Meta(ge=0.1, le=300, description="longest look-up, over all servers and attempts, in seconds")
    ] = 10.0
    cache_entries: Annotated[
        int, Meta(ge=0, le=10_000_000, description="answers to keep, about half a kilobyte each; 0 keeps none")
    ] = 10000


class Server(NamedTuple):
    """Where a resolver is."""

    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == PORT else f"{host}:{self.port}"


def parse_server(text: str) -> Server:
    """Read "192.0.2.1", "192.0.2.1:5353", "::1", "[::1]" or "[::1]:5353"; an IPv6 address may have a zone (`%eth0`).

    Raises `ValueError` saying what is allowed.
    """
    try:
        if text.count(":") > 1 and not text.startswith("["):
            return Server(str(ipaddress.IPv6Address(text)), PORT)
        match = _WITH_PORT.fullmatch(text)
        if match is None:
            raise ValueError
        host = ipaddress.IPv6Address(match[1]) if match[1] else ipaddress.IPv4Address(match[2])
        port = int(match[3] or PORT)
        if not 0 < port < 65536:
            raise ValueError
    except ValueError:
        raise ValueError(ALLOWED) from None
    return Server(str(host), port)


def parse_resolv_conf(text: str) -> list[Server]:
    """The servers that the text of `/etc/resolv.conf` names, and what is meant when it names none: 127.0.0.1.

    Lines that are no `nameserver` with an IP address are passed over, as everybody does (resolv.conf(5)).
    """
    servers: list[Server] = []
    for line in text.splitlines():
        words = line.split()
        if len(words) < 2 or words[0] != "nameserver":
            continue
        try:
            server = Server(str(ipaddress.ip_address(words[1])), PORT)
        except ValueError:
            continue
        if server not in servers:
            servers.append(server)
    return servers[:RESOLV_CONF_SERVERS] or [Server("127.0.0.1", PORT)]


def servers_of(settings: Dns, resolv_conf: str) -> list[Server]:
    """The servers to ask: the settings', or those of the text of `/etc/resolv.conf`; raises `ValueError`."""
    configured: Iterable[Server] = dict.fromkeys(map(parse_server, settings.servers))
    return list(configured) or parse_resolv_conf(resolv_conf)
