"""Access tables and the domains of senders with the real processes: who is refused, and what the log tells."""

import smtplib
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import dns.message
import dns.rdatatype
import pytest

from tests.support.nameserver import respond
from tests.support.server import HOST, Server, free_port

PATIENCE_S = 30.0
NXDOMAIN, SERVFAIL = 3, 2
MX = {"null.example": "null.example 300 IN MX 0 .", "good.example": "good.example 300 IN MX 10 mx.good.example."}


class Resolver:
    """A name server in a thread: `MX` is what there is, names that begin with fail cannot be found out."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((HOST, 0))
        self.address = f"{HOST}:{self._socket.getsockname()[1]}"
        self.asked: list[str] = []
        self._stops = False
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            wire, client = self._socket.recvfrom(4096)
            if self._stops:
                return
            query = dns.message.from_wire(wire)
            question = query.question[0]
            name = question.name.to_text(omit_final_dot=True)
            self.asked.append(f"{name} {dns.rdatatype.to_text(question.rdtype)}")
            if question.rdtype == dns.rdatatype.MX and name in MX:
                response = respond(query, MX[name])
            else:
                response = respond(query, rcode=SERVFAIL if name.startswith("fail") else NXDOMAIN)
            self._socket.sendto(response.to_wire(), client)

    def close(self) -> None:
        """The thread ends."""
        self._stops = True
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as waking:
            waking.sendto(b"", self._socket.getsockname())
        self._thread.join()
        self._socket.close()


@pytest.fixture
def resolver() -> Iterator[Resolver]:
    resolver = Resolver()
    yield resolver
    resolver.close()


@pytest.fixture
def senders(tmp_path: Path) -> Path:
    path = tmp_path / "senders"
    path.write_text("spam.example REJECT we have had enough\nbad.example REJEKT\nfriend.null.example OK\n")
    return path


@pytest.fixture
def server(tmp_path: Path, senders: Path, resolver: Resolver) -> Iterator[Server]:
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


def port(server: Server, number: int) -> int:
    return int(server.settings["listen"][number]["address"].rpartition(":")[2])


def answer(server: Server, sender: str, recipient: str = "joe@example.org", *, listener: int = 0) -> str:
    """What the server says to RCPT."""
    with smtplib.SMTP(HOST, port(server, listener), timeout=PATIENCE_S) as client:
        client.ehlo("client.example.com")
        assert client.mail(sender)[0] == 250
        code, text = client.rcpt(recipient)
        return f"{code} {text.decode()}"


def test_senders(server: Server, resolver: Resolver) -> None:
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


def test_a_listener_of_its_own(server: Server, resolver: Resolver) -> None:
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
