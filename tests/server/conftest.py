"""A worker's inside without its process: the connection in a greenlet, the test as the client on the other end."""

import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic

import gevent
import gevent.socket
import pytest

from mta import log
from mta.config import Limits, Listen, Log
from mta.envelope import decode
from mta.policy.chain import Chain
from mta.policy.recipient import LocalDomains
from mta.server.commit import GroupCommit
from mta.server.connection import Client, Connection, Door
from mta.server.listener import Crew
from mta.server.service import Shared
from mta.server.stream import Clock, Stream
from mta.smtp.session import Terms
from mta.spool.reader import MessageReader, ShardReader, shards
from mta.spool.recovery import Segment
from mta.spool.writer import SpoolWriter
from tests.support.hub import in_hub

PATIENCE_S = 20.0


class Peer:
    """The client's end of a connection that a worker serves."""

    def __init__(self, sock: gevent.socket.socket, connection: Connection) -> None:
        self.socket = sock
        self.connection = connection

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def read_until(self, end: bytes) -> bytes:
        """Everything up to and with `end`; fails when that does not come."""
        data = b""
        with gevent.Timeout(PATIENCE_S):
            while not data.endswith(end):
                piece = self.socket.recv(65536)
                assert piece, f"the connection ended behind {data!r}"
                data += piece
        return data

    def read_lines(self, count: int) -> list[bytes]:
        """Exactly `count` lines."""
        data = b""
        while data.count(b"\r\n") < count:
            data += self.read_until(b"\r\n")
        lines = data.splitlines()
        assert len(lines) == count
        return lines

    def read_to_end(self) -> bytes:
        """Everything up to the end of the stream."""
        data = b""
        with gevent.Timeout(PATIENCE_S):
            while piece := self.socket.recv(65536):
                data += piece
        return data

    def ask(self, command: bytes) -> bytes:
        """Send a line, read its one-line reply."""
        self.send(command + b"\r\n")
        return self.read_until(b"\r\n")


class Bench:
    """A `Shared` with a real spool, and connections to it."""

    def __init__(self, folder: Path) -> None:
        log.setup("server", 0, Log(file=str(folder / "log")))
        self.root = folder / "spool"
        self.writer = SpoolWriter(self.root)
        self.limits = Limits(large_bytes=65536, message_bytes=8 << 20)
        self.shared = Shared(self.writer, GroupCommit(self.writer), Clock(monotonic()), self.limits)
        self.crew = Crew()
        self._peers: list[Peer] = []

    def with_limits(self, **changes: int | float) -> None:
        """Other limits from now on."""
        self.limits = Limits(**{"large_bytes": 65536, "message_bytes": 8 << 20, **changes})  # type: ignore[arg-type]
        self.shared.limits = self.limits

    def connect(self) -> Peer:
        """A client that has read nothing yet."""
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        terms = Terms.make(
            "mx.example.org",
            message_bytes=self.limits.message_bytes,
            recipients=self.limits.recipients,
            errors=self.limits.errors,
        )
        chain = Chain(
            LocalDomains(["example.org"], "mx.example.org"), bare_newlines="refuse", hops=100, header_bytes=65536
        )
        door = Door(Listen("127.0.0.1:25"), "mx.example.org", terms, chain)
        client = Client("192.0.2.1:999", b"192.0.2.1", "s1")
        connection = Connection(Stream(ours, self.shared.clock), client, door, self.shared)
        peer = Peer(gevent.socket.socket(fileno=theirs.detach()), connection)
        self._peers.append(peer)
        in_hub(self.crew.run, connection.run)
        return peer

    def stored(self) -> list[tuple[bytes, tuple[bytes, ...], bytes]]:
        """Sender, recipients and content of every message in the spool, in order."""
        messages = []
        reader = MessageReader(self.root)
        for number in shards(self.root):
            shard = ShardReader(self.root, number)
            for readable in shard.readable():
                segment = Segment.open(self.root, number, readable.segment)
                for record in segment.records(0, readable.stop):
                    envelope = decode(record.envelope)
                    body = reader.message(record.location)[1]
                    content = body if isinstance(body, bytes) else b"".join(body)
                    messages.append((envelope.sender, envelope.recipients, content))
                segment.close()
            shard.close()
        reader.close()
        return messages

    def close(self) -> None:
        for peer in self._peers:
            peer.socket.close()
        with gevent.Timeout(PATIENCE_S):
            while self.shared.connections:
                gevent.sleep(0)
        self.shared.commit.close()
        self.writer.close()


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path)
    yield bench
    bench.close()


@pytest.fixture
def greeted(bench: Bench) -> Callable[[], Peer]:
    """Connects a client that has its answer to EHLO."""

    def connect() -> Peer:
        peer = bench.connect()
        peer.send(b"EHLO client.example\r\n")
        peer.read_until(b"250 HELP\r\n")
        return peer

    return connect
