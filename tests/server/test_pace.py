"""How long a client may take; the clock is the test's."""

import pytest

from mta.config import Limits
from mta.server.pace import Pace
from mta.server.stream import Clock
from mta.smtp import replies
from mta.smtp.session import Session
from tests.support import memory
from tests.support.memory import MemoryConnection

LIMITS = Limits(
    command_timeout_s=300.0, data_timeout_s=180.0, data_rate=100, session_timeout_s=1000.0, stress_timeout_s=10.0
)
ENVELOPE = b"EHLO c.example\r\nMAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.org>\r\n"


class Timed:
    """A session and its pace."""

    def __init__(self, limits: Limits = LIMITS) -> None:
        self.clock = Clock(50.0)
        self.connection = MemoryConnection(memory.door({"refuse_early": []}))
        self.pace = Pace(limits, self.clock)

    @property
    def session(self) -> Session:
        return self.connection.session

    def deadline_at(self, *, is_stressed: bool = False) -> float:
        return self.pace.deadline_at(self.session, is_stressed=is_stressed)

    def receive(self, data: bytes) -> None:
        self.pace.received_bytes += len(data)
        self.connection.receive(data)


@pytest.fixture
def timed() -> Timed:
    return Timed()


def test_a_command_has_its_time_as_a_whole(timed):
    assert timed.deadline_at() == 350.0
    for byte in b"NOOP":
        timed.clock.now_s += 1.0
        timed.receive(bytes([byte]))
        assert timed.deadline_at() == 350.0, "bytes of a line do not stretch its time"
    timed.receive(b"\r\n")
    assert timed.deadline_at() == 354.0
    assert timed.pace.last_word(timed.session) is replies.R421_TIMEOUT


def test_a_session_has_its_time_as_a_whole(timed):
    timed.deadline_at()
    timed.clock.now_s = 900.0
    timed.receive(b"NOOP\r\n")
    assert timed.deadline_at() == 1050.0
    timed.clock.now_s = 1050.0
    assert timed.pace.last_word(timed.session) is replies.R421_SESSION_TIMEOUT


def test_content_is_not_cut_by_the_end_of_the_session(timed):
    timed.clock.now_s = 1000.0
    timed.receive(ENVELOPE + b"DATA\r\n")
    assert timed.deadline_at() == 1180.0


def test_content_has_to_come_at_a_rate(timed):
    timed.receive(ENVELOPE)
    timed.receive(b"DATA\r\n")
    assert timed.deadline_at() == 230.0
    timed.clock.now_s = 100.0
    timed.receive(b"x" * 1000)
    assert timed.deadline_at() == 240.0  # 180 s, and 10 s for a thousand bytes
    assert timed.pace.last_word(timed.session) is replies.R421_TIMEOUT
    timed.clock.now_s = 240.0
    assert timed.pace.last_word(timed.session) is replies.R421_TOO_SLOW
    timed.receive(b"y" * 1_000_000)
    assert timed.deadline_at() == 420.0, "a fast client waits for no more than the next piece"


def test_a_rate_of_nothing_is_any(timed):
    timed.pace = Pace(Limits(data_rate=0, data_timeout_s=180.0), timed.clock)
    timed.receive(ENVELOPE + b"DATA\r\n")
    timed.deadline_at()
    timed.clock.now_s = 5000.0
    timed.receive(b"x")
    assert timed.deadline_at() == 5180.0
    assert timed.pace.last_word(timed.session) is replies.R421_TIMEOUT


def test_chunks_are_one_content(timed):
    timed.receive(ENVELOPE + b"BDAT 3\r\nabc")
    assert timed.deadline_at() == 230.0
    timed.clock.now_s = 229.0
    timed.receive(b"BDAT 3\r\nde")
    assert timed.deadline_at() <= 230.2, "a new chunk brings no new time"
    timed.receive(b"f")
    timed.receive(b"RSET\r\n")
    assert timed.deadline_at() == 529.0


def test_each_message_has_its_own_time(timed):
    for now_s in (50.0, 400.0):
        timed.clock.now_s = now_s
        timed.receive(ENVELOPE + b"DATA\r\n")
        assert timed.deadline_at() == now_s + 180.0
        timed.receive(b"x\r\n.\r\n")
        assert timed.deadline_at() == now_s + 300.0


def test_under_stress_all_have_to_hurry(timed):
    assert timed.deadline_at(is_stressed=True) == 60.0
    timed.receive(ENVELOPE + b"DATA\r\n")
    assert timed.deadline_at(is_stressed=True) == 60.0
    assert timed.deadline_at() == 230.0
