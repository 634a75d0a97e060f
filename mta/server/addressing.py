"""MAIL and RCPT: what a client is answered, by the worker's state, the access tables, and who exists.

The part of a connection that is asked for the envelope; `mta.server.connection` has the rest, and what drives it.
"""

from time import time

from gevent import Timeout
from msgspec.structs import replace

from mta import log
from mta.policy.access import Visit
from mta.server.client import Client
from mta.server.door import Door
from mta.server.service import Shared
from mta.smtp import replies
from mta.smtp.events import Recipient, Sender
from mta.smtp.replies import Reply
from mta.smtp.session import Session
from mta.smtp.transaction import Target

LAST_WORDS = (421, 521)
"""Codes that close the connection (RFC 5321 section 3.8, RFC 7504 section 3), which access tables may give."""

ADDRESSES_LOGGED = 5  # of those that an alias comes to

QUESTIONS_S = 120.0
"""All that tables are asked for one recipient, each of which keeps a time of its own: an alias of a thousand addresses
in a slow directory would take hours. Clients wait for five minutes (RFC 5321 section 4.5.3.2.3)."""


class Addressing:
    """Answers to `Sender` and `Recipient`. They may wait for tables, never for the client."""

    __slots__ = ("_door", "_session", "_shared", "_transaction_started_s", "_visit", "client")

    def __init__(self, client: Client, door: Door, shared: Shared) -> None:
        self.client = client
        self._door = door
        self._shared = shared
        self._session = Session(door.terms)
        self._visit: Visit | None = None  # what the access tables are asked in this transaction
        self._transaction_started_s = 0.0

    def _on_sender(self, event: Sender) -> None:
        shared = self._shared
        session = self._session
        if shared.writer.unhealthy() is not None or event.size_bytes > shared.free_bytes:
            session.refuse(replies.R452_STORAGE)
        elif not shared.has_memory():
            session.refuse(replies.R452_BUSY)
        else:
            self._transaction_started_s = time()
            access = self._door.access
            if access.asks:
                helo = self.client.helo or session.helo
                self._visit = access.begin(client=self.client.host.encode(), helo=helo, sender=event.address)
            session.accept_sender()

    def _on_recipient(self, event: Recipient) -> None:
        session = self._session
        recipients = self._door.recipients
        transaction = session.transaction
        assert transaction is not None
        if not self._shared.has_memory():
            session.decline(replies.R452_BUSY)
        elif transaction.parameters.arrived_wall:
            self._take_over(event)
        elif self._visit is not None or recipients.expands:
            answer = self._ask(event, transaction.sender)
            if isinstance(answer, Reply):
                self._refuse(answer)
            elif recipients.expands:
                self._accept(event, answer)
            else:
                session.accept_recipient(answer[0].address)
        else:
            reply = self._door.chain.recipient(event.local, event.domain).reply
            if reply is None:
                session.accept_recipient(recipients.address(event))
            else:
                self._refuse(reply)

    def _ask(self, event: Recipient, sender: bytes) -> Reply | tuple[Target, ...]:
        """What a recipient comes to, or the reply that refuses it."""
        timeout = Timeout.start_new(QUESTIONS_S)
        try:
            reply = None if self._visit is None else self._visit.recipient(event.local, event.domain).reply
            return reply or self._door.recipients.expand(event, sender)
        except Timeout as raised:
            if raised is not timeout:
                raise
            log.problem(
                "tables took too long", session=self.client.session_id, recipient=self._door.recipients.address(event)
            )
            return replies.R451_TABLE_DOWN
        finally:
            timeout.close()

    def _refuse(self, reply: Reply) -> None:
        if reply.code in LAST_WORDS:
            self._session.close(reply)
        elif reply.code < 500:
            self._session.decline(reply)  # our fault, not the client's
        else:
            self._session.refuse(reply)

    def _accept(self, event: Recipient, targets: tuple[Target, ...]) -> None:
        address = self._door.recipients.address(event)
        reached = [target.address for target in targets if not target.is_copy]
        if reached != [address]:
            some = b" ".join(reached[:ADDRESSES_LOGGED])
            log.note("expanded", session=self.client.session_id, recipient=address, count=len(reached), to=some)
        self._session.accept_targets(address, targets)

    def _take_over(self, event: Recipient) -> None:
        """A recipient from a node of ours, which has accepted it once (`mta.smtp.xfer`): no question is asked again."""
        session = self._session
        given = session.proposed_recipient
        session.proposed_recipient = replace(given, via="")
        via = given.via if given.via in self._door.transports else ""
        address = self._door.recipients.address(event)
        session.accept_targets(address, (Target(address, via, via),))
