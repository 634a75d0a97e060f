"""Makes cases: conversations as clients have them, good and bad, and then changes bytes in them."""

import random
import struct
from collections.abc import Sequence
from typing import Any

from tests.fuzz.case import HANDSHAKE, Case

LOCALS = (b"jane", b"jack", b"postmaster", b'"j q"', b"j\xc3\xb6rg", b"x" * 65)
DOMAINS = (b"example.org", b"Example.ORG", b"b\xc3\xbccher.example", b"xn--bcher-kva.example", b"elsewhere.example")
SENDERS = (b"<joe@example.com>", b"<>", b"<joe@[192.0.2.1]>", b"joe@example.com", b"<j\xc3\xb6@example.com>", b"<joe>")
CANARY = b"canary@example.org"
"""An address of ours that no command ever names, only content."""

MAIL_PARAMETERS = (
    *(b"PRDR", b"BODY=BINARYMIME", b"SIZE=10", b"BODY=8BITMIME", b"SMTPUTF8", b"RET=HDRS", b"ENVID=a+2Bb"),
    *(b"SIZE=99999999", b"REQUIRETLS", b"RABBIT", b"BODY=x", b"RET=", b"SIZE=1 SIZE=1", b"prdr BODY=binarymime"),
)
RCPT_PARAMETERS = (b"NOTIFY=NEVER", b"NOTIFY=SUCCESS,DELAY", b"ORCPT=rfc822;a@b.example", b"ORCPT=x", b"RABBIT=1")
SMALL = (
    *(b"NOOP", b"noop x", b"RSET", b"HELP", b"VRFY jane", b"EXPN x", b"XYZZY", b"", b"AUTH PLAIN AAAA", b"STARTTLS x"),
    *(b"HELO client.example.com", b"EHLO client.example.com", b"EHLO", b"LHLO client.example.com", b"DATA x"),
    *(
        b"MAIL FROM:<>",
        b"RCPT TO:<jane@example.org>",
        b"BDAT",
        b"BDAT x",
        b"BDAT 5 FIRST",
        b"BDAT 99999999999999999999",
    ),
    *(
        b"XCLIENT ADDR=192.0.2.9",
        b"XCLIENT NAME=[UNAVAILABLE] PORT=1",
        b"XFORWARD ADDR=192.0.2.9",
        b"XCLIENT x",
        b"MAIL",
    ),
    *(b"NOOP " + b"x" * 600, b"y" * 3000, b"NOOP \xff\x00", b"\x16\x03\x01\x00", b'rcpt to:<"a\r"@example.org>'),
    *(b"QUIT x", b"BDAT 0", b"BDAT 0 LAST", b"BDAT 3\tlast\r\nabc", b"BDAT  2  LAST \r\n\r\n"),
    *(b"BDAT 00000000000000000002 LAST\r\nab", b"bdat 6\r\nQUIT\r\n", b"DATA\r\n.", b"BDAT 9223372036854775808"),
)
PIECES = (
    *(b"\r\n.\r\n", b"\n.\n", b"\r.\r", b"\r\n.\n", b"\n.\r\n", b"\r.\r\n", b"\r\n.\r", b"\n\n.\r\r\n", b"\r\n\0.\r\n"),
    *(
        b"\r",
        b"\n",
        b".",
        b"\r\n",
        b"..",
        b"\0",
        b"\xff",
        b"x",
        b"\r\n\r\n",
        b"\r\n..\r\n",
        b"\r\n.x\r\n",
        b"BDAT 5 LAST\r\n",
    ),
    *(b"Received: by x\r\n", b"RSET\r\n", b"QUIT\r\n", b"DATA\r\n", b"BDAT 5 LAST\r\n", b"x" * 100, b"y" * 1500),
    b"MAIL FROM:<joe@example.com>\r\nRCPT TO:<%b>\r\nDATA\r\nsmuggled\r\n.\r\n" % CANARY,
    b"RSET\r\nMAIL FROM:<joe@example.com>\r\nRCPT TO:<%b>\r\nBDAT 3 LAST\r\nx\r\n" % CANARY,
    b"MAIL FROM:<joe@example.com>\nRCPT TO:<%b>\n" % CANARY,
)
CLEAN_PIECES = tuple(piece for piece in PIECES if piece.count(b"\r") == piece.count(b"\n") == piece.count(b"\r\n"))
TOKENS = (
    *(
        b"\r",
        b"\n",
        b"\r\n",
        b".",
        b" ",
        b"\0",
        b"<",
        b">",
        b"@",
        b"BDAT 7\r\n",
        b"BDAT 2 LAST\r\n",
        b"DATA\r\n",
        b"RSET\r\n",
    ),
    *(b"STARTTLS\r\n", b"QUIT\r\n", b"EHLO x\r\n", b"\r\n.\r\n", b"MAIL FROM:<a@b.example>\r\n", b"\xc3", b"9" * 20),
)


