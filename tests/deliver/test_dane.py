"""DANE: what TLSA records demand of a host and its certificate, alone and with real handshakes."""

import hashlib
import ssl as stdlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from gevent import ssl
from hypothesis import given
from hypothesis import strategies as st

from mta import log
from mta.config import Log
from mta.deliver import dane
from mta.dns.answer import Answer, Status
from mta.dns.message import Tlsa, Type
from tests.support.certificates import Authority, Pair
from tests.support.deliveries import FakeMessage, mail
from tests.support.exchanging import Exchanging
from tests.support.nexthop import Polite
from tests.support.relaying import BODY
from tests.support.resolver import mx
from tests.support.tlshop import Encrypting, context

HOST = "mx1.example.org"
DIGEST = hashlib.sha256(b"").digest()


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module", params=["ecdsa", "rsa"])
def pair(request: pytest.FixtureRequest, authority: Authority) -> Pair:
    """For another name, and expired: with DANE-EE neither counts."""
    return authority.expired("elsewhere.example", kind=request.param)


def der(pair: Pair) -> bytes:
    """A certificate without its chain."""
    end = "-----END CERTIFICATE-----"
    return stdlib.PEM_cert_to_DER_cert(pair.certificate.read_text().partition(end)[0] + end)


def key(certificate: bytes) -> bytes:
    """Its public key, read by somebody else's code."""
    public = x509.load_der_x509_certificate(certificate).public_key()
    return public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def record(certificate: bytes, selector: int, matching: int, usage: int = 3) -> Tlsa:
    """The record for a certificate."""
    data = key(certificate) if selector else certificate
    if matching:
        data = hashlib.new("sha256" if matching == 1 else "sha512", data).digest()
    return Tlsa(usage, selector, matching, data)


# ---------------------------------------------------------------------------------------------------------------------
# Alone


def test_the_public_key_is_the_one_that_others_see(pair: Pair) -> None:
    assert dane.public_key(der(pair)) == key(der(pair))


@pytest.mark.parametrize("selector", [0, 1])
@pytest.mark.parametrize("matching", [0, 1, 2])
def test_a_certificate_matches_its_record_and_no_other(
    authority: Authority, pair: Pair, selector: int, matching: int
) -> None:
    mine, other = record(der(pair), selector, matching), record(der(authority.server("a.example")), selector, matching)
    assert dane.usable([mine, other]) == (mine, other)
    assert dane.is_matched([other, mine], der(pair))
    assert not dane.is_matched([other], der(pair))
    assert not dane.is_matched([], der(pair))


@pytest.mark.parametrize(
    "found",
    [
        *(Tlsa(usage, 1, 1, DIGEST) for usage in (0, 1, 4, 255)),
        *(Tlsa(3, selector, 1, DIGEST) for selector in (2, 255)),
        *(Tlsa(3, 1, matching, DIGEST) for matching in (2, 3, 255)),
        *(Tlsa(3, 1, 1, data) for data in (b"", DIGEST[:-1], DIGEST + b"x")),
        Tlsa(3, 0, 0, b""),
    ],
)
def test_records_that_cannot_be_used(found: Tlsa) -> None:
    good = Tlsa(3, 1, 1, DIGEST)
    assert dane.usable([found]) == ()
    assert dane.usable([found, good]) == (good,)


def test_of_several_digests_the_strongest_counts() -> None:
    """For each usage and selector; a whole certificate or key is no digest."""
    weak, strong, whole = (record(SAMPLES[0], 1, matching) for matching in (1, 2, 0))
    other = record(SAMPLES[0], 0, 1)
    assert dane.usable([weak, strong, whole, other]) == (strong, whole, other)
    assert dane.usable([strong, weak]) == (strong,)
    assert dane.usable([weak, whole]) == (weak, whole)
    anchor = record(SAMPLES[0], 1, 1, usage=2)
    assert dane.usable([anchor, strong]) == (anchor, strong)
    assert not dane.is_matched(dane.usable([weak, Tlsa(3, 1, 2, bytes(64))]), SAMPLES[0])


def test_records_are_bounded() -> None:
    assert len(dane.usable([Tlsa(3, 1, 1, DIGEST)] * 1000)) == dane.RECORDS


@given(st.binary())
def test_what_is_no_certificate_matches_no_key(data: bytes) -> None:
    assert not dane.is_matched([Tlsa(3, 1, 1, DIGEST), Tlsa(3, 1, 0, b"x")], data)


@given(st.data())
def test_a_damaged_certificate_is_read_within_its_bounds(data: st.DataObject) -> None:
    whole = data.draw(st.sampled_from(SAMPLES))
    at = data.draw(st.integers(0, len(whole) - 1))
    damaged = whole[:at] + bytes([data.draw(st.integers(0, 255))]) + whole[at + 1 :]
    for text in (damaged, whole[:at]):
        try:
            found = dane.public_key(text)
        except ValueError:
            continue
        assert found in text


