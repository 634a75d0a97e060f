"""Who is known in the local domains."""

from collections.abc import Collection

import pytest

from mta.errors import TableDown
from mta.policy.chain import Chain
from mta.policy.recipient import NO_USER, RELAY, TABLE_DOWN, KnownRecipients, LocalDomains
from mta.policy.verdict import ACCEPT


class Table:
    """Knows `known`, and is down for `down`; `asked` has what it was asked for."""

    def __init__(self, known: Collection[bytes] = (), down: Collection[bytes] = ()) -> None:
        self._known = known
        self._down = down
        self.asked: list[bytes] = []

    def get(self, key: bytes) -> bytes | None:
        self.asked.append(key)
        if key in self._down:
            raise TableDown("is burning")
        return b"" if key in self._known else None


def chain_with(table: Table) -> Chain:
    domains = LocalDomains(["example.org"], "mx.example.net")
    return Chain(domains, bare_newlines="keep", hops=40, header_bytes=4096, recipients=KnownRecipients(table))


def test_known() -> None:
    table = Table([b"joe@example.org"])
    assert chain_with(table).recipient(b"joe", b"example.org") is ACCEPT
    assert table.asked == [b"joe@example.org"]


def test_the_domain_is_known() -> None:
    assert chain_with(Table([b"@example.org"])).recipient(b"joe", b"example.org") is ACCEPT


def test_unknown() -> None:
    table = Table([b"joe@example.org"])
    verdict = chain_with(table).recipient(b"jane", b"example.org")
    assert verdict is NO_USER
    assert verdict.reply is not None
    assert verdict.reply.wire.startswith(b"550 5.1.1 ")
    assert table.asked == [b"jane@example.org", b"@example.org"]


@pytest.mark.parametrize("down", [b"joe@example.org", b"@example.org"])
def test_nobody_knows(down: bytes) -> None:
    """Not one of the keys may be unanswered where the answer would be a refusal for good."""
    verdict = chain_with(Table(down=[down])).recipient(b"joe", b"example.org")
    assert verdict is TABLE_DOWN
    assert verdict.reply is not None
    assert verdict.reply.wire.startswith(b"451 4.4.3 ")


@pytest.mark.parametrize(
    ("local", "domain"), [(b"postmaster", b""), (b"postmaster", b"example.org"), (b"PostMaster", b"example.org")]
)
def test_postmaster_is_always_there(local: bytes, domain: bytes) -> None:
    """RFC 5321 section 4.5.1."""
    table = Table(down=[b"postmaster@example.org", b"@example.org"])
    assert chain_with(table).recipient(local, domain) is ACCEPT
    assert table.asked == []


def test_other_domains_are_none_of_the_tables_business() -> None:
    table = Table([b"joe@example.com", b"postmaster@example.com"])
    for local in (b"joe", b"postmaster"):
        assert chain_with(table).recipient(local, b"example.com") is RELAY
    assert table.asked == []
