"""The sending side of a conversation: SMTP (RFC 5321) or LMTP (RFC 2033), without socket or clock.

How a `Client` is driven: give it what arrives with `receive`, send what `take_output` returns, and look at `step`:

    READ     wait for bytes
    TLS      shake hands on the connection, then call `secured`; all that is sent and received from there on is inside
    READY    nobody waits for anybody: `begin` a transaction, or leave the connection idle
    CONTENT  send what `take_output` returns, and the content behind it: stuffed, with its end
             (`mta.fastparse.Stuffer`), or where it is `chunked` just as it is; then call `content_sent`
    CLOSED   close the connection; `failure` says why

When a transaction is over (`step` is READY or CLOSED), `verdicts` has one for each recipient. What is said in between
is `mta.smtp.client_transaction`.

STARTTLS (RFC 3207) comes before everything else, as `Encryption` says. What the server announced before is forgotten
then (RFC 3207 section 4.2), and bytes in plain text behind its reply end the connection: somebody else may have put
them there.

Codes are judged by their first digit (RFC 5321 section 4.2.1). 421 ends the connection wherever it comes. So does
what no server may say: garbage, 250 to DATA, a reply nobody asked for, or before it was. Recipients not decided by
then are deferred. A greeting or an EHLO that is refused is the destination's trouble and not the message's: it defers
too.

8-bit content goes to a server without 8BITMIME as it is (RFC 6152 would have it converted or returned; servers that
cannot take it have died out, and a conversion breaks signatures).
"""

import enum

from mta.smtp.client_mail import DEFERRED, Mail, Verdict
from mta.smtp.client_reply import Reply, ReplyReader
from mta.smtp.client_transaction import NOTHING, Protocol, Step, Transaction, in_reply, violation

__all__ = ["Client", "Encryption", "Protocol", "Step"]


class Encryption(enum.Enum):
    """Whether to ask for TLS: never; where it is offered, going on without where it is not; or not to go on then."""

    NEVER = enum.auto()
    OFFERED = enum.auto()
    ALWAYS = enum.auto()


# What the next reply answers, in words for people, besides what a transaction says.
_GREETING = "the connection"
_EXTENDED_HELLO = "EHLO"
_HELLO = "HELO"
_STARTTLS = "STARTTLS"


