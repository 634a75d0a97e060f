"""MTA-STS with hosts: who gets mail under a policy, and what is noted of it for reports."""

import ssl
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from mta.deliver.hosts import Asked
from mta.deliver.sts_policy import Mode, Policy
from mta.deliver.tls import Level, make_context
from mta.dns.answer import Status
from mta.dns.message import Tlsa, Type
from mta.log_reader import Record
from tests.support.certificates import Authority, Pair
from tests.support.deliveries import FakeMessage, mail
from tests.support.exchanging import Exchanging
from tests.support.nexthop import Hop, Polite
from tests.support.relaying import BODY
from tests.support.resolver import mx
from tests.support.tlshop import Encrypting, context

HOST, SECOND = "mx1.example.org", "mx2.example.org"
ENFORCED = Policy(Mode.ENFORCE, 1000, ("*.example.org",))
TESTED = Policy(Mode.TESTING, 1000, ("*.example.org",))


class FakeSts:
    """Has a policy for example.org."""

    def __init__(self, policy: Policy | None) -> None:
        self.now = policy

    def policy(self, domain: bytes) -> Policy | None:
        assert domain in (b"example.org", b"example.net")
        return self.now if domain == b"example.org" else None


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def pair(authority: Authority) -> Pair:
    return authority.server(HOST)


@pytest.fixture
def exchanging(authority: Authority, told: object) -> Iterator[Exchanging]:
    """Two hosts; nothing is signed."""
    made = Exchanging()
    made.resolver.zone = {
        ("example.org", Type.MX): mx((10, HOST), (20, SECOND)),
        ("example.net", Type.MX): mx((10, HOST), (20, SECOND)),
        (HOST, Type.A): ["127.0.0.2"],
        (SECOND, Type.A): ["127.0.0.3"],
    }
    yield made
    made.close()


def begin(exchanging: Exchanging, authority: Authority, policy: Policy | None, **more: str) -> FakeSts:
    sts = FakeSts(policy)
    exchanging.sts = Asked(sts, make_context(Level.STS, str(authority.ca)))  # type: ignore[arg-type]
    exchanging.begin(**more)
    return sts


def outcomes(told: Callable[[], list[Record]]) -> list[tuple[str, str, str]]:
    return [(record["policy"], record["host"], record["result"]) for record in told()]


@pytest.mark.parametrize("level", ["default", "required"])
def test_a_certificate_that_is_right(
    exchanging: Exchanging, authority: Authority, pair: Pair, told: Callable[[], list[Record]], level: str
) -> None:
    names: list[str | None] = []
    tls = context(pair)
    tls.sni_callback = lambda sock, name, _: names.append(name)
    server = Encrypting(tls)
    exchanging.listen("127.0.0.2", server)
    begin(exchanging, authority, ENFORCED, tls=level)
    assert exchanging.one() == []
    assert (server.encrypted, names) == (1, [HOST])
    (record,) = told()
    assert {key: record[key] for key in list(record)[3:]} == {
        "domain": "example.org",
        "policy": "sts",
        "policy_domain": "example.org",
        "result": "success",
        "reason": "",
        "host": HOST,
        "address": "127.0.0.2",
        "own_address": "127.0.0.1",
        "policy_text": "version: STSv1;mode: enforce;mx: *.example.org;max_age: 1000",
        "patterns": "*.example.org",
    }


def wrong(authority: Authority, tmp_path: Path, kind: str) -> tuple[Polite, str, str]:
    """A server that is not as it should be, what is said of it, and the status code."""
    if kind == "no STARTTLS":
        return Polite(), "starttls-not-supported", "4.7.4"
    if kind == "STARTTLS refused":
        server = Encrypting(context(authority.server(HOST)), {"STARTTLS": "454 4.7.0 no"})
        return server, "starttls-not-supported", "4.7.4"
    if kind == "name":
        return Encrypting(context(authority.server("other.example.org"))), "certificate-host-mismatch", "4.7.5"
    if kind == "expired":
        return Encrypting(context(authority.expired(HOST))), "certificate-expired", "4.7.5"
    if kind == "authority":
        other = Authority(tmp_path / "other").server(HOST)
        return Encrypting(context(other)), "certificate-not-trusted", "4.7.5"

    def garbage(hop: Hop) -> None:
        hop.socket.recv(1)
        hop.say("garbage")

    server = Encrypting(context(authority.server(HOST)))
    server.handshake = garbage  # type: ignore[method-assign]
    return server, "validation-failure", "4.7.5"


KINDS = ["no STARTTLS", "STARTTLS refused", "name", "expired", "authority", "garbage"]


