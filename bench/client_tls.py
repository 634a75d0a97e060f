"""TLS for the load generator: an `ssl` object between two memory buffers, so that a flight is one write.

Every connection makes a full handshake: a client that gives no session resumes none, which is checked. The server's
certificate is not verified, as senders at large do not.
"""

import ssl

RECORD_BYTES = 16_384  # most plain text in a record
VERSION = "TLSv1.3"


class NotAsMeant(Exception):
    """The handshake gave something else than what is to be measured."""


def client_context() -> ssl.SSLContext:
    """For all connections of a process."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    return context


class ClientTls:
    """One connection's TLS: bytes in, bytes out, no socket."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing)

    def handshake(self, data: bytes) -> bool:
        """Go on with what was received, at first nothing; whether it is complete. Send `outgoing()` in either case.

        Raises `ssl.SSLError`, and `NotAsMeant` when the session is not a fresh one of TLS 1.3.
        """
        self._incoming.write(data)
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            return False
        if self._tls.version() != VERSION or self._tls.session_reused:
            raise NotAsMeant(f"{self._tls.version()}, session reused: {self._tls.session_reused}")
        return True

    def encrypt(self, data: bytes) -> bytes:
        """What goes over the wire for `data`, behind what was not yet taken of the handshake."""
        self._tls.write(data)
        return self._outgoing.read()

    def outgoing(self) -> bytes:
        """What is to be sent of the handshake."""
        return self._outgoing.read()

    def decrypt(self, data: bytes) -> bytes:
        """The plain text in what was received; empty while a record is incomplete or holds none."""
        self._incoming.write(data)
        text = b""
        try:
            while self._incoming.pending:
                text += self._tls.read(RECORD_BYTES)
        except ssl.SSLWantReadError:
            pass
        return text
