"""What a client makes of a conversation: a model of SMTP that knows nothing of the server's code.

It goes through what the client sent with the server's replies in hand, as a client does: each line takes one reply;
DATA that was answered with 354 takes content up to CR LF . CR LF and then a reply; BDAT takes as many bytes as it says,
whatever the answer. The replies decide what happened; the model decides how many there have to be, and which messages
the server must have taken, byte for byte. RFC 5321 section 4.1.1.4, RFC 3030 section 2, RFC 2033 section 4.2.
"""

import re
from collections.abc import Sequence

import msgspec

from tests.fuzz.case import HANDSHAKE, Case

REPLY = re.compile(rb"(\d{3})(?:-[^\r\n]*\r\n\1)* [^\r\n]*\r\n")
REASON = re.compile(rb" \[([a-z0-9-]+)\]\r\n$")
LAST_WORDS = {b"early-talker", b"bdat-size", b"not-smtp"}
"""Reasons of refusals besides 421 that end the session."""

VERB = re.compile(
    rb"(?:AUTH|BDAT|CONNECT|DATA|EHLO|EXPN|HELO|HELP|LHLO|MAIL|MESSAGE|NOOP|QUIT|RCPT|RSET|STARTTLS|VRFY|XCLIENT|XFORWARD)"
    rb"(?![^ \r\n\t])"
)
CHUNK = re.compile(rb"([0-9]{1,20})(?:[ \t]+last)?", re.IGNORECASE)
PROXY_2 = b"\r\n\r\n\0\r\nQUIT\n"


class Wrong(AssertionError):
    """The server did what it must not."""


class Expected(msgspec.Struct, frozen=True):
    """A message that the server must have taken: its RCPT arguments and its content as stored."""

    recipients: tuple[bytes, ...]
    content: bytes


class _Transaction:
    """What the client knows of the message it is about to send."""

    def __init__(self, mail: bytes) -> None:
        self.recipients: list[bytes] = []
        self.chunks: list[bytes] = []
        self.is_binary = re.search(rb"[ \t]body=binarymime(?=[ \t]|$)", mail, re.IGNORECASE) is not None
        self.wants_prdr = re.search(rb"[ \t]prdr(?=[ \t]|$)", mail, re.IGNORECASE) is not None


def replies_in(output: bytes) -> list[bytes]:
    """Cut what the server said into replies; raises `Wrong` when there is something else in it."""
    found, at = [], 0
    while at < len(output):
        match = REPLY.match(output, at)
        if match is None:
            raise Wrong(f"no reply: {output[at : at + 100]!r}")
        found.append(match[0])
        at = match.end()
    return found