class Client:
    """One connection's conversation."""

    __slots__ = (
        "_encryption",
        "_expect",
        "_handlers",
        "_hostname",
        "_keywords",
        "_output",
        "_protocol",
        "_reader",
        "_reset_due",
        "_transaction",
        "encrypted",
        "failure",
        "replies",
        "step",
    )

    def __init__(self, hostname: bytes, protocol: Protocol, encryption: Encryption = Encryption.NEVER) -> None:
        """A connection that was just made: the server speaks first. `hostname` is our own name."""
        self._hostname = hostname
        self._protocol = protocol
        self._encryption = encryption
        self._reader = ReplyReader()
        self._keywords: dict[bytes, bytes] = {}
        self._output = b""
        self._expect = _GREETING
        self._transaction: Transaction | None = None  # the last one; it is under way while no handler is for `_expect`
        self._reset_due = False  # the server may still have a transaction open
        self.encrypted = False  # inside of TLS
        self.step = Step.READ
        self.failure: Verdict | None = None
        self.replies = 0  # whole replies received; whoever keeps a deadline sees progress here
        self._handlers = {
            _GREETING: self._greeting,
            _EXTENDED_HELLO: self._extended_hello,
            _HELLO: self._hello,
            _STARTTLS: self._starttls,
            NOTHING: self._violation,
        }

    # --- for whoever has the socket

    @property
    def verdicts(self) -> list[Verdict]:
        """One for each recipient, in order. Complete when the transaction is over."""
        return self._transaction.verdicts if self._transaction else []

    @property
    def chunked(self) -> bool:
        """Whether the content of the current transaction goes by BDAT."""
        return self._transaction is not None and self._transaction.chunked

    @property
    def untouched(self) -> bool:
        """The server has not answered the current transaction's MAIL: it can be begun again elsewhere."""
        return self._transaction is not None and self._transaction.untouched

    @property
    def is_all_sent(self) -> bool:
        """Whether the content of the current transaction is on its way, and only replies are left."""
        return self._transaction is not None and self._transaction.is_all_sent

    def offers(self, keyword: bytes) -> bool:
        """Whether the server announced an extension (upper case)."""
        return keyword in self._keywords

    def take_output(self) -> bytes:
        """What is to be sent now; empty when there is nothing."""
        output, self._output = self._output, b""
        return output

    def receive(self, data: bytes) -> None:
        """Take what arrived."""
        unsaid = self._output
        for reply in self._reader.feed(data):
            if self.step is Step.TLS:
                self._injected()
                return
            self.replies += 1
            if self._output is not unsaid and reply.code != 421:
                # It came with the one before: taken for the answer to what that made us say, it would leave that out.
                self._fail(Verdict(DEFERRED, "4.5.0", f"a reply too early: {in_reply(reply, self._expect)}"))
                return
            if reply.code == 421:  # RFC 5321 section 3.8: the server closes the connection
                self._fail(Verdict(DEFERRED, reply.enhanced, in_reply(reply, self._expect)))
            else:
                handler = self._handlers.get(self._expect)
                if handler is not None:
                    handler(reply)
                else:
                    self._transacted(reply)
            if self.step is Step.CLOSED:
                return
        if self.step is Step.TLS and (self._reader.has_part or self._reader.error):
            self._injected()
        elif self._reader.error:
            self._fail(Verdict(DEFERRED, "4.5.0", f"{self._reader.error} (in reply to {self._expect})"))
        elif self._expect is NOTHING and self._reader.has_part:  # the next reply would be garbage behind it
            self._fail(Verdict(DEFERRED, "4.5.0", "part of a reply to nothing"))

    def secured(self) -> None:
        """The connection is inside of TLS now."""
        self.encrypted = True
        self._keywords = {}
        self._say_hello()
        self.step = Step.READ

    def lost(self, code: str, reason: str) -> None:
        """The connection is gone, or must be given up: `reason` as in "timed out", `code` 4.x.x."""
        if self.step is Step.TLS:
            self._fail(Verdict(DEFERRED, code, reason))
        elif self.step is not Step.CLOSED:
            self._fail(Verdict(DEFERRED, code, f"{reason} (waiting for the reply to {self._expect})"))

    def begin(self, mail: Mail) -> None:
        """Start a transaction; only when READY. It is over at once where the server's announcements rule it out.

        Raises `ValueError` for addresses that cannot stand in a command.
        """
        self._transaction = Transaction(mail, self._keywords, self._protocol, reset_due=self._reset_due)
        self._follow(self._transaction)

    def content_sent(self) -> None:
        """The content and its end have been sent."""
        assert self._transaction is not None
        self._transaction.content_sent()
        self._follow(self._transaction)

    # --- commands

    def _say_hello(self) -> None:
        self._expect = _EXTENDED_HELLO
        self._output = b"%b %b\r\n" % (self._protocol.value, self._hostname)

    def _follow(self, transaction: Transaction) -> None:
        """The conversation is where its transaction is."""
        self.step = transaction.step
        self._expect = transaction.expect
        self._reset_due = transaction.reset_due
        if transaction.output:
            self._output = transaction.output
            transaction.output = b""

    def _ready(self) -> None:
        """The connection can be used for mail."""
        self._expect = NOTHING
        self.step = Step.READY

    # --- replies, one method for each thing that is answered

    def _greeting(self, reply: Reply) -> None:
        if reply.code // 100 != 2:
            self._refused(reply)
            return
        self._say_hello()

    def _extended_hello(self, reply: Reply) -> None:
        if reply.code // 100 == 2:
            for line in reply.lines[1:]:
                keyword, _, value = line.strip().partition(b" ")
                self._keywords[keyword.upper()] = value.strip()
            self._hello_done()
        elif reply.code // 100 == 5 and self._protocol is Protocol.SMTP and not self.encrypted:
            # RFC 5321 section 3.2
            self._expect = _HELLO
            self._output = b"HELO %b\r\n" % self._hostname
        else:
            self._refused(reply)

    def _hello(self, reply: Reply) -> None:
        if reply.code // 100 == 2:
            self._hello_done()
        else:
            self._refused(reply)

    def _hello_done(self) -> None:
        """Ready for mail, or for TLS first."""
        if self.encrypted or self._encryption is Encryption.NEVER:
            self._ready()
        elif b"STARTTLS" in self._keywords:
            self._expect = _STARTTLS
            self._output = b"STARTTLS\r\n"
        elif self._encryption is Encryption.OFFERED:
            self._ready()
        else:
            self._fail(Verdict(DEFERRED, "4.7.4", "TLS is required, and the next hop does not offer it"))

    def _starttls(self, reply: Reply) -> None:
        if reply.code // 100 == 2:
            self.step = Step.TLS
        elif reply.code // 100 == 3:
            self._violation(reply)
        elif self._encryption is Encryption.OFFERED:
            self._ready()
        else:
            self._fail(Verdict(DEFERRED, "4.7.4", f"TLS is required, and the next hop refuses it: {reply.text}"))

    def _transacted(self, reply: Reply) -> None:
        """A reply to something that the transaction said."""
        assert self._transaction is not None
        failure = self._transaction.answer(reply)
        if failure is None:
            self._follow(self._transaction)
        else:
            self._fail(failure)

    # --- what becomes of it

    def _refused(self, reply: Reply) -> None:
        """The server does not want to talk to us at all."""
        code = reply.enhanced if reply.code // 100 == 4 else "4.3.2"
        self._fail(Verdict(DEFERRED, code, in_reply(reply, self._expect)))

    def _violation(self, reply: Reply) -> None:
        self._fail(violation(reply, self._expect))

    def _injected(self) -> None:
        self._fail(Verdict(DEFERRED, "4.5.0", "bytes in plain text behind the reply to STARTTLS"))

    def _fail(self, verdict: Verdict) -> None:
        if self._transaction is not None:
            self._transaction.decide(verdict)
        self._output = b""
        self.failure = verdict
        self.step = Step.CLOSED
