"""Postfix on the other side of the wire: it sends to us as a relay host, and takes from us as a next hop."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.load import RawClient
from tests.support.postfix import Postfix, missing
from tests.support.server import HOST, Server, free_port, wait_until

pytestmark = [pytest.mark.interop, pytest.mark.skipif(bool(missing()), reason=missing())]

COUNT = 100


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """A server that stores."""
    with Server(tmp_path) as server:
        yield server


@pytest.fixture
def sending(server: Server) -> Iterator[Postfix]:
    """A Postfix that sends everything to us."""
    with Postfix(free_port(), {"relayhost": f"[{HOST}]:{server.port}"}) as postfix:
        yield postfix


def bodies(server: Server, user: str) -> list[bytes]:
    """The bodies of a user's mail."""
    folder = server.mail / "example.org" / user / "new"
    return [file.read_bytes().partition(b"\r\n\r\n")[2] for file in folder.glob("*")]


def test_postfix_sends(sending: Postfix, server: Server) -> None:
    """Many messages through Postfix's queue: each arrives once, dots and 8-bit content as they were."""
    for number in range(COUNT):
        content = f"From: a@example.com\nSubject: {number}\n\n.\n..{number}\nGrüße\n".encode()
        sending.send("a@example.com", ["user@example.org"], content)
    sending.wait_empty()
    server.wait_empty()
    expected = {f".\r\n..{number}\r\nGrüße\r\n".encode() for number in range(COUNT)}
    found = bodies(server, "user")
    assert len(found) == COUNT
    assert set(found) == expected


def test_postfix_sends_to_many(sending: Postfix, server: Server) -> None:
    """One message for 120 recipients, which Postfix splits into transactions of 50."""
    sending.send("a@example.com", [f"user{number}@example.org" for number in range(120)], b"Subject: all\n\nall\n")
    sending.wait_empty()
    server.until(lambda: len(server.delivered()) == 120, "120 files")


def test_postfix_hears_a_refusal(sending: Postfix, server: Server) -> None:
    """A recipient that is not ours is bounced with our reply; the other one of the same message gets it."""
    sending.send("a@example.com", ["user@example.org", "user@example.net"], b"Subject: mixed\n\nmixed\n")
    wait_until(lambda: "550 5.7.1" in sending.log.read_text(), "our refusal in Postfix's log")
    wait_until(lambda: bodies(server, "user") == [b"mixed\r\n"], "the other recipient's copy")


def test_postfix_takes(tmp_path: Path) -> None:
    """We relay to Postfix, which stores: each message once, as it was sent."""
    postfix_port = free_port()
    settings = {
        "virtual_mailbox_domains": "example.org",
        "virtual_mailbox_maps": "static:example.org/user/",
        "virtual_transport": "virtual",
    }
    relay = {
        "transport": {"next": {"kind": "smtp", "host": f"{HOST}:{postfix_port}"}},
        "route": [{"recipients": ["*"], "transport": "next"}],
    }
    contents = [f"Subject: {number}\r\n\r\n.\r\n..{number}\r\n".encode() for number in range(COUNT)]
    with Postfix(postfix_port, settings) as postfix, Server(tmp_path, relay) as server:
        client = RawClient(server.address)
        for content in contents:
            client.send("a@example.com", ["user@example.org"], content)
        client.close()
        server.wait_empty()
        postfix.wait_empty()
        files = list((postfix.mail / "example.org" / "user" / "new").iterdir())
        found = sorted(file.read_bytes().partition(b"\n\n")[2] for file in files)
    assert found == sorted(content.partition(b"\r\n\r\n")[2].replace(b"\r\n", b"\n") for content in contents)
