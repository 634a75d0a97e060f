"""Facts in, verdicts out."""

import pytest

from mta.errors import ConfigError
from mta.fastparse import Unstuffer
from mta.policy.chain import Chain
from mta.policy.content import BARE_NEWLINE, LOOP
from mta.policy.recipient import RELAY, LocalDomains
from mta.policy.verdict import ACCEPT
from mta.smtp import limits


def facts(content: bytes) -> Unstuffer:
    """What the unstuffer has to say about some content."""
    unstuffer = Unstuffer(1_000_000)
    unstuffer.feed(content + b".\r\n")
    assert unstuffer.done
    return unstuffer


@pytest.fixture(name="chain")
def _chain() -> Chain:
    return Chain(LocalDomains(["Example.org", "bücher.example"], "mx.example.net"), bare_newlines="refuse")


@pytest.mark.parametrize("domain", [b"example.org", b"xn--bcher-kva.example", b""])
def test_own_recipients(chain: Chain, domain: bytes) -> None:
    assert chain.recipient(domain) is ACCEPT


@pytest.mark.parametrize(
    "domain", [b"example.com", b"sub.example.org", b"mx.example.net", b"[127.0.0.1]", b"example.org."]
)
def test_nothing_is_relayed(chain: Chain, domain: bytes) -> None:
    verdict = chain.recipient(domain)
    assert verdict is RELAY
    assert verdict.reply is not None
    assert verdict.reply.wire.startswith(b"550 5.7.1 ")


def test_postmaster_has_an_address(chain: Chain) -> None:
    assert chain.postmaster == b"postmaster@example.org"
    assert LocalDomains([], "MX.example.net").postmaster == b"postmaster@mx.example.net"


def test_a_domain_that_is_none() -> None:
    with pytest.raises(ConfigError, match="not a domain"):
        LocalDomains(["not a domain"], "mx.example.net")


@pytest.mark.parametrize("content", [b"a\rb\r\n", b"a\nb\r\n", b"\r\r\n", b"\n"])
def test_bare_newlines(chain: Chain, content: bytes) -> None:
    gathered = facts(content.removesuffix(b"\r\n") + b"\r\n")
    assert chain.content(gathered) is BARE_NEWLINE
    keeping = Chain(LocalDomains([], "mx.example.net"), bare_newlines="keep")
    assert keeping.content(gathered) is ACCEPT


@pytest.mark.parametrize("bare_newlines", ["refuse", "keep"])
def test_loops(bare_newlines: str) -> None:
    chain = Chain(LocalDomains([], "mx.example.net"), bare_newlines=bare_newlines)  # type: ignore[arg-type]
    hop = b"Received: from a by b; Thu, 1 Jan 1970 00:00:00 +0000\r\n"
    assert chain.content(facts(hop * (limits.RECEIVED_HOPS - 1) + b"\r\nbody\r\n")) is ACCEPT
    assert chain.content(facts(hop * limits.RECEIVED_HOPS + b"\r\nbody\r\n")) is LOOP


def test_refusals_say_why() -> None:
    assert {verdict.reason for verdict in (RELAY, BARE_NEWLINE, LOOP)} == {"relay", "bare-newline", "loop"}
