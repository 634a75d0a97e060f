"""An HTTP server on loopback that does what a script says: what each request was, and bytes in answer."""

import socket
import ssl
import threading
import warnings
from collections.abc import Callable, Mapping
from contextlib import suppress
from types import TracebackType
from typing import BinaryIO, NamedTuple

from tests.support.certificates import Pair

PATIENCE_S = 30.0


class Post(NamedTuple):
    """A request as it came. Header names are in lower case."""

    line: str
    headers: Mapping[str, str]
    body: bytes
    connection: int  # from 1


Script = Callable[[Post], bytes]
"""Gives the answer to a request. Behind an empty one, or one with `Connection: close`, the connection is closed."""


def answer(status: str = "200 OK", body: bytes = b"", *headers: str) -> bytes:
    """A reply with a Content-Length."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode("latin-1") + body


def context(pair: Pair, version: ssl.TLSVersion | None = None) -> ssl.SSLContext:
    """For a server with that certificate, in native threads; `version` is the only one that it speaks."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(pair.certificate, pair.key)
    if version is not None:
        made.set_ciphers("ALL:@SECLEVEL=0")
        with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
            made.minimum_version = made.maximum_version = version
    return made


class HttpHop:
    """The server; a context manager. `posts` are the requests that came whole, `broken` counts those that did not."""

    def __init__(self, script: Script, tls: ssl.SSLContext | None = None) -> None:
        self.posts: list[Post] = []
        self.broken = 0
        self.connections = 0
        self._script = script
        self._tls = tls
        self._open: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> "HttpHop":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for each in self._open:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        self._thread.join(PATIENCE_S)

    def url(self, path: str = "/mail", scheme: str = "http", host: str = "127.0.0.1") -> str:
        """Its address."""
        return f"{scheme}://{host}:{self.port}{path}"

    def close_connections(self) -> None:
        """As a server does with those that are idle."""
        for each in self._open:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                accepted, _ = self._listener.accept()
                self.connections += 1
                threading.Thread(target=self._talk, args=(accepted, self.connections), daemon=True).start()

    def _talk(self, accepted: socket.socket, number: int) -> None:
        accepted.settimeout(PATIENCE_S)
        with suppress(OSError), accepted:
            sock = self._tls.wrap_socket(accepted, server_side=True) if self._tls else accepted
            self._open.append(sock)
            with sock.makefile("rb") as reader:
                while (post := _read(reader, number)) is not None:
                    self.posts.append(post)
                    said = self._script(post)
                    sock.sendall(said)
                    if not said or b"\r\nConnection: close\r\n" in said:
                        break
                else:
                    self.broken += 1
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)


def _read(reader: BinaryIO, connection: int) -> Post | None:
    line = reader.readline().decode("latin-1").strip()
    headers: dict[str, str] = {}
    while (field := reader.readline().decode("latin-1").rstrip("\r\n")) != "":
        name, _, value = field.partition(":")
        assert name.lower() not in headers
        headers[name.lower()] = value.strip()
    if "content-length" not in headers:  # the connection ended before the head did
        return None
    size = int(headers["content-length"])
    body = reader.read(size)
    return Post(line, headers, body, connection) if len(body) == size else None
