"""A client's TLS in memory, with the server's own `TlsStream` at the other end."""

import random
import ssl
import tempfile
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, cast

from mta.server.stream import Stream
from mta.server.tls_stream import TlsFailure, TlsStream
from tests.support.certificates import Authority

BUFFER_BYTES = 262144
NEVER = float("inf")


class BrokenTls(Exception):
    """The server has given the connection up."""


class _Dry(Exception):
    """The server waits for more than the client has sent."""


@cache
def _contexts() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    with tempfile.TemporaryDirectory() as folder:
        authority = Authority(Path(folder))
        pair = authority.server("mx.example.org")
        server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        server.load_cert_chain(pair.certificate, pair.key)
        client = ssl.create_default_context(cafile=str(authority.ca))
    return server, client


class _Wire:
    """What `TlsStream` takes for a socket: the client's bytes come out of it, and the server's go into it."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self.to_server = b""
        self.to_client = ssl.MemoryBIO()
        self.client_step: Any = None  # called when the server waits

    def receive_into(self, buffer: memoryview, deadline_at: float) -> int:
        if not self.to_server and self.client_step is not None:
            self.client_step()
        if not self.to_server:
            raise _Dry
        size = min(self._rng.choice((1, 5, 100, 100_000)), len(buffer))
        piece, self.to_server = self.to_server[:size], self.to_server[size:]
        buffer[: len(piece)] = piece
        return len(piece)

    def send(self, data: bytes, deadline_at: float) -> None:
        self.to_client.write(data)

    def send_last(self, data: bytes) -> None:
        self.to_client.write(data)

    def close(self) -> None:
        return


class TlsPipe:
    """One TLS session between a client and the server's `TlsStream`; records come to it in random pieces."""

    def __init__(self, rng: random.Random) -> None:
        server, client = _contexts()
        self._rng = rng
        self._wire = _Wire(rng)
        self._outgoing = ssl.MemoryBIO()
        self._client = client.wrap_bio(self._wire.to_client, self._outgoing, server_hostname="mx.example.org")
        self._server = TlsStream(cast(Stream, self._wire), server)
        self._buffer = bytearray(BUFFER_BYTES)

    def shake_hands(self) -> None:
        """Both sides' handshake."""
        self._wire.client_step = self._advance
        self._server.handshake(self._buffer, NEVER)
        self._wire.client_step = None
        self._advance()

    def to_server(self, data: bytes) -> list[bytes]:
        """What the server reads when the client sends `data`, in the pieces that it reads."""
        at = 0
        while at < len(data):
            size = self._rng.choice((1, 50, 5000, 20_000))
            self._client.write(data[at : at + size])
            at += size
        self._wire.to_server += self._outgoing.read()
        return self._read()

    def to_client(self, data: bytes) -> bytes:
        """What the client reads when the server sends `data`."""
        self._server.send(data, NEVER)
        read = b""
        while True:
            try:
                read += self._client.read(65536)
            except ssl.SSLWantReadError:
                return read

    def break_something(self) -> None:
        """Change a byte in the handshake or behind it; raises `BrokenTls` when the server has noticed."""
        try:
            if self._rng.random() < 0.5:
                self._wire.to_server = self._rng.choice((b"EHLO client.example.com\r\n", self._rng.randbytes(40)))
                if self._wire.to_server[:3] == b"\x16\x03\x01":
                    raise BrokenTls  # as good as the beginning of a handshake
                self._wire.client_step = lambda: self._feed(b"\x00" * 70_000)
                self._server.handshake(self._buffer, NEVER)
            else:
                self.shake_hands()
                self._client.write(b"NOOP\r\n")
                record = bytearray(self._outgoing.read())
                record[self._rng.randrange(5, len(record))] ^= 1 << self._rng.randrange(8)
                self._wire.to_server += bytes(record)
                self._read()
        except TlsFailure:
            raise BrokenTls from None

    def _read(self) -> list[bytes]:
        pieces = []
        try:
            while True:
                count = self._server.receive_into(self._buffer, NEVER)
                if not count:
                    raise BrokenTls
                pieces.append(bytes(self._buffer[:count]))
        except _Dry:
            return pieces

    def _advance(self) -> None:
        with suppress(ssl.SSLWantReadError):
            self._client.do_handshake()
        self._feed(self._outgoing.read())

    def _feed(self, data: bytes) -> None:
        self._wire.to_server += data