@pytest.mark.parametrize("kind", KINDS)
def test_enforced_nothing_goes_to_any_other(
    exchanging: Exchanging, authority: Authority, tmp_path: Path, told: Callable[[], list[Record]], kind: str
) -> None:
    """Not an envelope, and never in plain text; to the next host instead, or mail waits."""
    server, result, code = wrong(authority, tmp_path, kind)
    second = Encrypting(context(authority.server(SECOND)))
    hop = exchanging.listen("127.0.0.2", server)
    other = exchanging.listen("127.0.0.3", second)
    begin(exchanging, authority, ENFORCED)
    assert exchanging.one() == []
    assert outcomes(told) == [("sts", HOST, result), ("sts", SECOND, "success")]
    other.close()
    del exchanging.resolver.zone["example.org", Type.MX][1]
    exchanging.messages[2] = FakeMessage(mail("joe@example.org"), BODY)
    assert exchanging.one(2) == [(4, code)]
    assert (hop.connections, server.received) == (2, [])


@pytest.mark.parametrize("kind", KINDS)
def test_for_testing_mail_goes_as_ever_and_that_is_told(
    exchanging: Exchanging, authority: Authority, tmp_path: Path, told: Callable[[], list[Record]], kind: str
) -> None:
    server, result, _ = wrong(authority, tmp_path, kind)
    exchanging.listen("127.0.0.2", server)
    begin(exchanging, authority, TESTED)
    assert exchanging.one() == []
    assert outcomes(told) == [("sts", HOST, result)]
    assert len(server.received) == 1
    if kind in ("name", "expired", "authority"):
        assert isinstance(server, Encrypting)
        assert server.encrypted == 1


def test_for_testing_what_does_not_work_is_not_tried_again_and_again(
    exchanging: Exchanging, authority: Authority, told: Callable[[], list[Record]]
) -> None:
    server = Encrypting(context(authority.server("other.example.org")), {"MAIL": "421 4.3.2 enough"})
    hop = exchanging.listen("127.0.0.2", server)
    begin(exchanging, authority, TESTED)
    for number in (1, 2):
        exchanging.messages[number] = FakeMessage(mail("joe@example.org"), BODY)
        assert exchanging.one(number) == [(4, "4.3.2")]
    assert (hop.connections, server.encrypted) == (3, 2)
    assert outcomes(told) == [("sts", HOST, "certificate-host-mismatch")]


def test_for_testing_with_tls_required_there_is_no_plain_text(exchanging: Exchanging, authority: Authority) -> None:
    server = Polite()
    exchanging.listen("127.0.0.2", server)
    begin(exchanging, authority, TESTED, tls="required")
    assert exchanging.one() == [(4, "4.4.1")]
    assert server.received == []


def test_enforced_hosts_that_are_not_in_it_are_left_out(
    exchanging: Exchanging, authority: Authority, told: Callable[[], list[Record]]
) -> None:
    """For the next one; where there is none, mail waits."""
    first, second = (Encrypting(context(authority.server(name))) for name in (HOST, SECOND))
    hop = exchanging.listen("127.0.0.2", first)
    exchanging.listen("127.0.0.3", second)
    sts = begin(exchanging, authority, Policy(Mode.ENFORCE, 1000, (SECOND,)))
    assert exchanging.one() == []
    assert (hop.connections, second.encrypted) == (0, 1)
    sts.now = Policy(Mode.ENFORCE, 1000, ("mx3.example.org", "*.sub.example.org"))
    (outcome,) = exchanging.deliver()
    (result,) = outcome.results
    assert (result.status, result.code) == (4, "4.7.5")
    assert result.text == f"{HOST} is not in the MTA-STS policy of its domain"
    assert outcomes(told)[1:] == [("sts", HOST, "validation-failure")]


def test_for_testing_a_host_that_is_not_in_it_gets_mail(
    exchanging: Exchanging, authority: Authority, pair: Pair, told: Callable[[], list[Record]]
) -> None:
    exchanging.listen("127.0.0.2", Encrypting(context(pair)))
    begin(exchanging, authority, Policy(Mode.TESTING, 1000, (SECOND,)))
    assert exchanging.one() == []
    (record,) = told()
    assert (record["result"], record["reason"]) == ("validation-failure", "the host is not in the policy")


def test_another_policy_counts_for_the_next_mail(exchanging: Exchanging, authority: Authority) -> None:
    """Connections that were made without it are not used."""
    server = Encrypting(context(authority.server("other.example.org")))
    exchanging.listen("127.0.0.2", server)
    sts = begin(exchanging, authority, None)
    assert exchanging.one() == []
    sts.now = ENFORCED
    del exchanging.resolver.zone["example.org", Type.MX][1]
    assert exchanging.one() == [(4, "4.7.5")]
    assert len(server.received) == 1


