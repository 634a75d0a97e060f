"""What is sent in a round, and by which program: Postfix's smtp-source, or our own where that cannot do it."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from bench.dialogue import Style

SMTP_SOURCE = "/usr/sbin/smtp-source"
SENDER = Path(__file__).with_name("sender.py")


class Load(Protocol):
    """A number of sessions at a time, messages of one size, and the program that sends them."""

    @property
    def sessions(self) -> int:
        """How many at a time."""

    @property
    def message_bytes(self) -> int:
        """Of each message."""

    @property
    def processes(self) -> int:
        """How many processes the program works in."""

    @property
    def starttls(self) -> bool:
        """Whether the server needs a certificate."""

    def command(self, address: str, messages: int) -> list[str]:
        """The program's command line."""


@dataclass(frozen=True)
class SmtpSource:
    """What smtp-source can send: one recipient, a command at a time, no TLS.

    With `numbered`, each message is for another local part.
    """

    sessions: int
    message_bytes: int
    reuse_connections: bool
    numbered: bool = False
    processes: int = 1
    starttls: bool = False

    def command(self, address: str, messages: int) -> list[str]:
        """The program's command line."""
        counts = ["-s", str(self.sessions), "-m", str(messages), "-l", str(self.message_bytes)]
        reuse = ["-d"] if self.reuse_connections else []
        number = ["-N"] if self.numbered else []
        return [SMTP_SOURCE, *counts, *reuse, *number, "-f", "sender@example.com", "-t", "user@example.org", address]


@dataclass(frozen=True, kw_only=True)
class Sender:
    """What `bench/sender.py` can send: several recipients, pipelined commands, BDAT, STARTTLS."""

    sessions: int
    message_bytes: int
    reuse_connections: bool = True
    style: Style = Style.DATA
    recipients: int = 1
    starttls: bool = False
    processes: int = 1

    def command(self, address: str, messages: int) -> list[str]:
        """The program's command line."""
        numbers = {
            "messages": messages,
            "sessions": self.sessions,
            "bytes": self.message_bytes,
            "recipients": self.recipients,
            "processes": self.processes,
        }
        flags = {"reuse": self.reuse_connections, "starttls": self.starttls}
        return [
            sys.executable,
            str(SENDER),
            address,
            f"--style={self.style}",
            *(f"--{name}={number}" for name, number in numbers.items()),
            *(f"--{name}" for name, wanted in flags.items() if wanted),
        ]
