"""Dialogues between client and server as plain files, and peers to hold them with; see tests/dialogs/README.md."""

import re
import socket
import ssl
import tomllib
from pathlib import Path
from typing import Any, Protocol

import msgspec

from mta.envelope import Dsn
from tests.support.memory import Accepted, MemoryConnection

READ_TIMEOUT_S = 10.0

_ESCAPE = re.compile(rb"\\(?:x([0-9a-fA-F]{2})|\((.*?)\*(\d+)\)|(.))", re.DOTALL)
_NAMED = {b"r": b"\r", b"n": b"\n", b"t": b"\t", b"0": b"\0", b"\\": b"\\"}


class DialogError(Exception):
    """A file that is no dialogue."""


class Step(msgspec.Struct, frozen=True):
    """One line of a dialogue: `verb` is what stands before the text, `line` the line's number in its file."""

    verb: str
    text: bytes
    line: int


class Dialog(msgspec.Struct, frozen=True):
    """A dialogue: what is set in [[listen]], its steps, and the messages that it must leave accepted.

    `as_sent`: what the client sends must arrive as it is in the file, not in other pieces; `in_memory`: not over TCP.
    `busy` are the times that content is to come and finds no memory. `known` are the keys of the table of recipients,
    empty for no table; `aliases` is the table of aliases.
    """

    listener: dict[str, Any]
    busy: tuple[int, ...]
    known: tuple[bytes, ...]
    as_sent: bool
    in_memory: bool
    steps: list[Step]
    accepted: list[Accepted] | None
    aliases: dict[bytes, bytes]

    def client_bytes(self) -> bytes:
        """All that the client sends, in one piece."""
        return b"".join(step.text for step in self.steps if step.verb == "C")


def unescape(text: bytes) -> bytes:
    """Resolve the escapes of a dialogue: \\r \\n \\t \\0 \\\\ \\xNN and \\(text*count)."""

    def replace(match: re.Match[bytes]) -> bytes:
        code, repeated, count, named = match.groups()
        if code is not None:
            return bytes([int(code, 16)])
        if repeated is not None:
            return unescape(repeated) * int(count)
        if named not in _NAMED:
            raise DialogError(f"unknown escape \\{named!r}")
        return _NAMED[named]

    return _ESCAPE.sub(replace, text)


def parse(data: bytes) -> Dialog:
    """Read a dialogue from the bytes of its file; raises `DialogError` with the line's number."""
    listener, busy, known, held, steps = [], [], [], [], []
    aliases: dict[bytes, bytes] = {}
    accepted: list[Accepted] | None = None
    for number, line in enumerate(data.splitlines(), 1):
        mark, _, text = line.partition(b" ")
        match mark:
            case b"" | b"#":
                continue
            case b"listener:":
                listener.append(text.decode())
            case b"busy:":
                busy += map(int, text.split())
            case b"known:":
                known += text.split()
            case b"alias:":
                key, _, aliases[key] = text.partition(b" ")
            case b"held:":
                held += text.decode().split()
            case b"C:":
                steps.append(Step("C", unescape(text) + b"\r\n", number))
            case b"C-":
                steps.append(Step("C", unescape(text), number))
            case b"C." | b"T.":
                steps.append(Step(mark.decode(), b"", number))
            case b"S:" | b"S+" | b"S.":
                steps.append(Step(mark.decode(), text, number))
            case b"M:":
                accepted = accepted or []
                if text != b"none":
                    sender, recipients, content = map(unescape, text.split(b" ", 2))
                    accepted.append(Accepted(sender[1:-1], tuple(recipients.split(b",")), content))
            case b"D:" if accepted:
                accepted[-1] = msgspec.structs.replace(accepted[-1], dsn=_dsn(text))
            case _:
                raise DialogError(f"line {number}: neither C nor S nor anything known: {line!r}")
    if not set(held) <= {"as-sent", "in-memory"}:
        raise DialogError(f"held: {held} is more than as-sent and in-memory")
    if (known or aliases) and "in-memory" not in held:
        raise DialogError("known: and alias: are for dialogues that are held in memory")
    settings = tomllib.loads("\n".join(listener))
    return Dialog(settings, tuple(busy), tuple(known), "as-sent" in held, "in-memory" in held, steps, accepted, aliases)


