"""Notifications in a whole `mta run`: they come back into the maildir of the sender."""

import email
import re
import smtplib
import socketserver
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from flufl.bounce import all_failures

from tests.support.server import Server


class RefusingHop(socketserver.StreamRequestHandler):
    """A next hop that does not know joe, and takes what is for others."""

    def handle(self) -> None:
        """Serve one connection."""
        self.wfile.write(b"220 hop.example\r\n")
        while line := self.rfile.readline():
            verb = line[:4].upper()
            if verb == b"RCPT" and b"joe" in line:
                self.wfile.write(b"550 5.1.1 there is no joe here\r\n")
            elif verb == b"DATA":
                self.wfile.write(b"354 go on\r\n")
                while self.rfile.readline() != b".\r\n":
                    pass
                self.wfile.write(b"250 2.0.0 ok\r\n")
            else:
                self.wfile.write(b"250 2.0.0 ok\r\n")


@pytest.fixture
def hop() -> Iterator[str]:
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), RefusingHop) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def test_refused_recipient_comes_back(tmp_path: Path, hop: str) -> None:
    settings = {
        "domains": {"local": ["example.org", "hop.example"]},
        "transport": {
            "store": {"kind": "maildir", "path": "mail/{domain}/{local}"},
            "hop": {"kind": "smtp", "host": hop},
        },
        "route": [
            {"recipients": ["*@hop.example"], "transport": "hop"},
            {"recipients": ["*@example.org"], "transport": "store"},
        ],
    }
    content = b"Message-ID: <1@example.org>\r\nSubject: to joe\r\n\r\nHello.\r\n"
    with Server(tmp_path, settings) as server:
        with smtplib.SMTP(*server.address) as smtp:
            smtp.sendmail("me@example.org", ["joe@hop.example", "ann@hop.example"], content, ["RET=FULL", "ENVID=abc"])
            smtp.sendmail("me@elsewhere.example", ["joe@hop.example"], content)
        server.wait_empty()
        assert server.stats()["bounces"] == {"sent": 1, "dropped": 0}
        assert server.stats()["failed"] == 1, "whom no route leads to cannot be told"
        (file,) = server.delivered()
        with smtplib.SMTP(*server.address) as smtp:
            smtp.sendmail("you@example.org", ["ann@hop.example"], content, rcpt_options=["NOTIFY=SUCCESS"])
        server.wait_empty()
        (relayed,) = set(server.delivered()) - {file}
        assert server.stats()["failed"] == 1
    assert relayed.parent == server.mail / "example.org" / "you" / "new"
    assert "Action: relayed\n" in relayed.read_text()
    assert f"Remote-MTA: dns; {hop}\n" in relayed.read_text()
    assert file.parent == server.mail / "example.org" / "me" / "new"
    data = file.read_bytes()
    assert data.startswith(b"Return-Path: <>\r\nDelivered-To: me@example.org\r\nFrom: ")
    message = email.message_from_bytes(data)
    assert all_failures(message) == (set(), {b"joe@hop.example"})
    assert message["References"] == "<1@example.org>"
    about, joe = [block for block in message.get_payload(1).get_payload() if block.keys()]
    assert about["Reporting-MTA"] == "dns; mx.example.org"
    assert about["Original-Envelope-Id"] == "abc"
    assert joe["Status"] == "5.1.1"
    assert joe["Remote-MTA"] == f"dns; {hop}"
    assert joe["Diagnostic-Code"].startswith("smtp; 550 5.1.1 ")
    assert "there is no joe here" in joe["Diagnostic-Code"].replace("\r\n", "")
    assert content in data
    said = server.log.read_text()
    bounced = re.search(r"event=bounced queue=(\w+) session=\S+ bounce=(\w+) kind=failure to=me@example.org", said)
    assert bounced is not None
    assert bounced[1] == about["X-mta-Queue-ID"]
    assert re.search(rf"event=delivered queue={bounced[2]} ", said)
    assert re.search(r'event=not_bounced .*to=me@elsewhere.example recipients=1 reason="there is no route', said)
