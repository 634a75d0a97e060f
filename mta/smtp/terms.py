"""What a listener offers: our name, the bounds a session keeps, the extensions it announces."""

from typing import Literal

import msgspec

from mta.smtp import replies, state, xfer
from mta.smtp.replies import Reply
from mta.smtp.state import Rules
from mta.smtp.xclient import XCLIENT_ATTRIBUTES, XFORWARD_ATTRIBUTES

Protocol = Literal["smtp", "lmtp"]
Tls = Literal["none", "optional", "required", "active"]
Early = Literal["greeting", "helo", "ehlo", "data"]

LMTP_PARAMETERS = frozenset((b"SIZE", b"BODY", b"SMTPUTF8", b"RET", b"ENVID"))
MAIL_PARAMETERS = LMTP_PARAMETERS | {b"PRDR"}  # LMTP has a reply for each recipient anyway
RCPT_PARAMETERS = frozenset((b"NOTIFY", b"ORCPT"))


class Bounds(msgspec.Struct, frozen=True):
    """How much of everything a session may have; over it, what the name of the refusal says.

    `message_bytes` is the largest content, `command_bytes` the longest command line with its CR LF. `messages` and
    `commands` count over the session, `junk_commands` since the last message, `recipients` in one message. Refusals
    behind the `soft_errors`th are penalised, and the `errors`th ends the session.
    """

    message_bytes: int
    recipients: int
    messages: int
    commands: int
    command_bytes: int
    junk_commands: int
    soft_errors: int
    errors: int


class Terms(msgspec.Struct, frozen=True):
    """One object serves all sessions of a listener.

    `tls` says what STARTTLS is here: not offered, offered, or demanded before MAIL; `active` where TLS is spoken from
    the first byte. `refuse_early` are the places where a client must wait for our reply.
    """

    hostname: str
    protocol: Protocol
    tls: Tls
    bounds: Bounds
    refuse_early: frozenset[Early]
    rules: Rules
    greeting: Reply
    hello: Reply
    help: Reply
    _extended: dict[tuple[bool, ...], Reply] = msgspec.field(default_factory=dict)

    @classmethod
    def make(
        cls,
        hostname: str,
        bounds: Bounds,
        *,
        protocol: Protocol = "smtp",
        tls: Tls = "none",
        refuse_early: frozenset[Early] = frozenset(),
    ) -> "Terms":
        """Terms with their replies made ready."""
        is_lmtp = protocol == "lmtp"
        return cls(
            hostname=hostname,
            protocol=protocol,
            tls=tls,
            bounds=bounds,
            refuse_early=refuse_early,
            rules=state.LMTP if is_lmtp else state.SMTP,
            greeting=replies.greeting(hostname, "LMTP" if is_lmtp else "ESMTP"),
            hello=replies.hello(hostname),
            help=replies.R214_HELP_LMTP if is_lmtp else replies.R214_HELP,
        )

    def mail_parameters(self, *, tls_active: bool, may_xfer: bool = False) -> frozenset[bytes]:
        """The parameters of MAIL that are offered, to a client that may hand mail over or may not."""
        offered = LMTP_PARAMETERS if self.protocol == "lmtp" else MAIL_PARAMETERS
        if may_xfer:
            offered |= xfer.MAIL_PARAMETERS
        return offered | {b"REQUIRETLS"} if tls_active else offered  # RFC 8689 section 2

    def extended_hello(
        self, *, tls_active: bool, xclient: bool = False, xforward: bool = False, may_xfer: bool = False
    ) -> Reply:
        """The answer to EHLO for a client with these rights. HELP stands last: some clients read EHLO up to there."""
        key = (tls_active, xclient, xforward, may_xfer)
        found = self._extended.get(key)
        if found is None:
            found = self._extended[key] = replies.extended_hello(self.hostname, self._keywords(*key))
        return found

    def _keywords(self, tls_active: bool, xclient: bool, xforward: bool, may_xfer: bool) -> list[str]:
        bounds = self.bounds
        keywords = [f"SIZE {bounds.message_bytes}", "PIPELINING", "8BITMIME", "SMTPUTF8", "CHUNKING", "BINARYMIME"]
        keywords += ["DSN", "ENHANCEDSTATUSCODES", f"LIMITS MAILMAX={bounds.messages} RCPTMAX={bounds.recipients}"]
        if self.protocol == "smtp":
            keywords.append("PRDR")
        if tls_active:
            keywords.append("REQUIRETLS")  # RFC 8689 section 2: only under TLS
        elif self.tls in ("optional", "required"):
            keywords.append("STARTTLS")
        if xclient:
            keywords.append(f"XCLIENT {' '.join(XCLIENT_ATTRIBUTES)}")
        if xforward:
            keywords.append(f"XFORWARD {' '.join(XFORWARD_ATTRIBUTES)}")
        if may_xfer:
            keywords.append(xfer.KEYWORD)
        return [*keywords, "HELP"]
