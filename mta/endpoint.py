"""Addresses of sockets as the configuration writes them: what we listen on, and where we hand mail to."""

import ipaddress
import re
import socket
from typing import NamedTuple

PORT_MAX = 65535

_LABEL = "[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_NAME = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_URL = re.compile(r"(?P<scheme>https?)://(?P<authority>[A-Za-z0-9._:\[\]-]+)(?P<target>/[!-\"$-~]*)?")


class Tcp(NamedTuple):
    """An IP address (or, of a next hop, a name) and a port."""

    host: str
    port: int


class Unix(NamedTuple):
    """A Unix stream socket."""

    path: str


class Url(NamedTuple):
    """Where to post to: `target` is what the request line says, `authority` what the Host field does."""

    is_tls: bool
    host: str
    port: int
    authority: str
    target: str


def parse_url(text: str) -> Url:
    """Read "https://host/path" or "http://127.0.0.1:8080/path?query"; raises `ValueError` saying what is allowed."""
    found = _URL.fullmatch(text)
    if found:
        is_tls = found["scheme"] == "https"
        authority = found["authority"]
        has_port = re.search(r":[0-9]+$", authority) is not None
        tcp = authority if has_port else f"{authority}:{443 if is_tls else 80}"
        place = _tcp(tcp) or _named(tcp)
        if place is not None and place.port:
            return Url(is_tls, place.host, place.port, authority, found["target"] or "/")
    raise ValueError('an address like "https://api.example.org/mail", without user, password and fragment')


def parse_listen(text: str) -> Tcp:
    """Read "127.0.0.1:25" or "[::]:25"; port 0 lets the system choose. Raises `ValueError` saying what is allowed."""
    found = _tcp(text)
    if found is None:
        raise ValueError('an IP address and a port, as in "127.0.0.1:25" or "[::]:25"')
    return found


def parse_next_hop(text: str) -> Tcp | Unix:
    """Read "127.0.0.1:24", "[::1]:24", "relay.example:25" or "unix:/path"; raises `ValueError` saying so."""
    if text.startswith("unix:") and len(text) > 5 and "\0" not in text:
        return Unix(text[5:])
    found = _tcp(text) or _named(text)
    if found is None or not found.port:
        raise ValueError('a host and a port, as in "127.0.0.1:24", "[::1]:24" or "relay.example:25", or "unix:/path"')
    return found


def is_ipv6(host: str) -> bool:
    """Whether a host (of `Tcp`) is an IPv6 address."""
    return ":" in host


def is_loopback(host: str) -> bool:
    """Whether a host is this machine by an address of its own, which no packet leaves the machine for."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _tcp(text: str) -> Tcp | None:
    host, port = _split(text)
    bracketed = host.startswith("[") and host.endswith("]")
    host = host[1:-1] if bracketed else host
    try:
        socket.inet_pton(socket.AF_INET6 if bracketed else socket.AF_INET, host)
    except (OSError, ValueError):
        return None
    return Tcp(host, port) if port >= 0 else None


def _named(text: str) -> Tcp | None:
    """A host by its name; one that consists of digits and dots was meant to be an address."""
    host, port = _split(text)
    is_name = len(host) <= 253 and _NAME.fullmatch(host) and not host.replace(".", "").isdigit()
    return Tcp(host, port) if is_name and port >= 0 else None


def _split(text: str) -> tuple[str, int]:
    """Host and port; the port is -1 where there is none."""
    host, _, port = text.rpartition(":")
    is_port = port.isascii() and port.isdigit() and len(port) <= 5 and int(port) <= PORT_MAX
    return host, int(port) if is_port else -1
