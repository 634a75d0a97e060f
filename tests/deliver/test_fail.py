"""The transport that fails everybody: as configured, with each recipient named in the log."""

import pytest

from mta.deliver.fail import Fail
from mta.errors import SpoolCorrupt
from mta.ipc import Outcome, Result
from tests.support.deliveries import FakeMessage, FakeMessages, Outcomes, mail

SPOOL = FakeMessages({1: FakeMessage(mail("joe@example.org", "jim@example.org", "ann@example.org"), b"x")})


@pytest.mark.parametrize(("code", "status"), [("5.1.1", 5), ("5.7.1", 5), ("4.2.1", 4)])
def test_the_code_says_whether_it_is_for_good(code: str, status: int) -> None:
    outcomes = Outcomes()
    Fail(code, "User unknown", SPOOL).take([outcomes.work(1, (0, 2)), outcomes.work(1, (1,))])
    assert outcomes.ended == {
        1: Outcome(1, (Result(0, status, code, "User unknown"), Result(2, status, code, "User unknown"))),
        2: Outcome(2, (Result(1, status, code, "User unknown"),)),
    }


def test_message_that_cannot_be_read() -> None:
    outcomes = Outcomes()

    class Damaged(FakeMessages):
        def read(self, location: int) -> FakeMessage:
            if location == 2:
                raise SpoolCorrupt("segment", 64, "checksum")
            return super().read(location)

    Fail("5.1.1", "no", Damaged(SPOOL.messages)).take([outcomes.work(2), outcomes.work(3), outcomes.work(1)])
    assert outcomes.ended == {
        1: Outcome(1, (Result(0, 5, "5.3.0", "the stored message is damaged"),)),
        2: Outcome(2, (Result(0, 4, "4.3.0", "the stored message cannot be read: nothing at 3"),)),
        3: Outcome(3, (Result(0, 5, "5.1.1", "no"),)),
    }
