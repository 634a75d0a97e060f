"""Mail for a domain goes to its MX: the choice of hosts alone, and the transport with a DNS in memory."""

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gevent
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mta.deliver import domains
from mta.deliver import mx as choice
from mta.deliver.hosts import is_local
from mta.deliver.mx import Failure, Host, Located
from mta.dns.answer import Answer, Status
from mta.dns.message import Type
from tests.support.certificates import Authority
from tests.support.deliveries import FakeMessage, mail
from tests.support.exchanging import Exchanging
from tests.support.nexthop import Polite
from tests.support.relaying import BODY
from tests.support.resolver import mx
from tests.support.tlshop import Encrypting, context

ORG = b"example.org"


def answer(*hosts: tuple[int, str], status: Status = Status.OK) -> Answer[Any]:
    return Answer(status, tuple(mx(*hosts)), False, 60, ORG, "timed out" if status is Status.FAILED else "")


def chosen(*hosts: tuple[int, str], own: bytes = b"me.example", seed: int = 1) -> list[str] | Failure:
    found = choice.hosts(ORG, answer(*hosts), own, random.Random(seed))
    return found if isinstance(found, Failure) else [host.name.decode() for host in found]


# ---------------------------------------------------------------------------------------------------------------------
# Hosts


def test_hosts_go_by_preference() -> None:
    assert chosen((30, "c.example"), (10, "A.Example"), (20, "b.example")) == ["a.example", "b.example", "c.example"]


def test_equals_go_in_any_order() -> None:
    orders = {tuple(chosen((10, "a"), (10, "b"), (20, "c"), seed=seed)) for seed in range(50)}
    assert orders == {("a", "b", "c"), ("b", "a", "c")}


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (Status.NODATA, [Host(0, ORG)]),
        (Status.NXDOMAIN, Failure(5, "5.1.2", "there is no domain example.org")),
        (Status.FAILED, Failure(4, "4.4.3", "cannot look up the MX of example.org: timed out")),
    ],
)
def test_without_an_mx(status: Status, expected: object) -> None:
    """The domain itself, only where it is known that there is none."""
    assert choice.hosts(ORG, answer(status=status), b"me.example", random.Random(1)) == expected


def test_null_mx() -> None:
    """Alone it says that there is no mail; beside others it is a mistake."""
    assert chosen((0, ".")) == Failure(5, "5.1.10", "example.org takes no mail (null MX)")
    assert chosen((0, "."), (10, "a.example")) == ["a.example"]


@pytest.mark.parametrize(
    ("hosts", "kept"),
    [
        ([(10, "a"), (20, "me.example"), (20, "b"), (30, "c")], ["a"]),
        ([(10, "a"), (20, "ME.Example"), (30, "c")], ["a"]),
        ([(10, "a"), (10, "b"), (20, "c"), (30, "me.example")], ["a", "b", "c"]),
    ],
)
def test_what_is_not_better_than_we_is_left_out(hosts: list[tuple[int, str]], kept: list[str]) -> None:
    found = chosen(*hosts)
    assert not isinstance(found, Failure)
    assert sorted(found) == kept


@pytest.mark.parametrize("hosts", [[(10, "me.example")], [(10, "me.example"), (10, "a"), (20, "b")]])
def test_a_loop_is_seen(hosts: list[tuple[int, str]]) -> None:
    found = chosen(*hosts)
    assert isinstance(found, Failure)
    assert found[:2] == (5, "5.4.6")


def test_a_domain_that_is_our_name_loops() -> None:
    found = choice.hosts(ORG, answer(status=Status.NODATA), ORG, random.Random(1))
    assert isinstance(found, Failure)
    assert found.code == "5.4.6"


def test_hosts_are_bounded() -> None:
    found = chosen(*[(n, f"h{n}") for n in range(1000)])
    assert found == [f"h{n}" for n in range(choice.HOSTS)]


# ---------------------------------------------------------------------------------------------------------------------
# Addresses


def located(preference: int, name: str, *texts: str, trouble: str = "") -> Located:
    ipv6 = [text for text in texts if ":" in text]
    ipv4 = [text for text in texts if ":" not in text]
    return Located(Host(preference, name.encode()), ipv4, ipv6, trouble)


def tried(*found: Located, own: str = "") -> list[str] | Failure:
    candidates = choice.addresses(ORG, found, lambda text: text == own)
    return candidates if isinstance(candidates, Failure) else [text for _, text in candidates]


def test_both_kinds_in_turns() -> None:
    first = located(10, "a", "192.0.2.1", "192.0.2.2", "192.0.2.3", "2001:db8::1")
    assert tried(first, located(20, "b", "192.0.2.9")) == [
        *("2001:db8::1", "192.0.2.1", "192.0.2.2", "192.0.2.3"),
        "192.0.2.9",
    ]


