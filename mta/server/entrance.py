"""Who the client is, before it has said a word or in the words of somebody we trust: PROXY header, XCLIENT."""

import msgspec

from mta.config import Limits
from mta.networks import network_of
from mta.server.client import Client, client
from mta.server.service import Shared
from mta.server.stream import DeadlineExceeded, Stream
from mta.smtp.proxy import ProxyError, ProxyHeader

PROXY_HEADER_S = 10.0
"""A load balancer sends its header before anything else, at once; one that does not is none."""

HANDSHAKE_S = 60.0
"""Time for a TLS handshake: two round trips, and the slowest of clients' arithmetic."""


class Misled(Exception):
    """A connection that has to begin with a PROXY header does not; nothing can be said to whoever it is."""


def read_proxy_header(stream: Stream, balancer: Client, shared: Shared) -> tuple[Client, bytes]:
    """The client that the header names, and what was sent behind the header.

    It is the balancer itself when it speaks for nobody (LOCAL, UNKNOWN: its own health checks). Switches greenlets;
    raises `Misled` and `OSError`.
    """
    header = ProxyHeader()
    deadline_at = shared.clock.now_s + PROXY_HEADER_S
    while not header.done:
        try:
            count = stream.receive_into(shared.buffer, deadline_at)
            if not count:
                raise Misled("closed before its PROXY header")
            header.feed(bytes(shared.view[:count]))
        except DeadlineExceeded:
            raise Misled("no PROXY header in time") from None
        except ProxyError as error:
            raise Misled(f"bad PROXY header: {error}") from None
    if header.source is None:
        return balancer, header.rest
    host, port = header.source
    return client(host, port, balancer.session_id), header.rest


def introduced(before: Client, attributes: dict[str, str | None]) -> Client:
    """The client as XCLIENT describes it; what is not mentioned stays, what is unknown is emptied."""
    host = attributes.get("ADDR") or before.host
    port = int(attributes.get("PORT") or (before.port if host == before.host else 0))
    now = client(host, port, before.session_id)
    return msgspec.structs.replace(
        now,
        name=(attributes["NAME"] or "") if "NAME" in attributes else before.name,
        helo=(attributes["HELO"] or "").encode() if "HELO" in attributes else before.helo,
        protocol=(attributes["PROTO"] or "") if "PROTO" in attributes else before.protocol,
    )


def network(host: str, limits: Limits) -> bytes:
    """The network that a client is counted with."""
    return network_of(host, limits.client_ipv4_prefix, limits.client_ipv6_prefix)
