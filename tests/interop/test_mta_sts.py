"""MTA-STS with real name servers, a real HTTPS server and Postfix as the hosts of all domains."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic, time

import gevent
import pytest

from mta import log
from mta.config import Log
from mta.deliver import sts_fetch
from mta.deliver.hosts import Asked
from mta.deliver.sts import Sts
from mta.deliver.sts_fetch import Fetcher
from mta.deliver.sts_store import Store
from mta.deliver.tls import Level, make_context
from mta.dns.settings import Dns
from mta.dns.stub import Resolver
from mta.log_reader import Record, parse
from mta.tlsrpt.report import Day, Reporter
from tests.support.certificates import Authority
from tests.support.deliveries import FakeMessage, mail
from tests.support.exchanging import Exchanging
from tests.support.nexthop import Polite
from tests.support.policyhost import PolicyHost, policy, reply
from tests.support.postfix import Postfix, missing
from tests.support.relaying import BODY
from tests.support.server import HOST, free_port
from tests.support.tlshop import context
from tests.support.unbound import Running, Zone, resolving

pytestmark = [pytest.mark.interop, pytest.mark.skipif(bool(missing()), reason=missing())]

PLAIN = "127.0.0.2"  # somebody who takes STARTTLS away
ZONE = """\
@ IN MX 10 {mx}
mx IN A {address}
mta-sts IN A 127.0.0.1
_mta-sts 1 IN TXT "v=STSv1; id={id};"
"""
DOMAINS = {
    "right.example": "mx",
    "certificate.example": "mx",
    "policy.example": "mx.right.example.",
    "stripped.example": "mx",
    "testing.example": "mx",
}
POSTFIX = {
    "virtual_mailbox_domains": ", ".join(DOMAINS),
    "virtual_mailbox_maps": "static:all/",
    "virtual_transport": "virtual",
    "smtpd_tls_received_header": "yes",
    "smtpd_tls_security_level": "may",
}


def zone(name: str, number: int = 1) -> str:
    return ZONE.format(mx=DOMAINS[name], address=PLAIN if name == "stripped.example" else HOST, id=number)


class World(Exchanging):
    """The transport, with a life of its own each time it begins; the servers around it stay."""

    def __init__(self, folder: Path, authorities: Authority) -> None:
        super().__init__()
        self.folder = folder
        self.authorities = authorities
        names = [f"mta-sts.{name}" for name in DOMAINS]
        self.policies = PolicyHost(context(authorities.server(*names)))
        self._closing.append(self.policies.close)
        self.nsd: Running

    def live(self, servers: str) -> None:
        """Begin a life: nothing is known but what is on disk."""
        resolver = Resolver(Dns(servers=[servers]), monotonic)
        self.resolver = resolver  # type: ignore[assignment]
        ca = str(self.authorities.ca)
        fetcher = Fetcher(resolver, sts_fetch.make_context(ca), port=self.policies.port)
        sts = Sts(resolver, fetcher, Store(self.folder / "sts"), time)
        self.sts = Asked(sts, make_context(Level.STS, ca))
        self.begin()

    def send(self, domain: str) -> list[tuple[int, str]]:
        """One mail to a domain; status and code where it does not arrive."""
        self.messages[1] = FakeMessage(mail(f"joe@{domain}"), BODY)
        return self.one()

    def told(self) -> dict[str, tuple[str, str]]:
        """Policy and last result of each domain, from the log."""
        return {record["domain"]: (record["policy"], record["result"]) for record in self.records()}

    def records(self) -> list[Record]:
        """What the log has of TLS."""
        log.flush()
        found = [parse(line) for line in (self.folder / "log").read_text().splitlines()]
        return [record for record in found if record and record["event"] == "tls_result"]


@pytest.fixture
def postfix(tmp_path: Path) -> Iterator[tuple[Postfix, Authority]]:
    """Its certificate has the hosts of all domains but certificate.example and testing.example."""
    authorities = Authority(tmp_path / "certificates")
    pair = authorities.server("mx.right.example", "mx.stripped.example")
    files = {"smtpd_tls_cert_file": str(pair.certificate), "smtpd_tls_key_file": str(pair.key)}
    with Postfix(free_port(), {**POSTFIX, **files}) as made:
        yield made, authorities


@pytest.fixture
def world(tmp_path: Path, postfix: tuple[Postfix, Authority]) -> Iterator[tuple[World, str]]:
    """With the address of the resolver."""
    server, authorities = postfix
    made = World(tmp_path, authorities)
    made.port = server.port
    made.listen(PLAIN, Polite())
    zones = {name: Zone(zone(name)) for name in DOMAINS}
    log.setup("deliver", 0, Log(file=str(tmp_path / "log")))
    with resolving(tmp_path, zones) as (made.nsd, unbound):
        yield made, unbound.address
        made.close()
    log.setup("deliver", 0, Log())


def test_who_gets_mail(world: tuple[World, str]) -> None:
    made, resolver = world
    made.policies.answer = reply(policy(*(f"mx.{name}" for name in DOMAINS if name != "right.example")))
    made.live(resolver)
    assert {name: made.send(name) for name in ("certificate.example", "stripped.example")} == {
        "certificate.example": [(4, "4.7.5")],
        "stripped.example": [(4, "4.7.4")],
    }
    assert made.send("policy.example") == [(4, "4.7.5")]
    made.policies.answer = reply(policy("mx.right.example"))
    assert made.send("right.example") == []
    made.policies.answer = reply(policy("mx.testing.example", mode="testing"))
    assert made.send("testing.example") == []
    assert made.told() == {
        "certificate.example": ("sts", "certificate-host-mismatch"),
        "stripped.example": ("sts", "starttls-not-supported"),
        "policy.example": ("sts", "validation-failure"),
        "right.example": ("sts", "success"),
        "testing.example": ("sts", "certificate-host-mismatch"),
    }
    day = Day(datetime.now(UTC).date())
    for record in made.records():
        day.add(record)
    (policy_told,) = day.report("testing.example", Reporter("me.example", "tls@me.example"))["policies"]
    assert policy_told["summary"] == {"total-successful-session-count": 0, "total-failure-session-count": 1}
    assert policy_told["policy"]["mx-host"] == ["mx.testing.example"]
    (detail,) = policy_told["failure-details"]
    assert (detail["receiving-mx-hostname"], detail["receiving-ip"]) == ("mx.testing.example", HOST)


def test_a_policy_outlives_us_and_its_server(world: tuple[World, str]) -> None:
    """Whoever blocks HTTPS and waits for a restart gains nothing; for who has no policy yet, he does."""
    made, resolver = world
    made.policies.answer = reply(policy("mx.certificate.example"))
    made.live(resolver)
    assert made.send("certificate.example") == [(4, "4.7.5")]
    made.policies.close()
    made.live(resolver)
    assert made.send("certificate.example") == [(4, "4.7.5")]
    assert made.send("stripped.example") == []
    assert made.told()["stripped.example"] == ("no-policy-found", "starttls-not-supported")


def test_another_id_brings_another_policy(world: tuple[World, str]) -> None:
    made, resolver = world
    name = "certificate.example"
    made.policies.answer = reply(policy(f"mx.{name}"))
    made.live(resolver)
    assert made.send(name) == [(4, "4.7.5")]
    made.policies.answer = reply(policy(f"mx.{name}", mode="none"))
    assert made.send(name) == [(4, "4.7.5")]
    file = made.folder / f"{name}.zone"
    file.write_text(file.read_text().replace(zone(name), zone(name, 2)).replace(" 1 7200 ", " 2 7200 "))
    made.nsd.reload()
    with gevent.Timeout(20):
        while made.send(name):
            gevent.sleep(0.1)
    assert len(made.policies.requests) == 2
