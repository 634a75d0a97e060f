"""Session ids, and that greenlets are used again."""

from gevent import get_hub
from greenlet import getcurrent

from mta.server.listener import RESTING_GREENLETS, Crew, session_ids
from tests.support.hub import in_hub


def test_session_ids_differ_between_workers_starts_and_sessions():
    sources = [session_ids(1000.0, 0), session_ids(1000.0, 1), session_ids(1001.0, 0)]
    ids = [take() for take in sources for _ in range(3)]
    assert len(set(ids)) == 9


def test_a_crew_reuses_its_members_and_lets_the_surplus_go():
    crew = Crew()
    seen = []
    for _ in range(3):
        in_hub(crew.run, lambda: seen.append(getcurrent()))
    assert len(set(seen)) == 1
    parked = []

    def park() -> None:
        parked.append(getcurrent())
        get_hub().switch()

    for _ in range(RESTING_GREENLETS + 5):
        in_hub(crew.run, park)
    for member in parked:
        in_hub(member.switch)
    assert len(crew._resting) == RESTING_GREENLETS
