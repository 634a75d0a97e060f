"""A session with its policy and a place for messages, but without socket, disk or clock.

It does what `mta.server.connection` does around a session, so that dialogues can be held in memory, thousands a second.
"""

from collections.abc import Collection, Mapping
from functools import partial
from typing import Any

import msgspec

from mta.config import Config, Domains, Listen, Route
from mta.dns.settings import Dns
from mta.dns.stub import Resolver
from mta.envelope import Dsn
from mta.errors import TableDown
from mta.newlines import Normaliser
from mta.policy.access import Visit
from mta.policy.aliases import Aliases
from mta.policy.chain import Chain
from mta.policy.recipient import KnownRecipients, LocalDomains
from mta.routing import Router
from mta.server.access import AccessBook
from mta.server.addressing import LAST_WORDS
from mta.server.complaints import Complaints
from mta.server.door import Door
from mta.server.recipients import Recipients, Routing
from mta.smtp import replies
from mta.smtp.events import Content, DataCommand, Event, Message, Recipient, Sender, Signal, Xclient, Xforward
from mta.smtp.proxy import ProxyError, ProxyHeader
from mta.smtp.session import Session
from mta.smtp.transaction import Target, Transaction
from mta.tables.book import Book
from mta.tables.settings import Table

# The bounds that dialogues are written for; the real server in their tests is configured with the same.
HOSTNAME = "mx.example.org"
LOCAL = ["example.org", "bücher.example"]
MESSAGE_BYTES = 4096
RECIPIENTS = 100
ERRORS = 8
LIMITS = {
    "message_bytes": MESSAGE_BYTES,
    "recipients": RECIPIENTS,
    "messages": 1000,
    "errors": ERRORS,
    "soft_errors": ERRORS,
}

TABLES: dict[str, dict[str, Any]] = {
    "clients": {"kind": "cidr", "entries": ["127.0.0.0/8 550 not from there"]},
    "octets": {"kind": "inline", "entries": ["127.0 DEFER"]},
    "trusted": {"kind": "cidr", "entries": ["127.0.0.1 OK", "0.0.0.0/0 REJECT"]},
    "cut": {"kind": "inline", "entries": ["127.0.0.1 421 4.7.0 enough of you"]},
    "names": {"kind": "inline", "entries": ["bad.example REJECT", "good.bad.example DUNNO", "[127.0.0.1] 554 5.7.9"]},
    "senders": {
        "kind": "inline",
        "entries": [
            "<> 450 no bounces now",
            "spam@example.com 550 5.7.1 go away",
            "example.com DUNNO",
            "com REJECT",
            "offers@ DEFER not before tomorrow",
            "friend.test ok",
        ],
    },
    "patterns": {"kind": "regexp", "entries": ["/^bad@/ reject", "/example\\.com$/ DUNNO"]},
    "closed": {
        "kind": "inline",
        "entries": ["closed@example.org REJECT gone", "relay@example.com OK", "trap@ 521 bye"],
    },
    "down": {"kind": "file", "path": "/nonexistent/table"},
}
"""Tables of [access] that dialogues may name; it is the listener's that does."""


def door(
    settings: Mapping[str, Any] | None = None,
    *,
    local: list[str] = LOCAL,
    domains: LocalDomains | None = None,
    known: Collection[bytes] = (),
    aliases: Mapping[bytes, bytes] | None = None,
) -> Door:
    """A listener with what [[listen]] may set, `limits` among it; small bounds otherwise, which dialogues can reach.

    `known` are the keys of a table of recipients, which have extensions with +; without any there is no table. The same
    for `aliases`; with them, there is a route for our domains, with copies for an archive, and one for far.example.
    """
    given = dict(settings or {})
    limits = {**LIMITS, **given.pop("limits", {})}
    listen = msgspec.convert({"address": "127.0.0.1:25", **given, "limits": limits}, Listen)
    tables = {name: msgspec.convert(table, Table) for name, table in TABLES.items()}
    config = Config(HOSTNAME, "spool", [listen], Domains(local), {}, [], table=tables)
    domains = domains or LocalDomains(local, HOSTNAME)
    recipients = KnownRecipients(_Table(known), b"+") if known else None
    access = AccessBook(config, Book(tables, _no_report, float), Complaints(_no_report, float), _no_resolver)
    return Door(
        listen,
        config,
        domains,
        has_tls=True,
        recipients=recipients,
        access=access.access(listen),
        make_recipients=partial(_recipients, domains, recipients, aliases) if aliases else Recipients,
    )


