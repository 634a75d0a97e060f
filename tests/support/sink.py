"""A next hop for tests: an SMTP server in a thread that takes every message and remembers it."""

import socketserver
import threading
from collections.abc import Sequence
from dataclasses import dataclass

from tests.support.server import HOST

EXTENSIONS = ("PIPELINING", "8BITMIME", "SMTPUTF8")


@dataclass(frozen=True)
class Taken:
    """One message as it came over the wire; `content` without the stuffed dots and the end.

    `parameters` are those of MAIL and of each RCPT, in order, as they were given.
    """

    sender: bytes
    recipients: tuple[bytes, ...]
    content: bytes
    parameters: tuple[bytes, ...] = ()


class Sink:
    """Listens on a port of 127.0.0.1 from entry to exit; 0 takes a free one, which is then `port`.

    `extensions` are what EHLO is answered with.
    """

    def __init__(self, port: int = 0, extensions: Sequence[str] = EXTENSIONS) -> None:
        self.messages: list[Taken] = []
        messages = self.messages
        hello = "".join(f"250-{line}\r\n" for line in ("sink.example.net", *extensions[:-1]))
        hello += f"250 {extensions[-1]}\r\n"

        class Handler(socketserver.StreamRequestHandler):
            """One session."""

            def handle(self) -> None:
                """Talk SMTP; whatever is not MAIL, RCPT, DATA or QUIT gets a 250."""
                self.wfile.write(b"220 sink.example.net ESMTP\r\n")
                sender, recipients, parameters = b"", list[bytes](), list[bytes]()
                for line in self.rfile:
                    verb = line[:4].upper()
                    if verb == b"EHLO":
                        self.wfile.write(hello.encode())
                        continue
                    if verb == b"QUIT":
                        self.wfile.write(b"221 bye\r\n")
                        return
                    if verb == b"MAIL":
                        sender, recipients, parameters = _path(line), [], [_parameters(line)]
                    elif verb == b"RCPT":
                        recipients.append(_path(line))
                        parameters.append(_parameters(line))
                    elif verb == b"DATA":
                        self.wfile.write(b"354 go ahead\r\n")
                        content = self._content()
                        if content is None:
                            return
                        messages.append(Taken(sender, tuple(recipients), content, tuple(parameters)))
                    self.wfile.write(b"250 ok\r\n")

            def _content(self) -> bytes | None:
                """Read up to the lone dot; None when the connection ended before."""
                lines = list[bytes]()
                for line in self.rfile:
                    if line == b".\r\n":
                        return b"".join(lines)
                    lines.append(line[1:] if line.startswith(b".") else line)
                return None

        class Listener(socketserver.ThreadingTCPServer):
            """A thread a session, ended with the process."""

            allow_reuse_address = True
            request_queue_size = 256  # the default of 5 would drop some of twenty connections made at once
            daemon_threads = True

        self._listener = Listener((HOST, port), Handler)
        self.port: int = self._listener.server_address[1]
        self._thread = threading.Thread(target=self._listener.serve_forever, args=(0.05,))

    def __enter__(self) -> "Sink":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown()
        self._listener.server_close()
        self._thread.join()


def _path(line: bytes) -> bytes:
    """The address between the angle brackets."""
    return line.partition(b"<")[2].rpartition(b">")[0]


def _parameters(line: bytes) -> bytes:
    """What stands behind the angle brackets."""
    return line.rpartition(b">")[2].strip()
