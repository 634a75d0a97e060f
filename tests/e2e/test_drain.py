"""`mta drain` with real processes: no new mail, and an end when there is none left."""

import json
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from mta.errors import IpcError
from tests.support.load import RawClient
from tests.support.server import HOST, ROOT, Server, free_port
from tests.support.sink import Sink

BODY = b"Subject: %d\r\n\r\nbody %d\r\n"


def start_drain(server: Server, *words: str) -> subprocess.Popen[str]:
    arguments = [sys.executable, "-m", "mta", "drain", *words, "-c", str(server.config)]
    return subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=ROOT)


def drain(server: Server, *words: str, code: int = 0) -> list[str]:
    """Run `mta drain` to its end; the lines that it prints."""
    said = start_drain(server, *words)
    text, _ = said.communicate(timeout=60)
    assert said.returncode == code, (text, server.complaints())
    return text.splitlines()


def queue(server: Server, *words: str) -> dict[str, Any]:
    return dict(json.loads(server.command("queue", *words, "--json").splitlines()[0]))


def submit(server: Server, count: int, first: int = 0) -> None:
    client = RawClient(server.address)
    for number in range(first, first + count):
        client.send(f"{number}@example.com", [f"user{number}@example.org"], BODY % (number, number))
    client.close()


def is_in_force(server: Server) -> bool:
    try:
        seen = server.stats()
    except IpcError:
        return False
    return bool(seen["draining"] and seen["swept"] and not seen["active"])


def is_refused(server: Server) -> bool:
    try:
        socket.create_connection(server.address, timeout=5).close()
    except ConnectionRefusedError:
        return True
    return False


class Hop:
    """A server whose next hop is not there yet, and where that is to be."""

    def __init__(self, folder: Path, retry_s: float) -> None:
        self.port = free_port()
        self.server = Server(
            folder,
            {
                "transport": {"next": {"kind": "smtp", "host": f"{HOST}:{self.port}", "connect_timeout_s": 2.0}},
                "route": [{"recipients": ["*"], "transport": "next"}],
                "queue": {"retry_min_s": retry_s, "retry_max_s": retry_s},
                "bounces": {"send": False},
            },
        )

    def fill(self, count: int) -> None:
        submit(self.server, count)
        self.server.until(lambda: self.server.stats()["waiting"] == count, "a first attempt")


@pytest.fixture
def hop(tmp_path: Path) -> Hop:
    return Hop(tmp_path, 3600.0)


def test_to_empty(hop: Hop) -> None:
    """What waits is tried at once, nothing new is taken, and the end is said by exit codes."""
    server = hop.server
    server.start()
    hop.fill(5)
    with Sink(hop.port) as sink:
        lines = drain(server)
    assert lines[-1] == "the queue is empty, and mta has ended"
    assert server.wait() == 0
    assert len(sink.messages) == 5
    assert "event=drained" in server.log.read_text()
    assert drain(server)[-1] == "the queue is empty, and mta has ended", "asked again, of a node that is empty"
    server.start()  # the order stays: a node that was to go takes no mail because somebody starts it
    assert server.wait() == 0
    assert drain(server, "--cancel") == ["mail is taken when mta is started"]
    with server, Sink(hop.port) as sink:
        submit(server, 1)
        server.wait_empty()
    assert len(sink.messages) == 1


def test_restart_and_cancel(hop: Hop) -> None:
    """An order holds over a restart, and until it is taken back."""
    server = hop.server
    with server:
        hop.fill(2)
        drain(server, "--timeout", "0s", code=75)
        server.until(lambda: is_in_force(server), "the order in force")
        told = drain(server, "--timeout", "0s", "--json", code=75)
        last = json.loads(told[-1])
        assert (last["left"], last["draining"]) == (2, "deliver")  # they wait, or are tried at this moment
        server.until(lambda: server.stats()["waiting"] == 2, "both wait")
        assert is_refused(server)
        server.stop()
        server.start()
        assert is_refused(server)
        assert server.stats()["draining"] == "deliver"
        count = server.log.read_text().count("event=reloaded")
        server.signal(signal.SIGHUP)
        server.until(lambda: server.log.read_text().count("event=reloaded") > count, "a reload")
        assert is_refused(server)
        assert drain(server, "--cancel") == ["mail is taken again"]
        assert server.stats()["draining"] == ""
        submit(server, 1, first=2)
        server.until(lambda: server.stats()["waiting"] == 3, "the message that came after the order")
        assert drain(server, "--cancel") == ["there was no order to drain; mail is taken again"]
        with Sink(hop.port) as sink:
            assert queue(server, "retry", "--all")["count"] == 3
            server.wait_empty()
        assert len(sink.messages) == 3


