"""`mta drain --to`: one node hands its queue to another, or to any server that relays for it."""

import json
import smtplib
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mta.errors import IpcError
from tests.support.certificates import Authority
from tests.support.server import HOST, ROOT, Server, free_port
from tests.support.sink import EXTENSIONS, Sink, Taken

STRANGER = "127.0.0.2"  # in nobody's lists
CONTENT = b"From: me@elsewhere.example\r\nSubject: %b\r\n\r\nbody\r\n"


def settings(hop: int, name: str, **more: Any) -> dict[str, Any]:
    """A node that knows no nobody, and has a next hop for everybody else."""
    return {
        "hostname": name,
        "transport": {
            "next": {"kind": "smtp", "host": f"{HOST}:{hop}", "connect_timeout_s": 2.0},
            "nobody": {"kind": "fail"},
        },
        "route": [
            {"recipients": ["nobody@example.org"], "transport": "nobody"},
            {"recipients": ["*"], "transport": "next"},
        ],
        "queue": {"retry_min_s": 3600.0, "retry_max_s": 3600.0},
        **more,
    }


def listening(port: int, xfer: list[str]) -> dict[str, Any]:
    return {"listen": [{"address": f"{HOST}:{port}", "xfer": xfer}]}


class Nodes:
    """An old node, a new one, and a next hop that is not there until `sink` is entered."""

    def __init__(self, folder: Path, xfer: list[str]) -> None:
        self.hop = free_port()
        self.old = Server(folder / "old", settings(self.hop, "old.example.org"))
        self.new = Server(folder / "new", settings(self.hop, "new.example.org"))
        self.new.settings |= listening(self.new.port, xfer)
        self.new.write_config()
        self.peer = f"{HOST}:{self.new.port}"


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[Nodes]:
    both = Nodes(tmp_path, [HOST])
    yield both
    for server in (both.old, both.new):
        if server.process is not None and server.process.poll() is None:
            server.kill()


def run(server: Server, *words: str, code: int = 0) -> list[str]:
    return server.command(*words, code=code).splitlines()


def listed(server: Server) -> dict[str, dict[str, Any]]:
    """All messages by their sender."""
    items = [json.loads(line) for line in run(server, "queue", "list", "--json")]
    return {item["sender"]: item for item in items}


def is_tried(server: Server, peer: str, left: int) -> bool:
    """Whether the order is in force, and so many messages wait after an attempt under it."""
    try:
        seen = server.stats()
    except IpcError:
        return False
    moving = seen["unread"] + seen["active"]
    return seen["draining"] == peer and seen["swept"] and not moving and seen["waiting"] == left


def fill(server: Server) -> None:
    """Four messages of all kinds, one of them a bounce; all wait but one, which is held."""
    with smtplib.SMTP(*server.address) as smtp:
        smtp.ehlo("client.example")
        smtp.mail("dsn@elsewhere.example", ["RET=HDRS", "ENVID=a+2Bb", "BODY=8BITMIME"])
        smtp.rcpt("ann@example.org", ["NOTIFY=SUCCESS,DELAY", "ORCPT=rfc822;Ann+2Bx@there.example"])
        smtp.rcpt("bob@example.org", ["NOTIFY=NEVER"])
        smtp.rcpt("cid@example.org")
        assert smtp.data(CONTENT % b"dsn")[0] == 250
        smtp.sendmail("held@elsewhere.example", ["ann@example.org"], CONTENT % b"held")
        smtp.sendmail("lost@elsewhere.example", ["nobody@example.org"], CONTENT % b"lost")
        smtp.sendmail("mé@elsewhere.example", ["ann@example.org"], CONTENT % b"utf8", mail_options=["SMTPUTF8"])
    server.until(lambda: server.stats()["waiting"] == 4, "first attempts, and a bounce")
    run(server, "queue", "hold", "--sender", "held@elsewhere.example")