class Generator:
    """Makes cases from a seed, the same ones every time; a fifth of them by changing bytes in those of `corpus`."""

    def __init__(self, seed: int, corpus: Sequence[Case] = ()) -> None:
        self._rng = random.Random(seed)
        self._corpus = corpus
        self._steps: list[bytes | None] = []
        self._is_lmtp = False

    def case(self) -> Case:
        """The next case."""
        rng = self._rng
        if self._corpus and rng.random() < 0.2:
            known = rng.choice(self._corpus)
            return Case(known.settings, self._mutated(known.steps), known.busy)
        settings = self._settings()
        self._is_lmtp = settings["protocol"] == "lmtp"
        self._steps = []
        if "proxy_protocol" in settings:
            self._steps.append(self._proxy_header())
        if settings["tls"] == "implicit" and rng.random() < 0.95:
            self._steps.append(HANDSHAKE)
        if settings["tls"] == "required" and rng.random() < 0.9:
            self._start_tls()
        elif rng.random() < 0.9:
            self._hello()
        for _ in range(rng.randint(1, 6)):
            self._act()
        if rng.random() < 0.5:
            self._say(b"QUIT")
        steps = self._joined() if rng.random() < 0.3 else tuple(self._steps)
        busy = (rng.randint(1, 3),) if rng.random() < 0.1 else ()
        is_mutated = rng.random() < 0.5
        if is_mutated:
            steps = self._mutated(steps)
        return Case(settings, steps, busy, is_mutated)

    # --- the listener

    def _settings(self) -> dict[str, Any]:
        rng = self._rng
        settings: dict[str, Any] = {
            "protocol": rng.choice(("smtp", "smtp", "lmtp")),
            "tls": rng.choice(("none", "optional", "optional", "optional", "required", "implicit")),
            "bare_newlines": rng.choice(("refuse", "normalise", "keep")),
            "refuse_early": rng.choice(([], [], [], [], ["ehlo", "data"], ["helo"], ["greeting"])),
            "limits": {
                "message_bytes": rng.choice((20, 200, 4096, 4096, 4096)),
                "command_bytes": rng.choice((512, 2048)),
                "recipients": rng.choice((2, 100)),
                "messages": rng.choice((2, 1000)),
                "commands": rng.choice((10, 1000, 1000, 1000)),
                "junk_commands": rng.choice((3, 100)),
                "errors": rng.choice((3, 20, 100)),
                "soft_errors": 2,
            },
        }
        if rng.random() < 0.1:
            settings["proxy_protocol"] = ["127.0.0.0/8"]
        if rng.random() < 0.3:
            settings["xclient"] = ["127.0.0.0/8", "192.0.2.0/24"]
        if rng.random() < 0.3:
            settings["xforward"] = ["127.0.0.0/8"]
        return settings

    def _proxy_header(self) -> bytes:
        rng = self._rng
        address = bytes((192, 0, 2, 9, 198, 51, 100, 1)) + struct.pack("!HH", 4711, 25)
        more = rng.choice((b"", b"\x04\0\x03abc"))
        two = b"\r\n\r\n\0\r\nQUIT\n\x21\x11" + struct.pack("!H", len(address) + len(more)) + address + more
        return rng.choice(
            (
                b"PROXY TCP4 192.0.2.9 198.51.100.1 4711 25\r\n",
                b"PROXY TCP6 2001:db8::1 2001:db8::2 4711 25\r\n",
                b"PROXY UNKNOWN\r\n",
                b"PROXY TCP4 nonsense\r\n",
                b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0",
                two,
                two,
            )
        )

    # --- the client

    def _say(self, line: bytes) -> None:
        self._steps.append(line + b"\r\n")

    def _act(self) -> None:
        act = self._rng.choices((self._hello, self._mail, self._small, self._start_tls), (3, 8, 3, 1))[0]
        act()

    def _hello(self) -> None:
        verbs = (b"LHLO",) if self._is_lmtp else (b"EHLO", b"EHLO", b"ehlo", b"HELO")
        self._say(self._rng.choice(verbs) + b" client.example.com")

    def _small(self) -> None:
        for _ in range(self._rng.randint(1, 4)):
            self._say(self._rng.choice(SMALL))

    def _start_tls(self) -> None:
        self._hello()
        self._say(b"STARTTLS")
        if self._rng.random() < 0.9:
            self._steps.append(HANDSHAKE)
        if self._rng.random() < 0.9:
            self._hello()

    def _mail(self) -> None:
        rng = self._rng
        if rng.random() < 0.3:
            self._hello()
        sender = SENDERS[0] if rng.random() < 0.8 else rng.choice(SENDERS)
        prdr = b" PRDR" if rng.random() < 0.15 else b""
        self._say(b"MAIL FROM:" + self._with(sender, MAIL_PARAMETERS) + prdr)
        for _ in range(rng.choice((1, 1, 2, 3, 5))):
            address = b"<jane@example.org>"
            if rng.random() < 0.3:
                address = b"<%b@%b>" % (rng.choice(LOCALS), rng.choice(DOMAINS))
            self._say(b"RCPT TO:" + self._with(address, RCPT_PARAMETERS))
            if rng.random() < 0.05:
                self._small()
        if rng.random() < 0.5:
            self._data()
        else:
            self._chunks()

    def _with(self, path: bytes, parameters: tuple[bytes, ...]) -> bytes:
        good = self._rng.choice((len(parameters), len(parameters) // 2))
        count = self._rng.choice((0, 0, 0, 1, 2))
        return b" ".join((path, *self._rng.sample(parameters[:good], count)))

    def _content(self) -> bytes:
        rng = self._rng
        pieces = rng.choice((PIECES, CLEAN_PIECES))
        return b"".join(rng.choice(pieces) for _ in range(rng.choice((0, 1, 2, 5, 12))))

    def _data(self) -> None:
        self._say(b"DATA")
        # As a client should: lines, dots doubled, and the end once, behind all of it.
        content = self._content()
        stuffed = (b"\r\n" + content).replace(b"\r\n.", b"\r\n..")[2:]
        end = b".\r\n" if not stuffed or stuffed.endswith(b"\r\n") else b"\r\n.\r\n"
        self._steps.append(stuffed + end)

    def _chunks(self) -> None:
        rng = self._rng
        for number in range(count := rng.choice((1, 1, 2, 4))):
            content = self._content()
            last = b" LAST" if number == count - 1 and rng.random() < 0.95 else b""
            self._steps.append(b"BDAT %d%b\r\n%b" % (len(content), last, content))
            if rng.random() < 0.05:
                self._small()

    # --- other clients

    def _joined(self) -> tuple[bytes | None, ...]:
        """Everything at once, as far as handshakes allow."""
        joined: list[bytes | None] = []
        for step in self._steps:
            if step is not HANDSHAKE and joined and joined[-1] is not None and self._rng.random() < 0.9:
                joined[-1] += step
            else:
                joined.append(step)
        return tuple(joined)

    def _mutated(self, steps: tuple[bytes | None, ...]) -> tuple[bytes | None, ...]:
        """Some bytes changed, taken away, put in or said again."""
        rng = self._rng
        changed = list(steps)
        for _ in range(rng.choice((1, 1, 2, 6))):
            place = rng.randrange(len(changed)) if changed else 0
            step = changed[place] if changed else None
            if step is HANDSHAKE:
                if changed and rng.random() < 0.3:
                    del changed[place]
                continue
            at = rng.randrange(len(step) + 1)
            size = rng.choice((1, 1, 2, 10))
            match rng.randrange(6):
                case 0:
                    changed[place] = step[:at] + bytes((rng.randrange(256),)) + step[at + 1 :]
                case 1:
                    changed[place] = step[:at] + step[at + size :]
                case 2:
                    changed[place] = step[:at] + rng.choice(TOKENS) + step[at:]
                case 3:
                    changed[place] = step[:at] + step[max(0, at - size) : at] * rng.choice((2, 50)) + step[at:]
                case 4:
                    changed.insert(rng.randrange(len(changed) + 1), step)
                case 5:
                    del changed[place]
        return tuple(changed)