def _samples() -> list[bytes]:
    """Certificates, from an authority that needs no fixture."""
    with tempfile.TemporaryDirectory() as folder:
        return [der(Authority(Path(folder)).server("a.example"))]


SAMPLES = _samples()


# ---------------------------------------------------------------------------------------------------------------------
# With the DNS, and with hosts


@pytest.fixture
def exchanging() -> Iterator[Exchanging]:
    """All is signed."""
    made = Exchanging()
    made.resolver.zone = {
        ("example.org", Type.MX): mx((10, HOST)),
        (HOST, Type.A): ["127.0.0.2"],
    }
    made.resolver.authentic = {"example.org", HOST}
    yield made
    made.close()


def publish(exchanging: Exchanging, *records: Tlsa, name: str = HOST) -> None:
    """Have signed TLSA records for a host."""
    owner = f"_{exchanging.port}._tcp.{name}"
    exchanging.resolver.zone[owner, Type.TLSA] = list(records)
    exchanging.resolver.authentic.add(owner)


def test_a_certificate_that_the_record_names(exchanging: Exchanging, pair: Pair, tmp_path: Path) -> None:
    log.setup("deliver", 0, Log(file=str(tmp_path / "log")))
    try:
        server = Encrypting(context(pair))
        exchanging.listen("127.0.0.2", server)
        publish(exchanging, Tlsa(2, 0, 1, DIGEST), Tlsa(3, 1, 1, DIGEST), record(der(pair), 1, 1))
        exchanging.begin()
        assert exchanging.one() == []
    finally:
        log.setup("deliver", 0, Log())
    assert server.encrypted == 1
    told, line = (tmp_path / "log").read_text().splitlines()
    assert ' dane" ' in line
    assert f" policy=tlsa policy_domain={HOST} result=success " in told


@pytest.mark.parametrize("level", ["optional", "required", "verify"])
def test_a_certificate_that_no_record_names(exchanging: Exchanging, pair: Pair, level: str) -> None:
    """Nothing is sent, not even in plain text."""
    server = Encrypting(context(pair))
    hop = exchanging.listen("127.0.0.2", server)
    publish(exchanging, Tlsa(3, 1, 1, DIGEST))
    exchanging.begin(tls=level)
    (outcome,) = exchanging.deliver()
    (result,) = outcome.results
    assert (result.status, result.code) == (4, "4.7.5")
    assert "matches no TLSA record" in result.text
    assert (hop.connections, server.received) == (1, [])


@pytest.mark.parametrize("script", ["no STARTTLS", "STARTTLS refused"])
@pytest.mark.parametrize("usable", [True, False])
def test_records_make_tls_a_must(exchanging: Exchanging, pair: Pair, script: str, usable: bool) -> None:
    """Those that cannot be used, too: whoever takes the offer away gains nothing."""
    server = Polite() if script == "no STARTTLS" else Encrypting(context(pair), {"STARTTLS": "454 4.7.0 no"})
    exchanging.listen("127.0.0.2", server)
    publish(exchanging, Tlsa(3 if usable else 1, 1, 1, DIGEST))
    exchanging.begin()
    assert exchanging.one() == [(4, "4.7.4")]
    assert server.received == []


def test_with_unusable_records_any_certificate_does(exchanging: Exchanging, pair: Pair) -> None:
    server = Encrypting(context(pair))
    exchanging.listen("127.0.0.2", server)
    publish(exchanging, Tlsa(2, 1, 2, DIGEST), Tlsa(1, 1, 1, DIGEST))
    exchanging.begin()
    assert exchanging.one() == []
    assert server.encrypted == 1


@pytest.mark.parametrize("unsigned", ["example.org", HOST, "records"])
def test_records_do_not_count_where_a_step_to_them_is_not_signed(exchanging: Exchanging, unsigned: str) -> None:
    server = Polite()
    exchanging.listen("127.0.0.2", server)
    publish(exchanging, Tlsa(3, 1, 1, DIGEST))
    exchanging.resolver.authentic.discard(f"_{exchanging.port}._tcp.{HOST}" if unsigned == "records" else unsigned)
    exchanging.begin()
    assert exchanging.one() == []
    assert len(server.received) == 1


@pytest.mark.parametrize("status", [Status.NODATA, Status.NXDOMAIN])
def test_without_records_tls_is_as_configured(exchanging: Exchanging, status: Status) -> None:
    server = Polite()
    exchanging.listen("127.0.0.2", server)
    exchanging.resolver.zone[f"_{exchanging.port}._tcp.{HOST}", Type.TLSA] = status
    exchanging.begin()
    assert exchanging.one() == []


def test_tls_none_is_none(exchanging: Exchanging) -> None:
    server = Polite()
    exchanging.listen("127.0.0.2", server)
    publish(exchanging, Tlsa(3, 1, 1, DIGEST))
    exchanging.begin(tls="none")
    assert exchanging.one() == []
    assert all(rtype != Type.TLSA for _, rtype in exchanging.resolver.asked)