def test_everything_goes(nodes: Nodes) -> None:
    """Envelope and age are kept; bounces on their way out go as well; what was held is not any more."""
    old, new = nodes.old, nodes.new
    old.start()
    fill(old)
    before = listed(old)
    assert set(before) == {"dsn@elsewhere.example", "held@elsewhere.example", "mé@elsewhere.example", ""}
    assert before["held@elsewhere.example"]["state"] == "held"
    with new:
        assert run(old, "drain", "--to", nodes.peer)[-1] == "the queue is empty, and mta has ended"
        assert old.wait() == 0
        after = listed(new)
        assert set(after) == set(before)
        for sender, item in after.items():
            assert item["state"] in ("active", "waiting"), sender
            assert item["received_wall"] == pytest.approx(before[sender]["received_wall"], abs=0.002)
            assert item["to"] == before[sender]["to"]
        new.until(lambda: new.stats()["waiting"] == 4, "first attempts")
        there, here = before[""]["id"], after[""]["id"]
        assert any(f"message {there}," in line for line in run(new, "trace", here))
        assert any(f"queued as {here}" in line for line in run(old, "trace", there))
        with Sink(nodes.hop, extensions=(*EXTENSIONS, "DSN")) as sink:
            run(new, "queue", "retry", "--all")
            new.wait_empty()
        check(sink.messages)


def check(messages: list[Taken]) -> None:
    """What came out of the new node is what had come into the old one."""
    by_sender = {taken.sender.decode(): taken for taken in messages}
    assert len(messages) == 4
    taken = by_sender["dsn@elsewhere.example"]
    assert taken.recipients == (b"ann@example.org", b"bob@example.org", b"cid@example.org")
    mail, ann, bob, cid = taken.parameters
    for words in (b"RET=HDRS", b"ENVID=a+2Bb", b"BODY=8BITMIME"):
        assert words in mail
    assert b"XARRIVED" not in mail
    assert ann.split() == [b"NOTIFY=SUCCESS,DELAY", b"ORCPT=rfc822;Ann+2Bx@there.example"]
    assert (bob.strip(), cid.strip()) == (b"NOTIFY=NEVER", b"")
    header = taken.content.partition(b"\r\n\r\n")[0]
    assert header.count(b"Received: ") == 2
    assert header.index(b"by new.example.org") < header.index(b"by old.example.org")
    assert by_sender[""].recipients == (b"lost@elsewhere.example",)
    assert b"nobody@example.org" in by_sender[""].content
    assert b"SMTPUTF8" in by_sender["mé@elsewhere.example"].parameters[0]


def test_tls_that_is_required_and_a_large_message(nodes: Nodes, tmp_path: Path) -> None:
    """By a transport that verifies the peer, REQUIRETLS goes along; by one that does not, such a message stays."""
    authority = Authority(tmp_path / "ca")
    pair = authority.server("mx.example.org")
    verified = {"tls": "verify", "tls_name": "mx.example.org", "tls_ca": str(authority.ca)}
    for server in (nodes.old, nodes.new):
        server.settings["tls"] = {"certificate": str(pair.certificate), "key": str(pair.key)}
        server.settings["transport"]["next"] |= verified
    nodes.old.settings["transport"]["peer"] = {"kind": "smtp", "host": nodes.peer, **verified}
    for server in (nodes.old, nodes.new):
        server.write_config()
    old, new = nodes.old, nodes.new
    old.start()
    with smtplib.SMTP(*old.address) as smtp:
        smtp.starttls(context=ssl._create_unverified_context())
        large = CONTENT % b"secret" + b"0123456789\r\n" * 50_000
        smtp.sendmail("me@example.net", ["ann@example.org"], large, ["REQUIRETLS", "RET=HDRS"])
    old.until(lambda: old.stats()["waiting"] == 1, "a first attempt")
    with new:
        run(old, "drain", "--to", nodes.peer, "--timeout", "0s", code=75)
        old.until(lambda: is_tried(old, nodes.peer, 1), "an attempt")
        (item,) = listed(old).values()
        assert item["reason"] == "4.7.30 not taken over: the message requires TLS, and the next hop is not verified"
        assert run(old, "drain", "--to", "peer")[-1] == "the queue is empty, and mta has ended"
        assert old.wait() == 0
        new.until(lambda: new.stats()["waiting"] == 1, "a first attempt")
        (item,) = listed(new).values()
        (line,) = run(new, "queue", "cat", "--envelope", "--json", item["id"])
        assert json.loads(line)["require_tls"] is True
        content = "\n".join(run(new, "queue", "cat", item["id"]))
        assert content.endswith("\n".join(large.decode().splitlines()))


