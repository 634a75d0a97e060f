"""Does the domain of a sender take mail, so that somebody can be told what became of a message?"""

from collections.abc import Callable, Container
from enum import Enum

from mta.policy.verdict import ACCEPT, Verdict, refuse
from mta.smtp import replies

NULL_MX = refuse(replies.R550_SENDER_NULL_MX)
UNKNOWN = refuse(replies.R550_SENDER_DOMAIN)
UNCLEAR = refuse(replies.R450_SENDER_DOMAIN)


class Standing(Enum):
    """What the DNS says of a domain."""

    TAKES_MAIL = "takes mail"  # it has an MX or an address
    NULL_MX = "null mx"  # it takes none, and says so (RFC 7505 section 3)
    UNKNOWN = "unknown"  # it has neither, or does not exist
    UNCLEAR = "unclear"  # nobody knows; trying again later may help


class SenderDomain:
    """What is refused of the domains of senders."""

    __slots__ = ("_own", "_refuses_null_mx", "_refuses_unknown", "_standing")

    def __init__(
        self,
        standing: Callable[[bytes], Standing],
        *,
        refuses_null_mx: bool,
        refuses_unknown: bool,
        own: Container[bytes] = (),
    ) -> None:
        """`standing` looks a domain up, and may wait. The domains that are our `own` are not asked about."""
        self._standing = standing
        self._refuses_null_mx = refuses_null_mx
        self._refuses_unknown = refuses_unknown
        self._own = own

    def check(self, domain: bytes) -> Verdict:
        """The verdict on a domain in lower case; empty for the null sender. Waits where it has to be looked up.

        Where nobody knows, mail is put off if domains that do not exist are refused; for a null MX alone it is taken.
        """
        if not domain or domain.startswith(b"[") or domain in self._own:
            return ACCEPT
        standing = self._standing(domain)
        if standing is Standing.NULL_MX:
            return NULL_MX if self._refuses_null_mx else ACCEPT
        if standing is Standing.TAKES_MAIL or not self._refuses_unknown:
            return ACCEPT
        return UNKNOWN if standing is Standing.UNKNOWN else UNCLEAR
