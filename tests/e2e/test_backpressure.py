"""A transport that takes nothing: when as much waits for it as may, its recipients are put off, and nobody else's."""

import contextlib
import fcntl
import os
import signal
import smtplib
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.support.server import HOST, Server
from tests.support.sink import Sink

LIMIT = 5
PUT_OFF = (451, b"4.4.5 Too much mail is waiting for the recipient, try again later [sink-full]")


@contextlib.contextmanager
def hanging() -> Iterator[int]:
    """A next hop that lets itself be connected to and says nothing; its port."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((HOST, 0))
        listener.listen(128)
        yield int(listener.getsockname()[1])


def settings(port: int, limit: int = LIMIT) -> dict[str, Any]:
    return {
        "domains": {"local": ["slow.example", "fast.example"]},
        "transport": {
            "slow": {"kind": "smtp", "host": f"{HOST}:{port}", "queue_limit": limit, "timeout_s": 2.0},
            "fast": {"kind": "maildir", "path": "mail/{local}"},
        },
        "route": [
            {"recipients": ["*@slow.example"], "transport": "slow"},
            {"recipients": ["*"], "transport": "fast"},
        ],
        "queue": {"retry_min_s": 0.5, "retry_max_s": 1.0},
        "processes": {"server": 2},
        "bounces": {"send": False},
    }


@contextlib.contextmanager
def client(server: Server) -> Iterator[smtplib.SMTP]:
    """A session in which MAIL has been said."""
    with smtplib.SMTP(*server.address, "client.example.com", timeout=30) as it:
        it.ehlo()
        assert it.mail("from@example.com")[0] == 250
        yield it


def is_put_off(server: Server) -> bool:
    with client(server) as it:
        code, text = it.rcpt("user@slow.example")
        assert (code, text) == PUT_OFF or code == 250
        return code != 250


def fill(server: Server, count: int) -> None:
    for _ in range(count):
        with client(server) as it:
            assert it.rcpt("user@slow.example")[0] == 250
            assert it.data(b"Subject: one\r\n\r\nbody\r\n")[0] == 250


def delivered(server: Server, name: str) -> int:
    return len(list((server.mail / name / "new").glob("*")))


def test_a_sink_that_hangs(tmp_path: Path) -> None:
    """From the first message to the last: full, others are served, a copy is put off, more is allowed, it recovers."""
    with hanging() as port:
        server = Server(tmp_path, settings(port))
        server.start()
        fill(server, LIMIT)
        server.until(lambda: is_put_off(server), "the transport is full")
        stats = server.stats()
        assert stats["full"] == ["slow"]
        assert stats["loads"]["slow"] == LIMIT
        with client(server) as it:  # one transaction, two recipients
            assert it.rcpt("user@slow.example") == PUT_OFF
            assert it.rcpt("user@fast.example")[0] == 250
            assert it.data(b"Subject: two\r\n\r\nbody\r\n")[0] == 250
        server.until(lambda: delivered(server, "user") == 1, "the other recipient has the message")

        (qmgr,) = server.children("qmgr")
        os.kill(qmgr, signal.SIGKILL)  # its successor says the same
        server.until(lambda: server.children("qmgr") not in ([qmgr], []), "there is another queue manager")
        server.until(lambda: is_put_off(server), "the transport is full again")

        server.settings |= settings(port, 2 * LIMIT)
        server.write_config()
        server.signal(signal.SIGHUP)
        server.until(lambda: "event=reloaded" in server.log.read_text(), "the limit is raised")
        server.until(lambda: not is_put_off(server), "more may wait")
        fill(server, LIMIT)
        server.until(lambda: is_put_off(server), "that much waits")
    with Sink(port) as sink:
        server.until(lambda: not is_put_off(server), "the transport takes mail again")
        server.until(lambda: server.stats()["queued"] == 0, "all is delivered")
        assert len(sink.messages) >= 2 * LIMIT
    assert server.stats()["full"] == []
    text = server.log.read_text()
    assert "event=sink_full transport=slow" in text
    assert "event=sink_relieved transport=slow" in text
    assert server.stop() == 0


def test_without_a_queue_manager_nothing_is_full(tmp_path: Path) -> None:
    with hanging() as port:
        server = Server(tmp_path, settings(port))
        with server:
            fill(server, LIMIT)
            server.until(lambda: is_put_off(server), "the transport is full")
            (qmgr,) = server.children("qmgr")
            with (server.spool / "qmgr" / "lock").open("wb") as lock:
                os.kill(qmgr, signal.SIGKILL)
                fcntl.flock(lock, fcntl.LOCK_EX)  # its successor waits for us
                server.until(lambda: not is_put_off(server), "nobody says that it is full")
            server.until(lambda: is_put_off(server), "somebody does again")
