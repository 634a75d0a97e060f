"""MAIL and RCPT: how long tables are asked, how much aliases may come to, and what the log tells of refusals."""

from typing import Any

import pytest
from gevent.event import Event

from mta.config import Route
from mta.policy.access import Access, AccessTable
from mta.policy.aliases import TARGETS, Aliases
from mta.policy.recipient import LocalDomains
from mta.routing import Router
from mta.server import addressing as module
from mta.server.complaints import Complaints
from mta.server.recipients import Recipients, Routing
from mta.smtp.transaction import ENTRIES
from tests.support import memory
from tests.support.memory import MemoryConnection


class Silent:
    """A table that never answers."""

    def get(self, key: bytes) -> bytes | None:
        Event().wait()
        return None


def test_tables_are_not_asked_for_ever(bench: Any, greeted: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "QUESTIONS_S", 0.01)
    peer = greeted()
    table = AccessTable("sender", Silent(), lambda about: iter((about,)), lambda key, words: None)
    peer.connection._door.access = Access({"sender": table})
    assert peer.ask(b"MAIL FROM:<a@example.com>").startswith(b"250 ")
    assert peer.ask(b"RCPT TO:<b@example.org>").startswith(b"451 4.4.3 ")
    assert peer.ask(b"RCPT TO:<postmaster@example.org>").startswith(b"250 ")
    peer.connection._door.access = Access({})
    assert peer.ask(b"RSET").startswith(b"250 ")


class Slow:
    """A table of aliases that answers the first question, and not the second."""

    def get(self, key: bytes) -> bytes | None:
        if key != b"all@example.org":
            Event().wait()
        return b"joe@example.org"


def test_aliases_are_not_followed_for_ever(bench: Any, greeted: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "QUESTIONS_S", 0.01)
    peer = greeted()
    door = peer.connection._door
    aliases = Aliases(Slow(), LocalDomains(["example.org"], "mx.example.org"))
    complaints = Complaints(lambda *_, **__: None, float)
    routing = Routing(Router([Route(["*"], "store")]), ["store"], {}, complaints)
    door.recipients = Recipients(door.chain, "in", aliases=aliases, routing=routing, complaints=complaints)
    assert peer.ask(b"MAIL FROM:<a@example.com>").startswith(b"250 ")
    assert peer.ask(b"RCPT TO:<all@example.org>").startswith(b"451 4.4.3 ")
    module.log.flush()
    (told,) = [line for line in (bench.root.parent / "log").read_text().splitlines() if "event=problem" in line]
    assert "recipient=all@example.org" in told


def test_the_same_list_many_times_is_followed_so_often() -> None:
    everybody = b",".join(b"u%d@example.org" % number for number in range(TARGETS))
    connection = MemoryConnection(memory.door({"refuse_early": []}, aliases={b"all@example.org": everybody}))
    connection.receive(b"EHLO client.example\r\nMAIL FROM:<a@example.com>\r\n")
    said = connection.receive(b"RCPT TO:<all@example.org>\r\n" * 20)
    codes = [line[:3] for line in said.splitlines()]
    accepted = ENTRIES // (2 * TARGETS)  # each has a copy
    assert codes == [b"250"] * accepted + [b"452"] * (20 - accepted)
    transaction = connection.session.transaction
    assert transaction is not None
    assert len(transaction.recipients) == 2 * TARGETS


def test_behind_what_was_too_much_nothing_is_followed() -> None:
    """Each would cost a thousand look-ups, and come to nothing."""
    everybody = b",".join(b"u%d@example.org" % number for number in range(TARGETS))
    door = memory.door({"refuse_early": []}, aliases={b"all@example.org": everybody})
    connection = MemoryConnection(door)
    connection.receive(b"EHLO client.example\r\nMAIL FROM:<a@example.com>\r\n")
    asked = []
    expand = door.recipients.expand
    door.recipients = _Counting(expand, asked, door.recipients)  # type: ignore[assignment]
    connection.receive(b"RCPT TO:<all@example.org>\r\n" * 20)
    assert len(asked) == ENTRIES // (2 * TARGETS) + 1
    connection.receive(b"RSET\r\nMAIL FROM:<a@example.com>\r\n")
    assert connection.receive(b"RCPT TO:<all@example.org>\r\n").startswith(b"250 ")


class _Counting:
    """Recipients that note who was asked for."""

    expands = True

    def __init__(self, expand: Any, asked: list[Any], recipients: Any) -> None:
        self._expand = expand
        self._asked = asked
        self.address = recipients.address

    def expand(self, event: Any, sender: bytes) -> Any:
        self._asked.append(event)
        return self._expand(event, sender)


def test_refusals_are_logged_with_their_sender(bench: Any, greeted: Any) -> None:
    """Whatever has happened to the transaction by the time that they are."""
    peer = greeted()
    peer.send(
        b"MAIL FROM:<one@example.com>\r\nRCPT TO:<x@example.com>\r\nRSET\r\n"
        b"MAIL FROM:<two@example.com>\r\nRCPT TO:<y@example.com>\r\nDATA\r\nRSET\r\nRCPT TO:<z@example.org>\r\nQUIT\r\n"
    )
    peer.read_to_end()
    module.log.flush()
    lines = (bench.root.parent / "log").read_text().splitlines()
    told = [dict(word.partition("=")[::2] for word in line.split()) for line in lines if "event=refused" in line]
    assert [(one["stage"], one["sender"]) for one in told] == [
        ("RCPT", "one@example.com"),
        ("RCPT", "two@example.com"),
        ("DATA", "two@example.com"),
        ("RCPT", '""'),
    ]
