"""Each further kind of transport in a whole `mta run`."""

import mailbox
import signal
import smtplib
from pathlib import Path
from typing import Any

from tests.support.httphop import HttpHop, answer
from tests.support.server import HOST, Server, free_port

CONTENT = b"Subject: hello\r\n\r\nHello.\r\n.dot\r\n"


def send(server: Server, *recipients: str, content: bytes = CONTENT, sender: str = "sender@example.com") -> None:
    with smtplib.SMTP(*server.address) as smtp:
        smtp.sendmail(sender, recipients, content)


def routed(transports: dict[str, Any], **routes: str) -> dict[str, Any]:
    """Settings with a route for each user, and everybody else into maildirs."""
    return {
        "transport": {"store": {"kind": "maildir", "path": "mail/{domain}/{local}"}, **transports},
        "route": [
            *({"recipients": [f"{user}@example.org"], "transport": name} for user, name in routes.items()),
            {"recipients": ["*"], "transport": "store"},
        ],
    }


def test_mbox(tmp_path: Path) -> None:
    """Several messages, one file, in a form that a reader understands."""
    box = {"kind": "mbox", "path": "boxes/{domain}/{local}"}
    with Server(tmp_path, routed({"box": box}, joe="box")) as server:
        for _ in range(3):
            send(server, "joe@example.org", "ann@example.org")
        server.wait_empty()
        assert len(server.delivered()) == 3
    found = mailbox.mbox(tmp_path / "boxes/example.org/joe", create=False).values()
    assert [each["Return-Path"] for each in found] == ["<sender@example.com>"] * 3
    assert bytes(found[0]).endswith(CONTENT.replace(b"\r\n", b"\n"))


def test_pipe(tmp_path: Path) -> None:
    """A command for each recipient; what it says is what the queue and the log tell."""
    command = tmp_path / "deliver"
    command.write_text(f'#!/bin/sh\ntest "$1" = full && {{ echo "no room"; exit 75; }}\ncat > "{tmp_path}/$1.$2"\n')
    command.chmod(0o755)
    transport = {"kind": "pipe", "command": [str(command), "{local}", "{queue_id}"]}
    with Server(tmp_path / "server", routed({"run": transport}, joe="run", full="run")) as server:
        send(server, "joe@example.org", "full@example.org", "ann@example.org")
        server.until(lambda: list(tmp_path.glob("joe.*")) and server.stats()["waiting"] == 1, "a file and a deferral")
        (file,) = tmp_path.glob("joe.*")
        assert file.suffix[1:] == server.ask("list")[0]["id"]
        server.until(lambda: len(server.delivered()) == 1, "the other recipient's file")
        waiting = server.ask("list")[0]
        assert "no room" in str(waiting)
    lines = file.read_bytes().split(b"\n")
    assert lines[:2] == [b"Return-Path: <sender@example.com>", b"Delivered-To: joe@example.org"]
    assert lines[2].startswith(b"Received: ")
    assert file.read_bytes().endswith(CONTENT.replace(b"\r\n", b"\n"))
    assert "command failed, temporary failure: no room" in server.log.read_text()


def test_http(tmp_path: Path) -> None:
    """Posted with a signature; what the server does not want now is posted again."""
    (tmp_path / "key").write_text("secret")
    with HttpHop(lambda post: answer("503 busy" if len(hop.posts) == 1 else "200 OK")) as hop:
        transport = {"kind": "http", "url": hop.url(), "key_file": str(tmp_path / "key")}
        settings = routed({"post": transport}, joe="post") | {"queue": {"retry_min_s": 0.5}}
        with Server(tmp_path / "server", settings) as server:
            send(server, "joe@example.org", "ann@example.org")
            server.wait_empty()
            assert len(server.delivered()) == 1
    first, second = hop.posts
    assert first.body == second.body
    assert first.body.startswith(b"Received: ")
    assert first.body.endswith(CONTENT)
    assert first.headers["x-mta-queue-id"] == second.headers["x-mta-queue-id"]
    assert second.headers["x-mta-recipients"] == '["joe@example.org"]'
    assert "x-mta-signature" in second.headers
    assert "503 busy" in server.log.read_text()


def test_fail(tmp_path: Path) -> None:
    """Configured words reach the log, and what is temporary waits."""
    transports = {
        "gone": {"kind": "fail", "code": "5.1.6", "text": "Moved away"},
        "later": {"kind": "fail", "code": "4.2.1", "text": "Mailbox is being moved"},
    }
    with Server(tmp_path, routed(transports, old="gone", moving="later")) as server:
        send(server, "old@example.org", "ann@example.org", sender="")
        send(server, "moving@example.org")
        server.until(lambda: server.stats()["waiting"] == 1 and len(server.delivered()) == 1, "one of each")
        assert "Mailbox is being moved" in str(server.ask("list"))
        server.until(lambda: "Moved away" in server.log.read_text(), "a line of the log")
    failed = [line for line in server.log.read_text().splitlines() if "event=failed" in line]
    assert len(failed) == 1
    assert "to=old@example.org" in failed[0]
    assert "5.1.6" in failed[0]


def test_routes_by_sender_and_listener(tmp_path: Path) -> None:
    """Mail of one listener, and bounces, go their own ways."""
    other = free_port()
    settings = {
        "listen": [],
        "transport": {
            name: {"kind": "maildir", "path": f"{name}/{{local}}"} for name in ("store", "inside", "bounced")
        },
        "route": [
            {"recipients": ["*"], "transport": "bounced", "senders": ["<>"]},
            {"recipients": ["*"], "transport": "inside", "listeners": [f"{HOST}:{other}"]},
            {"recipients": ["*"], "transport": "store"},
        ],
    }
    server = Server(tmp_path, settings)
    server.settings["listen"] = [{"address": f"{HOST}:{server.port}"}, {"address": f"{HOST}:{other}"}]
    server.write_config()
    with server:
        send(server, "a@example.org")
        send(server, "b@example.org", sender="")
        with smtplib.SMTP(HOST, other) as smtp:
            smtp.sendmail("sender@example.com", ["c@example.org"], CONTENT)
        server.wait_empty()
    found = {f"{path.parts[-4]}/{path.parts[-3]}" for path in tmp_path.glob("*/*/new/*")}
    assert found == {"store/a", "bounced/b", "inside/c"}


def test_changed_configuration_applies_to_what_waits(tmp_path: Path) -> None:
    """A route that is put right, and HUP: what waited goes the new way at its next attempt."""
    transports = {"wrong": {"kind": "pipe", "command": ["/no/such/program"]}}
    with Server(tmp_path, routed(transports, joe="wrong")) as server:
        send(server, "joe@example.org")
        server.until(lambda: server.queued() == 1 and server.stats()["waiting"] == 1, "a message that waits")
        server.settings |= routed({})
        server.write_config()
        server.signal(signal.SIGHUP)
        server.until(lambda: "event=reloaded" in server.log.read_text(), "the new configuration")
        server.until(lambda: server.queued() == 1, "the new queue manager")
        server.ask("retry", {"all": True})
        server.wait_empty()
        assert len(server.delivered()) == 1
