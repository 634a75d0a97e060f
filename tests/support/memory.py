"""A session with its policy and a place for messages, but without socket, disk or clock.

It does what `mta.server.connection` does around a session, so that dialogues can be held in memory, thousands a second.
"""

import msgspec

from mta.policy.chain import Chain
from mta.policy.recipient import LocalDomains
from mta.smtp import replies
from mta.smtp.events import Content, DataCommand, Message, Recipient, Sender, Signal
from mta.smtp.session import Session, Terms


class Accepted(msgspec.Struct, frozen=True):
    """A message that was answered with 250."""

    sender: bytes
    recipients: tuple[bytes, ...]
    content: bytes


class MemoryConnection:
    """One client's connection. `output` gathers what the server said, `accepted` what it took."""

    def __init__(self, terms: Terms, chain: Chain) -> None:
        self.session = Session(terms)
        self.accepted: list[Accepted] = []
        self.output = b""
        self.closed = False
        self._chain = chain
        self._content: list[bytes] = []
        self.receive(b"")

    def receive(self, data: bytes) -> bytes:
        """Give the session what the client sent; returns what it answers (also added to `output`)."""
        session = self.session
        if data and not self.closed:
            session.receive(data)
        while not self.closed:
            event = session.next_event()
            if event is Signal.NEED_DATA:
                break
            if event is Signal.CLOSE:
                self.closed = True
            elif event is Signal.DROPPED:
                self._content.clear()
            else:
                self._answer(event)
        said = session.take_output() if session.has_output else b""
        self.output += said
        return said

    def _answer(self, event: Sender | Recipient | DataCommand | Content | Message | Signal) -> None:
        session = self.session
        match event:
            case Sender():
                session.accept_sender()
            case Recipient(local, domain):
                verdict = self._chain.recipient(domain)
                if verdict.reply is not None:
                    session.refuse(verdict.reply)
                else:
                    session.accept_recipient(local + b"@" + domain if domain else self._chain.postmaster)
            case DataCommand():
                session.accept_data()
            case Content(data):
                self._content.append(data)
            case Message(data, facts):
                content = b"".join(self._content) + data
                self._content.clear()
                verdict = self._chain.content(facts)
                if verdict.reply is not None:
                    session.refuse_message(verdict.reply)
                    return
                transaction = session.transaction
                assert transaction is not None
                self.accepted.append(Accepted(transaction.sender, tuple(transaction.recipients), content))
                session.accept_message(replies.queued("MEMORY"))


# The bounds that dialogues are written for; the real server in their tests is configured with the same.
HOSTNAME = "mx.example.org"
LOCAL = ["example.org", "bücher.example"]
MESSAGE_BYTES = 4096
RECIPIENTS = 100
ERRORS = 8


def terms(*, message_bytes: int = MESSAGE_BYTES, recipients: int = RECIPIENTS, errors: int = ERRORS) -> Terms:
    """Terms with small bounds, which dialogues can reach."""
    return Terms.make(HOSTNAME, message_bytes=message_bytes, recipients=recipients, errors=errors)


def chain(*, bare_newlines: str = "refuse", local: list[str] = LOCAL) -> Chain:
    """The policy of a listener."""
    mode = "keep" if bare_newlines == "keep" else "refuse"
    return Chain(LocalDomains(local, HOSTNAME), bare_newlines=mode)
