"""The sending side of a conversation: SMTP (RFC 5321) or LMTP (RFC 2033), without socket or clock.

How a `Client` is driven: give it what arrives with `receive`, send what `take_output` returns, and look at `step`:

    READ     wait for bytes
    TLS      shake hands on the connection, then call `secured`; all that is sent and received from there on is inside
    READY    nobody waits for anybody: `begin` a transaction, or leave the connection idle
    CONTENT  send what `take_output` returns, and the content behind it: stuffed, with its end
             (`mta.fastparse.Stuffer`), or where it is `chunked` just as it is; then call `content_sent`
    CLOSED   close the connection; `failure` says why

When a transaction is over (`step` is READY or CLOSED), `verdicts` has one for each recipient. With PIPELINING
(RFC 2920) MAIL, every RCPT and DATA leave in one write; without, each waits for the reply to the one before. BDAT
(`mta.smtp.client_mail` says when) waits for all replies in either case, and is not sent where nobody was accepted.

STARTTLS (RFC 3207) comes before everything else, as `Encryption` says. What the server announced before is forgotten
then (RFC 3207 section 4.2), and bytes in plain text behind its reply end the connection: somebody else may have put
them there.

Codes are judged by their first digit (RFC 5321 section 4.2.1). 421 ends the connection wherever it comes. So does
what no server may say: garbage, 250 to DATA, a reply nobody asked for. Recipients not decided by then are deferred. A
greeting or an EHLO that is refused is the destination's trouble and not the message's: it defers too.

8-bit content goes to a server without 8BITMIME as it is (RFC 6152 would have it converted or returned; servers that
cannot take it have died out, and a conversion breaks signatures).
"""

import enum

from mta.smtp import client_mail
from mta.smtp.client_mail import CHUNK, DATA, DEFERRED, DELIVERED, MAIL, RECIPIENT, Commands, Mail, Verdict
from mta.smtp.client_reply import Reply, ReplyReader


class Protocol(enum.Enum):
    """Which of the two is spoken; the value is the command that opens it."""

    SMTP = b"EHLO"
    LMTP = b"LHLO"


class Encryption(enum.Enum):
    """Whether to ask for TLS: never; where it is offered, going on without where it is not; or not to go on then."""

    NEVER = enum.auto()
    OFFERED = enum.auto()
    ALWAYS = enum.auto()


class Step(enum.Enum):
    """What is next; see the module's text."""

    READ = enum.auto()
    TLS = enum.auto()
    READY = enum.auto()
    CONTENT = enum.auto()
    CLOSED = enum.auto()


# What the next reply answers, in words for people, besides what a mail's commands are called.
_GREETING = "the connection"
_EXTENDED_HELLO = "EHLO"
_HELLO = "HELO"
_STARTTLS = "STARTTLS"
_NOTHING = "nothing"
_RESET = "RSET"
_CONTENT = "the message"
_END = "the end of the message"
_EMPTY_END = "the end of no message"


class _Transaction:
    """A mail on its way; dropped whole when the next one begins."""

    __slots__ = ("accepted", "answered", "commands", "mail_accepted", "sent", "verdicts")

    def __init__(self, recipients: int, commands: Commands) -> None:
        self.commands = commands  # RSET where needed, MAIL, each RCPT, DATA or BDAT
        self.sent = 0
        self.answered = 0
        self.mail_accepted = False
        self.accepted: list[int] = []  # recipients that were accepted and have no verdict yet
        self.verdicts: list[Verdict | None] = [None] * recipients

    def decide(self, verdict: Verdict) -> None:
        """For everybody who has no verdict yet."""
        self.verdicts = [known or verdict for known in self.verdicts]
        self.accepted = []