def test_our_own_address_cuts() -> None:
    hosts = [located(10, "a", "192.0.2.1"), located(20, "b", "192.0.2.2"), located(20, "c", "192.0.2.3")]
    assert tried(*hosts, own="192.0.2.3") == ["192.0.2.1"]
    assert tried(*hosts, own="192.0.2.9") == ["192.0.2.1", "192.0.2.2", "192.0.2.3"]
    loop = tried(*hosts, own="192.0.2.1")
    assert isinstance(loop, Failure)
    assert loop.code == "5.4.6"


def test_hosts_behind_us_do_not_stand_in_for_those_before() -> None:
    """The best host has no address now: mail must not come back to us through a worse one."""
    failed = tried(located(10, "a", trouble="timed out"), located(20, "me", "192.0.2.2"), own="192.0.2.2")
    assert failed == Failure(4, "4.4.3", "cannot look up the address of a: timed out")


@pytest.mark.parametrize(
    ("found", "code"),
    [
        ([located(10, "a"), located(20, "b", trouble="SERVFAIL")], "4.4.3"),
        ([located(10, "a"), located(20, "b")], "5.4.4"),
        ([located(0, "example.org")], "5.1.2"),
        ([located(0, "example.org", trouble="SERVFAIL")], "4.4.3"),
    ],
)
def test_without_an_address(found: list[Located], code: str) -> None:
    failure = tried(*found)
    assert isinstance(failure, Failure)
    assert (failure.status, failure.code) == (int(code[0]), code)


def test_one_address_is_enough() -> None:
    assert tried(located(10, "a", trouble="SERVFAIL"), located(20, "b", "192.0.2.1")) == ["192.0.2.1"]


def test_addresses_are_bounded() -> None:
    many = [f"192.0.2.{n}" for n in range(200)]
    candidates = choice.addresses(ORG, [located(10, "a", *many), located(20, "b", *many)], lambda text: False)
    assert not isinstance(candidates, Failure)
    assert [host.name for host, _ in candidates] == [b"a"] * 4 + [b"b"] * 4
    assert len(choice.dead_last(candidates * 3, lambda text: False)) == choice.ADDRESSES


def test_the_dead_go_last() -> None:
    candidates = [(Host(10, b"a"), "192.0.2.1"), (Host(20, b"b"), "192.0.2.2"), (Host(30, b"c"), "192.0.2.3")]
    order = choice.dead_last(candidates, lambda text: text == "192.0.2.1")
    assert [text for _, text in order] == ["192.0.2.2", "192.0.2.3", "192.0.2.1"]


@given(
    st.lists(
        st.tuples(
            st.integers(0, 3),
            st.sampled_from("abcdef"),
            st.lists(st.sampled_from(["192.0.2.1", "192.0.2.2", "192.0.2.9", "2001:db8::1"]), unique=True),
        ),
        min_size=1,
    )
)
def test_whatever_the_dns_says_mail_never_goes_to_us_or_behind(found: list[tuple[int, str, list[str]]]) -> None:
    hosts = sorted((located(preference, name, *texts) for preference, name, texts in found), key=lambda one: one.host)
    candidates = choice.addresses(ORG, hosts, lambda text: text == "192.0.2.9")
    if isinstance(candidates, Failure):
        return
    own = [preference for preference, _, texts in found if "192.0.2.9" in texts]
    assert candidates
    assert all(host.preference < min(own, default=99) for host, _ in candidates)
    assert [host.preference for host, _ in candidates] == sorted(host.preference for host, _ in candidates)


@pytest.mark.parametrize(
    ("domain", "expected"),
    [
        (b"example.org", None),
        (b"[192.0.2.1]", "192.0.2.1"),
        (b"[IPv6:2001:db8::1]", "2001:db8::1"),
        (b"[ipv6:2001:DB8::1]", "2001:db8::1"),
    ],
)
def test_literals(domain: bytes, expected: str | None) -> None:
    assert choice.literal(domain) == expected


@pytest.mark.parametrize("domain", [b"[]", b"[x]", b"[2001:db8::1]", b"[IPv6:192.0.2.1]", b"[tag:x]", b"[192.0.2]"])
def test_literals_that_are_none(domain: bytes) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        choice.literal(domain)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        *(("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("0.0.0.0", True), ("::", True)),
        *(("::ffff:127.0.0.1", True), ("192.0.2.1", False), ("2001:db8::1", False), ("fe80::1", False)),
    ],
)
def test_our_own_addresses(text: str, expected: bool) -> None:
    assert is_local(text) == expected