def _dsn(text: bytes) -> Dsn:
    ret, envid, *each = text.split(b" ")
    notify, _, orcpt = zip(*(one.partition(b"/") for one in each), strict=True)
    return Dsn(ret.decode(), envid, tuple(one.decode() for one in notify), orcpt)


def load(path: Path) -> Dialog:
    """Read a dialogue's file."""
    try:
        return parse(path.read_bytes())
    except (DialogError, ValueError) as error:
        raise DialogError(f"{path}: {error}") from None


class Peer(Protocol):
    """The server's end of a connection, as a client sees it."""

    def send(self, data: bytes) -> None:
        """Send bytes."""

    def read_line(self) -> bytes:
        """The next line the server sends, CR LF included; empty at the end of the connection."""

    def shake_hands(self) -> None:
        """Begin TLS."""

    def close(self) -> None:
        """Leave."""


class MemoryPeer:
    """A session in memory, fed in pieces of `piece_bytes` (0: as sent)."""

    def __init__(self, connection: MemoryConnection, piece_bytes: int = 0) -> None:
        self.connection = connection
        self._piece_bytes = piece_bytes
        self._read = 0

    def send(self, data: bytes) -> None:
        size = self._piece_bytes or max(len(data), 1)
        for start in range(0, len(data), size):
            self.connection.receive(data[start : start + size])

    def read_line(self) -> bytes:
        output = self.connection.output
        end = output.find(b"\n", self._read) + 1
        if not end:
            assert self._read == len(output), f"half a line: {output[self._read :]!r}"
            assert self.connection.closed, "the server waits for the client, no line comes"
            return b""
        line = output[self._read : end]
        self._read = end
        return line

    def shake_hands(self) -> None:
        self.connection.shake_hands()

    def close(self) -> None:
        return


class SocketPeer:
    """A real connection."""

    def __init__(self, address: tuple[str, int]) -> None:
        self._socket: socket.socket = socket.create_connection(address, timeout=READ_TIMEOUT_S)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._lines = self._socket.makefile("rb")

    def send(self, data: bytes) -> None:
        try:
            self._socket.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            return  # the server has closed; what it said before that can still be read

    def read_line(self) -> bytes:
        try:
            return self._lines.readline()
        except ConnectionResetError:
            return b""

    def shake_hands(self) -> None:
        # Whose certificate it is, is looked at by other tests.
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        self._lines.close()
        self._socket = context.wrap_socket(self._socket)
        self._lines = self._socket.makefile("rb")

    def close(self) -> None:
        self._lines.close()
        self._socket.close()


def hold(dialog: Dialog, peer: Peer) -> None:
    """Play the client's part and compare the server's; raises `AssertionError` with the line of the file."""
    for step in dialog.steps:
        where = f"line {step.line}"
        match step.verb:
            case "C":
                peer.send(step.text)
            case "C.":
                peer.close()
            case "T.":
                peer.shake_hands()
            case "S:":
                got = peer.read_line()
                assert got.endswith(b"\r\n"), f"{where}: {got!r} is no line"
                assert _matches(step.text, got[:-2]), f"{where}: expected {step.text!r}, got {got!r}"
            case "S+":
                code, _, count = step.text.partition(b"*")
                for _ in range(int(count or 1)):
                    lines = read_reply(peer)
                    assert lines[-1].startswith(code + b" "), f"{where}: expected {code!r}, got {lines!r}"
            case "S.":
                got = peer.read_line()
                assert got == b"", f"{where}: expected the end of the connection, got {got!r}"


def read_reply(peer: Peer) -> list[bytes]:
    """A whole reply, line by line, checked for its form (RFC 5321 section 4.2)."""
    lines = [peer.read_line()]
    while lines[-1][3:4] == b"-":
        lines.append(peer.read_line())
    code = lines[0][:3]
    for line in lines:
        assert re.fullmatch(rb"%b[- ][ -~]*\r\n" % code, line), f"not a line of a reply: {line!r} in {lines!r}"
    return lines


def _matches(pattern: bytes, line: bytes) -> bool:
    return re.fullmatch(b".*".join(map(re.escape, pattern.split(b"*"))), line) is not None
