"""`mta queue` with real processes: orders, and what they do to mail; the same while mta does not run."""

import json
import smtplib
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.support.load import RawClient
from tests.support.server import HOST, Server, free_port
from tests.support.sink import Sink

BODY = b"Subject: %d\r\n\r\nbody %d\r\n.dots\r\n"


def settings(port: int, other: int) -> dict[str, object]:
    """Mail for example.org goes to a next hop, and another next hop stands by."""
    return {
        "transport": {
            "next": {"kind": "smtp", "host": f"{HOST}:{port}", "connect_timeout_s": 2.0},
            "other": {"kind": "smtp", "host": f"{HOST}:{other}", "connect_timeout_s": 2.0},
        },
        "route": [{"recipients": ["*"], "transport": "next"}],
        "queue": {"retry_min_s": 0.5, "retry_max_s": 1.0},
        "bounces": {"send": False},
    }


def command(server: Server, *words: str, code: int = 0) -> list[str]:
    """Run `mta queue`; the lines that it prints."""
    return server.command("queue", *words, code=code).split("\n")[:-1]


def listed(server: Server, *words: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in command(server, "list", "--json", *words)]


def ordered(server: Server, *words: str) -> int:
    (line,) = command(server, *words, "--json")
    return int(json.loads(line)["count"])


def submit(server: Server, count: int) -> None:
    client = RawClient(server.address)
    for number in range(count):
        client.send(f"{number}@example.com", [f"user{number}@example.org"], BODY % (number, number))
    client.close()


@pytest.fixture
def server(tmp_path: Path) -> Server:
    """A server whose next hops are not there yet; `ports` are theirs."""
    ports = (free_port(), free_port())
    it = Server(tmp_path, settings(*ports))
    it.ports = ports  # type: ignore[attr-defined]
    return it


def check_cat(server: Server, queue_id: str) -> None:
    text = "\n".join([*command(server, "cat", queue_id), ""])
    assert text.startswith("Received: from ")
    assert f" id {queue_id}" in text
    assert text.endswith("Subject: 1\r\n\r\nbody 1\r\n.dots\r\n")
    assert "\n".join([*command(server, "cat", "--header", queue_id), ""]) == text[: text.index("\r\n\r\n") + 2]
    assert command(server, "cat", "--body", queue_id) == ["body 1\r", ".dots\r"]
    (line,) = command(server, "cat", "--envelope", "--json", queue_id)
    envelope = json.loads(line)
    assert (envelope["sender"], envelope["recipients"]) == ("1@example.com", ["user1@example.org"])
    command(server, "cat", "123", code=1)


def test_orders(server: Server) -> None:
    """Hold, release, move, expire, delete: what is held is not delivered, what is released is, where it is sent to."""
    with server:
        submit(server, 10)
        server.until(lambda: server.stats()["waiting"] == 10, "a first attempt")
        assert ordered(server, "hold", "--all") == 10
        ids = {item["sender"]: item["id"] for item in listed(server, "--state", "held")}
        assert len(ids) == 10
        check_cat(server, ids["1@example.com"])
        with Sink(server.ports[0]) as sink, Sink(server.ports[1]) as other:  # type: ignore[attr-defined]
            assert ordered(server, "retry", "--all") == 0
            assert ordered(server, "release", "--sender", "0@*") == 1
            server.until(lambda: len(sink.messages) == 1, "the released message")
            assert ordered(server, "move", "--to", "other", "--recipient", "user1@example.org") == 1
            assert [item["id"] for item in listed(server, "--transport", "other")] == [ids["1@example.com"]]
            command(server, "release", ids["1@example.com"], ids["2@example.com"])
            server.until(lambda: len(sink.messages) + len(other.messages) == 3, "two more")
            assert (len(sink.messages), len(other.messages)) == (2, 1)
            command(server, "move", "--to", "nowhere", "--all", code=1)
            assert ordered(server, "expire", "--sender", "3@example.com") == 1
            assert [item["sender"] for item in listed(server, "--state", "failed")] == ["3@example.com"]
            assert ordered(server, "delete", ids["4@example.com"], "--larger", "1") == 1
            command(server, "release", ids["4@example.com"], code=1)
            server.until(lambda: server.queued() == 5, "the end of all that are not held")
            assert server.stats()["held"] == 5
            rows = [line.split("\t") for line in command(server, "stats", "--by", "domain", "--state", "held")]
            assert rows[0][:3] == ["domain", "total", "5"]
            assert rows[1:] == [["TOTAL", "5", "5", *["0"] * 9], ["example.org", "5", "5", *["0"] * 9]]
            server.stop()
            server.start()
            assert server.stats()["held"] == 5
            assert ordered(server, "release", "--older", "0s") == 5
            server.wait_empty()
        assert len(sink.messages) == 7


def test_while_mta_does_not_run(server: Server) -> None:
    """Everything can be looked at, and orders are carried out when it runs again."""
    command(server, "stats", code=75)  # there is no spool yet
    with server:
        submit(server, 4)
        server.until(lambda: server.stats()["waiting"] == 4, "a first attempt")
    (line,) = command(server, "stats", "--json")
    assert json.loads(line)["queued"] == 4
    ids = {item["sender"]: item["id"] for item in listed(server)}
    assert len(ids) == 4
    assert command(server, "show", ids["1@example.com"])
    check_cat(server, ids["1@example.com"])
    assert ordered(server, "hold", ids["0@example.com"]) == 1
    assert ordered(server, "delete", "--sender", "1@*") == 1
    assert [item["sender"] for item in listed(server, "--state", "held")] == ["0@example.com"]
    assert f"event=removed queue={ids['1@example.com']}" in server.log.read_text()
    with Sink(server.ports[0]) as sink, server:  # type: ignore[attr-defined]
        server.until(lambda: server.queued() == 1, "the end of all but the held one")
        assert len(sink.messages) == 2
        command(server, "release", "--all")
        server.wait_empty()
    assert len(sink.messages) == 3


def test_somebody_else_has_the_queue(server: Server) -> None:
    """Neither a manager that answers nor a free queue: 75, and nothing is done."""
    with server:
        submit(server, 1)
        server.until(lambda: server.stats()["waiting"] == 1, "a first attempt")
    holder = subprocess.Popen(
        ["flock", str(server.spool / "qmgr" / "lock"), "sh", "-c", "echo; read x"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert holder.stdout is not None
    holder.stdout.readline()
    command(server, "delete", "--all", code=75)
    holder.communicate(b"\n")
    assert ordered(server, "delete", "--all") == 1


def test_trace(server: Server) -> None:
    """The log tells of every step, from the connection to the delivery, a refusal in the session included."""
    with Sink(server.ports[0]), server:  # type: ignore[attr-defined]
        with smtplib.SMTP(*server.address) as client:
            client.ehlo("client.example")
            client.mail("a@example.com")
            assert client.rcpt("x@elsewhere.example")[0] == 550
            assert client.rcpt("user@example.org")[0] == 250
            queue_id = client.data(b"Subject: x\r\n\r\nx\r\n")[1].decode().split()[-1]
        server.wait_empty()
    records = [json.loads(line) for line in server.command("trace", queue_id, "--json").splitlines()]
    events = [record["event"] for record in records]
    assert events[0] == "connect"
    assert sorted(events) == ["connect", "delivered", "disconnect", "queued", "refused"]
    assert {record["session"] for record in records} == {records[0]["session"]}