class Client:
    """One connection's conversation."""

    __slots__ = (
        "_encryption",
        "_expect",
        "_handlers",
        "_hostname",
        "_keywords",
        "_output",
        "_pipelining",
        "_protocol",
        "_reader",
        "_reset_due",
        "_transaction",
        "chunked",
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
        self._pipelining = False
        self._output = b""
        self._expect = _GREETING
        self._transaction = _Transaction(0, [])
        self._reset_due = False  # the server may still have a transaction open
        self.encrypted = False  # inside of TLS
        self.chunked = False  # the content of the current transaction goes by BDAT
        self.step = Step.READ
        self.failure: Verdict | None = None
        self.replies = 0  # whole replies received; whoever keeps a deadline sees progress here
        self._handlers = {
            _GREETING: self._greeting,
            _EXTENDED_HELLO: self._extended_hello,
            _HELLO: self._hello,
            _STARTTLS: self._starttls,
            _NOTHING: self._violation,
            _RESET: self._reset,
            MAIL: self._mail,
            RECIPIENT: self._recipient,
            DATA: self._data,
            _CONTENT: self._early,
            _END: self._end,
            _EMPTY_END: self._empty_end,
        }

    # --- for whoever has the socket

    @property
    def verdicts(self) -> list[Verdict]:
        """One for each recipient, in order. Complete when the transaction is over."""
        return [verdict for verdict in self._transaction.verdicts if verdict]

    @property
    def untouched(self) -> bool:
        """The server has not answered the current transaction's MAIL: it can be begun again elsewhere."""
        return self._expect in (_RESET, MAIL)

    def offers(self, keyword: bytes) -> bool:
        """Whether the server announced an extension (upper case)."""
        return keyword in self._keywords

    def take_output(self) -> bytes:
        """What is to be sent now; empty when there is nothing."""
        output, self._output = self._output, b""
        return output

    def receive(self, data: bytes) -> None:
        """Take what arrived."""
        for reply in self._reader.feed(data):
            if self.step is Step.TLS:
                self._injected()
                return
            self.replies += 1
            if reply.code == 421:  # RFC 5321 section 3.8: the server closes the connection
                self._fail(Verdict(DEFERRED, reply.enhanced, self._in_reply(reply)))
            else:
                self._handlers[self._expect](reply)
            if self.step is Step.CLOSED:
                return
        if self.step is Step.TLS and (self._reader.has_part or self._reader.error):
            self._injected()
        elif self._reader.error:
            self._fail(Verdict(DEFERRED, "4.5.0", f"{self._reader.error} (in reply to {self._expect})"))

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
        ruled_out = client_mail.ruled_out(mail, self._keywords)
        if ruled_out is not None:
            self._transaction = _Transaction(len(mail.recipients), [])
            self._transaction.decide(ruled_out)
            return
        commands = client_mail.commands(mail, self._keywords)
        self.chunked = commands[-1][0] is CHUNK
        if self._reset_due:
            commands.insert(0, (_RESET, b"RSET\r\n"))
        group = commands[:-1] if self.chunked else commands
        output = b"".join([line for _, line in group])
        if not output.count(b"\n") == output.count(b"\r") == len(group):
            raise ValueError(f"an address with a line end: {output!r}")
        self._reset_due = False
        self._transaction = _Transaction(len(mail.recipients), commands)
        self.step = Step.READ
        self._expect = commands[0][0]
        if self._pipelining:
            self._output = output
            self._transaction.sent = len(group)
        else:
            self._send_next()

    def content_sent(self) -> None:
        """The content and its end have been sent."""
        self._expect = _END
        self.step = Step.READ

    # --- commands

    def _say_hello(self) -> None:
        self._expect = _EXTENDED_HELLO
        self._output = b"%b %b\r\n" % (self._protocol.value, self._hostname)

    def _send_next(self) -> None:
        """The next command, for a server without PIPELINING."""
        transaction = self._transaction
        self._output = transaction.commands[transaction.sent][1]
        transaction.sent += 1

    def _answered(self) -> None:
        """A command before the content has its answer, and the transaction goes on."""
        transaction = self._transaction
        transaction.answered += 1
        expect = transaction.commands[transaction.answered][0]
        self._expect = expect
        if transaction.sent > transaction.answered:
            return  # the next command has been sent
        if expect in (DATA, CHUNK) and not transaction.accepted:
            self._over(reset_due=transaction.mail_accepted)
            return
        self._send_next()
        if expect is CHUNK:
            self._expect = _CONTENT
            self.step = Step.CONTENT

    def _over(self, *, reset_due: bool = False) -> None:
        """The transaction has ended, and the connection can be used again."""
        self._reset_due = reset_due
        self._expect = _NOTHING
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
            self._pipelining = b"PIPELINING" in self._keywords
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
            self._over()
        elif b"STARTTLS" in self._keywords:
            self._expect = _STARTTLS
            self._output = b"STARTTLS\r\n"
        elif self._encryption is Encryption.OFFERED:
            self._over()
        else:
            self._fail(Verdict(DEFERRED, "4.7.4", "TLS is required, and the next hop does not offer it"))

    def _starttls(self, reply: Reply) -> None:
        if reply.code // 100 == 2:
            self.step = Step.TLS
        elif reply.code // 100 == 3:
            self._violation(reply)
        elif self._encryption is Encryption.OFFERED:
            self._over()
        else:
            self._fail(Verdict(DEFERRED, "4.7.4", f"TLS is required, and the next hop refuses it: {reply.text}"))

    def _reset(self, reply: Reply) -> None:
        if reply.code // 100 == 2:
            self._answered()
        else:
            self._violation(reply)

    def _mail(self, reply: Reply) -> None:
        if reply.code // 100 == 2:
            self._transaction.mail_accepted = True
            self._answered()
        elif reply.code // 100 == 3:
            self._violation(reply)
        else:
            self._transaction.decide(self._verdict(reply))
            if self._pipelining:
                self._answered()  # the others will be refused too
            else:
                self._over()

    def _recipient(self, reply: Reply) -> None:
        transaction = self._transaction
        if reply.code // 100 == 3:
            self._violation(reply)
            return
        if transaction.mail_accepted:
            index = transaction.answered - len(transaction.commands) + 1 + len(transaction.verdicts)
            if reply.code // 100 == 2:
                transaction.accepted.append(index)
            else:
                transaction.verdicts[index] = self._verdict(reply)
        self._answered()

    def _data(self, reply: Reply) -> None:
        transaction = self._transaction
        kind = reply.code // 100
        if kind == 2 or (kind == 3 and not transaction.accepted and self._protocol is Protocol.LMTP):
            self._violation(reply)
        elif kind != 3:
            transaction.decide(self._verdict(reply))
            self._over(reset_due=transaction.mail_accepted)
        elif transaction.accepted:
            self._expect = _CONTENT
            self.step = Step.CONTENT
        else:  # RFC 2920 section 3.1: no recipient was accepted, and yet the server wants content
            self._expect = _EMPTY_END
            self._output = b".\r\n"

    def _early(self, reply: Reply) -> None:
        """A reply before the content was sent: a server may refuse before it has read all, but then it is lost."""
        if reply.code // 100 in (4, 5):
            self._fail(self._verdict(reply))
        else:
            self._violation(reply)

    def _end(self, reply: Reply) -> None:
        transaction = self._transaction
        if reply.code // 100 == 3:
            self._violation(reply)
        elif self._protocol is Protocol.SMTP:
            transaction.decide(self._verdict(reply))
            self._over()
        else:  # RFC 2033 section 4.2, RFC 2033 section 4.3: a reply for each accepted recipient, in order
            transaction.verdicts[transaction.accepted.pop(0)] = self._verdict(reply)
            if not transaction.accepted:
                self._over()

    def _empty_end(self, reply: Reply) -> None:
        self._over()  # whatever it says: nobody was promised anything

    # --- what becomes of it

    def _verdict(self, reply: Reply) -> Verdict:
        status = reply.code // 100
        return Verdict(status, reply.enhanced, reply.text if status == DELIVERED else self._in_reply(reply))

    def _in_reply(self, reply: Reply) -> str:
        return f"{reply.text} (in reply to {self._expect})"

    def _refused(self, reply: Reply) -> None:
        """The server does not want to talk to us at all."""
        code = reply.enhanced if reply.code // 100 == 4 else "4.3.2"
        self._fail(Verdict(DEFERRED, code, self._in_reply(reply)))

    def _violation(self, reply: Reply) -> None:
        self._fail(Verdict(DEFERRED, "4.5.0", f"unexpected reply: {self._in_reply(reply)}"))

    def _injected(self) -> None:
        self._fail(Verdict(DEFERRED, "4.5.0", "bytes in plain text behind the reply to STARTTLS"))

    def _fail(self, verdict: Verdict) -> None:
        self._transaction.decide(verdict)
        self._output = b""
        self.failure = verdict
        self.step = Step.CLOSED
