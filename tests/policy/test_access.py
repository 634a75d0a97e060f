"""Access tables: what is asked, in which order, and what comes of it."""

from collections.abc import Iterator, Mapping

import pytest

from mta.errors import TableDown
from mta.policy.access import BAD_ACTION, PERMIT, TABLE_DOWN, Access, AccessTable, Visit
from mta.policy.verdict import ACCEPT, Verdict
from mta.smtp.actions import Stage

DOWN = b"!"
ORDER: tuple[Stage, ...] = ("client", "helo", "sender", "recipient")
ABOUT = {
    "client": b"192.0.2.1",
    "helo": b"mx.example.com",
    "sender": b"jim@example.com",
    "recipient": b"joe@example.org",
}


class World:
    """Tables that share one list of what was asked. `values`: by stage and key; `DOWN` stands for a table that is."""

    def __init__(self, values: Mapping[tuple[Stage, bytes], bytes], domain: Verdict | None = None) -> None:
        self.asked: list[tuple[str, bytes]] = []
        self.told: list[tuple[bytes, str]] = []
        tables = {stage: AccessTable(stage, _Table(self, stage, values), _keys, self._tell) for stage in ORDER}
        self._domain = domain
        self.access = Access(tables, None if domain is None else self._judge)

    def visit(self, sender: bytes = ABOUT["sender"]) -> Visit:
        return self.access.begin(client=ABOUT["client"], helo=ABOUT["helo"], sender=sender)

    def _tell(self, key: bytes, words: str) -> None:
        self.told.append((key, words))

    def _judge(self, domain: bytes) -> Verdict:
        assert self._domain is not None
        self.asked.append(("domain", domain))
        return self._domain


class _Table:
    def __init__(self, world: World, stage: Stage, values: Mapping[tuple[Stage, bytes], bytes]) -> None:
        self._world = world
        self._stage = stage
        self._values = values

    def get(self, key: bytes) -> bytes | None:
        self._world.asked.append((self._stage, key))
        value = self._values.get((self._stage, key))
        if value == DOWN:
            raise TableDown("is burning")
        return value


def _keys(about: bytes) -> Iterator[bytes]:
    yield about
    yield b"*"


def reply(verdict: Verdict) -> bytes:
    assert verdict.reply is not None
    return verdict.reply.wire


def test_nothing_is_known() -> None:
    world = World({})
    assert world.visit().recipient(b"joe", b"example.org") is ACCEPT
    assert world.asked == [(stage, key) for stage in ORDER for key in (ABOUT[stage], b"*")]


@pytest.mark.parametrize("at", range(4))
@pytest.mark.parametrize("key", ["whole", "*"])
def test_the_first_refusal_decides(at: int, key: str) -> None:
    stage = ORDER[at]
    listed = b"*" if key == "*" else ABOUT[stage]
    later = {(other, b"*"): DOWN for other in ORDER[at + 1 :]}
    world = World({(stage, listed): b"REJECT no", **later})
    assert reply(world.visit().recipient(b"joe", b"example.org")) == b"550 5.7.1 no [%b-access]\r\n" % stage.encode()


@pytest.mark.parametrize("at", range(4))
def test_ok_ends_the_questions(at: int) -> None:
    stage = ORDER[at]
    later = {(other, ABOUT[other]): b"REJECT" for other in ORDER[at + 1 :]}
    world = World({(stage, ABOUT[stage]): b"OK", **later}, domain=TABLE_DOWN)
    assert world.visit().recipient(b"joe", b"example.org") is PERMIT
    assert PERMIT.reply is None
    assert [asked for asked, _ in world.asked][-1] == stage


def test_dunno_ends_the_questions_of_its_table_alone() -> None:
    world = World({("sender", ABOUT["sender"]): b"DUNNO", ("sender", b"*"): b"REJECT", ("recipient", b"*"): b"DEFER"})
    assert reply(world.visit().recipient(b"joe", b"example.org")).startswith(b"450 ")


