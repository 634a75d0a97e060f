"""Relaying to Postfix's smtp-sink, in each of the moods it has."""

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.deliveries import FakeMessage, mail
from tests.support.relaying import Kind, Relaying
from tests.support.server import HOST, free_port, wait_until

SINK = shutil.which("smtp-sink", path="/usr/sbin:/usr/bin:/bin")
pytestmark = [
    pytest.mark.interop,
    pytest.mark.skipif(SINK is None, reason="smtp-sink is not installed: apt-get install postfix"),
]

CONTENT = b"Subject: x\r\n\r\n" + b".dot\r\n..\r\n.\r\nGr\xc3\xbc\xc3\x9fe\r\n" * 50
COUNT = 50


class Sink:
    """A running smtp-sink that keeps each message in a file below `folder`."""

    def __init__(self, folder: Path, *options: str, host: str = "") -> None:
        assert SINK
        self._folder = folder
        self.host = host or f"{HOST}:{free_port()}"
        user = ("-u", "root") if os.geteuid() == 0 else ()  # it insists on being told; the folder is root's
        self._process = subprocess.Popen([SINK, *user, *options, "-d", f"{folder}/%M.", self.host, "100"])
        wait_until(self._listening, "smtp-sink listens")

    def contents(self) -> list[bytes]:
        """What it took: behind the fields with the envelope that it adds."""
        texts = [path.read_bytes() for path in self._folder.iterdir()]
        return [b"Subject: x" + text.partition(b"Subject: x")[2] for text in texts]

    def close(self) -> None:
        """Stop it."""
        self._process.terminate()
        self._process.wait()

    def _listening(self) -> bool:
        name, port = self.host.split(":")
        with socket.socket() as probe:
            return probe.connect_ex((name, int(port))) == 0


@pytest.fixture
def relaying() -> Iterator[Relaying]:
    """A transport; its works have a recipient or two."""
    made = Relaying()
    made.messages = {1: FakeMessage(mail("joe@example.org", "jim@example.org"), CONTENT)}
    yield made
    made.close()


@pytest.mark.parametrize("kind", ["smtp", "lmtp"])
@pytest.mark.parametrize(
    "options", [(), ("-p",), ("-8",), ("-E",), ("-e",), ("-w", "1")], ids=lambda options: " ".join(options) or "plain"
)
def test_content_arrives(relaying: Relaying, tmp_path: Path, kind: Kind, options: tuple[str, ...]) -> None:
    """With and without PIPELINING, 8BITMIME, enhanced codes, EHLO, and with a second's delay before the end's reply."""
    if kind == "lmtp" and "-e" in options:
        pytest.skip("LMTP has no HELO")
    sink = Sink(tmp_path, *(["-L"] if kind == "lmtp" else []), *options)
    try:
        relaying.use(sink.host, kind=kind)
        outcomes = relaying.deliver(*[(1, (0, 1))] * COUNT)
    finally:
        sink.close()
    assert [outcome.results for outcome in outcomes] == [()] * COUNT
    # smtp-sink writes lines with LF, and one more at the end.
    assert {content.rstrip(b"\n") for content in sink.contents()} == {CONTENT.replace(b"\r\n", b"\n").rstrip(b"\n")}
    assert len(sink.contents()) == COUNT


REFUSING = [("CONNECT", True), ("EHLO,HELO", True), ("MAIL", False), ("RCPT", False), ("DATA", False), (".", False)]


@pytest.mark.parametrize(("commands", "down"), REFUSING)
@pytest.mark.parametrize(("option", "status"), [("-r", 4), ("-f", 5)])
@pytest.mark.parametrize("plain", [(), ("-p",)], ids=["pipelining", "plain"])
def test_refusals(
    relaying: Relaying, tmp_path: Path, commands: str, down: bool, option: str, status: int, plain: tuple[str, ...]
) -> None:
    """Soft (-r) and hard (-f) errors. A destination that refuses us as such only defers."""
    sink = Sink(tmp_path, option, commands, *plain)
    try:
        relaying.use(sink.host)
        (outcome,) = relaying.deliver((1, (0, 1)))
    finally:
        sink.close()
    assert [result.status for result in outcome.results] == [4 if down else status] * 2
    assert outcome.destination_down == down


@pytest.mark.parametrize(("commands", "down"), [("CONNECT", True), ("EHLO", True), *REFUSING[2:]])
def test_drops(relaying: Relaying, tmp_path: Path, commands: str, down: bool) -> None:
    """It closes instead of answering (-q)."""
    sink = Sink(tmp_path, "-q", commands)
    try:
        relaying.use(sink.host)
        (outcome,) = relaying.deliver((1, (0, 1)))
    finally:
        sink.close()
    assert [result.status for result in outcome.results] == [4, 4]
    assert outcome.destination_down == down


def test_a_sink_that_is_started_again_is_found_again(relaying: Relaying, tmp_path: Path) -> None:
    """An idle connection dies with its server, and the mail after that does not suffer."""
    sink = Sink(tmp_path)
    relaying.use(sink.host)
    assert relaying.one() == []
    sink.close()
    (outcome,) = relaying.deliver((1, (0,)))
    assert outcome.destination_down
    sink = Sink(tmp_path, host=sink.host)
    try:
        assert relaying.one() == []
    finally:
        sink.close()
