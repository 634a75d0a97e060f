"""Who is connected: the peer of the socket, or whom somebody we trust says it stands for."""

from typing import Any

import msgspec


class Client(msgspec.Struct, gc=False):
    """`host` is the address without brackets; `text` is for the log, `literal` for the Received field.

    `session_id` stands in the logs of both ends. `name`, `helo` and `protocol` are what XCLIENT said of the client,
    empty where it said nothing.
    """

    host: str
    port: int
    session_id: str
    text: str
    literal: bytes
    name: str = ""
    helo: bytes = b""
    protocol: str = ""


def client(host: str, port: int, session_id: str) -> Client:
    """The client at an address; an IPv4 address mapped into IPv6 is shown as what it is."""
    if host.startswith("::ffff:") and "." in host:
        host = host[7:]
    if ":" in host:
        return Client(host, port, session_id, f"[{host}]:{port}", b"IPv6:" + host.encode())
    return Client(host, port, session_id, f"{host}:{port}", host.encode())


def identify(peer: tuple[Any, ...], session_id: str) -> Client:
    """The client behind a peer address of accept()."""
    return client(peer[0], peer[1], session_id)
