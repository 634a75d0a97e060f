"""A worker's inside without its process: the connection in a greenlet, the test as the client on the other end."""

import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic
from typing import Any

import gevent
import gevent.socket
import pytest
from msgspec.structs import replace

from mta import clients_file, log
from mta.config import Config, Domains, Limits, Listen, Log, Tls
from mta.envelope import Envelope, decode
from mta.policy.recipient import LocalDomains
from mta.server.client import client
from mta.server.clients import ClientTable
from mta.server.commit import GroupCommit
from mta.server.connection import Connection
from mta.server.door import Door
from mta.server.listener import Crew
from mta.server.service import Shared
from mta.server.stream import Clock, Stream
from mta.server.tls import TlsContexts
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


def tcp_pair() -> tuple[socket.socket, socket.socket]:
    """Both ends of a TCP connection; a socketpair would not be reset where one is."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        theirs = socket.create_connection(listener.getsockname())
        return listener.accept()[0], theirs


class Bench:
    """A `Shared` with a real spool, and connections to it."""

    def __init__(self, folder: Path) -> None:
        log.setup("server", 0, Log(file=str(folder / "log")))
        self.root = folder / "spool"
        self.writer = SpoolWriter(self.root)
        self.limits = Limits(large_bytes=65536, message_bytes=8 << 20, error_delay_s=0.0)
        self.listen = Listen("127.0.0.1:25")
        self.tls = Tls()
        self._clients_fd = clients_file.create()
        self.shared = Shared(
            self.root,
            self.writer,
            GroupCommit(self.writer),
            Clock(monotonic()),
            self.limits,
            clients=ClientTable(self._clients_fd),
            tls=TlsContexts(-1, self.tls),
        )
        self.crew = Crew()
        self._peers: list[Peer] = []

    def with_limits(self, **changes: Any) -> None:
        """Other limits from now on."""
        self.limits = self.shared.limits = replace(self.limits, **changes)

    def with_listener(self, **changes: Any) -> None:
        """Other settings of the listener from now on."""
        self.listen = replace(self.listen, **changes)

    def connect(self, host: str = "192.0.2.1", first: bytes = b"") -> Peer:
        """A client that has read nothing yet, and has sent `first`."""
        ours, theirs = tcp_pair()
        ours.setblocking(False)
        theirs.sendall(first)
        listen = replace(self.listen, limits=self.limits)
        config = Config(
            "mx.example.org", "spool", [listen], Domains(["example.org"]), {}, [], limits=self.limits, tls=self.tls
        )
        door = Door(listen, config, LocalDomains(["example.org"], "mx.example.org"), has_tls=self.shared.tls.available)
        connection = Connection(Stream(ours, self.shared.clock), client(host, 999, "s1"), door, self.shared)
        peer = Peer(gevent.socket.socket(fileno=theirs.detach()), connection)
        self._peers.append(peer)
        in_hub(self.crew.run, connection.run)
        return peer

    def envelopes(self) -> list[Envelope]:
        """Those of every message in the spool, in order."""
        found = []
        for number in shards(self.root):
            shard = ShardReader(self.root, number)
            for readable in shard.readable():
                segment = Segment.open(self.root, number, readable.segment)
                found += [decode(record.envelope) for record in segment.records(0, readable.stop)]
                segment.close()
            shard.close()
        return found

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
        os.close(self._clients_fd)


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
