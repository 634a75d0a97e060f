"""Access tables and the domains of senders with the real processes: who is refused, and what the log tells."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from dns.rcode import SERVFAIL

from tests.support import asking
from tests.support.namethread import NameThread
from tests.support.server import HOST, Server, free_port

RECORDS = {"null.example MX": "0 .", "good.example MX": "10 mx.good.example.", "fail.example MX": SERVFAIL}


@pytest.fixture
def resolver() -> Iterator[NameThread]:
    with NameThread(RECORDS) as resolver:
        yield resolver


@pytest.fixture
def senders(tmp_path: Path) -> Path:
    path = tmp_path / "senders"
    path.write_text("spam.example REJECT we have had enough\nbad.example REJEKT\nfriend.null.example OK\n")
    return path


@pytest.fixture
def server(tmp_path: Path, senders: Path, resolver: NameThread) -> Iterator[Server]:
    settings = {
        "processes": {"server": 1},
        "listen": [
            {"address": f"{HOST}:{free_port()}"},
            {"address": f"{HOST}:{free_port()}", "access": {"sender": "", "sender_unknown": "ignore"}},
        ],
        "dns": {"servers": [resolver.address]},
        "access": {"sender": "senders", "sender_unknown": "refuse", "sender_null_mx": "refuse"},
        "table": {"senders": {"kind": "file", "path": str(senders)}},
    }
    with Server(tmp_path / "mta", settings) as server:
        yield server


def answer(server: Server, sender: str, recipient: str = "joe@example.org", *, listener: int = 0) -> str:
    """What the server says to RCPT."""
    port = int(server.settings["listen"][listener]["address"].rpartition(":")[2])
    return asking.answer(server, recipient, sender=sender, address=(HOST, port))


def test_senders(server: Server, resolver: NameThread) -> None:
    assert answer(server, "joe@mail.spam.example") == "550 5.7.1 we have had enough [sender-access]"
    assert answer(server, "joe@mail.spam.example", "postmaster@example.org").startswith("250 ")
    assert answer(server, "joe@bad.example") == "451 4.3.5 Error in configuration, try again later [bad-action]"
    assert resolver.asked == [], "who is refused anyway costs no look-up"
    assert answer(server, "joe@null.example").startswith("550 5.7.27 ")
    assert answer(server, "joe@friend.null.example").startswith("250 ")
    assert answer(server, "joe@none.example").startswith("550 5.1.8 ")
    assert answer(server, "joe@fail.example").startswith("450 4.1.8 ")
    assert answer(server, "").startswith("250 ")
    assert answer(server, "jane@example.org").startswith("250 ")
    for _ in range(3):
        assert answer(server, "joe@good.example").startswith("250 ")
    assert resolver.asked == [f"{name}.example MX" for name in ("null", "none", "fail", "good")], "once each"


def test_a_listener_of_its_own(server: Server, resolver: NameThread) -> None:
    assert answer(server, "joe@spam.example", listener=1).startswith("250 ")
    assert answer(server, "joe@fail.example", listener=1).startswith("250 "), "nobody knows, and that is no null MX"
    assert answer(server, "joe@null.example", listener=1).startswith("550 5.7.27 ")
    assert resolver.asked == ["spam.example MX", "fail.example MX", "null.example MX"]


def test_the_log_tells(server: Server, senders: Path) -> None:
    answer(server, "joe@spam.example")
    answer(server, "joe@bad.example")
    answer(server, "jane@bad.example")

    def lines(*words: str) -> list[str]:
        return [line for line in server.log.read_text().splitlines() if all(word in line for word in words)]

    server.until(lambda: len(lines("reason=bad-action")) == 2, "refusals in the log")
    (refused,) = lines("event=refused", "reason=sender-access")
    assert "stage=RCPT" in refused
    assert "joe@spam.example" in refused
    assert "joe@example.org" in refused
    (problem,) = lines("event=problem", "is no action")  # once, however many meet it
    assert "table=senders" in problem
    assert "key=bad.example" in problem
