"""A node hands its queue to a Postfix that relays for it, which knows nothing of hand-overs."""

import smtplib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.postfix import Postfix, missing
from tests.support.server import HOST, Server, free_port, wait_until

pytestmark = [pytest.mark.interop, pytest.mark.skipif(bool(missing()), reason=missing())]

SETTINGS = {
    "virtual_mailbox_domains": "example.org, example.net",
    "virtual_mailbox_maps": "static:all/",
    "virtual_transport": "virtual",
    "mynetworks": "127.0.0.0/8",
}
COUNT = 20


@pytest.fixture(scope="module")
def postfix() -> Iterator[Postfix]:
    """A Postfix that stores what it gets in one mailbox."""
    with Postfix(free_port(), SETTINGS) as postfix:
        yield postfix


def test_everything_arrives(tmp_path: Path, postfix: Postfix) -> None:
    """Waiting and held messages; and it tells the sender who asked to hear of success, as it has DSN."""
    settings = {
        "transport": {"next": {"kind": "smtp", "host": f"{HOST}:{free_port()}", "connect_timeout_s": 2.0}},
        "route": [{"recipients": ["*"], "transport": "next"}],
        "queue": {"retry_min_s": 3600.0, "retry_max_s": 3600.0},
    }
    server = Server(tmp_path, settings)
    server.start()
    try:
        with smtplib.SMTP(*server.address) as smtp:
            for number in range(COUNT):
                options = ["NOTIFY=SUCCESS"] if not number else []
                content = b"Subject: %d\r\n\r\n.body\r\n" % number
                smtp.sendmail(f"{number}@example.net", ["ann@example.org"], content, [], options)
        server.until(lambda: server.stats()["waiting"] == COUNT, "first attempts")
        server.command("queue", "hold", "--sender", "1@*")
        assert "the queue is empty" in server.command("drain", "--to", f"{HOST}:{postfix.port}")
        assert server.wait() == 0
    finally:
        if server.process is not None and server.process.poll() is None:
            server.kill()
    folder = postfix.mail / "all" / "new"
    wait_until(lambda: len(list(folder.glob("*"))) == COUNT + 1, "all files, and a notification")
    found = [path.read_text() for path in folder.glob("*")]
    reports = [text for text in found if "multipart/report" in text]
    arrived = [text for text in found if text.endswith("\n\n.body\n")]
    subjects = [text.partition("\nSubject: ")[2].split("\n")[0] for text in arrived]
    assert sorted(map(int, subjects)) == list(range(COUNT))
    assert len(reports) == 1
    assert "Final-Recipient: rfc822; ann@example.org" in reports[0]
