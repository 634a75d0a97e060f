"""DANE-TA: records that name an authority, alone and with real handshakes."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from mta.deliver import chain, dane
from mta.dns.answer import Answer, Status
from mta.dns.message import Tlsa, Type
from tests.support.deliveries import FakeMessage, mail
from tests.support.exchanging import Exchanging
from tests.support.issuing import DAY, NOW, Maker, written
from tests.support.nexthop import NextHop
from tests.support.relaying import BODY
from tests.support.resolver import mx
from tests.support.tlshop import Encrypting, context

HOST = "mx1.example.org"
ROOT = Maker("root")
MIDDLE = Maker("middle", ROOT)
OTHER = Maker("other")
LEAF = Maker("leaf", MIDDLE, names=(HOST,), is_authority=False)
DIGEST = hashlib.sha256(b"").digest()
KINDS = [(selector, matching) for selector in (0, 1) for matching in (0, 1, 2)]


def record(maker: Maker, selector: int = 0, matching: int = 1, usage: int = 2) -> Tlsa:
    """The record for a certificate."""
    public = x509.load_der_x509_certificate(maker.der).public_key()
    data = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo) if selector else maker.der
    if matching:
        data = hashlib.new("sha256" if matching == 1 else "sha512", data).digest()
    return Tlsa(usage, selector, matching, data)


# ---------------------------------------------------------------------------------------------------------------------
# Alone


@pytest.mark.parametrize(("selector", "matching"), KINDS)
def test_anchors_are_found_in_the_chain(selector: int, matching: int) -> None:
    records = (record(OTHER, matching=matching or 1), record(MIDDLE, selector, matching))
    assert dane.usable(records) == records
    assert dane.has_anchors(records)
    assert dane.anchors(records[1:], [LEAF.der, MIDDLE.der, ROOT.der]) == [MIDDLE.der]
    assert dane.anchors(records[:1], [LEAF.der, MIDDLE.der, ROOT.der]) == []


def test_a_whole_certificate_need_not_be_sent() -> None:
    assert dane.anchors([record(ROOT, 0, 0)], [LEAF.der]) == [ROOT.der]
    assert dane.anchors([record(ROOT, 1, 0)], [LEAF.der]) == []
    assert dane.anchors([record(ROOT, 0, 0)], [LEAF.der, ROOT.der]) == [ROOT.der]


def test_the_first_certificate_is_no_authority() -> None:
    """Nor is what DANE-EE names, and DANE-EE does not match by a record of DANE-TA."""
    assert dane.anchors([record(LEAF)], [LEAF.der, MIDDLE.der]) == []
    assert dane.anchors([record(MIDDLE, usage=3)], [LEAF.der, MIDDLE.der]) == []
    assert not dane.is_matched([record(LEAF)], LEAF.der)
    assert not dane.has_anchors([record(LEAF, usage=3)])


@pytest.mark.parametrize(
    "found",
    [
        *(Tlsa(2, selector, 1, DIGEST) for selector in (2, 255)),
        *(Tlsa(2, 1, matching, DIGEST) for matching in (2, 3, 255)),
        *(Tlsa(2, 0, 0, data) for data in (b"", b"0", ROOT.der[:-1], ROOT.der + b"x")),
        *(Tlsa(2, 1, 0, data) for data in (b"", b"0", record(ROOT, 1, 0).data[:-1], record(ROOT, 1, 0).data + b"x")),
    ],
)
def test_records_that_cannot_be_used(found: Tlsa) -> None:
    assert dane.usable([found, record(ROOT)]) == (record(ROOT),)


def test_without_a_way_to_verify_none_can_be_used() -> None:
    assert dane.usable([record(ROOT), record(LEAF, usage=3)], with_anchors=False) == (record(LEAF, usage=3),)


# ---------------------------------------------------------------------------------------------------------------------
# With the DNS, and with hosts


@pytest.fixture
def exchanging() -> Iterator[Exchanging]:
    """All is signed."""
    made = Exchanging()
    made.resolver.zone = {("example.org", Type.MX): mx((10, HOST)), (HOST, Type.A): ["127.0.0.2"]}
    made.resolver.authentic = {"example.org", HOST}
    yield made
    made.close()


class Trial:
    """A host that sends certificates, and the records that its name has."""

    def __init__(self, exchanging: Exchanging, folder: Path, sent: tuple[Maker, ...], *records: Tlsa) -> None:
        self.exchanging = exchanging
        self.server = Encrypting(context(written(folder, *sent)))
        self.hop: NextHop = exchanging.listen("127.0.0.2", self.server)
        owner = f"_{exchanging.port}._tcp.{HOST}"
        exchanging.resolver.zone[owner, Type.TLSA] = list(records)
        exchanging.resolver.authentic.add(owner)
        exchanging.begin()

    def text(self) -> str:
        """Why a mail is deferred, as far as the certificate goes; empty where it is delivered."""
        (outcome,) = self.exchanging.deliver()
        if not outcome.results:
            assert len(self.server.received) == 1
            return ""
        (result,) = outcome.results
        assert (result.status, result.code, outcome.destination_down) == (4, "4.7.5", True)
        assert self.server.received == []
        assert self.hop.connections == 1  # never in plain text instead
        return result.text.partition("TLS failed: ")[2]


NO_MATCH = "the certificate matches no TLSA record"
NOT_VOUCHED = "the authority of a TLSA record does not vouch for the certificate: "


@pytest.mark.parametrize(("selector", "matching"), KINDS)
@pytest.mark.parametrize("anchor", [ROOT, MIDDLE], ids=["root", "middle"])
def test_an_authority(exchanging: Exchanging, tmp_path: Path, anchor: Maker, selector: int, matching: int) -> None:
    found = record(anchor, selector, matching)
    trial = Trial(exchanging, tmp_path, (LEAF, MIDDLE, ROOT), found)
    assert trial.text() == ""
    assert trial.server.encrypted == 1


def test_another_authority(exchanging: Exchanging, tmp_path: Path) -> None:
    assert Trial(exchanging, tmp_path, (LEAF, MIDDLE, ROOT), record(OTHER)).text() == NO_MATCH


@pytest.mark.parametrize(
    ("found", "expected"), [(record(ROOT, 0, 0), ""), (record(ROOT, 0, 1), NO_MATCH), (record(ROOT, 1, 0), NO_MATCH)]
)
def test_an_authority_that_is_not_sent(exchanging: Exchanging, tmp_path: Path, found: Tlsa, expected: str) -> None:
    """Only a record with the whole certificate makes up for it (RFC 7671 section 5.2)."""
    assert Trial(exchanging, tmp_path, (LEAF, MIDDLE), found).text() == expected


def test_an_authority_that_only_is_sent_along(exchanging: Exchanging, tmp_path: Path) -> None:
    """It issued nothing, whoever put its certificate there."""
    false = Maker("leaf", OTHER, names=(HOST,), is_authority=False)
    text = Trial(exchanging, tmp_path, (false, MIDDLE, ROOT), record(ROOT)).text()
    assert text == NOT_VOUCHED + "unable to get local issuer certificate"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (HOST, ""),
        ("*.example.org", ""),
        ("example.org", ""),
        ("*.org", NOT_VOUCHED + "hostname mismatch"),
        ("mx2.example.org", NOT_VOUCHED + "hostname mismatch"),
    ],
)
def test_names(exchanging: Exchanging, tmp_path: Path, name: str, expected: str) -> None:
    """That of the host with the records, or the domain of the mail (RFC 7672 section 3.2.2)."""
    leaf = Maker("leaf", ROOT, names=(name,), is_authority=False)
    assert Trial(exchanging, tmp_path, (leaf, ROOT), record(ROOT)).text() == expected


def test_the_name_that_a_domain_is_an_alias_for_counts(exchanging: Exchanging, tmp_path: Path) -> None:
    leaf = Maker("leaf", ROOT, names=("real.example.net",), is_authority=False)
    found = Answer(Status.OK, tuple(mx((10, HOST))), True, 60, b"Real.example.net")
    exchanging.resolver.zone["example.org", Type.MX] = found
    assert Trial(exchanging, tmp_path, (leaf, ROOT), record(ROOT)).text() == ""


@pytest.mark.parametrize("expired", ["server", "authority"])
def test_dates_count(exchanging: Exchanging, tmp_path: Path, expired: str) -> None:
    ends = NOW - DAY / 2
    root = Maker("root", ends=ends) if expired == "authority" else ROOT
    leaf = Maker("leaf", root, names=(HOST,), is_authority=False, ends=ends if expired == "server" else NOW + DAY)
    text = Trial(exchanging, tmp_path, (leaf, root), record(root)).text()
    assert text == NOT_VOUCHED + "certificate has expired"


@pytest.mark.parametrize("first", [2, 3])
@pytest.mark.parametrize(
    ("ee", "ta", "expected"),
    [
        (LEAF, OTHER, ""),
        (OTHER, ROOT, ""),
        (LEAF, ROOT, ""),
        (OTHER, OTHER, NO_MATCH),
    ],
)
def test_one_record_of_either_usage_is_enough(
    exchanging: Exchanging, tmp_path: Path, first: int, ee: Maker, ta: Maker, expected: str
) -> None:
    records = sorted((record(ee, 1, 1, usage=3), record(ta)), key=lambda one: one.usage != first)
    assert Trial(exchanging, tmp_path, (LEAF, MIDDLE, ROOT), *records).text() == expected


def test_by_its_own_record_a_server_needs_neither_name_nor_dates(exchanging: Exchanging, tmp_path: Path) -> None:
    old = Maker("old", ROOT, names=("elsewhere.example",), is_authority=False, ends=NOW - DAY / 2)
    assert Trial(exchanging, tmp_path, (old, ROOT), record(ROOT), record(old, usage=3)).text() == ""


def test_those_that_can_be_used_count_alone(exchanging: Exchanging, tmp_path: Path) -> None:
    """RFC 7672 section 2.2: with one that can be, the certificate has to match; with none, any does."""
    useless = (Tlsa(0, 0, 1, DIGEST), Tlsa(2, 0, 2, DIGEST))
    assert Trial(exchanging, tmp_path, (LEAF, MIDDLE), *useless, record(OTHER)).text() == NO_MATCH


def test_with_none_that_can_be_used_any_certificate_does(exchanging: Exchanging, tmp_path: Path) -> None:
    trial = Trial(exchanging, tmp_path, (LEAF,), Tlsa(2, 0, 2, DIGEST), Tlsa(1, 0, 1, DIGEST))
    assert trial.text() == ""
    assert trial.server.encrypted == 1


def test_where_chains_cannot_be_verified_any_certificate_does(
    exchanging: Exchanging, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The records cannot be used then; TLS remains a must."""
    monkeypatch.setattr(chain, "_library", lambda: None)
    trial = Trial(exchanging, tmp_path, (LEAF,), record(OTHER))
    assert trial.text() == ""
    assert trial.server.encrypted == 1


def test_domains_with_the_same_hosts_are_verified_each_by_itself(exchanging: Exchanging, tmp_path: Path) -> None:
    """The certificate is for one domain; a connection of its mail is of no use to the other's."""
    leaf = Maker("leaf", ROOT, names=("example.org",), is_authority=False)
    exchanging.resolver.zone["example.net", Type.MX] = mx((10, HOST))
    exchanging.resolver.authentic.add("example.net")
    exchanging.messages[2] = FakeMessage(mail("joe@example.net"), BODY)
    trial = Trial(exchanging, tmp_path, (leaf, ROOT), record(ROOT))
    assert [exchanging.one(1), exchanging.one(2)] == [[], [(4, "4.7.5")]]
    assert [recipients for _, recipients, _ in trial.server.received] == [[b"RCPT TO:<joe@example.org>"]]