def test_what_was_decided_goes_along(nodes: Nodes) -> None:
    """A transport that a table named holds at the new node, which does not ask; copies are made here, or stay."""
    old, new = nodes.old, nodes.new
    for server in (old, new):
        server.settings["transport"]["second"] = {"kind": "smtp", "host": f"{HOST}:{free_port()}"}
        server.settings["transport"]["archive"] = {"kind": "maildir", "path": "archive/{local}"}
        server.settings["transport"]["broken"] = {"kind": "fail", "text": "no more copies"}
    new.settings["transport"]["second"] = {"kind": "maildir", "path": "mail/{domain}/{local}"}
    old.settings["table"] = {"shards": {"kind": "inline", "entries": ["ann@example.org second"]}}
    old.settings["route"] = [
        {"recipients": ["ann@example.org"], "table": "shards", "copy_to": ["archive", "broken"]},
        *old.settings["route"],
    ]
    for server in (old, new):
        server.write_config()
    old.start()
    with smtplib.SMTP(*old.address) as smtp:
        smtp.sendmail("a@example.net", ["ann@example.org", "bob@example.org"], CONTENT % b"decided")
    old.until(lambda: old.stats()["waiting"] == 1, "a first attempt")
    with new:
        *_, end, left = run(old, "drain", "--to", nodes.peer, "--json", code=1)
        assert json.loads(end)["end"].startswith("nothing but this is left: 1 left (failed 1)")
        assert (json.loads(left)["state"], json.loads(left)["reason"]) == ("failed", "5.1.1 no more copies")
        run(old, "queue", "delete", json.loads(left)["id"])
        assert old.wait() == 0
        new.until(lambda: new.stats()["waiting"] == 1, "a first attempt")
        assert [file.parent.parent.name for file in new.delivered()] == ["ann"]
        (item,) = listed(new).values()
        assert item["to"] == ["bob@example.org"]
    assert [file.name for file in (old.folder / "archive").iterdir()] == ["ann"]
    assert not (new.folder / "archive").exists() or not list((new.folder / "archive").iterdir())


def test_who_is_not_listed(nodes: Nodes) -> None:
    """No keyword, no parameter, no relaying; and the same for one who is listed and hands nothing over."""
    with nodes.new as new:
        for source in (STRANGER, HOST):
            with smtplib.SMTP(*new.address, source_address=(source, 0)) as smtp:
                smtp.ehlo("client.example")
                assert smtp.has_extn("x-mta-xfer") is (source == HOST)
                if source == STRANGER:
                    assert smtp.mail("a@b.example", ["XARRIVED=1700000000", "XQUEUEID=12"])[0] == 555
                assert smtp.mail("a@b.example")[0] == 250
                assert smtp.rcpt("c@d.example")[0] == 550
                assert smtp.rcpt("c@example.org")[0] == 250
        with smtplib.SMTP(*new.address) as smtp:
            smtp.ehlo("client.example")
            for parameters in (["XARRIVED=1700000000"], ["XQUEUEID=12"], ["XARRIVED=0", "XQUEUEID=12"]):
                assert smtp.mail("a@b.example", parameters)[0] == 501, parameters
            assert smtp.mail("a@b.example", ["XARRIVED=1700000000", "XQUEUEID=12"])[0] == 250
            assert smtp.rcpt("c@d.example")[0] == 250
            assert smtp.rcpt("postmaster")[0] == 250
            assert smtp.docmd("RSET")[0] == 250
            assert smtp.mail("a@b.example")[0] == 250
            assert smtp.rcpt("c@d.example")[0] == 550


def test_who_is_introduced_by_a_filter(nodes: Nodes) -> None:
    """Whoever it stands for, and wherever that says to be: none is a node of ours."""
    nodes.new.settings["listen"][0]["xclient"] = [HOST]
    nodes.new.write_config()
    with nodes.new as new, smtplib.SMTP(*new.address) as smtp:
        smtp.ehlo("filter.example")
        assert smtp.has_extn("x-mta-xfer")
        assert smtp.docmd("XCLIENT", f"ADDR={HOST} NAME=localhost")[0] == 220
        smtp.ehlo("client.example")
        assert not smtp.has_extn("x-mta-xfer")
        assert smtp.mail("a@b.example", ["XARRIVED=1700000000", "XQUEUEID=12"])[0] == 555


