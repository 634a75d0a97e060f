"""Stopping, starting again, reloading: nothing accepted is lost, nobody is refused."""

import os
import signal
import smtplib
import socket
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.support.load import Load, RawClient, audit
from tests.support.server import HOST, ROLES, Server, free_port, wait_until
from tests.support.sink import Sink

QUICK_RETRIES = {"retry_min_s": 0.5, "retry_max_s": 1.0}


def relay_settings(port: int) -> dict[str, object]:
    """Everything goes to a next hop on a local port."""
    return {
        "transport": {"next": {"kind": "smtp", "host": f"{HOST}:{port}", "connect_timeout_s": 2.0}},
        "route": [{"recipients": ["*"], "transport": "next"}],
        "queue": QUICK_RETRIES,
    }


def submit(server: Server, count: int, user: str = "user") -> None:
    """Send `count` numbered messages on one connection."""
    client = RawClient(server.address)
    for number in range(count):
        client.send("s@example.com", [f"{user}@example.org"], f"Subject: {number}\r\n\r\nbody {number}\r\n".encode())
    client.close()


def test_the_queue_survives_a_restart(tmp_path: Path) -> None:
    """The next hop is down, the server stops and starts; when the next hop is back, it gets every message once."""
    port = free_port()
    server = Server(tmp_path, relay_settings(port))
    with server:
        submit(server, 20)
        server.until(lambda: server.stats()["waiting"] > 0, "a first attempt")
        assert server.queued() == 20
    with server:
        assert server.queued() == 20
        with Sink(port) as sink:
            server.ask("retry", {"all": True})
            server.until(lambda: len(sink.messages) >= 20, "all messages at the next hop")
            server.wait_empty()
    assert len(sink.messages) == 20
    assert {message.content.partition(b"body ")[2] for message in sink.messages} == {b"%d\r\n" % n for n in range(20)}


def test_a_stop_at_once_keeps_the_queue(tmp_path: Path) -> None:
    """INT does not wait for deliveries; what was accepted is there at the next start."""
    server = Server(tmp_path)
    server.start()
    submit(server, 200)
    server.signal(signal.SIGINT)
    assert server.wait() == 0, server.complaints()
    with server:
        server.wait_empty()
    bodies = {file.read_bytes().partition(b"body ")[2] for file in server.delivered()}
    assert bodies == {b"%d\r\n" % number for number in range(200)}


def test_term_drains(tmp_path: Path) -> None:
    """A message that is under way at TERM is taken and delivered; then everything ends, with exit code 0."""
    server = Server(tmp_path)
    server.start()
    pids = server.processes()
    with smtplib.SMTP(*server.address) as smtp:
        smtp.ehlo()
        smtp.mail("s@example.com")
        smtp.rcpt("user@example.org")
        smtp.putcmd("DATA")
        assert smtp.getreply()[0] == 354
        smtp.send(b"Subject: under way\r\n\r\n")
        server.signal(signal.SIGTERM)
        wait_until(lambda: refuses(server.address), "no more connections")
        smtp.send(b"the rest\r\n.\r\n")
        assert smtp.getreply()[0] == 250
        assert smtp.getreply()[0] == 421
        smtp.close()
    assert server.wait() == 0, server.complaints()
    assert not [pid for pid in pids if os.path.exists(f"/proc/{pid}")]
    with server:
        server.wait_empty()
    (file,) = server.delivered()
    assert file.read_bytes().endswith(b"Subject: under way\r\n\r\nthe rest\r\n")


def refuses(address: tuple[str, int]) -> bool:
    """Whether a connection is refused."""
    try:
        socket.create_connection(address, 5).close()
    except ConnectionRefusedError:
        return True
    except OSError:
        return False
    return False


def test_reload_under_load(tmp_path: Path) -> None:
    """HUP replaces the workers; clients that come and go meanwhile see nothing of it."""
    with Server(tmp_path, {"processes": {"server": 2, "deliver": 1}}) as server:
        clients = [RawClient] * 4
        with Load(server.address, clients, seed=1, per_connection=1, pause_s=0.01) as load:
            for _ in range(3):
                load.ledger.wait_for(50)
                before = {role: server.children(role) for role in ROLES}
                server.signal(signal.SIGHUP)
                server.until(partial(replaced, server, before), "new workers", 60)
            load.ledger.wait_for(50)
        server.wait_empty()
    assert not load.ledger.trouble
    result = audit(load.ledger, server.mail)
    assert not result.missing
    assert not result.torn


def replaced(server: Server, before: dict[str, list[int]]) -> bool:
    """Whether no process of before is left, and as many others work instead."""
    now = {role: server.children(role) for role in ROLES}
    return all(len(now[role]) == len(before[role]) and not set(now[role]) & set(before[role]) for role in ROLES)


def test_reload_of_a_wrong_file(tmp_path: Path) -> None:
    """A faulty file is reported, and everything goes on as before."""
    with Server(tmp_path) as server:
        before = server.processes()
        good = server.config.read_text()
        server.config.write_text(good.replace("hostname", "hostnam"))
        server.signal(signal.SIGHUP)
        wait_until(lambda: "hostnam" in server.log.read_text(), "a complaint about the file")
        submit(server, 1)
        server.wait_empty()
        assert server.processes() == before


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[Server]:
    """A server with one SMTP worker."""
    with Server(tmp_path, {"processes": {"server": 1, "deliver": 1}}) as server:
        yield server


@pytest.mark.parametrize("role", ROLES)
def test_a_dead_process_is_replaced(worker: Server, role: str) -> None:
    """kill -9 of a child: another one takes its place, and mail flows."""
    (victim,) = worker.children(role)
    os.kill(victim, signal.SIGKILL)
    wait_until(lambda: worker.children(role) not in ([], [victim]), f"another {role}")
    submit(worker, 3)
    worker.wait_empty()
    assert len(worker.delivered()) == 3