def _recipients(
    domains: LocalDomains,
    known: KnownRecipients | None,
    aliases: Mapping[bytes, bytes],
    chain: Chain,
    listener: str,
) -> Recipients:
    complaints = Complaints(_no_report, float)
    routes = [Route([f"*@{name}" for name in LOCAL], "store", copy_to=["archive"]), Route(["*@far.example"], "out")]
    routing = Routing(Router(routes), ["store", "archive", "out"], {}, complaints)
    table = Aliases(_Table(aliases), domains, known, b"+")
    return Recipients(chain, listener, aliases=table, routing=routing, complaints=complaints)


def _no_resolver() -> Resolver:
    return Resolver(Dns(servers=["127.0.0.1:9"]), float)  # nobody is there


def _no_report(text: str, **fields: object) -> None:
    """Nobody reads it."""


class _Table:
    """Has some keys, and is down for those that it has with a ! before them."""

    def __init__(self, entries: Mapping[bytes, bytes] | Collection[bytes]) -> None:
        self._entries = entries if isinstance(entries, Mapping) else dict.fromkeys(entries, b"")

    def get(self, key: bytes) -> bytes | None:
        if b"!" + key in self._entries:
            raise TableDown("is burning")
        return self._entries.get(key)


class Accepted(msgspec.Struct, frozen=True):
    """A message that was answered with 250."""

    sender: bytes
    recipients: tuple[bytes, ...]
    content: bytes
    dsn: Dsn | None = None


