"""A server that strangers' programs talk to: listeners by name, its log as events, its mail as messages."""

import email
import email.policy
import json
import re
import shutil
from collections.abc import Mapping
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest

from tests.support.server import HOST, ROOT, Server, free_port

PEERS = ROOT / ".peers"
"""Where `make peers` unpacks the packages that cannot be installed, or had better not be."""

DOMAIN = "example.org"


class Front(Server):
    """An `mta` with one listener for each of `listeners`: the name, and what the listener sets besides its address.

    `ports` has the port of each. The log is JSON.
    """

    def __init__(
        self, folder: Path, listeners: Mapping[str, Mapping[str, Any]], settings: Mapping[str, Any] | None = None
    ) -> None:
        self.ports = {name: free_port() for name in listeners}
        listen = [{"address": f"{HOST}:{self.ports[name]}", **given} for name, given in listeners.items()]
        log = {"file": "mta.log", "format": "json"}
        super().__init__(folder, {"listen": listen, "log": log, **(settings or {})})

    # The log ----------------------------------------------------------------------------------------------------

    def events(self, name: str, **fields: object) -> list[dict[str, Any]]:
        """The events of that name whose fields have those values, as far as they are written."""
        text = self.log.read_text() if self.log.exists() else ""
        lines = [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]
        return [
            line
            for line in lines
            if line["event"] == name and all(line.get(key) == value for key, value in fields.items())
        ]

    def event(self, name: str, **fields: object) -> dict[str, Any]:
        """The last such event; waits until there is one."""
        self.until(lambda: self.events(name, **fields), f"event {name} {fields}")
        return self.events(name, **fields)[-1]

    def session(self, user: str, domain: str = DOMAIN) -> str:
        """The session that took the mail for a user, once it has been delivered."""
        session: str = self.event("delivered", to=f"{user}@{domain}")["session"]
        return session

    # The mail ---------------------------------------------------------------------------------------------------

    def collect(self, user: str, count: int = 1, domain: str = DOMAIN) -> list[bytes]:
        """Wait for a user's `count` messages; their content."""
        folder = self.mail / domain / user / "new"
        self.until(lambda: len(list(folder.glob("*"))) >= count, f"{count} files in {folder}")
        self.wait_empty()
        return [file.read_bytes() for file in sorted(folder.iterdir())]

    def one(self, user: str, domain: str = DOMAIN) -> bytes:
        """Wait for a user's only message; its content."""
        (content,) = self.collect(user, domain=domain)
        return content


def parsed(content: bytes) -> EmailMessage:
    """A delivered file as a message."""
    message = email.message_from_bytes(content, policy=email.policy.SMTP)
    assert isinstance(message, EmailMessage)
    return message


def received(content: bytes) -> str:
    """The Received field that we wrote into a delivered file: the first, on one line."""
    match = re.search(rb"^Received: (.*?)\r\n(?![ \t])", content, re.MULTILINE | re.DOTALL)
    assert match, content
    return " ".join(match[1].decode().split())


def body(content: bytes) -> bytes:
    """What stands behind the header of a delivered file."""
    return content.partition(b"\r\n\r\n")[2]


def need(program: str) -> str:
    """The program's path; skips the test where it is absent."""
    path = shutil.which(program, path=f"{PEERS}/usr/sbin:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin")
    if path is None:
        pytest.skip(f"{program} is not installed: make peers")
    return path
