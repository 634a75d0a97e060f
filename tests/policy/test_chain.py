"""Facts in, verdicts out."""

from typing import Any

import pytest

from mta.errors import ConfigError
from mta.fastparse import Unstuffer
from mta.policy.chain import Chain
from mta.policy.content import BARE_NEWLINE, HEADER_TOO_BIG, LOOP
from mta.policy.recipient import RELAY, LocalDomains
from mta.policy.verdict import ACCEPT
from mta.smtp import replies


def facts(content: bytes) -> Unstuffer:
    """What the unstuffer has to say about some content."""
    unstuffer = Unstuffer(1_000_000)
    unstuffer.feed(content + b".\r\n")
    assert unstuffer.done
    return unstuffer


HOPS = 40
HEADER_BYTES = 4096


def chain_that(bare_newlines: Any) -> Chain:
    """A listener's policy, with what it does about bare line ends."""
    domains = LocalDomains(["Example.org", "bücher.example"], "mx.example.net")
    return Chain(domains, bare_newlines=bare_newlines, hops=HOPS, header_bytes=HEADER_BYTES)


@pytest.fixture(name="chain")
def _chain() -> Chain:
    return chain_that("refuse")


@pytest.mark.parametrize("domain", [b"example.org", b"xn--bcher-kva.example", b""])
def test_own_recipients(chain: Chain, domain: bytes) -> None:
    assert chain.recipient(b"joe", domain) is ACCEPT


@pytest.mark.parametrize(
    "domain", [b"example.com", b"sub.example.org", b"mx.example.net", b"[127.0.0.1]", b"example.org."]
)
def test_nothing_is_relayed(chain: Chain, domain: bytes) -> None:
    verdict = chain.recipient(b"joe", domain)
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
    assert chain.content(gathered, binary=True) is ACCEPT
    assert chain_that("keep").content(gathered) is ACCEPT
    assert chain_that("normalise").content(gathered) is ACCEPT


@pytest.mark.parametrize("bare_newlines", ["refuse", "normalise", "keep"])
def test_loops(bare_newlines: str) -> None:
    chain = chain_that(bare_newlines)
    hop = b"Received: from a by b; Thu, 1 Jan 1970 00:00:00 +0000\r\n"
    assert chain.content(facts(hop * (HOPS - 1) + b"\r\nbody\r\n")) is ACCEPT
    assert chain.content(facts(hop * HOPS + b"\r\nbody\r\n")) is LOOP
    assert chain.content(facts(hop * HOPS + b"\r\nbody\r\n"), binary=True) is LOOP


def test_headers(chain: Chain) -> None:
    """To the empty line, which counts; without one all is header."""
    line = b"X: " + b"x" * (HEADER_BYTES - 7) + b"\r\n"
    assert chain.content(facts(line + b"\r\n" + b"body\r\n" * 9999)) is ACCEPT
    assert chain.content(facts(b"x" + line + b"\r\nbody\r\n")) is HEADER_TOO_BIG
    assert chain.content(facts(line + b"\r\n")) is ACCEPT
    assert chain.content(facts(line + b"xx\r\n")) is HEADER_TOO_BIG


def test_a_header_that_may_have_ended_in_lf(chain: Chain) -> None:
    message = facts(b"Subject: x\n\n" + b"body\n" * HEADER_BYTES + b"\r\n")
    assert chain.content(message) is BARE_NEWLINE
    assert chain_that("normalise").content(message) is ACCEPT


def test_refusals_are_their_replies() -> None:
    assert {verdict.reason for verdict in (RELAY, BARE_NEWLINE, HEADER_TOO_BIG, LOOP)} == {
        *("relay", "bare-newline", "header-too-big", "loop"),
    }
    assert RELAY.reply is replies.R550_RELAY
