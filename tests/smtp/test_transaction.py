"""A transaction's recipients: what they come to, each once, and what is wanted of each."""

from hypothesis import given
from hypothesis import strategies as st

from mta.smtp import transaction as module
from mta.smtp.parameters import RcptParameters
from mta.smtp.transaction import Target, Transaction

JOE = Target(b"joe@x.example", "store")
ANN = Target(b"ann@far.example", "out", "out")
COPY = Target(b"joe@x.example", "archive", "archive", is_copy=True)


def wanted(transaction: Transaction) -> list[tuple[str, bytes]]:
    return [(one.notify, one.orcpt) for one in transaction.recipient_parameters()]


def test_who_is_named_twice_is_there_once() -> None:
    transaction = Transaction(b"")
    transaction.add(b"joe@x.example", RcptParameters("NEVER"))
    transaction.add(b"ann@x.example")
    transaction.add(b"JOE@x.example")
    assert transaction.recipients == [b"joe@x.example", b"ann@x.example"]
    assert not transaction.wants_notices
    transaction.add(b"ann@x.example", RcptParameters("SUCCESS"))
    assert wanted(transaction) == [("", b""), ("DELAY,FAILURE,SUCCESS", b"")]
    assert (transaction.accepted, transaction.first, transaction.vias) == (4, b"joe@x.example", None)


def test_an_address_for_itself_asks_for_nothing() -> None:
    transaction = Transaction(b"")
    transaction.expand(b"joe@x.example", [JOE])
    assert transaction.recipients == [b"joe@x.example"]
    assert not transaction.wants_notices
    assert (transaction.accepted, transaction.first) == (1, b"joe@x.example")


def test_the_sender_knows_the_first_address() -> None:
    transaction = Transaction(b"")
    transaction.expand(b"all@x.example", [JOE, ANN, COPY], RcptParameters("SUCCESS"))
    original = b"rfc822;all@x.example"
    assert wanted(transaction) == [("SUCCESS", original), ("SUCCESS", original), ("NEVER", original)]
    assert transaction.vias == [("", False), ("out", False), ("archive", True)]
    assert transaction.accepted == 1


def test_what_the_sender_called_it_stays() -> None:
    transaction = Transaction(b"")
    transaction.expand(b"all@x.example", [JOE], RcptParameters("", b"rfc822;old@y.example"))
    assert wanted(transaction) == [("", b"rfc822;old@y.example")]


def test_an_original_recipient_in_unicode() -> None:
    transaction = Transaction(b"")
    transaction.expand("jörg@x.example".encode(), [JOE])
    assert wanted(transaction) == [("", "utf-8;jörg@x.example".encode())]


def test_the_same_target_twice_is_told_of_as_either_wants() -> None:
    transaction = Transaction(b"")
    transaction.expand(b"a@x.example", [JOE], RcptParameters("NEVER"))
    transaction.expand(b"b@x.example", [Target(b"JOE@x.example", "store")], RcptParameters("SUCCESS"))
    assert wanted(transaction) == [("SUCCESS", b"rfc822;b@x.example")]
    transaction.expand(b"joe@x.example", [JOE])
    assert wanted(transaction) == [("DELAY,FAILURE,SUCCESS", b"rfc822;b@x.example")]
    transaction.expand(b"c@x.example", [JOE], RcptParameters("NEVER"))
    assert wanted(transaction) == [("DELAY,FAILURE,SUCCESS", b"rfc822;b@x.example")]
    assert (transaction.recipients, transaction.accepted) == ([b"joe@x.example"], 4)


def test_a_copy_makes_room_for_what_is_meant() -> None:
    """Where a copy goes already somebody's mail goes, too: it is there once, and counts."""
    transaction = Transaction(b"")
    transaction.expand(b"joe@x.example", [JOE, COPY])
    transaction.expand(b"a@x.example", [Target(b"joe@x.example", "archive"), COPY])
    assert transaction.recipients == [b"joe@x.example", b"joe@x.example"]
    assert transaction.vias == [("", False), ("", False)]
    assert wanted(transaction) == [("", b""), ("", b"rfc822;a@x.example")]


def test_with_others_as_they_are() -> None:
    transaction = Transaction(b"")
    transaction.add(b"a@x.example")
    transaction.expand(b"b@x.example", [ANN])
    transaction.add(b"c@x.example")
    assert transaction.recipients == [b"a@x.example", b"ann@far.example", b"c@x.example"]
    assert transaction.vias == [("", False), ("out", False), ("", False)]


def test_room() -> None:
    transaction = Transaction(b"")
    assert transaction.make_room(2 * module.ENTRIES)  # who is first always fits
    transaction = Transaction(b"")
    transaction.add(b"a@x.example")
    assert transaction.make_room(module.ENTRIES - 9)
    assert transaction.make_room(9)
    assert not transaction.is_full
    assert not transaction.make_room(1)
    assert transaction.is_full


_targets = st.lists(
    st.builds(
        Target,
        st.sampled_from([b"a@x.example", b"A@x.example", b"b@x.example"]),
        st.sampled_from(["store", "out", "archive"]),
        st.sampled_from(["", "out"]),
        st.booleans(),
    ),
    min_size=1,
)
_given = st.builds(RcptParameters, st.sampled_from(["", "NEVER", "SUCCESS", "FAILURE,DELAY"]))


@given(st.lists(st.tuples(st.sampled_from([b"a@x.example", b"all@x.example"]), _targets, _given), min_size=1))
def test_any_recipients(recipients: list[tuple[bytes, list[Target], RcptParameters]]) -> None:
    """Nobody twice, nobody forgotten, nobody invented; and a failure is told of where any recipient wants it."""
    transaction = Transaction(b"")
    for recipient, targets, parameters in recipients:
        transaction.expand(recipient, targets, parameters)
    every = [target for _, targets, _ in recipients for target in targets]
    places = {(target.address.lower(), target.transport) for target in every}
    assert len(transaction.recipients) == len(transaction.vias or ()) == len(places)
    assert {address.lower() for address in transaction.recipients} == {target.address.lower() for target in every}
    assert transaction.accepted == len(recipients)
    telling = {
        target.address.lower()
        for _, targets, parameters in recipients
        for target in targets
        if not target.is_copy and parameters.notify in ("", "FAILURE,DELAY")
    }
    told = {
        address.lower()
        for address, one in zip(transaction.recipients, transaction.recipient_parameters(), strict=True)
        if not one.notify or "FAILURE" in one.notify
    }
    assert told == telling
