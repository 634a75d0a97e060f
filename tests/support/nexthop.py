"""Next hops to deliver to, played by greenlets of the test: polite ones, and ones that do whatever a script says."""

import socket
import struct
from collections.abc import Callable, Sequence
from pathlib import Path

import gevent
from gevent import socket as gsocket
from gevent import ssl
from gevent.event import Event

DEADLINE_S = 10
EXTENSIONS = ("PIPELINING", "SIZE 10000000", "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES")


class Hop:
    """One connection, as the next hop has it. Calls wait, at most `DEADLINE_S`."""

    def __init__(self, sock: gsocket.socket) -> None:
        self.socket = sock
        self.is_cut = False  # content broke off
        self._buffer = b""
        sock.settimeout(DEADLINE_S)
        if sock.family == socket.AF_INET:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def say(self, *lines: str) -> None:
        """Send lines in one piece."""
        self.socket.sendall("".join(line + "\r\n" for line in lines).encode("latin-1"))

    def hear(self) -> bytes:
        """The next command without its line end; empty at the end of the connection."""
        while b"\r\n" not in self._buffer:
            data = self.socket.recv(65536)
            if not data:
                return b""
            self._buffer += data
        line, self._buffer = self._buffer.split(b"\r\n", 1)
        return line

    def hear_content(self) -> bytes:
        """The content behind DATA as it stands on the wire, without the final dot; what there is when it breaks off."""
        data = b"\r\n" + self._buffer
        while b"\r\n.\r\n" not in data:
            more = self.socket.recv(1 << 20)
            if not more:
                self._buffer = b""
                self.is_cut = True
                return data[2:]
            data += more
        content, self._buffer = data.split(b"\r\n.\r\n", 1)
        return content[2:] + b"\r\n" if content else b""

    def hear_bytes(self, count: int) -> bytes:
        """So many bytes; what there is when it breaks off."""
        while len(self._buffer) < count:
            data = self.socket.recv(1 << 20)
            if not data:
                self.is_cut = True
                break
            self._buffer += data
        found, self._buffer = self._buffer[:count], self._buffer[count:]
        return found

    def pipelined(self) -> int:
        """Commands that have arrived and were not heard."""
        return self._buffer.count(b"\r\n")

    def unhear(self, line: bytes) -> None:
        """Have a command heard once more."""
        self._buffer = line + b"\r\n" + self._buffer

    def start_tls(self, context: ssl.SSLContext) -> None:
        """Be the server in a handshake. Raises `OSError`."""
        self.socket = context.wrap_socket(self.socket, server_side=True)

    def linger(self) -> None:
        """Say nothing more; until the other side closes."""
        while self.hear():
            pass

    def close(self) -> None:
        """Close in order."""
        self.socket.close()

    def reset(self) -> None:
        """Close with a reset."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()


Script = Callable[[Hop], None]


class NextHop:
    """Listens on loopback, or on a unix socket, and plays `script` on each connection."""

    def __init__(
        self, script: Script, unix_path: Path | None = None, *, address: tuple[str, int] = ("127.0.0.1", 0)
    ) -> None:
        self._script = script
        if unix_path is None:
            self._listener = gsocket.socket()
            self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._listener.bind(address)
            self.host = f"{address[0]}:{self._listener.getsockname()[1]}"
        else:
            self._listener = gsocket.socket(socket.AF_UNIX)
            self._listener.bind(str(unix_path))
            self.host = f"unix:{unix_path}"
        self._listener.listen(64)
        self.connections = 0
        self.open = 0
        self.changed = Event()
        self._players: list[gevent.Greenlet] = []
        self._accepting = gevent.spawn(self._accept)

    def close(self) -> None:
        """Stop listening and end all connections."""
        self._accepting.kill()
        self._listener.close()
        gevent.killall(self._players)

    def wait_open(self, count: int) -> None:
        """Until that many connections are open."""
        with gevent.Timeout(DEADLINE_S):
            while self.open != count:
                self.changed.clear()
                self.changed.wait()

    def _accept(self) -> None:
        while True:
            sock, _ = self._listener.accept()
            self.connections += 1
            self._players.append(gevent.spawn(self._play, Hop(sock)))

    def _play(self, hop: Hop) -> None:
        self._count(1)
        try:
            self._script(hop)
        except ConnectionError:
            pass  # the client may go whenever it likes
        finally:
            hop.close()
            self._count(-1)

    def _count(self, change: int) -> None:
        self.open += change
        self.changed.set()


class Polite:
    """A script: an ordinary server. `received` has (MAIL line, RCPT lines, content as on the wire) of each message.

    `replies` has what to say instead, by the whole command or its verb (`END` for the end of content, or the last
    BDAT); a reply may be several lines joined by newlines.
    """

    def __init__(
        self,
        replies: dict[str, str] | None = None,
        *,
        lmtp: bool = False,
        extensions: Sequence[str] = EXTENSIONS,
        before_end: Callable[[], None] = lambda: None,
    ) -> None:
        self.replies = dict(replies or {})
        self.received: list[tuple[bytes, list[bytes], bytes]] = []
        self.commands: list[bytes] = []
        self.cut_off: list[bytes] = []  # what came of chunks that broke off
        self._lmtp = lmtp
        self._extensions = extensions
        self._before_end = before_end

    def __call__(self, hop: Hop) -> None:
        """Serve one connection."""
        hop.say(self.replies.get("CONNECT", "220 hop.example ESMTP"))
        self.serve(hop)

    def serve(self, hop: Hop) -> None:
        """What follows the greeting."""
        sender, recipients = b"", []
        while line := hop.hear():
            self.commands.append(line)
            verb = line.split(b" ")[0].split(b":")[0].decode().upper()
            answer = "" if verb == "BDAT" else self._answer(line, verb)
            if answer:
                hop.say(*answer.split("\n"))
            if verb == "MAIL":
                sender, recipients = line, []
            elif verb == "RCPT" and answer.startswith("2"):
                recipients.append(line)
            elif verb == "DATA" and answer.startswith("3"):
                self._end(hop, sender, recipients, hop.hear_content())
            elif verb == "BDAT":  # one is all that the client sends
                size = int(line.split()[1])
                content = hop.hear_bytes(size)
                if len(content) < size:
                    self.cut_off.append(content)
                    return
                self._end(hop, sender, recipients, content)
            if verb == "QUIT" or answer.startswith("421"):
                return

    def _end(self, hop: Hop, sender: bytes, recipients: list[bytes], content: bytes) -> None:
        self._before_end()
        self.received.append((sender, recipients, content))
        for recipient in recipients if self._lmtp else [b"END"]:
            hop.say(self.replies.get(f"END {recipient.decode('latin-1')}", self.replies.get("END", "250 2.0.0 ok")))

    def _answer(self, line: bytes, verb: str) -> str:
        for key in (line.decode("latin-1"), verb):
            if key in self.replies:
                return self.replies[key]
        match verb:
            case "EHLO" | "LHLO":
                lines = ["hop.example", *self._extensions]
                return "\n".join([*(f"250-{text}" for text in lines[:-1]), f"250 {lines[-1]}"])
            case "DATA":
                return "354 go"
            case "QUIT":
                return "221 bye"
        return "250 2.0.0 ok"
