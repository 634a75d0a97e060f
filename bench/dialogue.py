"""What a session of our load generator says, as bytes made beforehand, and which replies it demands.

A dialogue is three lists of steps: once for a connection, once for a message, and the end. A step is one write; the
next follows when as many replies have come as it has codes.
"""

import enum
from dataclasses import dataclass

HELLO = b"EHLO client.example.com\r\n"
SENDER = b"MAIL FROM:<sender@example.com>\r\n"
LINE = b"The quick brown fox jumps over the lazy dog, and then it does so once again.\r\n"
HEADER = (
    b"From: <sender@example.com>\r\nTo: <user@example.org>\r\nDate: Thu, 1 Jan 2026 00:00:00 +0000\r\n"
    b"Message-ID: <20260101000000.4F2A91B7@client.example.com>\r\nSubject: Foxes and dogs\r\n\r\n"
)


class Style(enum.StrEnum):
    """How the content of a message is sent."""

    DATA = "data"  # MAIL, RCPT and DATA in one write; the content and its dot in another (RFC 2920)
    BDAT = "bdat"  # MAIL, RCPT, one BDAT LAST and the content in a single write (RFC 3030)


class UnexpectedReply(Exception):
    """A reply that is not the one the dialogue demands."""


@dataclass(frozen=True)
class Step:
    """One write and the codes of its replies. `keywords` must be among the lines of an EHLO reply.

    With `then_tls`, TLS is begun behind the reply, and the next step goes out with the last part of the handshake.
    """

    data: bytes
    codes: tuple[bytes, ...]
    keywords: frozenset[bytes] = frozenset()
    then_tls: bool = False


@dataclass(frozen=True)
class Dialogue:
    """Everything that a session says; what the greeting is answered with comes second in `opening`."""

    opening: tuple[Step, ...]
    message: tuple[Step, ...]
    closing: tuple[Step, ...] = (Step(b"QUIT\r\n", (b"221",)),)


def content(size_bytes: int) -> bytes:
    """A message of exactly that many bytes, its header included and its dot not; no line needs a stuffed dot."""
    text = (HEADER + LINE * (size_bytes // len(LINE) + 1))[: size_bytes - 2].rstrip(b"\r\n")
    return text.ljust(size_bytes - 2, b"-") + b"\r\n"


def recipients(count: int) -> bytes:
    """The RCPT commands: user@example.org alone, or that many different users."""
    names = ["user"] if count == 1 else [f"user{number}" for number in range(count)]
    return "".join(f"RCPT TO:<{name}@example.org>\r\n" for name in names).encode()


def compose(style: Style, message_bytes: int, recipient_count: int = 1, *, starttls: bool = False) -> Dialogue:
    """The dialogue for messages of `message_bytes` to `recipient_count` recipients, behind STARTTLS if wanted."""
    wanted = frozenset({b"PIPELINING"} | ({b"CHUNKING"} if style is Style.BDAT else set()))
    opening = [Step(b"", (b"220",))]
    if starttls:
        opening.append(Step(HELLO, (b"250",), frozenset({b"STARTTLS"})))
        opening.append(Step(b"STARTTLS\r\n", (b"220",), then_tls=True))
    opening.append(Step(HELLO, (b"250",), wanted))
    envelope = SENDER + recipients(recipient_count)
    accepted = (b"250",) * (1 + recipient_count)
    text = content(message_bytes)
    if style is Style.BDAT:
        message: tuple[Step, ...] = (Step(b"%bBDAT %d LAST\r\n%b" % (envelope, len(text), text), (*accepted, b"250")),)
    else:
        message = (
            Step(envelope + b"DATA\r\n", (*accepted, b"354")),
            Step(text + b".\r\n", (b"250",)),
        )
    return Dialogue(tuple(opening), message)


class Replies:
    """Reads the replies to one step after another, from pieces cut anywhere."""

    def __init__(self) -> None:
        self._step = Step(b"", ())
        self._seen = 0
        self._rest = b""
        self._keywords: set[bytes] = set()

    def expect(self, step: Step) -> None:
        """Demand the replies to `step` from now on; raises `UnexpectedReply` when one is there already."""
        if self._rest:
            raise UnexpectedReply(f"nothing was asked, but {self._rest[:200]!r} came")
        self._step = step
        self._seen = 0

    def feed(self, data: bytes) -> bool:
        """Take what was received; whether the step has all of its replies now. Raises `UnexpectedReply`."""
        lines = (self._rest + data).split(b"\r\n")
        self._rest = lines.pop()
        codes = self._step.codes
        for line in lines:
            code = codes[self._seen] if self._seen < len(codes) else b"nothing"
            if line[:3] != code:
                raise UnexpectedReply(f"{line[:200]!r} instead of {code.decode()}")
            if self._step.keywords:
                self._keywords.add(line[4:].partition(b" ")[0])
            if line[3:4] != b"-":
                self._seen += 1
        if self._seen < len(codes):
            return False
        if not self._step.keywords <= self._keywords:
            missing = b", ".join(sorted(self._step.keywords - self._keywords))
            raise UnexpectedReply(f"{missing.decode()} is not offered")
        return True

    def forget_keywords(self) -> None:
        """What was offered before TLS does not count behind it."""
        self._keywords.clear()
