"""Chains of certificates, verified with anchors of all kinds."""

import ssl
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from pathlib import Path

import pytest
from cryptography.x509.oid import ExtendedKeyUsageOID
from hypothesis import given
from hypothesis import strategies as st

from mta.deliver import chain
from tests.support.issuing import DAY, NOW, Maker, written
from tests.support.tlshop import context

NAME = "mx.example.org"


ROOT = Maker("root")
MIDDLE = Maker("middle", ROOT)
OTHER = Maker("other")
LEAF = Maker("leaf", MIDDLE, names=(NAME, "*.wild.example"), is_authority=False)
CHAIN = [LEAF.der, MIDDLE.der, ROOT.der]


def text(certificates: list[bytes], anchors: list[bytes], *names: str) -> str:
    """What is wrong; empty where nothing is."""
    found = chain.fault(certificates, anchors, names or (NAME,))
    return found.text if found else ""


def leaf(issuer: Maker, **more: object) -> bytes:
    """A server's certificate."""
    return Maker("leaf", issuer, **{"names": (NAME,), "is_authority": False, **more}).der  # type: ignore[arg-type]


def test_it_can_be_asked() -> None:
    assert chain.is_available()


@pytest.mark.parametrize("anchor", [ROOT, MIDDLE], ids=["root", "in the middle"])
@pytest.mark.parametrize("sent", [3, 2, 1])
def test_the_way_to_an_anchor(anchor: Maker, sent: int) -> None:
    """The anchor need not be sent; what is between it and the server must be."""
    expected = "unable to get local issuer certificate" if anchor is ROOT and sent == 1 else ""
    assert text(CHAIN[:sent], [OTHER.der, anchor.der]) == expected


@pytest.mark.parametrize("anchors", [[], [OTHER.der], [b""], [b"nonsense", ROOT.der[:-1], ROOT.der + b"x"]])
def test_no_way(anchors: list[bytes]) -> None:
    assert text(CHAIN, anchors) == "self-signed certificate in certificate chain"
    assert "issuer" in text(CHAIN[:2], anchors)


def test_an_authority_of_the_same_name_is_another() -> None:
    assert "signature" in text(CHAIN[:1], [Maker("middle", ROOT).der])


@pytest.mark.parametrize(
    ("name", "is_fine"),
    [
        (NAME, True),
        ("MX.Example.ORG", True),
        ("a.wild.example", True),
        ("a.b.wild.example", False),
        ("wild.example", False),
        ("example.org", False),
        ("leaf", False),
        ("*.wild.example", False),
        ("", False),
        (".example.org", False),
        ("mx.example.org.", False),
        ("mx.example.org\0", False),
        ("mx.exämple.org", False),
    ],
)
def test_names(name: str, is_fine: bool) -> None:
    assert (text(CHAIN, [ROOT.der], name) == "") == is_fine
    assert text(CHAIN, [ROOT.der], "elsewhere.example", NAME) == ""


def test_without_a_name_nobody_is_verified() -> None:
    assert chain.fault(CHAIN, [ROOT.der], ()) is not None
    assert chain.fault(CHAIN, [ROOT.der], ("", ".")) is not None


@pytest.mark.parametrize(
    ("begins", "ends", "number"),
    [(NOW - 2 * DAY, NOW - DAY, 10), (NOW + DAY, NOW + 2 * DAY, 9)],
    ids=["past", "future"],
)
def test_dates_count_everywhere(begins: datetime, ends: datetime, number: int) -> None:
    anchor = Maker("root", begins=begins, ends=ends)
    between = Maker("middle", ROOT, begins=begins, ends=ends)
    found = [
        chain.fault([leaf(ROOT, begins=begins, ends=ends)], [ROOT.der], [NAME]),
        chain.fault([leaf(between), between.der], [ROOT.der], [NAME]),
        chain.fault([leaf(anchor), anchor.der], [anchor.der], [NAME]),
    ]
    assert [one and one.number for one in found] == [number] * 3


def test_what_certificates_are_for() -> None:
    client = leaf(ROOT, use=ExtendedKeyUsageOID.CLIENT_AUTH)
    assert "purpose" in text([client], [ROOT.der])
    assert text([leaf(ROOT, use=ExtendedKeyUsageOID.SERVER_AUTH)], [ROOT.der]) == ""
    no_authority = Maker("middle", ROOT, is_authority=False)
    assert text([leaf(no_authority), no_authority.der], [ROOT.der]) != ""
    assert text([leaf(no_authority), no_authority.der], [no_authority.der]) != ""
    narrow = Maker("narrow", path_length=0)
    between = Maker("middle", narrow)
    assert "path length" in text([leaf(between), between.der], [narrow.der])


def test_a_server_that_vouches_for_itself() -> None:
    alone = Maker("leaf", names=(NAME,), is_authority=False)
    assert text([alone.der], [ROOT.der]) == "self-signed certificate"


@pytest.mark.parametrize("certificates", [[], [b""], [b"nonsense"], [LEAF.der[:-1]], [LEAF.der + b"x"]])
def test_what_is_no_certificate(certificates: list[bytes]) -> None:
    assert text(certificates, [ROOT.der]) == "the certificate cannot be read"


def test_what_is_none_behind_the_first_is_passed_over() -> None:
    assert text([LEAF.der, b"nonsense", MIDDLE.der, b""], [b"x", ROOT.der]) == ""


def test_chains_are_bounded() -> None:
    assert text([LEAF.der, *[OTHER.der] * chain.CERTIFICATES, MIDDLE.der], [ROOT.der]) != ""


def test_is_certificate() -> None:
    assert chain.is_certificate(ROOT.der)
    for data in (b"", b"0", ROOT.der[:-1], ROOT.der + b"\0"):
        assert not chain.is_certificate(data)


def test_sessions_do_not_see_our_errors(tmp_path: Path) -> None:
    """OpenSSL keeps them by thread, and a session that waits for data would seem to have failed."""
    here, there = ssl.MemoryBIO(), ssl.MemoryBIO()
    client_context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client_context.check_hostname, client_context.verify_mode = False, ssl.CERT_NONE
    client = client_context.wrap_bio(here, there)
    server = context(written(tmp_path, LEAF)).wrap_bio(there, here, server_side=True)
    for session in (client, server, client, server):
        with suppress(ssl.SSLWantReadError):
            session.do_handshake()
    asks: list[Callable[[], object]] = [
        lambda: chain.fault([b"nonsense"], [b"nonsense"], [NAME]),
        lambda: chain.is_certificate(b"nonsense"),
    ]
    for ask in asks:
        ask()
        with pytest.raises(ssl.SSLWantReadError):
            client.read()


@given(st.data())
def test_damaged_certificates_end_in_order(data: st.DataObject) -> None:
    """Whatever a server sends is read by OpenSSL; a signature that was changed is not believed."""
    damaged = bytearray(LEAF.der)
    at = data.draw(st.integers(0, len(damaged) - 1))
    damaged[at] ^= data.draw(st.integers(1, 255))
    assert chain.fault([bytes(damaged), MIDDLE.der], [ROOT.der], [NAME]) is not None
    assert chain.fault([LEAF.der, bytes(damaged), MIDDLE.der], [bytes(damaged), ROOT.der], [NAME]) is None
