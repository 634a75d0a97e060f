"""Both ends of TLS without a network: contexts, a client in memory, and raw streams between it and a server."""

import socket
import ssl
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from mta import pem, tls_file
from mta.config import Tls
from mta.server.openssl import Library, library
from mta.server.tls import ServerSide, TlsContexts
from mta.tls_file import Identity, Secrets
from tests.support.certificates import Pair

SECRET = bytes(range(48))


def identity(pair: Pair) -> Identity:
    """As the supervisor would read it."""
    certificate, key = pair.certificate.read_bytes(), pair.key.read_bytes()
    facts = pem.facts(certificate)
    return Identity(certificate, key, facts.names, facts.kind, facts.expires)


def memory_file(*pairs: Pair, client_ca: Path | None = None, secret: bytes = SECRET) -> int:
    """A memory file as the supervisor makes it; `put` changes it."""
    fd = tls_file.create()
    put(fd, *pairs, client_ca=client_ca, secret=secret)
    return fd


def put(fd: int, *pairs: Pair, client_ca: Path | None = None, secret: bytes = SECRET) -> None:
    """Write other certificates to a memory file."""
    authorities = client_ca.read_bytes() if client_ca else b""
    tls_file.write(fd, Secrets([identity(pair) for pair in pairs], authorities, secret))


def contexts(
    *pairs: Pair,
    client_ca: Path | None = None,
    secret: bytes = SECRET,
    min_version: str = "1.2",
    find_library: Callable[[], Library | None] = library,
) -> TlsContexts:
    """A worker's contexts with these certificates."""
    settings = Tls(min_version="1.3" if min_version == "1.3" else "1.2")
    return TlsContexts(memory_file(*pairs, client_ca=client_ca, secret=secret), settings, find_library)


def client_context(ca: Path | None = None, *, version: str = "", certificate: Pair | None = None) -> ssl.SSLContext:
    """A client that verifies with `ca`, or not at all; that speaks one `version` only ("1.2"); with a certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if ca is None:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    else:
        context.load_verify_locations(ca)
    if version:
        context.minimum_version = context.maximum_version = {
            "1.2": ssl.TLSVersion.TLSv1_2,
            "1.3": ssl.TLSVersion.TLSv1_3,
        }[version]
    if certificate is not None:
        context.load_cert_chain(certificate.certificate, certificate.key)
    return context


class Client:
    """A client in memory: bytes in, bytes out."""

    def __init__(
        self, context: ssl.SSLContext, name: str | None = "mx.example.org", session: ssl.SSLSession | None = None
    ) -> None:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=name, session=session)
        self.is_shaken = False
        self.received = b""
        self.has_ended = False  # the server has said that the session is over

    def advance(self, data: bytes = b"") -> bytes:
        """Take what the server sent; returns what to send to it. Raises `ssl.SSLError`."""
        self._incoming.write(data)
        try:
            if not self.is_shaken:
                self.tls.do_handshake()
                self.is_shaken = True
            while piece := self.tls.read(65536):
                self.received += piece
            self.has_ended = True
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:  # both have said so
            self.has_ended = True
        return self._outgoing.read()

    def say(self, data: bytes) -> bytes:
        """What to send for the server to read `data`."""
        self.tls.write(data)
        return self._outgoing.read()

    def last_words(self) -> bytes:
        """What is still to be sent by a client that gave up: an alert."""
        return self._outgoing.read()

    def say_end(self) -> bytes:
        """What to send to end the session."""
        with suppress(ssl.SSLError):
            self.tls.unwrap()
        return self._outgoing.read()


def shake(server: ssl.SSLContext, client: Client) -> ServerSide:
    """Shake hands, tickets included; returns the server's end. Raises the error of the side that fails first."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = server.wrap_bio(incoming, outgoing, server_side=True)
    assert isinstance(tls, ServerSide)
    is_shaken = False
    for _ in range(5):
        incoming.write(client.advance(outgoing.read()))
        if not is_shaken:
            try:
                tls.do_handshake()
                is_shaken = True
            except ssl.SSLWantReadError:
                continue
    assert is_shaken
    assert client.is_shaken
    return tls


class Script:
    """In place of `Stream`: each receive gives the next of `pieces`; what is sent is counted and kept in `sent`.

    With a `client`, what is sent goes to it, and what it answers goes, cut by `cut`, behind the pieces;
    `client_failure` is OpenSSL's reason for which it gave up.
    """

    def __init__(
        self,
        pieces: Iterable[bytes] = (),
        client: Client | None = None,
        cut: Callable[[bytes], Iterator[bytes]] = lambda data: iter((data,)),
    ) -> None:
        self.pieces = list(pieces)
        self.sent: list[bytes] = []
        self.last: list[bytes] = []
        self.receives = 0
        self.is_closed = False
        self.client_failure = ""
        self._client = client
        self._cut = cut
        if client is not None:
            self.put(client.advance())

    def put(self, data: bytes) -> None:
        """Have the client send this."""
        self.pieces += [piece for piece in self._cut(data) if piece]

    def receive_into(self, buffer: bytearray | memoryview, deadline_at: float) -> int:
        self.receives += 1
        if not self.pieces:
            return 0
        piece = self.pieces.pop(0)
        taken = piece[: len(buffer)]
        if len(taken) < len(piece):
            self.pieces.insert(0, piece[len(taken) :])
        buffer[: len(taken)] = taken
        return len(taken)

    def send(self, data: bytes, deadline_at: float) -> None:
        self.sent.append(bytes(data))
        self._tell(data)

    def send_last(self, data: bytes) -> None:
        self.last.append(bytes(data))
        self._tell(data)

    def linger(self, buffer: bytearray) -> None:
        self.pieces.clear()

    def close(self) -> None:
        self.is_closed = True

    def _tell(self, data: bytes) -> None:
        if self._client is not None:
            try:
                self.put(self._client.advance(data))
            except ssl.SSLError as error:
                self.client_failure = str(error.reason)
                self.put(self._client.last_words())


class BlockingStream:
    """In place of `Stream`: a socket that blocks, for a client that runs in another thread or process."""

    def __init__(self, sock: socket.socket, timeout_s: float = 30.0) -> None:
        sock.settimeout(timeout_s)
        self._socket = sock

    def receive_into(self, buffer: bytearray | memoryview, deadline_at: float) -> int:
        return self._socket.recv_into(buffer)

    def send(self, data: bytes, deadline_at: float) -> None:
        self._socket.sendall(data)

    def send_last(self, data: bytes) -> None:
        self._socket.sendall(data)

    def linger(self, buffer: bytearray) -> None:
        self._socket.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        self._socket.close()