def test_ages_are_bounded(nodes: Nodes) -> None:
    """Nobody comes from the future, and nobody is too old to be tried once."""
    with nodes.new as new:
        now = time.time()
        with smtplib.SMTP(*new.address) as smtp:
            for sender, arrived in (("late", now + 86400), ("old", now - 86400 * 365), ("good", now - 3600)):
                words = [f"XARRIVED={arrived:.3f}", "XQUEUEID=12"]
                smtp.sendmail(f"{sender}@b.example", ["ann@example.org"], CONTENT % b"age", mail_options=words)
        new.until(lambda: new.stats()["waiting"] >= 2 and not new.stats()["unread"], "first attempts")
        items = listed(new)
        assert items["late@b.example"]["received_wall"] == pytest.approx(now, abs=30)
        assert items["good@b.example"]["received_wall"] == pytest.approx(now - 3600, abs=0.002)
        assert "old@b.example" not in items, "it was tried once, and its sender is told"
        new.kill()


def test_peer_that_does_not_know_us(nodes: Nodes) -> None:
    """What it refuses for good waits here, and nobody is told that it has failed; to another peer it goes then."""
    old, new = nodes.old, nodes.new
    new.settings |= listening(new.port, [])
    new.write_config()
    with new, old:
        fill(old)
        run(old, "drain", "--to", nodes.peer, "--timeout", "0s", code=75)
        old.until(lambda: is_tried(old, nodes.peer, 1), "an attempt at all")
        told = run(old, "drain", "--to", nodes.peer, "--timeout", "0s", "--json", code=75)
        last = json.loads(told[-1])
        assert (last["draining"], last["left"], last["failed"]) == (nodes.peer, 1, 0)
        assert len(listed(new)) == 3, "what is for our domains is taken as from anybody"
        (item,) = listed(old).values()
        assert (item["sender"], item["state"]) == ("", "waiting")
        assert item["reason"].startswith("4.7.1 not taken over: 5")
        assert (new.stats()["bounces"]["sent"], old.stats()["bounces"]["sent"]) == (0, 0)
        with Sink(nodes.hop) as sink:
            assert run(old, "drain", "--to", "next")[-1] == "the queue is empty, and mta has ended"
            assert old.wait() == 0
        assert [taken.recipients for taken in sink.messages] == [(b"lost@elsewhere.example",)]
        assert b"XARRIVED" not in sink.messages[0].parameters[0]
        new.kill()


def test_cancelled(nodes: Nodes) -> None:
    """A peer that is not there yet: the order is taken back, and mail goes by the routes as before."""
    old = nodes.old
    with old:
        fill(old)
        run(old, "drain", "--to", nodes.peer, "--timeout", "0s", code=75)
        old.until(lambda: is_tried(old, nodes.peer, 4), "an attempt at all")
        assert run(old, "drain", "--cancel") == ["mail is taken again"]
        with Sink(nodes.hop, extensions=(*EXTENSIONS, "DSN")) as sink:
            run(old, "queue", "retry", "--all")
            old.wait_empty()
        assert len(sink.messages) == 4


COUNT = 300


def test_kills(tmp_path: Path) -> None:
    """kill -9 of either node in the middle: everything arrives, at least once."""
    old = Server(tmp_path / "old", settings(free_port(), "old.example.org"))
    new = Server(tmp_path / "new", listening(free_port(), [HOST]))
    new.port = int(new.settings["listen"][0]["address"].rpartition(":")[2])
    old.settings["transport"]["peer"] = {"kind": "smtp", "host": f"{HOST}:{new.port}", "rate": 60.0}
    old.settings["queue"] = {"retry_min_s": 0.5, "retry_max_s": 0.5}
    old.write_config()
    servers = (old, new)

    def arrived() -> int:
        return len(new.delivered())

    try:
        for server in servers:
            server.start()
        with smtplib.SMTP(*old.address) as smtp:
            for number in range(COUNT):
                smtp.sendmail(f"{number}@elsewhere.example", ["ann@example.org"], CONTENT % b"%d" % number)
        arguments = [sys.executable, "-m", "mta", "drain", "--to", "peer", "-c", str(old.config)]
        draining = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, cwd=ROOT)
        for victim in (new, old, new, old):
            least = arrived() + 30
            old.until(lambda least=least: arrived() >= least, "messages handed over")  # type: ignore[misc]
            victim.kill()
            victim.start()
        assert draining.wait(60) in (0, 75), "it may have seen its mta not running"
        assert old.wait() == 0
        new.wait_empty()
        found = [file.read_bytes().partition(b"Subject: ")[2].split(b"\r\n")[0] for file in new.delivered()]
        assert set(found) == {b"%d" % number for number in range(COUNT)}
    finally:
        for server in servers:
            if server.process is not None and server.process.poll() is None:
                server.kill()
