"""Real messages through SMTP: what comes out is what went in, byte for byte.

513 single messages of many mail libraries' test suites, and an archive of 6,046. They are stored with LF; over SMTP
goes CR LF, without the `From ` line of an mbox. A few have a bare CR of their own, which only the listener that keeps
them takes.
"""

import json
import random
import re
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from mta.fastparse import stuff
from tests.support import memory
from tests.support.conformance import FOLDER, needs_conformance
from tests.support.load import RawClient
from tests.support.memory import Accepted, MemoryConnection
from tests.support.server import Server

pytestmark = needs_conformance

MESSAGES = FOLDER / "messages"
ARCHIVE = MESSAGES / "spamassassin-public-corpus" / "spamassassin-public-corpus.tar.xz"
MESSAGE_BYTES = 52_428_800
ENVELOPE = b"EHLO client.example.com\r\nMAIL FROM:<joe@example.com>\r\nRCPT TO:<jane@example.org>\r\nDATA\r\n"

PREPENDED = re.compile(
    rb"Return-Path: <joe@example\.com>\r\n"
    rb"Delivered-To: m\d+@example\.org\r\n"
    rb"Received: [^\r\n]*\r\n(?:\t[^\r\n]*\r\n)*"
)


def as_sent(data: bytes) -> bytes:
    """A stored message as a client sends it: lines end in CR LF, the last one, too; no `From ` line of an mbox."""
    if data.startswith(b"From "):
        data = data.partition(b"\n")[2]
    data = re.sub(rb"(?<!\r)\n", b"\r\n", data)
    return data if data.endswith(b"\r\n") or not data else data + b"\r\n"


def single_messages() -> Iterator[tuple[str, bytes]]:
    """The messages of the index: name and content as sent."""
    for line in (MESSAGES / "INDEX.jsonl").read_text().splitlines():
        path = FOLDER / json.loads(line)["path"]
        yield path.name, as_sent(path.read_bytes())


def archived_messages() -> Iterator[tuple[str, bytes]]:
    """The messages of the archive."""
    with tarfile.open(ARCHIVE) as archive:
        for member in archive:
            file = archive.extractfile(member) if member.isfile() else None
            if file is not None:
                yield member.name, as_sent(file.read())


def has_bare_newline(content: bytes) -> bool:
    """Whether there is a CR or LF outside CR LF."""
    return re.search(rb"\r(?!\n)|(?<!\r)\n", content) is not None


def pieces(stream: bytes, rng: random.Random) -> Iterator[bytes]:
    """A stream as a network might bring it."""
    position = 0
    while position < len(stream):
        length = rng.choice((1, 2, 100, 1448, 65_536))
        yield stream[position : position + length]
        position += length


def check(listener: str, messages: Iterator[tuple[str, bytes]]) -> int:
    """Send messages over one session in memory and compare; returns how many there were."""
    rng = random.Random(5321)
    limits = {"message_bytes": MESSAGE_BYTES, "messages": 10_000}
    connection = MemoryConnection(memory.door({"bare_newlines": listener, "refuse_early": [], "limits": limits}))
    count = 0
    for name, content in messages:
        count += 1
        connection.receive(ENVELOPE)
        said = b"".join(connection.receive(piece) for piece in pieces(stuff(content), rng))
        if listener == "refuse" and has_bare_newline(content):
            assert said.startswith(b"550 5.5.2 "), name
            assert connection.accepted == [], name
            continue
        assert said.startswith(b"250 2.0.0 "), name
        expected = Accepted(b"joe@example.com", (b"jane@example.org",), content)
        assert connection.accepted == [expected], name
        connection.accepted.clear()
    return count


@pytest.mark.parametrize("listener", ["refuse", "keep"])
def test_single_messages_in_memory(listener: str) -> None:
    assert check(listener, single_messages()) == 513


def test_archive_in_memory() -> None:
    assert check("keep", archived_messages()) == 6046


def through_server(folder: Path, messages: Iterator[tuple[str, bytes]]) -> int:
    """Send messages to a whole server, each to a recipient of its own, and compare what lies in the maildirs."""
    sent: list[tuple[str, bytes]] = []
    server = Server(folder)
    server.settings["listen"][0]["bare_newlines"] = "keep"
    server.write_config()
    with server:
        client = RawClient(server.address)
        for name, content in messages:
            client.send("joe@example.com", [f"m{len(sent)}@example.org"], content)
            sent.append((name, content))
        client.close()
        server.wait_empty()
    for number, (name, content) in enumerate(sent):
        files = list((server.mail / "example.org" / f"m{number}" / "new").iterdir())
        assert len(files) == 1, name
        stored = files[0].read_bytes()
        match = PREPENDED.match(stored)
        assert match is not None, (name, stored[:300])
        assert stored[match.end() :] == content, name
    return len(sent)


def test_single_messages_into_maildirs(tmp_path: Path) -> None:
    assert through_server(tmp_path, single_messages()) == 513


@pytest.mark.interop
def test_archive_into_maildirs(tmp_path: Path) -> None:
    assert through_server(tmp_path, archived_messages()) == 6046
