"""Hold many SMTP sessions open and say nothing: `python bench/idle.py HOST:PORT COUNT`.

Each session is greeted and has said EHLO, as a client has that keeps its connection for later. Prints "holding COUNT"
when all are open. At the end of its standard input it sends NOOP in each, prints "alive N" for those that answered 250,
and ends.
"""

import argparse
import resource
import socket
import sys

SESSIONS_PER_ADDRESS = 5_000  # a source address has some 28,000 ports, and others need them, too
TIMEOUT_S = 30.0


def raise_descriptor_limit(count: int) -> None:
    """Allow this process and its children `count` descriptors; raises `ValueError` where the system refuses."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < count:
        resource.setrlimit(resource.RLIMIT_NOFILE, (count, max(hard, count)))


def reply(session: socket.socket) -> bytes:
    """The last line of a reply; empty when the server has closed the connection."""
    received = b""
    while not received.endswith(b"\r\n") or received.split(b"\r\n")[-2][3:4] == b"-":
        piece = session.recv(4096)
        if not piece:
            return b""
        received += piece
    return received.split(b"\r\n")[-2]


def open_session(address: tuple[str, int], source: str) -> socket.socket:
    """Connect from `source`, wait for the greeting, say EHLO and read the answer."""
    session = socket.create_connection(address, TIMEOUT_S, source_address=(source, 0))
    if not reply(session).startswith(b"220"):
        raise ConnectionError("no greeting")
    session.sendall(b"EHLO idle.example.com\r\n")
    if not reply(session).startswith(b"250"):
        raise ConnectionError("EHLO was refused")
    return session


def alive(session: socket.socket) -> bool:
    """Whether the server still answers in this session."""
    try:
        session.sendall(b"NOOP\r\n")
        return reply(session).startswith(b"250")
    except OSError:
        return False


def main() -> None:
    """Open, hold until the end of standard input, check, end."""
    parser = argparse.ArgumentParser(description="Hold SMTP sessions open until standard input ends.")
    parser.add_argument("address", help="HOST:PORT")
    parser.add_argument("count", type=int, help="how many sessions")
    arguments = parser.parse_args()
    host, _, port = arguments.address.rpartition(":")
    raise_descriptor_limit(arguments.count + 100)
    sessions = [
        open_session((host, int(port)), f"127.0.0.{2 + number // SESSIONS_PER_ADDRESS}")
        for number in range(arguments.count)
    ]
    print(f"holding {len(sessions)}", flush=True)
    sys.stdin.read()
    print(f"alive {sum(map(alive, sessions))}", flush=True)


if __name__ == "__main__":
    main()
