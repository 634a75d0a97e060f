"""1,000 random byte streams against a live worker: each ends cleanly, and the worker lives.

`MTA_SEED` repeats a run.
"""

import os
import random
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.support.load import RawClient
from tests.support.server import HOST, Server

STREAMS = 1_000
THREADS = 8
TIMEOUT_S = 30.0

# Pieces of the protocol, so that streams get past the first command, and things that are none.
PIECES = [
    b"EHLO x\r\n",
    b"HELO x\r\n",
    b"MAIL FROM:<a@example.com>\r\n",
    b"MAIL FROM:<> SIZE=10 BODY=8BITMIME SMTPUTF8\r\n",
    b"RCPT TO:<b@example.org>\r\n",
    b"RCPT TO:<postmaster>\r\n",
    b"DATA\r\n",
    b"RSET\r\n",
    b"NOOP\r\n",
    b"VRFY a\r\n",
    b"Subject: x\r\n\r\n",
    b"\r\n.\r\n",
    b"\n.\n",
    b"\r\n.\n",
    b"\n.\r\n",
    b"\r.\r",
    b"\r\n..\r\n",
    b"\r",
    b"\n",
    b"\0",
    b"QUIT\r\n",
    b"BDAT 10 LAST\r\n",
    b"GET / HTTP/1.1\r\n",
    b"<>" * 200,
    b"x" * 5_000,
    b"\x16\x03\x01\x02\x00\x01\x00",
    b'"\\"@[IPv6:::1]',
    "MAIL FROM:<ü@exämple.com>\r\n".encode(),
]


def stream(rng: random.Random) -> bytes:
    """A stream of pieces, of random bytes, or of both."""
    parts = []
    for _ in range(rng.randrange(1, 30)):
        parts.append(rng.choice(PIECES) if rng.random() < 0.8 else rng.randbytes(rng.randrange(1, 200)))
    return b"".join(parts)


def talk(address: tuple[str, int], seed: str) -> str:
    """Send one stream in random portions and read to the end; returns what was wrong, or nothing."""
    rng = random.Random(seed)
    data = stream(rng)
    try:
        with socket.create_connection(address, TIMEOUT_S) as client:
            position = 0
            while position < len(data):
                length = rng.choice((1, 7, 100, 4_096))
                client.sendall(data[position : position + length])
                position += length
            client.shutdown(socket.SHUT_WR)
            replies = b"".join(iter(lambda: client.recv(65_536), b""))
    except TimeoutError:
        return f"{seed}: the server neither answers nor closes"
    except OSError:
        return ""  # the server closed while we were sending: its right, after QUIT or too many errors
    for line in replies.splitlines(keepends=True):
        if not (line.endswith(b"\r\n") and line[:3].isdigit() and line[3:4] in b" -" and len(line) <= 512):
            return f"{seed}: no reply: {line!r}"
    return ""


def test_random_streams(tmp_path: Path) -> None:
    """The same process that was there before takes mail afterwards, and its log has no exception in it."""
    seed = os.environ.get("MTA_SEED", "1")
    with Server(tmp_path, {"processes": {"server": 1, "deliver": 1}}) as server:
        before = server.processes()
        with ThreadPoolExecutor(THREADS) as pool:
            seeds = [f"{seed}/{number}" for number in range(STREAMS)]
            problems = [problem for problem in pool.map(lambda one: talk((HOST, server.port), one), seeds) if problem]
        assert not problems, problems[:5]
        client = RawClient(server.address)
        client.send("s@example.com", ["alive@example.org"], b"Subject: alive\r\n\r\n")
        client.close()
        server.wait_empty()
        assert server.processes() == before
        assert len(list((server.mail / "example.org" / "alive" / "new").iterdir())) == 1
    assert "Traceback" not in server.complaints()
