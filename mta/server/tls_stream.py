"""A client's stream inside of TLS: the same steps as `mta.server.stream.Stream`, with OpenSSL between.

OpenSSL never sees the socket. What was received goes through a buffer in memory into it, and what it has to send comes
out of another one; so waiting, deadlines and wake-ups remain those of the raw stream. A wake-up costs one receive, as
without TLS, and a flush one send.

Between calls a session holds the part of a record that has not come in full, in OpenSSL's buffers: some 20 KiB at
most, besides what OpenSSL needs itself.
"""

import errno
import hashlib
import ssl
from contextlib import suppress
from typing import NoReturn

from mta.pem import why
from mta.server.openssl import library
from mta.server.stream import Stream
from mta.server.tls import ServerSide
from mta.tls_facts import TlsFacts

__all__ = ["TlsFacts", "TlsFailure", "TlsStream"]

HANDSHAKE_BYTES = 131072
"""Of a client, in a handshake: a large ClientHello and a chain of certificates (OpenSSL takes 100 KiB) fit."""

PIECE_BYTES = 16384  # handed over at once, so that the buffers of OpenSSL stay small
RECORD_BYTES = 16384  # of plain text in a record (RFC 8446 section 5.1)
RESERVE_BYTES = 20480  # more than a record has on the wire in any version (RFC 5246 section 6.2.3: 18437)
UNSENT_BYTES = 4096  # of tickets and answers to key updates, that wait for the next reply to go with it


