"""Addresses of sockets as the configuration writes them: what we listen on, and where we hand mail to."""

import socket
from typing import NamedTuple

PORT_MAX = 65535


class Tcp(NamedTuple):
    """An IP address and a port."""

    host: str
    port: int


class Unix(NamedTuple):
    """A Unix stream socket."""

    path: str


def parse_listen(text: str) -> Tcp:
    """Read "127.0.0.1:25" or "[::]:25"; port 0 lets the system choose. Raises `ValueError` saying what is allowed."""
    found = _tcp(text)
    if found is None:
        raise ValueError('an IP address and a port, as in "127.0.0.1:25" or "[::]:25"')
    return found


def parse_next_hop(text: str) -> Tcp | Unix:
    """Read "127.0.0.1:24", "[::1]:24" or "unix:/path". Raises `ValueError` saying what is allowed."""
    if text.startswith("unix:") and len(text) > 5 and "\0" not in text:
        return Unix(text[5:])
    found = _tcp(text)
    if found is None or not found.port:
        raise ValueError('an IP address and a port, as in "127.0.0.1:24" or "[::1]:24", or "unix:/path"')
    return found


def is_ipv6(host: str) -> bool:
    """Whether a host (of `Tcp`) is an IPv6 address."""
    return ":" in host


def _tcp(text: str) -> Tcp | None:
    host, colon, port = text.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    host = host[1:-1] if bracketed else host
    if not colon or not port.isascii() or not port.isdigit() or len(port) > 5 or int(port) > PORT_MAX:
        return None
    try:
        socket.inet_pton(socket.AF_INET6 if bracketed else socket.AF_INET, host)
    except (OSError, ValueError):
        return None
    return Tcp(host, int(port))