# ---------------------------------------------------------------------------------------------------------------------
# The transport


@pytest.fixture
def exchanging() -> Iterator[Exchanging]:
    made = Exchanging()
    made.resolver.zone = {
        ("example.org", Type.MX): mx((10, "mx1.example.org"), (20, "mx2.example.org")),
        ("mx1.example.org", Type.A): ["127.0.0.2"],
        ("mx2.example.org", Type.A): ["127.0.0.3"],
    }
    yield made
    made.close()


def test_the_best_host_gets_it(exchanging: Exchanging) -> None:
    first, second = Polite(), Polite()
    exchanging.listen("127.0.0.2", first)
    other = exchanging.listen("127.0.0.3", second)
    exchanging.begin()
    assert exchanging.one() == []
    assert [content for _, _, content in first.received] == [BODY.replace(b"\r\n.dot", b"\r\n..dot")]
    assert other.connections == 0


def refuse(hop: Any) -> None:
    """Takes no mail today."""
    hop.say("421 4.3.2 not now")


@pytest.mark.parametrize("how", ["nobody listens", "421", "554"])
def test_the_next_one_where_the_best_takes_none(exchanging: Exchanging, how: str) -> None:
    """And it is not asked again at once."""
    second = Polite()
    exchanging.listen("127.0.0.3", second)
    first = None
    if how != "nobody listens":
        first = exchanging.listen("127.0.0.2", Polite({"CONNECT": f"{how} 4.3.2 not now" if how == "421" else how}))
    exchanging.begin()
    assert exchanging.one() == []
    exchanging.transport.close()
    assert exchanging.one() == []
    assert len(second.received) == 2
    assert first is None or first.connections == 1


def test_nobody_answers(exchanging: Exchanging) -> None:
    hop = exchanging.listen("127.0.0.4", Polite())
    exchanging.begin()
    (outcome,) = exchanging.deliver()
    assert outcome.destination_down
    (result,) = outcome.results
    assert (result.status, result.code) == (4, "4.4.1")
    assert "127.0.0." in result.text
    assert hop.connections == 0


@pytest.mark.parametrize(
    ("zone", "expected", "down"),
    [
        ({("example.org", Type.MX): mx((0, "."))}, (5, "5.1.10"), False),
        ({("example.org", Type.MX): Status.NXDOMAIN}, (5, "5.1.2"), False),
        ({("example.org", Type.MX): Status.FAILED}, (4, "4.4.3"), True),
        ({("example.org", Type.MX): mx((10, "me.example"))}, (5, "5.4.6"), False),
        ({("example.org", Type.MX): mx((10, "gone.example"))}, (5, "5.4.4"), False),
        ({("example.org", Type.MX): mx((10, "x.test")), ("x.test", Type.A): Status.FAILED}, (4, "4.4.3"), True),
        ({("example.org", Type.MX): mx((10, "x.test")), ("x.test", Type.A): ["127.0.0.9"]}, (5, "5.4.6"), False),
    ],
)
def test_what_the_dns_says_becomes_the_outcome(
    exchanging: Exchanging, zone: dict[tuple[str, Type], Any], expected: tuple[int, str], down: bool
) -> None:
    exchanging.resolver.zone = zone
    exchanging.own = {"127.0.0.9"}
    exchanging.begin()
    (outcome,) = exchanging.deliver()
    assert [(result.status, result.code) for result in outcome.results] == [expected]
    assert outcome.destination_down == down


def test_an_implicit_mx_an_alias_and_a_literal(exchanging: Exchanging) -> None:
    server = Polite()
    exchanging.listen("127.0.0.2", server)
    exchanging.resolver.zone = {
        ("example.net", Type.A): ["127.0.0.2"],
        ("xn--bcher-kva.example", Type.A): ["127.0.0.2"],
    }
    exchanging.messages = {
        1: FakeMessage(mail("joe@Example.NET"), BODY),
        2: FakeMessage(mail("joe@[127.0.0.2]"), BODY),
        3: FakeMessage(mail("joe@bücher.example", smtputf8=True), BODY),
    }
    exchanging.begin()
    assert [exchanging.one(location) for location in (1, 2, 3)] == [[], [], []]
    assert ("xn--bcher-kva.example", Type.MX) in exchanging.resolver.asked


@pytest.mark.parametrize("recipient", ["postmaster", "joe@[IPv6:x]", "joe@[127.0.0.9]"])
def test_recipients_without_a_place(exchanging: Exchanging, recipient: str) -> None:
    exchanging.own = {"127.0.0.9"}
    exchanging.messages[1] = FakeMessage(mail(recipient), BODY)
    exchanging.begin()
    ((status, code),) = exchanging.one()
    assert status == 5
    assert code in ("5.1.2", "5.4.6")


