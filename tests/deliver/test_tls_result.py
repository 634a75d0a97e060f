"""What is noted of TLS with hosts: policies in words, and what comes of DANE (of MTA-STS: test_sts_hosts)."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mta.config import Transport as Settings
from mta.deliver import domains, tls_result
from mta.deliver.sts_policy import PATTERNS, Mode, Policy
from mta.dns.message import Tlsa, Type
from mta.errors import ConfigError
from mta.log_reader import Record
from tests.support.certificates import Authority
from tests.support.deliveries import FakeMessages
from tests.support.exchanging import Exchanging
from tests.support.issuing import DAY, NOW, Maker, written
from tests.support.nexthop import Hop, Polite
from tests.support.resolver import FakeResolver, mx
from tests.support.tlshop import Encrypting, context

HOST = "mx1.example.org"
ROOT = Maker("root")
LEAF = Maker("leaf", ROOT, names=(HOST,), is_authority=False)


def test_a_long_policy_is_cut_between_its_lines() -> None:
    patterns = tuple(f"mx{number}.example.org" for number in range(PATTERNS))
    applied = tls_result.sts(Policy(Mode.ENFORCE, 1, patterns), is_allowed=True)
    for text, between in ((applied.text, ";"), (applied.patterns, " ")):
        assert len(text) <= tls_result.POLICY_CHARACTERS <= len(text) + 30
        assert text.split(between)[-1].endswith(".example.org")


def test_records_in_words() -> None:
    applied = tls_result.tlsa(b"mx1.example.org", [Tlsa(3, 1, 1, b"\xab" * 4), Tlsa(2, 0, 0, b"x" * 5000)])
    assert applied == tls_result.Applied("tlsa", HOST, "3 1 1 abababab")


# ---------------------------------------------------------------------------------------------------------------------
# With hosts


@pytest.fixture
def exchanging(told: object) -> Iterator[Exchanging]:
    """All is signed."""
    made = Exchanging()
    made.resolver.zone = {("example.org", Type.MX): mx((10, HOST)), (HOST, Type.A): ["127.0.0.2"]}
    made.resolver.authentic = {"example.org", HOST}
    yield made
    made.close()


@pytest.mark.parametrize(
    ("sent", "record", "result", "reason"),
    [
        (LEAF, Tlsa(3, 0, 0, LEAF.der), "success", ""),
        (LEAF, Tlsa(2, 0, 0, ROOT.der), "success", ""),
        (LEAF, Tlsa(3, 0, 0, ROOT.der), "validation-failure", "matches no TLSA record"),
        (
            Maker("late", ROOT, names=(HOST,), is_authority=False, begins=NOW - 2 * DAY, ends=NOW - DAY),
            Tlsa(2, 0, 0, ROOT.der),
            "certificate-expired",
            "certificate has expired",
        ),
        (
            Maker("elsewhere", ROOT, names=("elsewhere.example",), is_authority=False),
            Tlsa(2, 0, 0, ROOT.der),
            "certificate-host-mismatch",
            "ostname mismatch",
        ),
        (LEAF, Tlsa(1, 0, 0, LEAF.der), "tlsa-invalid", "none of the records can be used"),
    ],
)
def test_outcomes_of_dane(
    exchanging: Exchanging,
    told: Callable[[], list[Record]],
    tmp_path: Path,
    sent: Maker,
    record: Tlsa,
    result: str,
    reason: str,
) -> None:
    exchanging.listen("127.0.0.2", Encrypting(context(written(tmp_path, sent, ROOT))))
    owner = f"_{exchanging.port}._tcp.{HOST}"
    exchanging.resolver.zone[owner, Type.TLSA] = [record]
    exchanging.resolver.authentic.add(owner)
    exchanging.begin()
    exchanging.deliver()
    (found,) = told()
    assert (found["policy"], found["policy_domain"], found["result"]) == ("tlsa", HOST, result)
    assert reason in found["reason"]


def test_a_connection_that_ends_before_is_no_result(exchanging: Exchanging, told: Callable[[], list[Record]]) -> None:
    def refuse(hop: Hop) -> None:
        hop.say("554 5.3.2 no")
        hop.linger()

    exchanging.listen("127.0.0.2", refuse)
    exchanging.begin()
    assert exchanging.one() == [(4, "4.3.2")]
    assert told() == []


def test_a_connection_is_told_of_once(exchanging: Exchanging, told: Callable[[], list[Record]]) -> None:
    exchanging.listen("127.0.0.2", Polite())
    exchanging.begin()
    assert [exchanging.one(), exchanging.one()] == [[], []]
    assert [(record["domain"], record["policy"]) for record in told()] == [("example.org", "no-policy-found")]


# ---------------------------------------------------------------------------------------------------------------------
# As configured


def made(settings: Settings, folder: Path) -> domains.Domains:
    return domains.make(settings, "me.example", FakeMessages({}), FakeResolver(), folder)  # type: ignore[arg-type]


def test_policies_are_asked_for_unless_that_is_switched_off(tmp_path: Path) -> None:
    ca = str(Authority(tmp_path / "certificates").ca)
    asked = {
        "default": Settings("smtp"),
        "ca": Settings("smtp", tls_ca=ca),
        "off": Settings("smtp", mta_sts=False),
        "none": Settings("smtp", tls="none"),
    }
    found = {name: made(settings, tmp_path)._hosts._sts is not None for name, settings in asked.items()}
    assert found == {"default": True, "ca": True, "off": False, "none": False}


def test_authorities_that_cannot_be_read_are_a_fault_of_the_configuration(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="tls_ca /nowhere"):
        made(Settings("smtp", tls_ca="/nowhere"), tmp_path)