def test_held_and_failed_do_not_go(hop: Hop) -> None:
    """They are named, and the node ends when somebody has dealt with them."""
    server = hop.server
    server.start()
    hop.fill(3)
    held = queue(server, "list", "--sender", "0@example.com")["id"]
    failed = queue(server, "list", "--sender", "1@example.com")["id"]
    queue(server, "hold", held)
    queue(server, "expire", failed)
    with Sink(hop.port) as sink:
        lines = drain(server, "--json", code=1)
        told = [json.loads(line) for line in lines]
        assert told[-3]["end"] == "nothing but this is left: 2 left (held 1, failed 1)"
        assert [(item["id"], item["state"]) for item in told[-2:]] == [(held, "held"), (failed, "failed")]
        assert server.process is not None
        assert server.process.poll() is None
        queue(server, "release", held)
        queue(server, "delete", failed)
        assert server.wait() == 0
    assert sorted(taken.sender for taken in sink.messages) == [b"0@example.com", b"2@example.com"]


def test_clients_at_work_finish(hop: Hop) -> None:
    """A message that is being sent when the order comes is taken, and delivered before the end."""
    server = hop.server
    server.start()
    with Sink(hop.port) as sink, socket.create_connection(server.address) as client:
        lines = client.makefile("rb")
        for command in (b"", b"EHLO a\r\n", b"MAIL FROM:<a@example.com>\r\n", b"RCPT TO:<b@example.org>\r\n"):
            client.sendall(command)
            while lines.readline()[3:4] == b"-":
                pass
        client.sendall(b"DATA\r\n")
        assert lines.readline().startswith(b"354")
        draining = start_drain(server)
        server.until(lambda: is_refused(server), "an end of taking mail")
        client.sendall(b"Subject: late\r\n\r\nand welcome\r\n.\r\n")
        assert lines.readline().startswith(b"250 2.0.0")
        assert draining.wait(60) == 0
    assert server.wait() == 0
    assert [taken.sender for taken in sink.messages] == [b"a@example.com"]


def test_cancelled_while_clients_finish(hop: Hop) -> None:
    """The order is taken back before it was worked to the end: when that is said, clients are let in."""
    server = hop.server
    with server, socket.create_connection(server.address) as client:
        lines = client.makefile("rb")
        for command in (b"", b"EHLO a\r\n", b"MAIL FROM:<a@example.com>\r\n"):
            client.sendall(command)
            while lines.readline()[3:4] == b"-":
                pass
        draining = start_drain(server)
        server.until(lambda: is_refused(server), "an end of taking mail")
        draining.kill()
        draining.wait()
        leaving = threading.Timer(1.0, client.sendall, [b"QUIT\r\n"])
        leaving.start()
        assert drain(server, "--cancel") == ["mail is taken again"]
        assert not is_refused(server)
        leaving.join()


def test_order_while_mta_does_not_run(hop: Hop) -> None:
    """It is written down, and carried out at the next start."""
    server = hop.server
    with server:
        hop.fill(1)
    assert "goes on when it is started" in drain(server, code=75)[-1]
    with Sink(hop.port) as sink:
        server.start()
        assert server.wait() == 0
    assert len(sink.messages) == 1


def test_what_is_no_peer(hop: Hop) -> None:
    for peer in ("nowhere", "host:0", "a b:25"):
        assert "--to" in drain(hop.server, "--to", peer, code=64)[-1]
    drain(hop.server, "--to", f"{HOST}:1", "--cancel", code=64)
    drain(hop.server, code=75)
