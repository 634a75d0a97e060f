"""Is a recipient ours? Mail for any other domain is refused, never relayed."""

from collections.abc import Iterable

from mta.errors import ConfigError
from mta.policy.verdict import ACCEPT, Verdict, refuse
from mta.smtp import replies
from mta.smtp.address import AddressError, parse_domain

RELAY = refuse(replies.R550_RELAY)


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


def _name(domain: str) -> bytes:
    try:
        return parse_domain(domain.encode())
    except AddressError as error:
        raise ConfigError([f"domains.local: {domain!r}: {error}"]) from None
