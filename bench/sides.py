"""The servers under measurement: a private Postfix, a whole `mta`, and Postfix's smtp-sink, behind one shape."""

import os
import socket
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from bench import inode_flags
from tests.support.postfix import NOBODY, Postfix
from tests.support.server import HOST, Control, Server, free_port, wait_until

DOMAIN = "example.org"
SINK = "/usr/sbin/smtp-sink"
SINK_BACKLOG = 1000
SYNCED_MAILDIR = "maildir-synced"  # a destination


def listens(port: int) -> bool:
    """Whether a connection to a local port is taken."""
    with socket.socket() as probe:
        return probe.connect_ex((HOST, port)) == 0


class Side(Protocol):
    """A server that takes mail for user@example.org on `address`."""

    address: str

    def processes(self) -> list[int]:
        """Its processes, where they live as long as it does; empty for a server whose processes come and go."""

    def mark(self) -> None:
        """Remember where we are: `done` counts from here. Called while nothing is under way."""

    def done(self, messages: int) -> bool:
        """Whether all `messages` sent since `mark` are delivered. Cheap: it is asked 50 times a second."""

    def close(self) -> None:
        """Stop the server. Its folders stay, since what is removed slows down who creates files next."""


class Sink:
    """Postfix's smtp-sink: takes mail and throws it away. The next hop of the relay case, and a yardstick by itself."""

    def __init__(self) -> None:
        port = free_port()
        self.address = f"{HOST}:{port}"
        user = ["-u", "nobody"] if os.geteuid() == 0 else []  # it demands that of root
        command = [SINK, *user, self.address, str(SINK_BACKLOG)]
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
        wait_until(lambda: listens(port), "smtp-sink listens")  # it does not say so itself

    def processes(self) -> list[int]:
        """Its one process."""
        return [self.process.pid]

    def mark(self) -> None:
        """Nothing to remember."""

    def done(self, messages: int) -> bool:
        """It is done with a message when it says 250."""
        return True

    def close(self) -> None:
        """Stop it."""
        self.process.terminate()
        self.process.wait()


class NextHop(Protocol):
    """Who takes the mail that a side passes on."""

    address: str

    def processes(self) -> list[int]:
        """Its processes, as of now."""

    def close(self) -> None:
        """Stop it. Its folder stays."""


class PostfixSide:
    """A private Postfix that discards, stores or passes on; its log has a line "removed" for each message delivered."""

    def __init__(
        self, destination: str, next_hop: NextHop | None, parent: Path, settings: Mapping[str, str] | None = None
    ) -> None:
        port = free_port()
        self.address = f"{HOST}:{port}"
        self._postfix = Postfix(port, {**self._settings(destination, next_hop), **(settings or {})}, parent=parent)
        if destination == SYNCED_MAILDIR:
            self._sync_names()
        self._removed = 0
        self._offset = 0
        self._rest = b""
        self._postfix.start()

    def _settings(self, destination: str, next_hop: NextHop | None) -> dict[str, str]:
        """The part of main.cf that depends on the case."""
        transports = {"discard": "discard:", "maildir": "virtual", SYNCED_MAILDIR: "virtual"}
        if next_hop is not None:
            host, _, port = next_hop.address.rpartition(":")
            if destination == "relay":
                return {"relay_domains": DOMAIN, "relayhost": f"[{host}]:{port}", "relay_recipient_maps": ""}
            transports["lmtp"] = f"lmtp:inet:{next_hop.address}"
        return {
            "virtual_mailbox_domains": DOMAIN,
            "virtual_mailbox_maps": f"static:{DOMAIN}/user/",
            "virtual_transport": transports[destination],
        }

    def _sync_names(self) -> None:
        """Have names in `new` on disk as soon as they are there: virtual(8) syncs files and leaves names to later."""
        mailbox = self._postfix.mail / DOMAIN / "user"
        for name in ("tmp", "new", "cur"):
            (mailbox / name).mkdir(parents=True)
        for folder in (mailbox.parent, mailbox, *mailbox.iterdir()):
            os.chown(folder, NOBODY, NOBODY)
        inode_flags.add(mailbox / "new", inode_flags.DIRSYNC)

    def processes(self) -> list[int]:
        """Not to be told: its daemons are started and end as they are needed."""
        return []

    def mark(self) -> None:
        """Skip the log so far."""
        self._removed = 0
        self._rest = b""
        self._offset = self._postfix.log.stat().st_size

    def done(self, messages: int) -> bool:
        """Count what the log got since the last look."""
        with self._postfix.log.open("rb") as log:
            log.seek(self._offset)
            text = self._rest + log.read()
            self._offset = log.tell()
        lines, _, self._rest = text.rpartition(b"\n")
        self._removed += (lines + b"\n").count(b": removed\n")
        return self._removed >= messages

    def close(self) -> None:
        """Stop it."""
        self._postfix.stop()


class MtaSide:
    """A whole `mta run` with its defaults; delivery is seen by asking the queue manager, as `mta queue stats` does."""

    def __init__(
        self, destination: str, next_hop: NextHop | None, parent: Path, settings: Mapping[str, Any] | None = None
    ) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="mta-", dir=parent))
        transport: dict[str, str] = {"kind": "discard"}
        if destination in ("maildir", SYNCED_MAILDIR):
            transport = {"kind": "maildir", "path": "mail/{domain}/{local}"}
        elif next_hop is not None:
            transport = {"kind": "lmtp" if destination == "lmtp" else "smtp", "host": next_hop.address}
        self.server = Server(self._folder, {"transport": {"store": transport}, **(settings or {})})
        self.address = f"{HOST}:{self.server.port}"
        self.server.start()
        self._control = Control(self.server.spool)

    def processes(self) -> list[int]:
        """The supervisor and the workers."""
        return self.server.processes()

    def mark(self) -> None:
        """Make sure that the queue is empty."""
        wait_until(lambda: self.done(0), "an empty queue")

    def done(self, messages: int) -> bool:
        """Nothing accepted is unfinished."""
        return int(self._control.ask("stats")[0]["queued"]) == 0

    def close(self) -> None:
        """Stop it."""
        self._control.close()
        code = self.server.stop()
        if code:
            raise RuntimeError(f"mta ended with {code}:\n{self.server.complaints()}")
