"""Next hops that misbehave at every point of the conversation, as `tests/hostile` has it, and what becomes of mail."""

from collections.abc import Iterator
from pathlib import Path

import gevent
import pytest
from gevent.event import Event

from mta.deliver import peer, relay
from mta.ipc import Outcome
from tests.support.deliveries import FakeMessage, mail
from tests.support.hostile import KINDS, POINTS, Case, Misbehaving, cases, read
from tests.support.nexthop import NextHop
from tests.support.relaying import BODY, DEADLINE_S, Relaying

JOE, JIM = b"RCPT TO:<joe@example.org>", b"RCPT TO:<jim@example.org>"
TEXT_CHARACTERS = 500  # of an outcome: a reply's text, as far as it is kept, and what it answers

CASES = cases()
BESIDE = ("421", "550", "550-close", "binary", "close", "half-line-reset", "many-lines", "twice")  # one of each sort
BESIDE_OTHERS = [case for case in CASES if case.deed.name in BESIDE and case.point not in ("RSET", "QUIT", "idle")]


class Clock:
    """Stands still but for jumps: nothing is overdue unless a server has fallen silent, and somebody waits for it."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.may_jump = False

    def __call__(self) -> float:
        return self.now

    def jump(self) -> None:
        """Past every deadline that there is."""
        if self.may_jump:
            self.now += 10 * DEADLINE_S


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The time of the transport. It looks at deadlines every few ms."""
    made = Clock()
    monkeypatch.setattr(peer, "monotonic", made)
    monkeypatch.setattr(relay, "monotonic", made)
    monkeypatch.setattr(relay, "SWEEP_S", 0.002)
    monkeypatch.setattr(relay, "IDLE_S", 1e6)
    return made


@pytest.fixture
def relaying(clock: Clock) -> Iterator[Relaying]:
    made = Relaying()
    made.messages = {number: FakeMessage(mail("joe@example.org", "jim@example.org"), BODY) for number in (1, 2)}
    yield made
    made.close()


def play(relaying: Relaying, case: Case, server: Misbehaving) -> NextHop:
    """A transport to it; where something goes before the case's mail, that has been."""
    hop = relaying.play(server, kind="lmtp" if case.kind == "lmtp" else "smtp")
    if case.point == "RSET":
        assert relaying.one(1, (0, 1)) == [(5, "5.1.1")] * 2
    elif case.point == "idle":
        assert relaying.one(1, (0, 1)) == []
        hop.wait_open(0)
        server.taken.clear()
    return hop


def results(outcome: Outcome) -> list[tuple[int, str]]:
    """Status and code of both recipients, delivered ones included."""
    found = {result.recipient: (result.status, result.code) for result in outcome.results}
    assert not found or set(found) == {0, 1}
    return [found.get(index, (2, "2.0.0")) for index in (0, 1)]


def sane(case: Case, outcome: Outcome) -> bool:
    """Whether all that people are told is a line of printable ASCII, of a length for people, that says what was."""
    assert all(result.text.isascii() and result.text.isprintable() for result in outcome.results)
    assert all(0 < len(result.text) <= TEXT_CHARACTERS for result in outcome.results)
    return all(case.deed.text in result.text for result in outcome.results if result.status != 2)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_alone(relaying: Relaying, clock: Clock, case: Case) -> None:
    """The outcome; then the next mail goes, by this connection or by another, and what was deferred goes once."""
    server = Misbehaving(case, on_silence=clock.jump)
    hop = play(relaying, case, server)
    clock.may_jump = True
    (outcome,) = relaying.deliver((1, (0, 1)))
    clock.may_jump = False
    assert tuple(results(outcome)) == case.expected
    assert outcome.destination_down == case.is_down
    assert sane(case, outcome)
    if case.point == "QUIT":
        relaying.transport.close()
        hop.wait_open(0)
    assert server.done.is_set()
    assert relaying.one(2, (0, 1)) == []
    assert (hop.connections == 1) == case.is_reused
    deferred = tuple(index for index in (0, 1) if case.expected[index][0] == 4)
    if deferred:
        assert relaying.one(1, deferred) == []
    for index, line in enumerate((JOE, JIM)):
        wanted = 1 if case.expected[index][0] == 5 else 2
        # A server that says what it must not say, and takes the content all the same, which had come by then.
        may_be_twice = index in deferred and case.deed.then == "on" and case.kind in ("bdat", "lmtp")
        assert server.taken[line] in ((wanted, wanted + 1) if may_be_twice else (wanted,))


@pytest.mark.parametrize("case", BESIDE_OTHERS, ids=lambda case: case.name)
def test_others_are_unhurt(relaying: Relaying, clock: Clock, case: Case) -> None:
    """A mail is on its way by another connection. While that one works the destination is waited for, and not down."""
    arrived, gate = Event(), Event()

    def hold() -> None:
        arrived.set()
        gate.wait()

    polite = Misbehaving(case._replace(point="nowhere"), on_silence=clock.jump, before_end=hold)
    server = Misbehaving(case, on_silence=clock.jump)
    servers = iter((polite,))
    relaying.play(lambda hop: next(servers, server)(hop), kind="lmtp" if case.kind == "lmtp" else "smtp")
    works = [relaying.outcomes.work(number, (0, 1)) for number in (1, 2)]
    with gevent.Timeout(DEADLINE_S):
        relaying.transport.take(works[:1])
        arrived.wait()
        relaying.transport.take(works[1:])
        server.done.wait()
    if not case.is_down:
        relaying.wait([works[1].job.number])
    gate.set()
    one, two = relaying.wait([work.job.number for work in works])
    assert results(one) == [(2, "2.0.0")] * 2
    assert tuple(results(two)) == (((2, "2.0.0"),) * 2 if case.is_down else case.expected)
    assert not two.destination_down


def test_every_point_is_there() -> None:
    """For each kind of next hop, as far as it has the point."""
    without = {("DATA", "bdat"), ("DATA", "lmtp"), ("END 2", "bdat"), ("END 2", "data"), ("END 2", "plain")}
    without.add(("STARTTLS", "lmtp"))
    wanted = {(point, kind) for point in POINTS for kind in KINDS} - without
    for then in ("close", "reset", "silence", "on"):
        assert {(case.point, case.kind) for case in CASES if case.deed.then == then} == wanted


@pytest.mark.parametrize(
    "text",
    [
        "say x\nthen sleep\n\n    bdat  data  plain  lmtp\nMAIL  delivered\n",
        "say x\n\n    bdat  data  lmtp\nMAIL  delivered\n",
        "say x\n\n    bdat  data  plain  lmtp\nMALE  delivered\n",
        "say x\n\n    bdat  data  plain  lmtp\nMAIL\n",
    ],
)
def test_files_with_mistakes(tmp_path: Path, text: str) -> None:
    path = tmp_path / "wrong.txt"
    path.write_text(text)
    with pytest.raises(ValueError, match="wrong"):
        list(read(path))
