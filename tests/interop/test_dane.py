"""DANE with real name servers: NSD serves signed zones, Unbound validates, and the next hop's certificate is real."""

import hashlib
import ssl
from collections.abc import Iterator
from pathlib import Path
from time import monotonic

import pytest

from mta.dns.settings import Dns
from mta.dns.stub import Resolver
from tests.support.certificates import Authority
from tests.support.deliveries import FakeMessage, mail
from tests.support.exchanging import Exchanging
from tests.support.relaying import BODY
from tests.support.tlshop import Encrypting, context
from tests.support.unbound import Zone, resolving

pytestmark = pytest.mark.interop

ZONE = """\
@ IN MX 10 mx
mx IN A 127.0.0.2
_{port}._tcp.mx IN TLSA 3 0 1 {digest}
"""


@pytest.fixture
def exchanging(tmp_path: Path) -> Iterator[tuple[Exchanging, Encrypting]]:
    """A next hop for several zones: two have its certificate, one of them unsigned; one has another's."""
    pair = Authority(tmp_path / "certificates").expired("elsewhere.example")
    end = "-----END CERTIFICATE-----"
    certificate = ssl.PEM_cert_to_DER_cert(pair.certificate.read_text().partition(end)[0] + end)
    digest = hashlib.sha256(certificate).hexdigest()
    made, server = Exchanging(), Encrypting(context(pair))
    made.listen("127.0.0.2", server)
    right, wrong = (ZONE.format(port=made.port, digest=text) for text in (digest, "ab" * 32))
    zones = {
        "right.example": Zone(right, is_signed=True),
        "wrong.example": Zone(wrong, is_signed=True),
        "unsigned.example": Zone(wrong),
        "bogus.example": Zone(right, is_bogus=True),
    }
    with resolving(tmp_path, zones) as (_, unbound):
        made.resolver = Resolver(Dns(servers=[unbound.address], trust_ad=True), monotonic)  # type: ignore[assignment]
        made.begin()
        yield made, server
        made.close()


def test_who_gets_mail(exchanging: tuple[Exchanging, Encrypting]) -> None:
    made, server = exchanging
    names = ("right.example", "wrong.example", "unsigned.example", "bogus.example", "none.right.example")
    for number, name in enumerate(names):
        made.messages[number] = FakeMessage(mail(f"joe@{name}"), BODY)
    fared = {name: made.one(number) for number, name in enumerate(names)}
    assert fared == {
        "right.example": [],
        "wrong.example": [(4, "4.7.5")],
        "unsigned.example": [],
        "bogus.example": [(4, "4.4.3")],
        "none.right.example": [(5, "5.1.2")],
    }
    assert [recipients for _, recipients, _ in server.received] == [
        [b"RCPT TO:<joe@right.example>"],
        [b"RCPT TO:<joe@unsigned.example>"],
    ]
