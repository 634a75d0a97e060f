"""The load generator as a program, against a server that does what the case says and remembers what it was sent."""

import socketserver
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from bench import certificate
from bench.dialogue import content
from bench.sender import shares
from tests.support.server import HOST, ROOT

SIZE_BYTES = 4096


class Receiver(socketserver.ThreadingTCPServer):
    """Takes messages by DATA and BDAT, with STARTTLS where there is a context; a thread a session."""

    allow_reuse_address = True
    request_queue_size = 256
    daemon_threads = True

    def __init__(self, tls: ssl.SSLContext | None = None, refuse_after: int | None = None) -> None:
        super().__init__((HOST, 0), Conversation)
        self.tls = tls
        self.refuse_after = refuse_after
        self.lock = threading.Lock()
        self.messages: list[tuple[int, bytes]] = []  # the number of recipients, and the content
        self.connections = self.handshakes = self.resumed = 0

    @property
    def address(self) -> str:
        """HOST:PORT."""
        return f"{HOST}:{self.server_address[1]}"

    def take(self, recipients: int, text: bytes) -> bytes:
        """Remember a message; the reply."""
        with self.lock:
            if self.refuse_after is not None and len(self.messages) >= self.refuse_after:
                return b"452 4.3.1 full\r\n"
            self.messages.append((recipients, text))
        return b"250 2.0.0 taken\r\n"


class Conversation(socketserver.StreamRequestHandler):
    """One session."""

    server: Receiver

    def handle(self) -> None:
        """Answer each command by itself, so that replies to a group come in several pieces."""
        with self.server.lock:
            self.server.connections += 1
        recipients = 0
        self.wfile.write(b"220 mx.example.org ESMTP\r\n")
        while line := self.rfile.readline():
            verb = line[:4].upper()
            if verb == b"EHLO":
                self.wfile.write(b"250-mx.example.org\r\n250-PIPELINING\r\n250-STARTTLS\r\n250 CHUNKING\r\n")
            elif verb == b"STAR":
                self.wfile.write(b"220 go ahead\r\n")
                self._start_tls()
            elif verb == b"DATA":
                self.wfile.write(b"354 go ahead\r\n")
                self.wfile.write(self.server.take(recipients, b"".join(iter(self.rfile.readline, b".\r\n"))))
            elif verb == b"BDAT":
                self.wfile.write(self.server.take(recipients, self.rfile.read(int(line.split()[1]))))
            elif verb == b"QUIT":
                self.wfile.write(b"221 bye\r\n")
                return
            else:
                recipients = 0 if verb == b"MAIL" else recipients + 1
                self.wfile.write(b"250 2.1.0 ok\r\n")

    def _start_tls(self) -> None:
        """The handshake; from here on everything is encrypted."""
        assert self.server.tls is not None
        encrypted = self.server.tls.wrap_socket(self.request, server_side=True)
        with self.server.lock:
            self.server.handshakes += 1
            self.server.resumed += bool(encrypted.session_reused)
        self.rfile, self.wfile = encrypted.makefile("rb"), encrypted.makefile("wb", buffering=0)


@contextmanager
def serving(receiver: Receiver) -> Iterator[Receiver]:
    """A receiver that works in threads meanwhile."""
    thread = threading.Thread(target=receiver.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield receiver
    finally:
        receiver.shutdown()
        receiver.server_close()
        thread.join()


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> ssl.SSLContext:
    """A server's context."""
    pair = certificate.make(tmp_path_factory.mktemp("tls"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.certificate, pair.key)
    return context


def send(address: str, *options: str) -> subprocess.CompletedProcess[str]:
    """Run the program, as the benchmark does."""
    command = [sys.executable, str(ROOT / "bench" / "sender.py"), address, f"--bytes={SIZE_BYTES}", *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize(
    ("options", "recipients"),
    [(["--style=data"], 1), (["--style=bdat"], 1), (["--style=data", "--recipients=100"], 100)],
)
def test_every_message_arrives_as_it_was_made(options: list[str], recipients: int) -> None:
    """All of them, once, whole, and over no more connections than sessions."""
    with serving(Receiver()) as receiver:
        result = send(receiver.address, "--messages=50", "--sessions=5", "--reuse", *options)
        assert (result.returncode, result.stderr) == (0, "")
        assert receiver.messages == [(recipients, content(SIZE_BYTES))] * 50
        assert receiver.connections <= 5


def test_a_connection_for_each_message() -> None:
    """Unless they are reused; and several processes share the messages."""
    with serving(Receiver()) as receiver:
        assert send(receiver.address, "--messages=31", "--sessions=4", "--processes=2").returncode == 0
        assert (len(receiver.messages), receiver.connections) == (31, 31)


@pytest.mark.parametrize(("options", "handshakes"), [([], 20), (["--reuse", "--sessions=2"], 2)])
def test_each_connection_makes_a_full_handshake(tls: ssl.SSLContext, options: list[str], handshakes: int) -> None:
    """With STARTTLS none resumes a session, though the server gives out tickets."""
    with serving(Receiver(tls)) as receiver:
        result = send(receiver.address, "--messages=20", "--starttls", *options)
        assert (result.returncode, result.stderr) == (0, "")
        assert receiver.messages == [(1, content(SIZE_BYTES))] * 20
        assert (receiver.handshakes, receiver.resumed) == (handshakes, 0)


@pytest.mark.parametrize("processes", [1, 2])
def test_a_message_that_is_refused_is_a_failure(processes: int) -> None:
    """It says which reply it was; nothing is tried again."""
    with serving(Receiver(refuse_after=7)) as receiver:
        result = send(receiver.address, "--messages=20", "--reuse", f"--processes={processes}")
        assert result.returncode == 1
        assert "452 4.3.1 full" in result.stderr
        assert len(receiver.messages) == 7


def test_a_server_that_is_not_there_is_a_failure() -> None:
    """It is not waited for."""
    with serving(Receiver()) as receiver:
        address = receiver.address
    result = send(address, "--messages=1")
    assert result.returncode == 1
    assert result.stderr.startswith("sender.py: ")


def test_a_large_message_is_sent_in_pieces() -> None:
    """One that does not fit into the socket's buffer."""
    with serving(Receiver()) as receiver:
        result = send(receiver.address, "--messages=3", "--sessions=1", "--bytes=8000000")
        assert result.returncode == 0
        assert receiver.messages == [(1, content(8_000_000))] * 3


def test_shares() -> None:
    """Nothing is lost in sharing out."""
    assert shares(31, 2) == [16, 15]
    assert shares(1, 3) == [1, 0, 0]
