"""Next hops that misbehave, once, at one point of a conversation: the files of `tests/hostile` as cases.

Their form is described in the README there.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from gevent.event import Event

from tests.support.nexthop import Hop

FOLDER = Path(__file__).resolve().parent.parent / "hostile"
KINDS = {
    "bdat": ("PIPELINING", "CHUNKING"),
    "data": ("PIPELINING",),
    "plain": ("HELP",),
    "lmtp": ("PIPELINING", "CHUNKING"),
}
POINTS = ("greeting", "EHLO", "STARTTLS", "MAIL", "RCPT", "RCPT 2", "DATA", "END", "END 2", "RSET", "QUIT", "idle")
STATUSES = {"delivered": 2, "deferred": 4, "down": 4, "failed": 5}


class Deed(NamedTuple):
    """What a server does in place of a reply: what it sends, by the reply that was due, and how it goes on."""

    name: str
    said: tuple[str, ...]
    times: int
    then: str
    text: str

    def sent(self, usual: str) -> bytes:
        """What is sent where `usual` was due (lines joined by newlines)."""
        lines = usual.replace("\n", "\r\n") + "\r\n"
        return "".join(lines if one == "usual\r\n" else one for one in self.said).encode("latin-1") * self.times

    def code(self, usual: str) -> str:
        """The code of the first whole reply that is sent; empty where there is none."""
        codes = set()
        for line in self.sent(usual).decode("latin-1").split("\n")[:-1]:
            if not re.match(r"[2-5][0-9][0-9](?:[ -]|\r?$)", line):
                return ""
            codes.add(line[:3])
            if line[3:4] != "-":
                return codes.pop() if len(codes) == 1 else ""
        return ""


class Case(NamedTuple):
    """A deed at a point, and what becomes of mail: status and code of each recipient."""

    deed: Deed
    point: str
    kind: str
    expected: tuple[tuple[int, str], tuple[int, str]]
    is_down: bool
    is_reused: bool

    @property
    def name(self) -> str:
        """For people."""
        return f"{self.deed.name}-{self.point}-{self.kind}".replace(" ", "")


def cases() -> list[Case]:
    """All of them."""
    return [case for path in sorted(FOLDER.glob("*.txt")) for case in read(path)]


def read(path: Path) -> Iterator[Case]:
    """Those of a file. Raises `ValueError` for what has no meaning."""
    head, _, table = path.read_text().partition("\n\n")
    fields: dict[str, list[str]] = {name: [] for name in ("say", "raw", "times", "then", "text")}
    said = []
    for line in head.splitlines():
        if line.startswith("#"):
            continue
        name, _, value = line.partition(" ")
        fields[name].append(value.strip())
        if name in ("say", "raw"):
            text = value.strip().encode("latin-1").decode("unicode_escape")
            said.append(text + "\r\n" if name == "say" else text)
    then = (fields["then"] or ["on"])[0]
    if then not in ("close", "reset", "silence", "on"):
        raise ValueError(f"{path.name}: then {then}")
    text = "".join(fields["text"]).encode("latin-1").decode("unicode_escape")
    deed = Deed(path.stem, tuple(said), int((fields["times"] or ["1"])[0]), then, text)
    header, *rows = [
        re.split(r"\s{2,}", line.strip()) for line in table.splitlines() if line.strip()[:1] not in ("", "#")
    ]
    if tuple(header) != tuple(KINDS):
        raise ValueError(f"{path.name}: columns {header}")
    for point, *cells in rows:
        if point not in POINTS or not 1 <= len(cells) <= len(KINDS):
            raise ValueError(f"{path.name}: row {point}")
        cells += [cells[-1]] * (len(KINDS) - len(cells))
        for kind, cell in zip(KINDS, cells, strict=True):
            if cell != "-":
                yield _case(deed, point, kind, cell)


def _case(deed: Deed, point: str, kind: str, cell: str) -> Case:
    outcomes = cell.removesuffix(" again").split(", ")
    first, second = (one.partition(" ") for one in (outcomes * 2 if len(outcomes) == 1 else outcomes))
    expected = tuple((STATUSES[word], code or "2.0.0") for word, _, code in (first, second))
    return Case(deed, point, kind, expected, first[0] == "down", cell.endswith(" again"))  # type: ignore[arg-type]


class _GoneError(ConnectionError):
    """The server does not go on."""


class Misbehaving:
    """A script: the server of a case, on its first connection that comes so far; polite on all others.

    `taken` counts, by the whole RCPT line, how often it said that it has a mail for somebody. `before_end` is called
    before each reply to content, `on_silence` now and then while a client waits in vain.
    """

    def __init__(
        self, case: Case, *, on_silence: Callable[[], None], before_end: Callable[[], None] = lambda: None
    ) -> None:
        self._case = case
        self._on_silence = on_silence
        self._before_end = before_end
        self.done = Event()  # it has misbehaved
        self._refuses = case.point == "RSET"  # the recipients of the first mail
        self.taken: Counter[bytes] = Counter()

    def __call__(self, hop: Hop) -> None:
        """Serve one connection."""
        self._reply(hop, "greeting", "220 hop.example ESMTP")
        is_open = False
        recipients: list[bytes] = []
        asked = 0
        while line := hop.hear():
            verb = line.split(b" ")[0].upper()
            if verb in (b"EHLO", b"LHLO"):
                names = [
                    *KINDS[self._case.kind],
                    *["STARTTLS"] * (self._case.point == "STARTTLS" and not self.done.is_set()),
                ]
                self._reply(hop, "EHLO", "\n".join(["250-hop.example", *(f"250-{name}" for name in names), "250 SIZE"]))
            elif verb == b"MAIL":
                is_open = self._reply(hop, "MAIL", "250 2.1.0 ok")[:1] == "2"
                recipients, asked = [], 0
            elif verb == b"RCPT":
                asked += 1
                usual = "250 2.1.5 ok" if is_open else "503 5.5.1 MAIL first"
                usual = "550 5.1.1 nobody" if self._refuses else usual
                if self._reply(hop, "RCPT" if asked == 1 else f"RCPT {asked}", usual)[:1] == "2" and is_open:
                    recipients.append(line)
            elif verb == b"DATA":
                code = self._reply(hop, "DATA", "354 go" if recipients else "503 5.5.1 no recipients")
                if code[:1] == "3":
                    hop.hear_content()
                    self._end(hop, recipients)
                is_open, recipients, self._refuses = False, [], False
            elif verb == b"BDAT":
                hop.hear_bytes(int(line.split()[1]))
                self._end(hop, recipients)
                is_open, recipients, self._refuses = False, [], False
            elif verb == b"QUIT":
                self._reply(hop, "QUIT", "221 2.0.0 bye")
                return
            else:
                if verb == b"RSET":
                    is_open, recipients, self._refuses = False, [], False
                self._reply(hop, verb.decode(), "454 4.7.0 no" if verb == b"STARTTLS" else "250 2.0.0 ok")

    def _end(self, hop: Hop, recipients: list[bytes]) -> None:
        if hop.is_cut:
            raise _GoneError
        self._before_end()
        if not recipients:
            hop.say("503 5.5.1 no recipients")
            return
        if self._case.kind != "lmtp":
            if self._reply(hop, "END", "250 2.0.0 taken")[:1] == "2":
                self.taken.update(recipients)
        else:
            for number, recipient in enumerate(recipients, 1):
                if self._reply(hop, "END" if number == 1 else f"END {number}", "250 2.0.0 taken")[:1] == "2":
                    self.taken[recipient] += 1
        if self._case.point == "idle" and not self.done.is_set():
            self._reply(hop, "idle", "")

    def _reply(self, hop: Hop, point: str, usual: str) -> str:
        """Say it, or misbehave instead; the code that was said, as far as one was. Raises `_GoneError`."""
        if point != self._case.point or self.done.is_set() or (point == "RSET" and self._refuses):
            hop.say(*usual.split("\n"))
            return usual[:3]
        self.done.set()
        deed = self._case.deed
        hop.socket.sendall(deed.sent(usual))
        if deed.then == "on":
            return deed.code(usual)
        if deed.then == "reset":
            hop.reset()
        elif deed.then == "silence":
            hop.socket.settimeout(0.002)
            while not self._is_left(hop):
                self._on_silence()
        raise _GoneError

    def _is_left(self, hop: Hop) -> bool:
        """Whether the other side has closed; waits a moment for it."""
        try:
            return not hop.socket.recv(65536)
        except TimeoutError:
            return False
