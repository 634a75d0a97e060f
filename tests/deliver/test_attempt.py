"""What becomes of the outcome of a work: for a node that takes over from us, and where a transport errs."""

import pytest

from mta.drain import PEER
from mta.errors import SpoolCorrupt
from mta.ipc import DEFERRED, DELIVERED, FAILED, Result
from tests.support.deliveries import Outcomes, mail

RESULTS = (
    Result(0, DELIVERED, "2.0.0", "ok"),
    Result(1, FAILED, "5.7.1", "no relaying"),
    Result(2, DEFERRED, "4.2.1", "later"),
)
ENVELOPE = mail("a@example.org", "b@example.org", "c@example.org")


@pytest.mark.parametrize(("transport", "status", "code"), [("test", FAILED, "5.7.1"), (PEER, DEFERRED, "4.7.1")])
def test_refused(transport: str, status: int, code: str) -> None:
    """A refusal there is no failure, as nobody but the administrator can mend it."""
    outcomes = Outcomes()
    work = outcomes.work(1, (0, 1, 2), transport)
    work.settle(ENVELOPE, "peer", RESULTS)
    outcome = outcomes.ended[work.job.number]
    assert outcome is not None
    assert [(one.status, one.code) for one in outcome.results] == [(2, "2.0.0"), (status, code), (4, "4.2.1")]
    assert outcome.results[1].text.endswith("no relaying")


def test_damage_is_damage() -> None:
    """What cannot be read cannot be handed over, and its sender should hear of it."""
    outcomes = Outcomes()
    work = outcomes.work(1, (0,), PEER)
    work.settle_read(ENVELOPE, "peer", [], SpoolCorrupt("file", 64, "checksum"))
    outcome = outcomes.ended[work.job.number]
    assert outcome is not None
    assert [(one.status, one.code) for one in outcome.results] == [(FAILED, "5.3.0")]


def test_a_recipient_that_a_transport_forgets_is_not_lost() -> None:
    outcomes = Outcomes()
    work = outcomes.work(1, (0, 1, 2))
    work.settle(ENVELOPE, "peer", RESULTS[:1])
    outcome = outcomes.ended[work.job.number]
    assert outcome is not None
    later = [Result(index, DEFERRED, "4.3.0", "internal error") for index in (1, 2)]
    assert outcome.results == (RESULTS[0], *later)
