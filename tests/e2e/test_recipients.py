"""Aliases, further domains, routes by a table and copies in a whole `mta run`, from RCPT to the files."""

import smtplib
from pathlib import Path
from typing import Any

from tests.support.asking import answer
from tests.support.server import HOST, Server, free_port
from tests.support.sink import Sink

CONTENT = b"Subject: hello\r\n\r\nHello.\r\n"
WHERE = Path(__file__).with_suffix(".where")  # has a value that is no transport: in a file that may happen


def send(server: Server, *recipients: str) -> dict[str, tuple[int, bytes]]:
    """Send one message; returns who was refused."""
    with smtplib.SMTP(*server.address) as smtp:
        return smtp.sendmail("sender@example.com", recipients, CONTENT)


def places(server: Server) -> list[str]:
    """The mailboxes that have mail, one for each file."""
    return sorted(str(path.parent.parent.relative_to(server.mail)) for path in server.delivered())


def settings(**more: Any) -> dict[str, Any]:
    maildir = {"kind": "maildir"}
    return {
        "processes": {"server": 1},
        "domains": {
            "local": ["example.org"],
            "recipients": "users",
            "aliases": "aliases",
            "table": "domains",
            "extension": "+",
        },
        "table": {
            "users": {"kind": "inline", "entries": [f"{name}@example.org" for name in ("joe", "ann", "vip", "lost")]},
            "domains": {"kind": "inline", "entries": ["virtual.example", "bare.example"]},
            "aliases": {
                "kind": "inline",
                "entries": [
                    "all@example.org ann@example.org, joe@example.org, vip@example.org gone@example.org",
                    "@virtual.example @example.org",
                    "loop@example.org pool@example.org",
                    "pool@example.org loop@example.org",
                    "out@example.org somebody@nowhere.example",
                ],
            },
            "where": {"kind": "file", "path": str(WHERE)},
        },
        "transport": {
            "store": maildir | {"path": "mail/store/{local}"},
            "fast": maildir | {"path": "mail/fast/{local}"},
            "archive": maildir | {"path": "mail/archive"},
        },
        "route": [
            {"recipients": ["*@example.org"], "table": "where"},
            {"recipients": ["*@example.org"], "transport": "store", "copy_to": ["archive"]},
        ],
        **more,
    }


def test_everybody_comes_to_where_they_should(tmp_path: Path) -> None:
    with Server(tmp_path, settings()) as server:
        assert send(server, "all@example.org", "JOE@example.org", "all@virtual.example") == {}
        server.wait_empty()
        assert places(server) == ["archive", "archive", "fast/vip", "store/ann", "store/joe"]
        assert send(server, "joe+lists@virtual.example") == {}
        server.wait_empty()
        assert "store/joe+lists" in places(server)
    text = server.log.read_text()
    assert "event=expanded" in text
    assert "an alias leads to an address that does not exist" in text


def test_who_comes_to_nobody_is_refused(tmp_path: Path) -> None:
    with Server(tmp_path, settings()) as server:
        assert answer(server, "nobody@example.org").startswith("550 5.1.1 ")
        assert answer(server, "nobody@virtual.example").startswith("550 5.1.1 ")
        assert answer(server, "joe@other.example").startswith("550 5.7.1 ")
        assert answer(server, "somebody@nowhere.example").startswith("550 5.7.1 ")
        assert answer(server, "loop@example.org").startswith("451 4.4.6 ")
        assert answer(server, "out@example.org").startswith("451 4.3.5 ")
        assert answer(server, "lost@example.org").startswith("451 4.3.5 ")
        assert answer(server, "postmaster@bare.example").startswith("451 4.3.5 ")
        assert server.queued() == 0
    text = server.log.read_text()
    assert "loop@example.org -> pool@example.org -> loop@example.org" in text
    assert "[table.where] names a transport that there is not" in text
    assert "there is no route for a recipient" in text


def test_a_copy_survives_a_crash_and_is_all_that_is_left(tmp_path: Path) -> None:
    """The archive is away while the machine goes down: what was delivered stays delivered, the copy comes later."""
    port = free_port()
    archive = {"kind": "smtp", "host": f"{HOST}:{port}", "connect_timeout_s": 2.0, "tls": "none"}
    transports = settings()["transport"] | {"archive": archive}
    server = Server(tmp_path, settings(transport=transports))
    with server:
        assert send(server, "joe@example.org", "ann@example.org") == {}
        server.until(lambda: len(server.delivered()) == 2 and server.stats()["waiting"] == 1, "the mailboxes")
        (message,) = server.ask("list")
        assert message["recipients"] == 2
        _, *each = server.ask("show", {"id": message["id"]})
        told = [(one["state"], one["transport"], one["copy"]) for one in each]
        assert told == [("delivered", "store", False), ("waiting", "archive", True)] * 2
        assert server.stats()["bounces"]["sent"] == 0
        server.kill()
        server.start()
        with Sink(port) as sink:
            server.ask("retry", {"all": True})
            server.until(lambda: sink.messages, "the copy")
            server.wait_empty()
        assert len(server.delivered()) == 2
    (copy,) = sink.messages  # for all recipients
    assert sorted(copy.recipients) == [b"ann@example.org", b"joe@example.org"]
    assert copy.sender == b"sender@example.com"


def test_a_copy_that_cannot_be_made_is_nothing_to_the_sender(tmp_path: Path) -> None:
    transports = settings()["transport"] | {"archive": {"kind": "fail"}}
    with Server(tmp_path, settings(transport=transports)) as server:
        assert send(server, "joe@example.org") == {}
        server.until(lambda: server.stats()["failed"] == 1, "the copy's failure")
        assert places(server) == ["store/joe"]
        assert server.stats()["bounces"] == {"sent": 0, "dropped": 0}
        (message,) = server.ask("list", {"state": "failed"})
        assert [one["copy"] for one in server.ask("show", {"id": message["id"]})[1:]] == [False, True]
        assert server.ask("delete", {"ids": [message["id"]]})[0]["count"] == 1
        server.wait_empty()
