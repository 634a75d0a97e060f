"""A server of MTA-STS policies: HTTPS on a loopback address, in a greenlet of the test."""

import socket

import gevent
from gevent import socket as gsocket
from gevent import ssl

TEXT = "text/plain"


def reply(body: bytes, *, status: str = "200 OK", kind: str = TEXT, length: int | None = None) -> bytes:
    """A reply of HTTP with that body; `length` is what it says of itself, where that is a lie."""
    head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body) if length is None else length}\r\n"
    return f"{head}\r\n".encode() + body


def policy(*mx: str, mode: str = "enforce", max_age_s: int = 604800) -> bytes:
    """The text of a policy."""
    hosts = "".join(f"mx: {name}\r\n" for name in mx)
    return f"version: STSv1\r\nmode: {mode}\r\n{hosts}max_age: {max_age_s}\r\n".encode()


class PolicyHost:
    """Says `answer` to each request, and closes; where it is None, nothing. `requests` has them all."""

    def __init__(self, context: ssl.SSLContext, address: str = "127.0.0.1") -> None:
        self.answer: bytes | None = b""
        self.requests: list[bytes] = []
        self.failures = 0  # handshakes
        self._context = context
        self._listener = gsocket.socket()
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._listener.bind((address, 0))
        self._listener.listen(8)
        self.port: int = self._listener.getsockname()[1]
        self._greenlets = [gevent.spawn(self._accept)]

    def close(self) -> None:
        """Stop listening."""
        gevent.killall(self._greenlets)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            sock, _ = self._listener.accept()
            self._greenlets.append(gevent.spawn(self._serve, sock))

    def _serve(self, sock: gsocket.socket) -> None:
        try:
            sock = self._context.wrap_socket(sock, server_side=True)
        except OSError:
            self.failures += 1
            sock.close()
            return
        try:
            request = b""
            while b"\r\n\r\n" not in request:
                data = sock.recv(4096)
                if not data:
                    return
                request += data
            self.requests.append(request)
            if self.answer is None:
                sock.recv(1)  # until the other side closes
            else:
                sock.sendall(self.answer)
                sock = sock.unwrap()
        except OSError:
            pass
        finally:
            sock.close()