def test_domains_with_the_same_hosts_share_connections(exchanging: Exchanging) -> None:
    server = Polite()
    hop = exchanging.listen("127.0.0.2", server)
    zone = exchanging.resolver.zone
    zone["example.net", Type.MX] = zone["example.org", Type.MX]
    zone["example.com", Type.MX] = mx((10, "mx1.example.org"))
    exchanging.messages[2] = FakeMessage(mail("joe@example.net"), BODY)
    exchanging.messages[3] = FakeMessage(mail("joe@example.com"), BODY)
    exchanging.begin()
    assert [exchanging.one(location) for location in (1, 2, 1)] == [[], [], []]
    assert hop.connections == 1
    assert exchanging.one(3) == []
    assert hop.connections == 2  # another set of hosts


def test_works_of_one_domain_ask_once_and_are_sent_together(exchanging: Exchanging) -> None:
    server = Polite()
    hop = exchanging.listen("127.0.0.2", server)
    exchanging.begin(concurrency=2)
    outcomes = exchanging.deliver(*[(1, (0,))] * 20)
    assert all(not outcome.results for outcome in outcomes)
    assert exchanging.resolver.asked.count(("example.org", Type.MX)) == 1
    assert len(server.received) == 20
    assert hop.connections <= 2


def test_a_message_that_cannot_be_read(exchanging: Exchanging) -> None:
    exchanging.begin()
    assert exchanging.one(7) == [(4, "4.3.0")]


def test_a_fault_of_ours_defers(exchanging: Exchanging, monkeypatch: pytest.MonkeyPatch) -> None:
    def fault(*arguments: object) -> None:
        raise RuntimeError("a fault")

    monkeypatch.setattr(exchanging.resolver, "lookup", fault)
    exchanging.begin()
    assert exchanging.one() == [(4, "4.3.0")]


def test_works_that_wait_for_the_dns_are_forgotten(exchanging: Exchanging) -> None:
    exchanging.begin()
    work = exchanging.outcomes.work(1)
    exchanging.transport.take([work])
    exchanging.transport.abandon()
    exchanging.wait([work.job.number])
    assert exchanging.outcomes.ended == {work.job.number: None}
    gevent.sleep(0)  # the look-up ends, and finds nobody


def test_relays_without_work_are_let_go_of(exchanging: Exchanging, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(domains, "UNUSED_RELAYS", 4)
    exchanging.begin()
    zone = exchanging.resolver.zone
    for number in range(30):
        zone[f"d{number}.example", Type.A] = [f"127.0.1.{number}"]
        exchanging.messages[100 + number] = FakeMessage(mail(f"joe@d{number}.example"), BODY)
        assert exchanging.one(100 + number) == [(4, "4.4.1")]
    assert len(exchanging.transport._relays) <= 5


# ---------------------------------------------------------------------------------------------------------------------
# TLS


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


def test_hosts_get_tls_where_they_offer_it(exchanging: Exchanging, authority: Authority) -> None:
    server = Encrypting(context(authority.server("elsewhere.example")))
    exchanging.listen("127.0.0.2", server)
    exchanging.begin()
    assert exchanging.one() == []
    assert server.encrypted == 1


@pytest.mark.parametrize("name", ["mx1.example.org", "elsewhere.example"])
def test_a_certificate_is_for_the_host(exchanging: Exchanging, authority: Authority, name: str) -> None:
    exchanging.listen("127.0.0.2", Encrypting(context(authority.server(name))))
    exchanging.begin(tls="verify", tls_ca=str(authority.ca))
    assert exchanging.one() == ([] if name == "mx1.example.org" else [(4, "4.4.1")])  # the last one's: nobody listens


@pytest.mark.parametrize("signed", [True, False])
def test_requiretls_needs_a_name_that_nobody_could_forge(
    exchanging: Exchanging, authority: Authority, tmp_path: Path, signed: bool
) -> None:
    server = Encrypting(context(authority.server("mx1.example.org")), extensions=("REQUIRETLS",))
    exchanging.listen("127.0.0.2", server)
    if signed:
        exchanging.resolver.authentic = {"example.org"}
    envelope = mail("joe@example.org")
    exchanging.messages[1] = FakeMessage(msgspec.structs.replace(envelope, require_tls=True), BODY)
    exchanging.begin(tls="verify", tls_ca=str(authority.ca))
    assert exchanging.one() == ([] if signed else [(5, "5.7.30")])
    assert len(server.received) == signed