class Model:
    """Goes through one conversation. `expected` are the messages that must have been taken.

    `has_blind_content`: DATA was refused, so that a client which does not look has sent its content as commands.
    `seen` names what happened, each as a command and how it was answered.
    """

    def __init__(self, case: Case, steps: Sequence[bytes | None], output: bytes, *, closed: bool) -> None:
        """`steps` is the case's, as sent."""
        limits = case.settings.get("limits", {})
        self._message_bytes: int = limits.get("message_bytes", 4096)
        self._command_bytes: int = limits.get("command_bytes", 2048)
        self._bare_newlines: str = case.settings.get("bare_newlines", "refuse")
        self._is_lmtp = case.settings.get("protocol") == "lmtp"
        self._has_proxy = bool(case.settings.get("proxy_protocol"))
        self._tls: str = case.settings.get("tls", "optional")
        self._is_secure = False  # TLS is spoken
        self._is_greeted = False  # by the client, since the beginning or since everything was forgotten
        self._refuse_early: list[str] = case.settings.get("refuse_early", ["greeting", "ehlo", "data"])
        self._must_wait = False  # for the answer to each command
        self._steps = list(steps)
        self._data = b""
        self._replies = replies_in(output)
        self._closed = closed
        self._is_over = False
        self._waits_for_tls = False
        self._transaction: _Transaction | None = None
        self.expected: list[Expected] = []
        self.has_blind_content = False
        self.seen: set[str] = set()

    def check(self) -> None:
        """Raises `Wrong` when there are more replies, or fewer, than commands, or other ones than can be."""
        if self._begin():
            while not self._is_over and self._step():
                pass
        if self._replies:
            raise Wrong(f"{len(self._replies)} replies to nothing: {self._replies[:3]!r}")

    # --- what was sent

    def _fill(self) -> bool:
        """Have more data; False when there is none, or none that the server could have read."""
        while self._steps:
            step = self._steps[0]
            if step is HANDSHAKE:
                self._steps.pop(0)
                self._is_secure |= self._waits_for_tls
                self._waits_for_tls = False
            elif self._waits_for_tls and step:
                return False  # no TLS
            else:
                self._steps.pop(0)
                if step:
                    self._data += step
                    return True
        return False

    def _line(self) -> bytes | None:
        while b"\n" not in self._data:
            if not self._fill():
                return None
        line, end, self._data = self._data.partition(b"\n")
        return line + end

    def _take(self, count: int) -> bytes | None:
        while len(self._data) < count:
            if not self._fill():
                return None
        taken, self._data = self._data[:count], self._data[count:]
        return taken

    def _content(self) -> bytes | None:
        """Content behind 354, dots taken away; None when it does not end."""
        while b"\r\n.\r\n" not in b"\r\n" + self._data:
            if not self._fill():
                return None
        raw, _, self._data = (b"\r\n" + self._data).partition(b"\r\n.\r\n")
        return (raw + b"\r\n").replace(b"\r\n.", b"\r\n")[2:]

    # --- what was answered

    def _answer(self, what: bytes) -> bytes:
        """The next reply. The session may end with it, or with a 421 right behind it."""
        if not self._replies:
            raise Wrong(f"no reply to {what!r}")
        reply = self._replies.pop(0)
        reason = REASON.search(reply)
        word = reason[1] if reason else b""
        verb = VERB.match(what.upper())
        self.seen.add(b"-".join(filter(None, (verb[0] if verb else b"other", reply[:3], word))).decode().lower())
        if reply[:3] == b"421" or word in LAST_WORDS:
            self._end(reply)
        elif self._replies and self._replies[0].endswith(b" [errors]\r\n"):
            self._end(self._replies.pop(0))
        return reply

    def _end(self, reply: bytes) -> None:
        self._is_over = True
        if not self._closed:
            raise Wrong(f"the session goes on behind {reply!r}")

    # --- how it goes

    def _begin(self) -> bool:
        """What comes before commands; False when nothing else does."""
        if self._has_proxy and not self._skip_header():
            return False
        if self._tls == "implicit":
            self._waits_for_tls = True
            if self._data or not self._fill_behind_handshake():
                return False
            self._is_secure = True
        self._answer(b"CONNECT")
        return not self._is_over

    def _skip_header(self) -> bool:
        if not self._replies:
            return False  # none, a bad one, or half of one; whether it was bad is for other tests
        if not self._fill():
            raise Wrong("a greeting without a header")
        while True:
            if self._data.startswith(PROXY_2) and len(self._data) >= 16:
                size = 16 + int.from_bytes(self._data[14:16], "big")
                if len(self._data) >= size:
                    self._data = self._data[size:]
                    return True
            elif self._data.startswith(b"PROXY ") and b"\r\n" in self._data:
                self._data = self._data.partition(b"\r\n")[2]
                return True
            if not self._fill():
                raise Wrong("a greeting without a header")

    def _fill_behind_handshake(self) -> bool:
        while self._steps and self._steps[0] is not HANDSHAKE:
            if self._steps.pop(0):
                return False
        if not self._steps:
            return False
        self._steps.pop(0)
        self._waits_for_tls = False
        return True

    def _step(self) -> bool:
        """One command with all that belongs to it; False when there is none any more."""
        line = self._line()
        if line is None:
            return False
        if len(line) > self._command_bytes or not line.endswith(b"\r\n"):
            reply = self._answer(line)
            if not self._is_over and reply[:3] != b"500":
                raise Wrong(f"{reply!r} to a line that is none: {line[:80]!r}")
            return True
        match = re.fullmatch(rb"([^ \t]*)[ \t]*(.*?)[ \t]*\r\n", line, re.DOTALL)
        assert match is not None
        verb, argument = match[1].upper(), match[2]
        is_hasty = bool(self._data)  # more has come with it
        if verb == b"BDAT" and not (is_hasty and self._must_wait):
            return self._bdat(argument)
        reply = self._answer(line)
        self._check_haste(verb, reply, is_hasty=is_hasty)
        if self._is_over:
            return False
        if verb in (b"EHLO", b"LHLO") and reply[:3] == b"250":
            self._check_offer(reply)
        return self._done(verb, line, argument, int(reply[:3]))

    def _check_haste(self, verb: bytes, reply: bytes, *, is_hasty: bool) -> None:
        """Who does not wait where he must is sent away, and nobody else (RFC 2920 section 3.1, RFC 3207 section 5)."""
        minded = {
            b"EHLO": "ehlo" in self._refuse_early,
            b"LHLO": "ehlo" in self._refuse_early,
            b"HELO": "helo" in self._refuse_early,
            b"DATA": "data" in self._refuse_early,
            b"STARTTLS": True,
        }
        is_minded = is_hasty and (self._must_wait or minded.get(verb, False))
        if reply.endswith(b" [early-talker]\r\n"):
            if not is_minded:
                raise Wrong(f"sent away for nothing at {verb!r}")
        elif is_minded and (self._must_wait or reply[:1] in b"23") and reply[:3] != b"421":
            raise Wrong(f"an early talker goes on behind {verb!r}")

    def _check_offer(self, reply: bytes) -> None:
        if (b"-STARTTLS\r\n" in reply) != (not self._is_secure and self._tls in ("optional", "required")):
            raise Wrong("STARTTLS where it must not be offered, or not where it must")
        if (b"-REQUIRETLS\r\n" in reply) != self._is_secure:  # RFC 8689 section 2
            raise Wrong("REQUIRETLS where it must not be offered, or not where it must")

    def _done(self, verb: bytes, line: bytes, argument: bytes, code: int) -> bool:
        match verb, code:
            case (b"QUIT", 221):
                self._end(b"221")
            case (b"MAIL", 250):
                if not self._is_greeted or self._transaction is not None:
                    raise Wrong(f"a sender where there must be none: {line!r}")
                if self._tls == "required" and not self._is_secure:
                    raise Wrong("mail without TLS")
                self._transaction = _Transaction(line.rstrip(b"\r\n"))
            case (b"RCPT", 250):
                if self._transaction is None:
                    raise Wrong(f"a recipient without a sender: {line!r}")
                self._transaction.recipients.append(argument)
            case (b"RSET", 250):
                self._transaction = None
            case (b"EHLO" | b"HELO" | b"LHLO", 250):
                self._transaction = None
                self._is_greeted = True
                self._must_wait = verb == b"HELO" and "helo" in self._refuse_early
            case (b"XCLIENT", 220):
                self._forget()
            case (b"STARTTLS", 220):
                self._forget()
                self._waits_for_tls = True
                if self._data:
                    return False  # in the clear, behind 220: it is no TLS
            case (b"DATA", 354):
                return self._data_content()
            case (b"DATA", _):
                self.has_blind_content = True
            case (_, 354):
                raise Wrong(f"354 to {line!r}")
        return not self._is_over

    def _forget(self) -> None:
        """The session is as new."""
        self._transaction = None
        self._is_greeted = False
        self._must_wait = False

    def _data_content(self) -> bool:
        transaction = self._transaction
        if transaction is None or not transaction.recipients:
            raise Wrong("354 without a recipient")
        if transaction.is_binary:
            raise Wrong("354 for BINARYMIME")
        content = self._content()
        if content is None:
            return False
        self._message(transaction, content)
        return not self._is_over

    def _bdat(self, argument: bytes) -> bool:
        match = CHUNK.fullmatch(argument)
        if match is None or int(match[1]) >= 1 << 63:
            self._answer(b"BDAT " + argument)
            if not self._is_over:
                raise Wrong(f"the session goes on behind BDAT {argument!r}")
            return False
        chunk = self._take(int(match[1]))
        if chunk is None:
            if self._replies:
                self._answer(b"BDAT " + argument)
                if not self._is_over:
                    raise Wrong("a reply in the middle of a chunk")
            return False
        transaction = self._transaction
        is_last = len(match[1]) < len(argument)
        if transaction is None or not transaction.recipients:
            code = int(self._answer(b"BDAT " + argument)[:3])
            if code < 400:
                raise Wrong(f"{code} to BDAT without a recipient")
        elif is_last:
            self._message(transaction, b"".join(transaction.chunks) + chunk)
        else:
            code = int(self._answer(b"BDAT " + argument)[:3])
            transaction.chunks.append(chunk)
            if code != 250:
                self._transaction = None
        return not self._is_over

    def _message(self, transaction: _Transaction, content: bytes) -> None:
        """The answers to a whole message."""
        self._transaction = None
        what = b"MESSAGE"
        first = self._answer(what)
        if self._is_over:
            return
        count = len(transaction.recipients)
        if self._is_lmtp:
            answers = [first, *(self._answer(what) for _ in range(count - 1))]
        elif first[:3] == b"353":
            if not transaction.wants_prdr:
                raise Wrong("353 without PRDR")
            answers = [self._answer(what) for _ in range(count + 1)]
        else:
            answers = [first]
        codes = {int(answer[:3]) for answer in answers}
        kind = "bdat" if transaction.chunks else "whole"
        kind += "-binary" if transaction.is_binary else f"-{self._bare_newlines}"
        self.seen.add(f"message-{'lmtp-' * self._is_lmtp}{kind}-{min(codes)}")
        if len(codes) != 1:
            raise Wrong(f"a message half taken: {answers}")
        if codes != {250}:
            if min(codes) < 400:
                raise Wrong(f"{codes} to a message")
            return
        if len(content) > self._message_bytes:
            raise Wrong(f"{len(content)} bytes were taken")
        self.expected.append(Expected(tuple(transaction.recipients), self._stored(content, transaction)))

    def _stored(self, content: bytes, transaction: _Transaction) -> bytes:
        """Content as policy leaves it; raises `Wrong` where policy must not have taken it."""
        if transaction.is_binary or self._bare_newlines == "keep":
            return content
        if self._bare_newlines == "refuse":
            if re.search(rb"\r(?!\n)|(?<!\r)\n", content):
                raise Wrong(f"bare line ends were taken: {content!r}")
            return content
        return re.sub(rb"(?<!\r)\n", b"\r\n", re.sub(rb"\r(?!\n)|\0", b" ", content))
