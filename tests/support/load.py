"""Load from real SMTP clients whose every message can be accounted for afterwards.

Each message names itself and carries a checksum of its content, so a delivered file tells which message it is and
whether it is whole. The `Ledger` knows what was answered with 250: that much must be found in the maildirs, once or
more.
"""

import hashlib
import random
import smtplib
import socket
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.server import wait_until

DOMAIN = "example.org"
USERS = 5
TIMEOUT_S = 120.0  # longer than anything a test does to the server takes
RECONNECT_S = 0.02
LINE = "abcdefghijklmnopqrstuvwxyz0123456789 .,:;-"


class Torn(Exception):
    """A delivered file is not the whole of a message that was sent."""


class Refused(Exception):
    """The server answered, but not with what a message needs; the text is its reply."""


def compose(name: str, rng: random.Random, size_bytes: int) -> bytes:
    """A message of about `size_bytes` that names itself; some lines begin with dots."""
    lines = []
    left = size_bytes
    while left > 0:
        line = "".join(rng.choices(LINE, k=rng.randrange(0, 76)))
        lines.append("." * rng.randrange(0, 3) + line if rng.random() < 0.1 else line)
        left -= len(line) + 2
    body = "".join(f"{line}\r\n" for line in lines).encode()
    digest = hashlib.sha256(body).hexdigest()
    return f"From: <sender@example.com>\r\nX-Load: {name} {digest}\r\nSubject: load\r\n\r\n".encode() + body


def identify(content: bytes) -> str:
    """The name of the message in a delivered file; raises `Torn` when it is not whole."""
    header, found, body = content.partition(b"\r\n\r\n")
    for line in header.split(b"\r\n"):
        if line.startswith(b"X-Load: "):
            name, _, digest = line[8:].decode().partition(" ")
            if not found or hashlib.sha256(body).hexdigest() != digest:
                raise Torn(f"{name}: the checksum is wrong ({len(content)} bytes)")
            return name
    raise Torn(f"no message of ours ({len(content)} bytes): {content[:80]!r}")


@dataclass
class Ledger:
    """What was sent and what became of it, filled by many threads.

    `acknowledged` holds (message, recipient) for every recipient of a message that got its 250. `trouble` counts other
    ends by their text: replies, and connections that were lost.
    """

    acknowledged: set[tuple[str, str]] = field(default_factory=set)
    messages: int = 0
    attempts: int = 0
    trouble: Counter[str] = field(default_factory=Counter)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def accepted(self, name: str, recipients: Sequence[str]) -> None:
        """A message got its 250."""
        with self.lock:
            self.attempts += 1
            self.messages += 1
            self.acknowledged.update((name, recipient) for recipient in recipients)

    def failed(self, error: Exception) -> None:
        """A message got something else, or nothing."""
        with self.lock:
            self.attempts += 1
            self.trouble[f"{type(error).__name__}: {error}"] += 1

    def wait_for(self, count: int, timeout_s: float = 60.0) -> None:
        """Wait until `count` more messages got their 250; raises `TimeoutError` with the trouble there was instead."""
        wanted = self.messages + count
        try:
            wait_until(lambda: self.messages >= wanted, f"{count} more messages accepted", timeout_s)
        except TimeoutError as error:
            raise TimeoutError(f"{error}; clients saw {dict(self.trouble)}") from None


@dataclass(frozen=True)
class Audit:
    """What the maildirs hold, held against a ledger."""

    missing: list[tuple[str, str]]
    torn: list[str]
    duplicates: int  # files beyond the first for an acknowledged or unacknowledged (message, recipient)
    extra: int  # messages delivered without their 250 having been read: allowed, the sender may not have heard it
    files: int


def audit(ledger: Ledger, mail: Path) -> Audit:
    """Read every delivered file under `mail` and compare."""
    found: Counter[tuple[str, str]] = Counter()
    torn = []
    for file in mail.glob(f"{DOMAIN}/*/new/*"):
        try:
            found[identify(file.read_bytes()), file.parts[-3]] += 1
        except Torn as error:
            torn.append(f"{file.name}: {error}")
    return Audit(
        missing=sorted(ledger.acknowledged - found.keys()),
        torn=torn,
        duplicates=sum(found.values()) - len(found),
        extra=len(found.keys() - ledger.acknowledged),
        files=sum(found.values()) + len(torn),
    )