@pytest.mark.parametrize("stage", ORDER)
def test_a_table_that_is_down_refuses_nothing_for_good(stage: Stage) -> None:
    """Not even where a larger domain is refused, which a smaller one might be excepted from."""
    world = World({(stage, ABOUT[stage]): DOWN, (stage, b"*"): b"REJECT"})
    verdict = world.visit().recipient(b"joe", b"example.org")
    assert verdict is TABLE_DOWN
    assert reply(verdict).startswith(b"451 4.4.3 ")
    assert world.told == []


@pytest.mark.parametrize("value", [b"", b"NEVER", b"250 fine", b"REJECT \xff", b"550 no\r\n250 yes"])
def test_a_value_that_is_no_action_refuses_nothing_for_good(value: bytes) -> None:
    world = World({("sender", b"*"): value})
    verdict = world.visit().recipient(b"joe", b"example.org")
    assert verdict is BAD_ACTION
    assert reply(verdict).startswith(b"451 4.3.5 ")
    [(key, words)] = world.told
    assert key == b"*"
    assert words


def test_what_all_recipients_share_is_asked_once() -> None:
    world = World({("recipient", b"jane@example.org"): b"REJECT"}, domain=ACCEPT)
    visit = world.visit()
    assert visit.recipient(b"joe", b"example.org") is ACCEPT
    assert visit.recipient(b"jane", b"example.org").reply is not None
    assert visit.recipient(b"jack", b"example.org") is ACCEPT
    stages = [stage for stage, key in world.asked if key != b"*"]
    assert stages == ["client", "helo", "sender", "recipient", "domain", "recipient", "recipient"]


@pytest.mark.parametrize("value", [b"REJECT", DOWN, b"NEVER"])
def test_a_refusal_is_the_same_for_all_recipients(value: bytes) -> None:
    world = World({("client", ABOUT["client"]): value})
    visit = world.visit()
    first = visit.recipient(b"joe", b"example.org")
    assert first.reply is not None
    assert visit.recipient(b"jane", b"example.org") is first
    assert world.asked == [("client", ABOUT["client"])]
    assert len(world.told) == (value == b"NEVER")


@pytest.mark.parametrize(("local", "domain"), [(b"postmaster", b""), (b"PostMaster", b"example.org")])
def test_postmaster_hears_everybody(local: bytes, domain: bytes) -> None:
    """RFC 5321 section 4.5.1."""
    world = World({("client", ABOUT["client"]): DOWN, ("recipient", b"*"): b"REJECT"}, domain=TABLE_DOWN)
    visit = world.visit()
    assert visit.recipient(local, domain) is ACCEPT
    assert world.asked == []
    assert visit.recipient(b"postmaster+x", b"example.org") is TABLE_DOWN


def test_the_domain_of_the_sender_is_last() -> None:
    world = World({}, domain=TABLE_DOWN)
    assert world.visit(b"jim@Example.COM").recipient(b"joe", b"example.org") is TABLE_DOWN
    assert world.asked[-1] == ("domain", b"example.com")
    assert World({("recipient", b"*"): b"REJECT"}, domain=TABLE_DOWN).visit().recipient(b"a", b"b") is not TABLE_DOWN


def test_domains_are_looked_up_as_the_dns_has_them() -> None:
    world = World({}, domain=ACCEPT)
    world.visit("jö@BÜCHER.example".encode()).recipient(b"joe", b"example.org")
    assert world.asked[-1] == ("domain", b"xn--bcher-kva.example")


def test_the_null_sender_has_no_domain() -> None:
    world = World({}, domain=ACCEPT)
    assert world.visit(b"").recipient(b"joe", b"example.org") is ACCEPT
    assert world.asked[-1] == ("domain", b"")


def test_without_tables_there_is_nothing_to_ask() -> None:
    assert not Access({}).asks
    assert World({}).access.asks
    assert Access({}, lambda domain: ACCEPT).asks