class TlsFailure(ConnectionError):
    """The handshake, or a record behind it, is not as it must be; the connection is of no more use.

    `reason` is OpenSSL's word for it (`no_shared_cipher`), or `closed`, `too_long`.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(errno.EPROTO, f"TLS failed: {reason}")
        self.reason = reason


class TlsStream:
    """The server's side of a TLS session over a raw stream. `facts` tells the outcome of the handshake."""

    __slots__ = (
        "_has_more",
        "_incoming",
        "_is_over",
        "_is_silent",
        "_outgoing",
        "_stream",
        "_taken_bytes",
        "_tls",
        "facts",
    )

    def __init__(self, stream: Stream, context: ssl.SSLContext, received: bytes = b"") -> None:
        """`context` is one of `TlsContexts`; `received` what has been read of the client's first bytes already."""
        self._stream = stream
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._incoming.write(received)
        self._taken_bytes = len(received)
        self._has_more = True  # whole records may wait in `_incoming`
        self._is_over = False  # nothing more comes from the client
        self._is_silent = False  # nothing more goes to it
        self.facts = TlsFacts("", "", 0)

    def handshake(self, buffer: bytearray, deadline_at: float) -> None:
        """Shake hands; `buffer` is overwritten. Switches greenlets.

        Raises `TlsFailure`, having told the client what TLS has a word for, `DeadlineExceeded` when it is past
        `deadline_at`, and `OSError` on a broken connection. Nothing can be said to the client then.
        """
        view = memoryview(buffer)[:PIECE_BYTES]
        while not self._advance():
            if self._outgoing.pending:
                self._stream.send(self._outgoing.read(), deadline_at)
            if self._taken_bytes > HANDSHAKE_BYTES:
                self._fail("too_long")
            count = self._stream.receive_into(view, deadline_at)
            if not count:
                self._fail("closed")
            self._taken_bytes += count
            self._incoming.write(view[:count])
        self.facts = self._gather()
        if self._outgoing.pending and self.facts.version != "TLSv1.3":
            # The client waits for it. In TLS 1.3 it has only tickets, which can go with our next words.
            self._stream.send(self._outgoing.read(), deadline_at)

    def receive_into(self, buffer: bytearray, deadline_at: float) -> int:
        """Wait for input and decrypt it; returns the number of bytes, 0 at the end, however the client made it.

        As `Stream.receive_into`; raises `TlsFailure` besides. `buffer` has at least 65,536 bytes: what is received is
        taken into it first.
        """
        view = memoryview(buffer)
        at = self._decrypt(view, 0) if self._has_more else 0
        while not at and not self._is_over:
            if self._outgoing.pending > UNSENT_BYTES:
                self._stream.send(self._outgoing.read(), deadline_at)
            count = self._stream.receive_into(view[RESERVE_BYTES:], deadline_at)
            if not count:
                self._is_over = self._is_silent = True  # cut off; whether that loses anything, the commands will tell
                break
            # Plain text is shorter than what it came in, so it never reaches what is still to be decrypted.
            for start in range(RESERVE_BYTES, RESERVE_BYTES + count, PIECE_BYTES):
                self._incoming.write(view[start : min(start + PIECE_BYTES, RESERVE_BYTES + count)])
                at = self._decrypt(view, at)
            if not at and self._outgoing.pending:
                self._stream.send(self._outgoing.read(), deadline_at)  # the client may wait for it: no renegotiation
        return at

    def send(self, data: bytes, deadline_at: float) -> None:
        """As `Stream.send`; raises `TlsFailure` besides."""
        self._encrypt(data)
        self._stream.send(self._outgoing.read(), deadline_at)

    def send_last(self, data: bytes) -> None:
        """As `Stream.send_last`, with the close_notify that ends the session; raises `TlsFailure` besides."""
        self._encrypt(data)
        self._say_end()
        self._stream.send_last(self._outgoing.read())

    def linger(self, buffer: bytearray) -> None:
        """As `Stream.linger`; what comes is not decrypted any more."""
        self._stream.linger(buffer)

    def close(self) -> None:
        """Say that the session ends, without waiting for an answer, and close; never raises."""
        if not self._is_silent:
            with suppress(OSError):
                self._say_end()
                last = self._outgoing.read()
                if last:
                    self._stream.send_last(last)
        self._stream.close()

    def _advance(self) -> bool:
        """Go on with the handshake; returns whether it is done."""
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            return False
        except ssl.SSLError as error:
            self._fail(why(error))
        return True

    def _decrypt(self, view: memoryview, at: int) -> int:
        """Write what whole records have to `view`, from `at` on; returns where that ends."""
        tls = self._tls
        incoming = self._incoming
        self._has_more = False
        try:
            while not self._is_over:
                if len(view) - at < RECORD_BYTES:
                    self._has_more = True
                    break
                count = tls.read(RECORD_BYTES, view[at:])
                self._is_over = not count
                at += count  # type: ignore[operator]
                if not incoming.pending and not tls.pending():
                    break
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            self._is_over = True
        except ssl.SSLError as error:
            self._fail(why(error))
        return at

    def _encrypt(self, data: bytes) -> None:
        try:
            sent = self._tls.write(data) if data else 0
            while sent < len(data):
                sent += self._tls.write(memoryview(data)[sent:])
        except ssl.SSLError as error:
            self._fail(why(error))

    def _say_end(self) -> None:
        self._is_silent = True
        with suppress(ssl.SSLError):  # it waits for the client's answer; we do not
            self._tls.unwrap()

    def _fail(self, reason: str) -> NoReturn:
        """Send the alert that OpenSSL has made, if any, and raise."""
        self._is_over = self._is_silent = True
        alert = self._outgoing.read()
        if alert:
            with suppress(OSError):
                self._stream.send_last(alert)
        raise TlsFailure(reason) from None

    def _gather(self) -> TlsFacts:
        tls = self._tls
        context = tls.context
        name, _, bits = tls.cipher() or ("", "", 0)
        certificate = tls.getpeercert(binary_form=True) if context.verify_mode != ssl.CERT_NONE else None
        is_verified = certificate is not None
        if is_verified and context.verify_mode != ssl.CERT_REQUIRED:
            functions = library()
            is_verified = functions is not None and functions.is_verified(tls)
        return TlsFacts(
            version=tls.version() or "",
            cipher=name,
            bits=bits or 0,
            server_name=tls.server_name if isinstance(tls, ServerSide) else "",
            client_fingerprint=hashlib.sha256(certificate).hexdigest() if certificate else "",
            client_verified=is_verified,
            resumed=bool(tls.session_reused),
        )