class RawClient:
    """A pipelining client on a plain socket: envelope and DATA in one write, then the content in another."""

    def __init__(self, address: tuple[str, int]) -> None:
        """Connect and greet; raises `OSError` or `Refused`."""
        self._socket = socket.create_connection(address, TIMEOUT_S)
        self._file = self._socket.makefile("rb")
        self._expect(b"220")
        self._socket.sendall(b"EHLO load.example.com\r\n")
        self._expect(b"250")

    def _expect(self, code: bytes) -> None:
        """Read one reply; raises `Refused` when it has another code, `ConnectionError` when there is none."""
        while True:
            line = self._file.readline()
            if not line.endswith(b"\n"):
                raise ConnectionResetError("the connection was closed")
            if line[3:4] != b"-":
                break
        if not line.startswith(code):
            raise Refused(line.decode(errors="replace").strip())

    def send(self, sender: str, recipients: Sequence[str], content: bytes) -> None:
        """One transaction; returns when the content was answered with 250."""
        envelope = [f"MAIL FROM:<{sender}>", *(f"RCPT TO:<{recipient}>" for recipient in recipients), "DATA"]
        self._socket.sendall("".join(f"{line}\r\n" for line in envelope).encode())
        for _ in envelope[:-1]:
            self._expect(b"250")
        self._expect(b"354")
        stuffed = content.replace(b"\r\n.", b"\r\n..")
        self._socket.sendall((b"." + stuffed if stuffed.startswith(b".") else stuffed) + b".\r\n")
        self._expect(b"250")

    def close(self) -> None:
        """Leave without waiting for the answer to QUIT."""
        try:
            self._socket.sendall(b"QUIT\r\n")
        except OSError:
            return  # it was closed by the other side
        finally:
            self._file.close()
            self._socket.close()


class LibraryClient:
    """Python's smtplib, which waits for every reply."""

    def __init__(self, address: tuple[str, int]) -> None:
        """Connect; raises `OSError` or `smtplib.SMTPException`."""
        self._smtp = smtplib.SMTP(*address, local_hostname="load.example.com", timeout=TIMEOUT_S)

    def send(self, sender: str, recipients: Sequence[str], content: bytes) -> None:
        """One transaction; returns when all recipients and the content were taken."""
        if refused := self._smtp.sendmail(sender, list(recipients), content):
            raise Refused(str(refused))

    def close(self) -> None:
        """Leave without waiting for the answer to QUIT."""
        self._smtp.close()


Client = Callable[[tuple[str, int]], RawClient | LibraryClient]


class Load:
    """Several clients in threads, each sending one message after the other until told to stop.

    `per_connection` is how many messages a client sends before it connects anew; `pause_s` the longest pause between
    two messages; `sizes` maps an upper bound in bytes to its weight. Everything random comes from `seed`.
    """

    def __init__(
        self,
        address: tuple[str, int],
        clients: Sequence[Client],
        *,
        seed: int,
        per_connection: int,
        pause_s: float,
        sizes: Sequence[tuple[int, int]] = ((4_000, 1),),
    ) -> None:
        self.ledger = Ledger()
        self._address = address
        self._per_connection = per_connection
        self._pause_s = pause_s
        self._sizes = sizes
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._work, args=(client, number, random.Random(f"{seed}/{number}")))
            for number, client in enumerate(clients)
        ]

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _work(self, client: Client, number: int, rng: random.Random) -> None:
        """One client's life: connect, send a few, leave, again."""
        count = 0
        while not self._stop.is_set():
            connection = None
            try:
                connection = client(self._address)
                for _ in range(self._per_connection):
                    count += 1
                    self._send(connection, f"{number}.{count}", rng)
                    if self._stop.wait(rng.uniform(0, self._pause_s)):
                        break
            except (OSError, smtplib.SMTPException, Refused) as error:
                self.ledger.failed(error)
                self._stop.wait(RECONNECT_S)
            finally:
                if connection is not None:
                    connection.close()

    def _send(self, connection: RawClient | LibraryClient, name: str, rng: random.Random) -> None:
        """Compose and send one message."""
        limit = rng.choices([size for size, _ in self._sizes], [weight for _, weight in self._sizes])[0]
        users = rng.sample(range(USERS), rng.choice((1, 1, 1, 2, 3)))
        recipients = [f"user{user}" for user in users]
        content = compose(name, rng, rng.randrange(1, limit))
        connection.send("sender@example.com", [f"{user}@{DOMAIN}" for user in recipients], content)
        self.ledger.accepted(name, recipients)
