"""OpenSSL's s_client, with which one looks at a mail server's TLS; and somebody in the middle who adds a command."""

import re
import socket
import subprocess
import threading
from pathlib import Path
from typing import NamedTuple

from tests.support.front import need
from tests.support.server import HOST

TIMEOUT_S = 30
STARTTLS = ("-starttls", "smtp", "-name", "openssl.example.com")


class Handshake(NamedTuple):
    """What s_client printed; `code` is how it ended, 0 where there was a handshake."""

    code: int
    output: str

    def _find(self, pattern: str) -> str:
        match = re.search(pattern, self.output, re.MULTILINE)
        return match[1] if match else ""

    @property
    def version(self) -> str:
        """`TLSv1.3`; empty where nothing was agreed on."""
        return self._find(r"^(?:New|Reused), (TLSv[\d.]+), Cipher is (?!\(NONE\))")

    @property
    def resumed(self) -> bool:
        """Whether an earlier session was resumed."""
        return bool(self._find(r"^(Reused), TLS"))

    @property
    def subject(self) -> str:
        """The subject alternative names or the organization's unit of the certificate shown: its whole subject."""
        return self._find(r"^subject=(.*)$")

    @property
    def signature(self) -> str:
        """The kind of key that signed the handshake: ECDSA, RSA-PSS, RSA."""
        return self._find(r"^Peer signature type: (\S+)")

    @property
    def is_verified(self) -> bool:
        """Whether the certificate was issued by who was to have issued it, for the name that was asked for."""
        return "Verify return code: 0 (ok)" in self.output


def s_client(port: int, *options: str, script: str = "QUIT\n") -> Handshake:
    """Connect to a port of 127.0.0.1, hold the handshake, send `script`'s lines, read until the server closes."""
    command = [need("openssl"), "s_client", "-connect", f"{HOST}:{port}", "-ign_eof", "-crlf", *options]
    result = subprocess.run(
        command, input=script.encode(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=TIMEOUT_S, check=False
    )
    return Handshake(result.returncode, result.stdout.decode(errors="replace"))


def subject(certificate: Path) -> str:
    """The subject of a certificate's file, as s_client prints it."""
    command = [need("openssl"), "x509", "-in", str(certificate), "-noout", "-subject"]
    shown = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return shown.strip().removeprefix("subject=")


class Injector:
    """Somebody between client and server who, from entry to exit, adds `added` to the packet that has `command`.

    So it does nothing to the bytes of TLS; it is what tries to get commands in that are obeyed behind the handshake.
    """

    def __init__(self, behind: int, command: bytes, added: bytes) -> None:
        self._behind = behind
        self._command = command
        self._added = added
        self._listener = socket.create_server((HOST, 0))
        self.port = int(self._listener.getsockname()[1])
        self.heard = b""
        """What the server said in the clear and otherwise."""
        self._thread = threading.Thread(target=self._serve)

    def _serve(self) -> None:
        client, _ = self._listener.accept()
        with client, socket.create_connection((HOST, self._behind), TIMEOUT_S) as server:
            client.settimeout(TIMEOUT_S)
            back = threading.Thread(target=self._carry_back, args=(server, client))
            back.start()
            while data := _read(client):
                if data.upper().endswith(self._command + b"\r\n"):
                    data += self._added
                try:
                    server.sendall(data)
                except OSError:
                    break
            _shut(server)
            back.join()

    def _carry_back(self, server: socket.socket, client: socket.socket) -> None:
        while data := _read(server):
            self.heard += data
            try:
                client.sendall(data)
            except OSError:
                break
        _shut(client)

    def __enter__(self) -> "Injector":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.join(TIMEOUT_S)
        self._listener.close()


def _read(source: socket.socket) -> bytes:
    try:
        return source.recv(65536)
    except OSError:
        return b""


def _shut(target: socket.socket) -> None:
    try:
        target.shutdown(socket.SHUT_WR)
    except OSError:
        return  # it is gone already
