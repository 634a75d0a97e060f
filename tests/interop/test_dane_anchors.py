"""DANE-TA with real name servers: NSD serves signed zones whose records name an authority, Unbound validates."""

from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic
from typing import NamedTuple

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from mta.dns.settings import Dns
from mta.dns.stub import Resolver
from tests.support.deliveries import FakeMessage, mail
from tests.support.exchanging import Exchanging
from tests.support.issuing import DAY, NOW, Maker, written
from tests.support.relaying import BODY
from tests.support.tlshop import Encrypting, context
from tests.support.unbound import Zone, resolving

pytestmark = pytest.mark.interop

ROOT = Maker("root")
MIDDLE = Maker("middle", ROOT)
OTHER = Maker("other")
OLD_ROOT = Maker("root", ends=NOW - DAY / 2)


def whole(maker: Maker) -> str:
    """The data of a record with a whole certificate."""
    return f"0 0 {maker.der.hex()}"


def digest(maker: Maker) -> str:
    """The data of a record with the digest of a certificate."""
    sha256 = x509.load_der_x509_certificate(maker.der).fingerprint(hashes.SHA256())
    return f"0 1 {sha256.hex()}"


def key(maker: Maker) -> str:
    """The data of a record with the digest of a key."""
    public = maker.key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    made = hashes.Hash(hashes.SHA512())
    made.update(public)
    return f"1 2 {made.finalize().hex()}"


def leaf(name: str, issuer: Maker = MIDDLE, **more: object) -> Maker:
    """A server's certificate."""
    return Maker("leaf", issuer, **{"names": (name,), "is_authority": False, **more})  # type: ignore[arg-type]


class Case(NamedTuple):
    """What a host sends, its records, and what becomes of mail. `{}` is the zone's name in those of certificates."""

    sent: Callable[[str], tuple[Maker, ...]]
    records: tuple[str, ...]
    expected: list[tuple[int, str]]


def chained(*behind: Maker) -> Callable[[str], tuple[Maker, ...]]:
    """A certificate for the host, and others behind it."""
    return lambda zone: (leaf(f"mx.{zone}"), *behind)


REFUSED = [(4, "4.7.5")]
CASES = {
    "root.example": Case(chained(MIDDLE, ROOT), (f"2 {digest(ROOT)}",), []),
    "middle.example": Case(chained(MIDDLE), (f"2 {key(MIDDLE)}",), []),
    "whole.example": Case(chained(MIDDLE), (f"2 {whole(ROOT)}",), []),
    "domain.example": Case(lambda zone: (leaf(zone), MIDDLE, ROOT), (f"2 {digest(ROOT)}",), []),
    "wrong.example": Case(chained(MIDDLE, ROOT), (f"2 {digest(OTHER)}",), REFUSED),
    "missing.example": Case(chained(MIDDLE), (f"2 {digest(ROOT)}",), REFUSED),
    "name.example": Case(lambda zone: (leaf("mx.elsewhere.example"), MIDDLE), (f"2 {digest(MIDDLE)}",), REFUSED),
    "expired.example": Case(
        lambda zone: (leaf(f"mx.{zone}", ends=NOW - DAY / 2), MIDDLE), (f"2 {digest(MIDDLE)}",), REFUSED
    ),
    "old.example": Case(lambda zone: (leaf(f"mx.{zone}", OLD_ROOT), OLD_ROOT), (f"2 {digest(OLD_ROOT)}",), REFUSED),
    "mixed.example": Case(chained(MIDDLE), (f"3 {digest(OTHER)}", f"2 {digest(MIDDLE)}"), []),
    "neither.example": Case(chained(MIDDLE), (f"3 {digest(OTHER)}", f"2 {digest(OTHER)}"), REFUSED),
    "useless.example": Case(chained(), (f"0 {digest(OTHER)}", "2 3 1 abab"), []),
}


@pytest.fixture
def exchanging(tmp_path: Path) -> Iterator[tuple[Exchanging, dict[str, Encrypting]]]:
    """A zone, signed, with a next hop of its own, for each case."""
    made = Exchanging()
    servers: dict[str, Encrypting] = {}
    zones: dict[str, Zone] = {}
    for number, (name, case) in enumerate(CASES.items()):
        address = f"127.0.1.{number + 1}"
        servers[name] = Encrypting(context(written(tmp_path / name, *case.sent(name))))
        made.listen(address, servers[name])
        text = f"@ IN MX 10 mx\nmx IN A {address}\n"
        text += "".join(f"_{made.port}._tcp.mx IN TLSA {record}\n" for record in case.records)
        zones[name] = Zone(text, is_signed=True)
    with resolving(tmp_path, zones) as (_, unbound):
        made.resolver = Resolver(Dns(servers=[unbound.address], trust_ad=True), monotonic)  # type: ignore[assignment]
        made.begin()
        yield made, servers
        made.close()


def test_who_gets_mail(exchanging: tuple[Exchanging, dict[str, Encrypting]]) -> None:
    made, servers = exchanging
    for number, name in enumerate(CASES):
        made.messages[number] = FakeMessage(mail(f"joe@{name}"), BODY)
    fared = {name: made.one(number) for number, name in enumerate(CASES)}
    assert fared == {name: case.expected for name, case in CASES.items()}
    assert {name: len(server.received) for name, server in servers.items()} == {
        name: 0 if case.expected else 1 for name, case in CASES.items()
    }
    assert all(server.encrypted == 1 for server in servers.values())