def test_a_host_whose_records_cannot_be_looked_up_is_left_out(exchanging: Exchanging) -> None:
    """For the next one; where there is none, mail waits."""
    zone = exchanging.resolver.zone
    first, second = Polite(), Polite()
    exchanging.listen("127.0.0.2", first)
    exchanging.listen("127.0.0.3", second)
    zone[f"_{exchanging.port}._tcp.{HOST}", Type.TLSA] = Status.FAILED
    exchanging.begin()
    (outcome,) = exchanging.deliver()
    (result,) = outcome.results
    assert (result.status, result.code) == (4, "4.7.5")
    assert result.text == f"cannot look up the TLSA records of {HOST}: SERVFAIL"
    zone["example.org", Type.MX] = mx((10, HOST), (20, "mx2.example.org"))
    zone["mx2.example.org", Type.A] = ["127.0.0.3"]
    assert exchanging.one() == []
    assert (len(first.received), len(second.received)) == (0, 1)


def test_each_host_has_its_own_records(exchanging: Exchanging, pair: Pair) -> None:
    """The best host fails; the next one has none and gets mail as configured."""
    zone = exchanging.resolver.zone
    second = Polite()
    exchanging.listen("127.0.0.2", Encrypting(context(pair)))
    exchanging.listen("127.0.0.3", second)
    zone["example.org", Type.MX] = mx((10, HOST), (20, "mx2.example.org"))
    zone["mx2.example.org", Type.A] = ["127.0.0.3"]
    publish(exchanging, Tlsa(3, 1, 1, DIGEST))
    exchanging.begin()
    assert exchanging.one() == []
    assert len(second.received) == 1


def alias(*, is_signed: bool) -> Answer[Any]:
    """The addresses of a host that is an alias."""
    return Answer(Status.OK, ("127.0.0.2",), is_signed, 60, b"real.example.net")


@pytest.mark.parametrize(
    ("is_signed", "owner"), [(True, "real.example.net"), (True, HOST), (False, HOST)], ids=["real", "alias", "unsigned"]
)
def test_a_host_that_is_an_alias(exchanging: Exchanging, pair: Pair, is_signed: bool, owner: str) -> None:
    """Records of the name that it stands for; else of its own. Where only the alias is signed, those."""
    names: list[str | None] = []
    tls = context(pair)
    tls.sni_callback = lambda sock, name, _: names.append(name)
    exchanging.listen("127.0.0.2", Encrypting(tls))
    zone = exchanging.resolver.zone
    zone[HOST, Type.A] = alias(is_signed=is_signed)
    zone[HOST, Type.CNAME] = [b"real.example.net"]
    publish(exchanging, record(der(pair), 1, 1), name=owner)
    exchanging.begin()
    assert exchanging.one() == []
    assert names == [owner]


def test_an_unsigned_alias_has_no_records(exchanging: Exchanging) -> None:
    server = Polite()
    exchanging.listen("127.0.0.2", server)
    zone = exchanging.resolver.zone
    zone[HOST, Type.A] = alias(is_signed=False)
    zone[HOST, Type.CNAME] = Answer(Status.OK, (b"real.example.net",), False, 60, HOST.encode())
    publish(exchanging, Tlsa(3, 1, 1, DIGEST))
    exchanging.begin()
    assert exchanging.one() == []


def test_requiretls_passes_over_hosts_that_are_not_verified(exchanging: Exchanging, pair: Pair) -> None:
    """Also where there is a connection to one of them."""
    first, second = Polite(), Encrypting(context(pair), extensions=("REQUIRETLS",))
    exchanging.listen("127.0.0.2", first)
    exchanging.listen("127.0.0.3", second)
    exchanging.resolver.zone["example.org", Type.MX] = mx((10, HOST), (20, "mx2.example.org"))
    exchanging.resolver.zone["mx2.example.org", Type.A] = ["127.0.0.3"]
    exchanging.resolver.authentic.add("mx2.example.org")
    exchanging.messages[2] = FakeMessage(msgspec.structs.replace(mail("joe@example.org"), require_tls=True), BODY)
    publish(exchanging, record(der(pair), 1, 1), name="mx2.example.org")
    exchanging.begin()
    assert [exchanging.one(location) for location in (1, 2)] == [[], []]
    assert (len(first.received), len(second.received)) == (1, 1)


def test_requiretls_goes_where_dane_has_verified(exchanging: Exchanging, pair: Pair) -> None:
    server = Encrypting(context(pair, ssl.TLSVersion.TLSv1_3), extensions=("REQUIRETLS",))
    exchanging.listen("127.0.0.2", server)
    exchanging.messages[1] = FakeMessage(msgspec.structs.replace(mail("joe@example.org"), require_tls=True), BODY)
    publish(exchanging, record(der(pair), 0, 2))
    exchanging.begin()
    assert exchanging.one() == []
    assert server.received[0][0].endswith(b" REQUIRETLS")
