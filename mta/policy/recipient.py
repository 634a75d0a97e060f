"""Is a recipient ours? Mail for any other domain is refused, never relayed; so may be that for unknown users."""

from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

from mta.errors import ConfigError, TableDown
from mta.policy.verdict import ACCEPT, Verdict, refuse
from mta.smtp import replies
from mta.smtp.address import AddressError, parse_domain

RELAY = refuse(replies.R550_RELAY)
NO_USER = refuse(replies.R550_NO_USER)
TABLE_DOWN = refuse(replies.R451_TABLE_DOWN)


class LocalDomains:
    """The domains we take mail for, as a table from domain to verdict."""

    __slots__ = ("_verdicts", "postmaster")

    def __init__(self, domains: Iterable[str], hostname: str) -> None:
        """`domains` as configured, in Unicode or in A-labels; raises `ConfigError` for what is no domain.

        A bare `postmaster` is always ours (RFC 5321 section 4.5.1): `postmaster` at the first of the domains, or at
        `hostname` where there is none.
        """
        names = [_name(domain) for domain in domains]
        self.postmaster = b"postmaster@" + (names[0] if names else hostname.lower().encode())
        self._verdicts = dict.fromkeys((b"", *names), ACCEPT)  # only a bare postmaster has no domain

    def check(self, domain: bytes) -> Verdict:
        """The verdict on a forward-path's domain, as in `Mailbox.domain`; empty for a bare `postmaster`."""
        return self._verdicts.get(domain, RELAY)


class Table(Protocol):
    """A table of those that exist, as `mta.tables` makes it."""

    def get(self, key: bytes) -> bytes | None:
        """The value, or None where there is none; raises `TableDown`. May wait."""


class KnownRecipients:
    """Those that a table knows; the value that it has for them does not matter."""

    __slots__ = ("_keys", "_table")

    def __init__(self, table: Table, keys: Callable[[bytes, bytes], Iterator[bytes]]) -> None:
        """`keys` are those to ask for, in order, given a local part and a domain."""
        self._table = table
        self._keys = keys

    def check(self, local: bytes, domain: bytes) -> Verdict:
        """The verdict on a recipient of a local domain. Waits as the table does.

        Mail for postmaster is always taken (RFC 5321 section 4.5.1), with no table asked, so that whoever runs the
        server can be told that it is down.
        """
        if not domain or local.lower() == b"postmaster":
            return ACCEPT
        try:
            for key in self._keys(local, domain):
                if self._table.get(key) is not None:
                    return ACCEPT
        except TableDown:  # which the table has told of
            return TABLE_DOWN
        return NO_USER


def _name(domain: str) -> bytes:
    try:
        return parse_domain(domain.encode())
    except AddressError as error:
        raise ConfigError([f"domains.local: {domain!r}: {error}"]) from None
