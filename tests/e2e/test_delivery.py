"""Mail through a whole `mta run` into a maildir: what was sent is what lies there, behind the fields we prepend."""

import json
import re
import smtplib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.load import RawClient, Refused
from tests.support.server import Server

PREPENDED = re.compile(
    rb"Return-Path: <[^\r\n]*>\r\n"
    rb"Delivered-To: (?P<recipient>[^\r\n]*)\r\n"
    rb"(?P<received>Received: [^\r\n]*(?:\r\n[ \t][^\r\n]*)*\r\n)"
)

CONTENTS = {
    "ordinary": b"From: <a@example.com>\r\nSubject: hello\r\n\r\nHello.\r\n",
    "dots": b"Subject: dots\r\n\r\n.\r\n..\r\n.a\r\na.\r\n...\r\n",
    "dot at the start": b".Subject: a dot first\r\n\r\nbody\r\n",
    "empty": b"",
    "no header": b"\r\nonly a body\r\n",
    "no body": b"Subject: header only\r\n",
    "empty lines": b"\r\n\r\n\r\n",
    "all bytes": b"Subject: octets\r\n\r\n" + bytes(set(range(256)) - {10, 13}) + b"\r\n",
    "long line": b"Subject: long\r\n\r\n" + b"x" * 100_000 + b"\r\n",
    "large": b"Subject: large\r\n\r\n" + b"0123456789abcdef" * 4 * 16_384 + b"\r\n",
    "larger still": b"Subject: larger\r\n\r\n" + (b"line of a large message\r\n" * 200_000),
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for the whole module."""
    with Server(tmp_path_factory.mktemp("delivery")) as server:
        yield server


def collect(server: Server, user: str, count: int = 1) -> list[bytes]:
    """Wait for `count` files of a user, read and remove them."""
    folder = server.mail / "example.org" / user / "new"
    server.until(lambda: len(list(folder.glob("*"))) >= count, f"{count} files in {folder}")
    files = sorted(folder.iterdir())
    contents = [file.read_bytes() for file in files]
    for file in files:
        file.unlink()
    return contents


@pytest.mark.parametrize("name", CONTENTS)
def test_byte_for_byte(server: Server, name: str) -> None:
    """Content arrives as it was sent; in front of it stand Return-Path, Delivered-To and Received."""
    content = CONTENTS[name]
    client = RawClient(server.address)
    client.send("sender@example.com", ["user@example.org"], content)
    client.close()
    (delivered,) = collect(server, "user")
    match = PREPENDED.match(delivered)
    assert match, delivered[:500]
    assert match["recipient"] == b"user@example.org"
    assert delivered[match.end() :] == content


def test_received_field(server: Server) -> None:
    """The trace says who, by whom, how, under which queue id (the one of the 250), and when (RFC 5321 section 4.4)."""
    with smtplib.SMTP(*server.address, local_hostname="client.example.net") as smtp:
        smtp.ehlo()
        smtp.mail("sender@example.com")
        smtp.rcpt("trace@example.org")
        code, text = smtp.data(b"Subject: trace\r\n\r\n")
    assert code == 250
    (delivered,) = collect(server, "trace")
    match = PREPENDED.match(delivered)
    assert match
    received = b" ".join(match["received"].split()).decode()
    queue_id = text.split()[-1].decode()
    assert received.startswith("Received: from client.example.net ([127.0.0.1]) by mx.example.org"), received
    assert f"with ESMTP id {queue_id}" in received
    assert re.search(r"; \w{3}, \d{1,2} \w{3} \d{4} \d\d:\d\d:\d\d [+-]\d{4}$", received), received


def test_every_recipient_gets_it(server: Server) -> None:
    """One transaction, three mailboxes, one of them named twice."""
    with smtplib.SMTP(*server.address) as smtp:
        smtp.sendmail(
            "s@example.com", [f"{user}@example.org" for user in ("one", "two", "three")], b"Subject: x\r\n\r\n"
        )
    for user in ("one", "two", "three"):
        assert len(collect(server, user)) == 1


def test_null_sender(server: Server) -> None:
    """A bounce has an empty reverse-path, and keeps it."""
    with smtplib.SMTP(*server.address) as smtp:
        smtp.sendmail("", ["null@example.org"], b"Subject: bounce\r\n\r\n")
    assert collect(server, "null")[0].startswith(b"Return-Path: <>\r\n")


@pytest.mark.parametrize("recipient", ["postmaster", "Postmaster", "postmaster@example.org", "POSTMASTER@EXAMPLE.ORG"])
def test_postmaster(server: Server, recipient: str) -> None:
    """Postmaster is always there, with a domain and without (RFC 5321 section 4.5.1)."""
    client = RawClient(server.address)
    client.send("sender@example.com", [recipient], b"Subject: help\r\n\r\n")
    client.close()
    assert len(collect(server, "postmaster")) == 1


def test_foreign_domain(server: Server) -> None:
    """Mail for others is not relayed."""
    client = RawClient(server.address)
    with pytest.raises(Refused, match=r"^550 5\.7\.1"):
        client.send("sender@example.com", ["user@example.net"], b"Subject: relay\r\n\r\n")
    client.close()


def test_too_big(tmp_path: Path) -> None:
    """Over the limit: 552 behind the real end of the content, and the session goes on."""
    with Server(tmp_path, {"limits": {"message_bytes": 10_000, "large_bytes": 5_000}}) as server:
        client = RawClient(server.address)
        with pytest.raises(Refused, match=r"^552 5\.3\.4"):
            client.send(
                "s@example.com", ["user@example.org"], b"Subject: big\r\n\r\n" + b"0123456789\r\n.\n.\r\n" * 2_000
            )
        client.send("s@example.com", ["user@example.org"], b"Subject: small\r\n\r\n")
        client.close()
        assert len(collect(server, "user")) == 1


HOSTILE = [
    b"../../../../tmp/x",
    b"..",
    b".",
    b"/etc/passwd",
    b"a/../../b",
    b"a\\\\..\\\\b",
    b"{local}",
    b"{domain}",
    b"%2e%2e",
    b"~root",
    b"$(touch x)",
    b"new",
    b"a b",
    b'\\"',
    b"x" * 62,
    b"",
]


def test_hostile_local_parts(tmp_path: Path) -> None:
    """Whatever a local part holds: refused, or one file in a mailbox of its domain, and nothing anywhere else."""
    accepted = 0
    with Server(tmp_path / "inside") as server:
        with smtplib.SMTP(*server.address) as smtp:
            smtp.ehlo()
            for local in HOSTILE:
                smtp.mail("s@example.com")
                code, _ = smtp.docmd("RCPT", f'TO:<"{local.decode()}"@example.org>')
                if code == 250:
                    assert smtp.data(b"Subject: where?\r\n\r\n")[0] == 250
                    accepted += 1
                else:
                    assert 500 <= code <= 599
                    smtp.rset()
        server.wait_empty()
    files = [file.relative_to(server.mail).parts for file in server.mail.rglob("*") if file.is_file()]
    assert len(files) == accepted
    for domain, _mailbox, folder, _name in files:  # four parts, no more
        assert (domain, folder) == ("example.org", "new")
    assert {entry.name for entry in tmp_path.iterdir()} == {"inside"}
    assert {entry.name for entry in server.folder.iterdir()} <= {"mail", "spool", "mta.log", "mta.toml", "stderr"}


def test_queue_command(server: Server) -> None:
    """`mta queue stats --json` says that nothing is left."""
    server.wait_empty()
    stats = json.loads(server.command("queue", "stats", "--json"))
    assert {name: stats[name] for name in ("queued", "active", "waiting", "held", "failed")} == {
        "queued": 0,
        "active": 0,
        "waiting": 0,
        "held": 0,
        "failed": 0,
    }
