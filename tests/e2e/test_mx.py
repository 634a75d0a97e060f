"""A transport without a host in a whole `mta run`: the resolver of the configuration is asked."""

import socket
from pathlib import Path

from tests.support.load import RawClient
from tests.support.server import HOST, Server


def nothing(query: bytes) -> bytes:
    """The answer that there is no such name: header and question."""
    return query[:2] + b"\x81\x83\0\1\0\0\0\0\0\0" + query[12 : query.index(b"\0", 12) + 5]


def test_the_configured_resolver_says_where_mail_goes(tmp_path: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as resolver:
        resolver.bind((HOST, 0))
        resolver.settimeout(30)
        settings = {
            "dns": {"servers": [f"{HOST}:{resolver.getsockname()[1]}"]},
            "transport": {"out": {"kind": "smtp"}},
            "route": [{"recipients": ["*"], "transport": "out"}],
        }
        with Server(tmp_path, settings) as server:
            RawClient(server.address).send("sender@example.com", ["joe@example.org"], b"Subject: x\r\n\r\nhello\r\n")
            query, client = resolver.recvfrom(4096)
            resolver.sendto(nothing(query), client)
            server.until(lambda: "event=failed" in server.log.read_text(), "a failed recipient")
            (line,) = [line for line in server.log.read_text().splitlines() if "event=failed" in line]
    assert b"\x07example\x03org\x00\x00\x0f\x00\x01" in query
    assert "to=joe@example.org transport=out" in line
    assert 'code=5.1.2 text="there is no domain example.org"' in line
