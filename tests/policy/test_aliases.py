"""What a recipient comes to: order of look-ups, extensions, groups, circles, faults, and bounds."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mta.errors import TableDown
from mta.policy import aliases as module
from mta.policy.aliases import BAD, DEPTH, LOOP, TARGETS, Aliases, Expansion
from mta.policy.recipient import NO_USER, TABLE_DOWN, KnownRecipients, LocalDomains
from mta.policy.verdict import ACCEPT


class Table:
    """Has what it is given, and is down for the keys in `down`."""

    def __init__(self, entries: dict[str, str], down: tuple[str, ...] = ()) -> None:
        self._entries = {key.encode(): value.encode() for key, value in entries.items()}
        self._down = [key.encode() for key in down]
        self.asked = 0

    def get(self, key: bytes) -> bytes | None:
        self.asked += 1
        if key in self._down:
            raise TableDown("is burning")
        return self._entries.get(key)


def expand(
    entries: dict[str, str],
    recipient: str,
    *,
    known: list[str] | None = None,
    down: tuple[str, ...] = (),
    extension: bytes = b"+",
) -> Expansion:
    """Follow a recipient of x.example or y.example; all exist but where some are `known`."""
    domains = LocalDomains(["x.example", "y.example"], "mx.example")
    recipients = None if known is None else KnownRecipients(Table(dict.fromkeys(known, ""), down), extension)
    local, _, domain = recipient.encode().rpartition(b"@")
    return Aliases(Table(entries, down), domains, recipients, extension).expand(local, domain)


def targets(entries: dict[str, str], recipient: str, **more: object) -> list[str]:
    expansion = expand(entries, recipient, **more)  # type: ignore[arg-type]
    assert expansion.verdict is ACCEPT, expansion
    return [target.decode() for target in expansion.targets]


def test_who_has_no_alias_is_its_own_target() -> None:
    assert targets({}, "Joe@x.example") == ["Joe@x.example"]
    assert targets({}, "Joe+tag@x.example") == ["Joe+tag@x.example"]


def test_one_and_several() -> None:
    entries = {"a@x.example": "b@x.example", "all@x.example": "a@x.example, c@x.example\tD@far.example,b@x.example"}
    assert targets(entries, "A@x.example") == ["b@x.example"]
    assert targets(entries, "all@x.example") == ["b@x.example", "c@x.example", "D@far.example"]


def test_addresses_elsewhere_are_final() -> None:
    assert targets({"a@x.example": "b@far.example", "b@far.example": "c@x.example"}, "a@x.example") == ["b@far.example"]


def test_an_extension_goes_along() -> None:
    entries = {"a@x.example": "b@x.example c@far.example @y.example", "a+vip@x.example": "v@x.example"}
    assert targets(entries, "a+Tag@x.example") == ["b+Tag@x.example", "c+Tag@far.example", "a+Tag@y.example"]
    assert targets(entries, "a+vip@x.example") == ["v@x.example"]
    assert targets(entries, "a+tag@x.example", extension=b"") == ["a+tag@x.example"]
    assert targets({"a@x.example": '"b c"@x.example'}, "a+t@x.example") == ['"b c"@x.example']


def test_an_extension_that_makes_an_address_too_long_stays_behind() -> None:
    long = "b" * 60
    assert targets({"a@x.example": f"{long}@x.example"}, "a+12345@x.example") == [f"{long}@x.example"]


def test_naming_oneself_keeps_oneself() -> None:
    assert targets({"a@x.example": "b@x.example, A@x.example"}, "a@x.example") == ["a@x.example", "b@x.example"]
    entries = {"a@x.example": "a@x.example b@x.example", "b@x.example": "a@x.example"}
    assert targets(entries, "b@x.example") == ["a@x.example"]
    assert targets(entries, "a@x.example") == ["a@x.example"]
    assert targets({"a@x.example": "a@x.example b@x.example"}, "a+t@x.example") == ["a+t@x.example", "b+t@x.example"]


def test_two_ways_to_one_address() -> None:
    entries = {"a@x.example": "b@x.example c@x.example", "b@x.example": "d@x.example", "c@x.example": "D@x.example"}
    assert targets(entries, "a@x.example") == ["d@x.example"]


def test_everybody_in_a_domain() -> None:
    assert targets({"@x.example": "boss@far.example"}, "any+t@x.example") == ["boss@far.example"]
    assert targets({"@x.example": "@y.example"}, "Any+t@x.example") == ["Any+t@y.example"]
    assert targets({"@x.example": "boss@x.example"}, "any@x.example") == ["boss@x.example"]


def test_who_exists_by_name_goes_before_everybody() -> None:
    entries = {"@x.example": "boss@x.example", "a@x.example": "b@x.example"}
    known = ["joe@x.example", "b@x.example", "boss@x.example"]
    assert targets(entries, "joe@x.example", known=known) == ["joe@x.example"]
    assert targets(entries, "joe+t@x.example", known=known) == ["joe+t@x.example"]
    assert targets(entries, "a@x.example", known=known) == ["b@x.example"]
    assert targets(entries, "jane@x.example", known=known) == ["boss@x.example"]
    assert targets(entries, "jane@x.example", known=["@x.example"]) == ["boss@x.example"]
    assert targets({}, "jane@x.example", known=["@x.example"]) == ["jane@x.example"]


def test_nobody() -> None:
    assert expand({}, "jane@x.example", known=["joe@x.example"]) == Expansion(NO_USER)


def test_a_target_that_does_not_exist() -> None:
    known = ["joe@x.example"]
    both = expand({"a@x.example": "gone@x.example joe@x.example"}, "a@x.example", known=known)
    assert (both.verdict, both.targets) == (ACCEPT, (b"joe@x.example",))
    assert [problem.address for problem in both.problems] == [b"gone@x.example"]
    none = expand({"a@x.example": "gone@x.example"}, "a@x.example", known=known)
    assert (none.verdict, none.targets) == (NO_USER, ())
    assert [problem.address for problem in none.problems] == [b"gone@x.example"]
    itself = expand({"@x.example": "boss@x.example"}, "jane@x.example", known=known)
    assert itself.verdict is NO_USER


@pytest.mark.parametrize("down", ["a@x.example", "b@x.example", "@x.example"])
def test_nobody_knows(down: str) -> None:
    """Not one look-up may be unanswered, on whichever step."""
    expansion = expand({"a@x.example": "joe@x.example b@x.example"}, "a@x.example", down=(down,))
    assert (expansion.verdict, expansion.targets) == (TABLE_DOWN, ())


def test_nobody_knows_who_is_known() -> None:
    class Down:
        def get(self, key: bytes) -> bytes | None:
            raise TableDown("is burning")

    domains = LocalDomains(["x.example"], "mx.example")
    aliases = Aliases(Table({"a@x.example": "b@far.example"}), domains, KnownRecipients(Down()))
    assert aliases.expand(b"joe", b"x.example").verdict is TABLE_DOWN
    assert aliases.expand(b"a", b"x.example").targets == (b"b@far.example",)
    assert aliases.expand(b"Postmaster", b"x.example").targets == (b"Postmaster@x.example",)


def test_a_domain_on_the_way_that_nobody_knows_of() -> None:
    domains = LocalDomains(["x.example"], "mx.example", Table({"z.example": ""}, ("far.example",)))
    aliases = Aliases(Table({"a@x.example": "b@z.example", "b@z.example": "c@far.example"}), domains)
    assert aliases.expand(b"a", b"x.example") == Expansion(TABLE_DOWN)


def test_postmaster_may_have_an_alias() -> None:
    assert targets({"postmaster@x.example": "joe@x.example"}, "PostMaster@x.example", known=["joe@x.example"]) == [
        "joe@x.example"
    ]
    assert targets({}, "postmaster@x.example", known=[]) == ["postmaster@x.example"]
    assert targets({"@x.example": "joe@far.example"}, "postmaster@x.example", known=[]) == ["joe@far.example"]


def test_a_circle() -> None:
    entries = {"a@x.example": "b@x.example", "b@x.example": "c@far.example c@x.example", "c@x.example": "a@x.example"}
    expansion = expand(entries, "a@x.example")
    assert (expansion.verdict, expansion.targets) == (LOOP, ())
    (problem,) = expansion.problems
    assert problem.address == b"a@x.example -> b@x.example -> c@x.example -> a@x.example"
    assert LOOP.reply is not None
    assert LOOP.reply.wire.startswith(b"451 4.4.6 ")


def test_an_extension_that_grows_has_an_end() -> None:
    assert expand({"a@x.example": "a+b@x.example"}, "a@x.example").verdict in (BAD, LOOP)


@pytest.mark.parametrize(
    "value", ["", " , ", "joe", "joe@", "@", "a@x.example @b..c", '"a@x.example', "a@x.example;b@x.example", "\udcff@x"]
)
def test_values_that_are_no_addresses(value: str) -> None:
    domains = LocalDomains(["x.example"], "mx.example")

    class Odd:
        def get(self, key: bytes) -> bytes | None:
            return value.encode("utf-8", "surrogateescape") if key == b"a@x.example" else None

    expansion = Aliases(Odd(), domains).expand(b"a", b"x.example")
    assert (expansion.verdict, expansion.targets) == (BAD, ())
    assert [problem.address for problem in expansion.problems] == [b"a@x.example"]


def test_bounds() -> None:
    many = {"a@x.example": " ".join(f"u{n}@far.example" for n in range(TARGETS))}
    assert len(targets(many, "a@x.example")) == TARGETS
    many["a@x.example"] += " one@far.example"
    assert expand(many, "a@x.example").verdict is BAD
    deep = {f"a{n}@x.example": f"a{n + 1}@x.example" for n in range(DEPTH)}
    assert targets(deep, "a0@x.example") == [f"a{DEPTH}@x.example"]
    deep[f"a{DEPTH}@x.example"] = "end@x.example"
    assert expand(deep, "a0@x.example").verdict is BAD


_people = [f"{name}@{domain}" for name in "abcd" for domain in ("x.example", "y.example", "far.example")]
_keys = st.sampled_from([*_people, "@x.example", "@y.example"])
_values = st.lists(st.sampled_from([*_people, "a+t@x.example", "@x.example", "@y.example", "no"]), max_size=4)


@settings(max_examples=300)
@given(
    st.dictionaries(_keys, _values.map(" ".join)),
    st.sampled_from([*_people[:2], "a+t@x.example", "other@y.example"]),
    st.none() | st.lists(_keys),
    st.lists(_keys, max_size=1),
)
def test_any_table(entries: dict[str, str], recipient: str, known: list[str] | None, down: list[str]) -> None:
    """It ends, within bounds; no target twice; and none that is neither the recipient nor in the table."""
    if recipient.endswith("far.example"):
        return
    aliases = Table(entries, tuple(down))
    domains = LocalDomains(["x.example", "y.example"], "mx.example")
    users = None if known is None else KnownRecipients(Table(dict.fromkeys(known, "")), b"+")
    local, _, domain = recipient.encode().rpartition(b"@")
    expansion = Aliases(aliases, domains, users, b"+").expand(local, domain)
    assert aliases.asked <= 3 * module.VISITS
    assert len(set(expansion.targets)) == len(expansion.targets) <= TARGETS
    assert bool(expansion.targets) == (expansion.verdict is ACCEPT)
    if expansion.verdict in (BAD, LOOP):
        assert expansion.problems
    written = {word for value in entries.values() for word in value.split()}
    for target in expansion.targets:
        name, _, where = target.decode().rpartition("@")
        base = name.partition("+")[0]
        is_moved = f"@{where}" in written and base in (recipient.partition("+")[0].partition("@")[0], *"abcd")
        assert target.decode() == recipient or f"{base}@{where}" in written or f"{name}@{where}" in written or is_moved
        if where != "far.example" and users is not None:
            assert users.check(name.encode(), where.encode()) is ACCEPT


def test_a_list_of_people_who_have_gone_is_told_of_in_part() -> None:
    entries = {"all@x.example": ",".join(f"u{number}@x.example" for number in range(100)) + " joe@x.example"}
    expansion = expand(entries, "all@x.example", known=["joe@x.example", "all@x.example"])
    assert expansion.targets == (b"joe@x.example",)
    assert len(expansion.problems) == module.PROBLEMS
