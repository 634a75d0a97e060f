"""What one listener offers to those who come in by it. Made once; holds nothing of any session."""

from collections.abc import Callable

from mta.config import Config, Limits, Listen
from mta.networks import Networks
from mta.policy.access import Access
from mta.policy.chain import Chain
from mta.policy.recipient import KnownRecipients, LocalDomains
from mta.server.recipients import Recipients
from mta.smtp.terms import Bounds, Terms, Tls


class Door:
    """A listener's configuration in the form that its connections use."""

    def __init__(
        self,
        listen: Listen,
        config: Config,
        domains: LocalDomains,
        *,
        has_tls: bool,
        recipients: KnownRecipients | None = None,
        access: Access | None = None,
        make_recipients: Callable[[Chain, str], Recipients] = Recipients,
    ) -> None:
        """`has_tls`: there is a certificate, so that TLS can be offered; `recipients`: who is known in the domains;
        `access`: who may send to whom, which without it is everybody to everybody; `make_recipients` makes what asks
        aliases and routes (`directory.Directory.make`)."""
        limits = listen.limits
        self.address = listen.address
        self.hostname = config.hostname.encode()
        self.limits = limits
        self.is_tls = listen.tls == "implicit"
        self.client_certificates = listen.client_certificates
        self.normalises = listen.bare_newlines == "normalise"
        self.proxies = Networks(listen.proxy_protocol)
        self.xclient = Networks(listen.xclient)
        self.xforward = Networks(listen.xforward)
        self.access = access or Access({})
        self.xfer = Networks(listen.xfer)
        self.transports = frozenset(config.transport)
        self.lifetime_s = config.queue.lifetime_s  # of what is handed over here
        self.exempt = Networks(limits.client_exempt)
        self.chain = Chain(
            domains,
            bare_newlines=listen.bare_newlines,
            hops=limits.hops,
            header_bytes=limits.header_bytes,
            recipients=recipients,
        )
        self.recipients = make_recipients(self.chain, listen.address)
        self.terms = Terms.make(
            config.hostname,
            bounds(limits),
            protocol=listen.protocol,
            tls=_tls(listen, has_tls=has_tls),
            refuse_early=frozenset(listen.refuse_early),
        )


def bounds(limits: Limits) -> Bounds:
    """The part of the limits that a session keeps."""
    return Bounds(
        message_bytes=limits.message_bytes,
        recipients=limits.recipients,
        messages=limits.messages,
        commands=limits.commands,
        command_bytes=limits.command_bytes,
        junk_commands=limits.junk_commands,
        soft_errors=limits.soft_errors,
        errors=limits.errors,
    )


def _tls(listen: Listen, *, has_tls: bool) -> Tls:
    if listen.tls == "implicit":
        return "active"
    return listen.tls if has_tls else "none"
