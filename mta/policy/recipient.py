"""Is a recipient ours? Mail for any other domain is refused, never relayed; so may be that for unknown users."""

from collections.abc import Iterable
from typing import Protocol

from mta.errors import ConfigError, TableDown
from mta.policy.verdict import ACCEPT, Verdict, refuse
from mta.smtp import replies
from mta.smtp.address import AddressError, parse_domain
from mta.tables.key import everybody_key, names

RELAY = refuse(replies.R550_RELAY)
NO_USER = refuse(replies.R550_NO_USER)
TABLE_DOWN = refuse(replies.R451_TABLE_DOWN)


class Table(Protocol):
    """A table, as `mta.tables` makes it."""

    def get(self, key: bytes) -> bytes | None:
        """The value, or None where there is none; raises `TableDown`. May wait."""


class LocalDomains:
    """The domains we take mail for: some as a dictionary from domain to verdict, and those that a table knows."""

    __slots__ = ("_table", "_verdicts", "postmaster")

    def __init__(self, domains: Iterable[str], hostname: str, table: Table | None = None) -> None:
        """`domains` as configured, in Unicode or in A-labels; raises `ConfigError` for what is no domain.

        A bare `postmaster` is always ours (RFC 5321 section 4.5.1): `postmaster` at the first of the domains, or at
        `hostname` where there is none. What `table` has for a domain does not matter.
        """
        listed = [_name(domain) for domain in domains]
        self.postmaster = b"postmaster@" + (listed[0] if listed else hostname.lower().encode())
        self._verdicts = dict.fromkeys((b"", *listed), ACCEPT)  # only a bare postmaster has no domain
        self._table = table

    def check(self, domain: bytes) -> Verdict:
        """The verdict on a forward-path's domain, as in `Mailbox.domain`; empty for a bare `postmaster`.

        Waits where the table has to be asked. It is not asked for address literals.
        """
        verdict = self._verdicts.get(domain)
        if verdict is not None:
            return verdict
        if self._table is None or domain.startswith(b"["):
            return RELAY
        try:
            return RELAY if self._table.get(domain) is None else ACCEPT
        except TableDown:  # which the table has told of
            return TABLE_DOWN


class KnownRecipients:
    """Those that a table knows; the value that it has for them does not matter."""

    __slots__ = ("_extension", "_table")

    def __init__(self, table: Table, extension: bytes = b"") -> None:
        """`extension` is the character that begins an extension, or empty."""
        self._table = table
        self._extension = extension

    def check(self, local: bytes, domain: bytes) -> Verdict:
        """The verdict on a recipient of a local domain. Waits as the table does.

        Mail for postmaster is always taken (RFC 5321 section 4.5.1), with no table asked, so that whoever runs the
        server can be told that it is down.
        """
        if not domain or is_postmaster(local):
            return ACCEPT
        try:
            is_known = self.has_name(local, domain) or self.has_everybody(domain)
        except TableDown:  # which the table has told of
            return TABLE_DOWN
        return ACCEPT if is_known else NO_USER

    def has_name(self, local: bytes, domain: bytes) -> bool:
        """Whether the table has a recipient by name, with its extension or without; raises `TableDown`."""
        return any(self._table.get(name.key) is not None for name in names(local, domain, self._extension))

    def has_everybody(self, domain: bytes) -> bool:
        """Whether it has everybody in a domain; raises `TableDown`."""
        return self._table.get(everybody_key(domain)) is not None


def is_postmaster(local: bytes) -> bool:
    """Whether this is the local part of a postmaster (RFC 5321 section 4.5.1)."""
    return local.lower() == b"postmaster"


def _name(domain: str) -> bytes:
    try:
        return parse_domain(domain.encode())
    except AddressError as error:
        raise ConfigError([f"domains.local: {domain!r}: {error}"]) from None
