"""An administrator is told the same once in a while."""

from mta.server.complaints import REPORT_S, REPORTS_KEPT, Complaints


def test_the_same_of_the_same_is_told_now_and_then() -> None:
    now = [0.0]
    told: list[tuple[str, dict[str, object]]] = []
    complaints = Complaints(lambda words, **fields: told.append((words, fields)), lambda: now[0])
    for key in (b"joe", b"ann"):
        complaints.tell("has a bad value", "users", table="users", key=key)
    first = ("has a bad value", {"table": "users", "key": b"joe"})
    assert told == [first]
    complaints.tell("is wrong", "users", table="users")
    complaints.tell("has a bad value", "others", table="others")
    assert told == [first, ("is wrong", {"table": "users"}), ("has a bad value", {"table": "others"})]
    now[0] += REPORT_S
    complaints.tell("has a bad value", "users", table="users", key=b"ann")
    assert told[3:] == [("has a bad value", {"table": "users", "key": b"ann"})]


def test_they_are_bounded() -> None:
    complaints = Complaints(lambda words, **fields: None, lambda: 0.0)
    for number in range(3 * REPORTS_KEPT):
        complaints.tell("wrong", b"%d" % number)
        assert len(complaints._told_at) <= REPORTS_KEPT