class MemoryConnection:
    """One client's connection. `output` gathers what the server said, `accepted` what it took.

    Who `waits_for_greeting` gets it at once; what others send first has come before the greeting. `in_handshake` is
    whether TLS has to begin, which `shake_hands` then stands for: until then, what the client sends is no TLS, and the
    end. A client in `door.proxies` has to send a PROXY header first; `host` becomes the address in it. Content that is
    to come for the times in `busy`, counted from 1, finds no memory.
    """

    def __init__(
        self,
        door: Door,
        *,
        host: str = "127.0.0.1",
        waits_for_greeting: bool = True,
        busy: Collection[int] = (),
    ) -> None:
        self.door = door
        self.host = host
        self.session = Session(door.terms)
        self.accepted: list[Accepted] = []
        self.output = b""
        self.closed = False
        self.in_handshake = False
        self._header = ProxyHeader() if host in door.proxies else None
        self._busy = busy
        self._asked = 0  # for memory
        self._content: list[bytes] = []
        self.content_bytes = 0  # of the message that is coming
        self._normaliser: Normaliser | None = None
        self._arrived = False
        self._visit: Visit | None = None
        if waits_for_greeting:
            self.receive(b"")

    def receive(self, data: bytes) -> bytes:
        """Give the session what the client sent; returns what it answers (also added to `output`)."""
        if self._header is not None:
            rest = self._read_header(self._header, data)
            if rest is None:
                return b""
            data = rest
        if self.closed:
            return b""
        if self.in_handshake:
            self.closed = bool(data)
            return b""
        if not self._arrived:
            self._arrive(data)
        elif data:
            self.session.receive(data)
        return self._converse()

    def shake_hands(self) -> bytes:
        """The TLS handshake, done; returns what the server says behind it."""
        assert self.in_handshake
        self.in_handshake = False
        if self.door.is_tls:
            return self._converse()
        self.session.tls_active = True
        self.session.restart()
        return self._converse()

    def _read_header(self, header: ProxyHeader, data: bytes) -> bytes | None:
        """What comes behind the PROXY header; None as long as it is not there."""
        if not data:
            return None
        try:
            header.feed(data)
        except ProxyError:
            self._header = None
            self.closed = True
            return None
        if not header.done:
            return None
        self._header = None
        if header.source is not None:
            self.host = header.source[0]
        return header.rest

    def _arrive(self, early: bytes) -> None:
        self._arrived = True
        session = self.session
        door = self.door
        session.may_xclient = self.host in door.xclient
        session.may_xforward = self.host in door.xforward
        session.may_xfer = self.host in door.xfer
        if door.is_tls:
            self.in_handshake = True
            self.closed = bool(early)
        elif early and "greeting" in door.terms.refuse_early:
            session.turn_away(replies.R554_EARLY)
        elif early:
            session.receive(early)

    def _converse(self) -> bytes:
        session = self.session
        while not self.closed and not self.in_handshake:
            event = session.next_event()
            if event is Signal.NEED_DATA:
                break
            if event is Signal.CLOSE:
                self.closed = True
            else:
                self._answer(event)
        session.penalties = 0
        session.refusals.clear()
        said = session.take_output() if session.has_output and not (self.in_handshake and self.door.is_tls) else b""
        self.output += said
        return said

    def _answer(self, event: Event) -> None:
        session = self.session
        match event:
            case Signal.DROPPED:
                self._drop_content()
            case Signal.START_TLS:
                session.say(replies.R220_START_TLS)
                self.in_handshake = True
            case Sender(address):
                client = self.host.encode()
                if self.door.access.asks:
                    self._visit = self.door.access.begin(client=client, helo=session.helo, sender=address)
                session.accept_sender()
            case Recipient() if session.is_handed_over:
                address = self.door.recipients.address(event)
                session.accept_targets(address, (Target(address),))
            case Recipient():
                assert session.transaction is not None
                reply = None if self._visit is None else self._visit.recipient(event.local, event.domain).reply
                targets = reply or self.door.recipients.expand(event, session.transaction.sender)
                if isinstance(targets, tuple):
                    if self.door.recipients.expands:
                        session.accept_targets(self.door.recipients.address(event), targets)
                    else:
                        session.accept_recipient(targets[0].address)
                elif targets.code in LAST_WORDS:
                    session.close(targets)
                elif targets.code < 500:
                    session.decline(targets)
                else:
                    session.refuse(targets)
            case DataCommand():
                assert session.transaction is not None
                self._asked += 1
                if self._asked in self._busy:
                    session.refuse(replies.R452_BUSY)
                    return
                if self.door.normalises and not session.transaction.parameters.binary:
                    self._normaliser = Normaliser()
                session.accept_data()
            case Content(data):
                self._add(data)
            case Message():
                self._end(event)
            case Xclient():
                session.may_xfer = False
                session.restart(greet=True)
            case Xforward():
                pass
            case _:
                raise AssertionError(f"what shall be done with {event}?")

    def _add(self, data: bytes) -> None:
        piece = data if self._normaliser is None else self._normaliser.feed(data)
        self._content.append(piece)
        self.content_bytes += len(piece)

    def _end(self, event: Message) -> None:
        session = self.session
        transaction = session.transaction
        assert transaction is not None
        self._add(event.data)
        if self._normaliser is not None:
            self._content.append(self._normaliser.finish())
        content = b"".join(self._content)
        self._drop_content()
        reply = self.door.chain.content(event.facts, binary=transaction.parameters.binary).reply
        if reply is not None:
            session.refuse_message(reply)
            return
        accepted = Accepted(transaction.sender, tuple(transaction.recipients), content, _dsn(transaction))
        self.accepted.append(accepted)
        session.accept_message(replies.queued("MEMORY"))

    def _drop_content(self) -> None:
        self._content.clear()
        self.content_bytes = 0
        self._normaliser = None


def _dsn(transaction: Transaction) -> Dsn | None:
    if not transaction.wants_notices:
        return None
    parameters = transaction.parameters
    each = transaction.recipient_parameters()
    return Dsn(parameters.ret, parameters.envid, tuple(one.notify for one in each), tuple(one.orcpt for one in each))