def test_a_domain_without_one_shares_no_connection(
    exchanging: Exchanging, authority: Authority, pair: Pair, told: Callable[[], list[Record]]
) -> None:
    hop = exchanging.listen("127.0.0.2", Encrypting(context(pair)))
    begin(exchanging, authority, ENFORCED)
    exchanging.messages[2] = FakeMessage(mail("joe@example.net"), BODY)
    assert [exchanging.one(number) for number in (1, 2, 1)] == [[], [], []]
    assert hop.connections == 2
    assert [(record["domain"], record["policy"]) for record in told()] == [
        ("example.org", "sts"),
        ("example.net", "no-policy-found"),
    ]


def test_without_a_policy_plain_text_is_told(exchanging: Exchanging, told: Callable[[], list[Record]]) -> None:
    exchanging.listen("127.0.0.2", Polite())
    exchanging.begin()
    assert exchanging.one() == []
    assert outcomes(told) == [("no-policy-found", HOST, "starttls-not-supported")]


def test_tls_none_asks_and_tells_nothing(exchanging: Exchanging, told: Callable[[], list[Record]]) -> None:
    exchanging.listen("127.0.0.2", Polite())
    exchanging.begin(tls="none")
    assert exchanging.one() == []
    assert told() == []


def test_tls_verify_stays_what_it_is_under_a_policy(
    exchanging: Exchanging, authority: Authority, tmp_path: Path
) -> None:
    """The authorities of the transport count; the host is sure now, which REQUIRETLS asks for."""
    server = Encrypting(context(authority.server(HOST)), extensions=("REQUIRETLS",))
    exchanging.listen("127.0.0.2", server)
    exchanging.messages[1] = FakeMessage(msgspec.structs.replace(mail("joe@example.org"), require_tls=True), BODY)
    begin(exchanging, authority, TESTED, tls="verify", tls_ca=str(authority.ca))
    assert exchanging.one() == [(5, "5.7.30")]
    begin(exchanging, authority, ENFORCED, tls="verify", tls_ca=str(authority.ca))
    assert exchanging.one() == []


def test_requiretls_goes_where_a_policy_is_enforced(exchanging: Exchanging, authority: Authority, pair: Pair) -> None:
    server = Encrypting(context(pair), extensions=("REQUIRETLS",))
    exchanging.listen("127.0.0.2", server)
    exchanging.messages[1] = FakeMessage(msgspec.structs.replace(mail("joe@example.org"), require_tls=True), BODY)
    begin(exchanging, authority, ENFORCED)
    assert exchanging.one() == []
    assert server.received[0][0].endswith(b" REQUIRETLS")


@pytest.mark.parametrize("usable", [True, False])
def test_dane_goes_before(
    exchanging: Exchanging, authority: Authority, told: Callable[[], list[Record]], usable: bool
) -> None:
    """A certificate of nobody, for a host that is not in the policy, is fine where the record names it.

    Records that cannot be used leave the policy in force.
    """
    pair = Authority(Path(str(authority.ca)).parent / "x").expired("elsewhere.example")
    end = "-----END CERTIFICATE-----"
    der = ssl.PEM_cert_to_DER_cert(pair.certificate.read_text().partition(end)[0] + end)
    exchanging.listen("127.0.0.2", Encrypting(context(pair)))
    owner = f"_{exchanging.port}._tcp.{HOST}"
    exchanging.resolver.zone[owner, Type.TLSA] = [Tlsa(3 if usable else 1, 0, 0, der)]
    exchanging.resolver.zone["example.org", Type.MX] = mx((10, HOST))
    exchanging.resolver.authentic = {"example.org", HOST, owner}
    begin(exchanging, authority, Policy(Mode.ENFORCE, 1000, ("mx9.example.org",)))
    assert exchanging.one() == ([] if usable else [(4, "4.7.5")])
    assert outcomes(told) == [
        ("tlsa", HOST, "success") if usable else ("sts", HOST, "validation-failure"),
    ]


def test_dane_that_cannot_be_looked_up_is_told(exchanging: Exchanging, told: Callable[[], list[Record]]) -> None:
    exchanging.listen("127.0.0.2", Polite())
    exchanging.resolver.zone["example.org", Type.MX] = mx((10, HOST))
    exchanging.resolver.zone[f"_{exchanging.port}._tcp.{HOST}", Type.TLSA] = Status.FAILED
    exchanging.resolver.authentic = {"example.org", HOST}
    exchanging.begin()
    assert exchanging.one() == [(4, "4.7.5")]
    assert outcomes(told) == [("tlsa", HOST, "dnssec-invalid")]
