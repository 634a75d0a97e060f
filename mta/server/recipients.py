"""What becomes of a recipient at RCPT: refused, or taken for one target or several."""

import msgspec

from mta.policy.chain import Chain
from mta.routing import Router
from mta.smtp.events import Recipient
from mta.smtp.replies import Reply


class Target(msgspec.Struct, frozen=True, gc=False):
    """One entry of the envelope.

    `transport` is the one that takes it now; empty where nobody needs to know at RCPT. `via` is the one that was
    decided here, whatever the routes say later; empty where they say it. A copy is for an archive or the like: what
    becomes of it does not concern the sender.
    """

    address: bytes
    transport: str = ""
    via: str = ""
    is_copy: bool = False


class Recipients:
    """The recipients of one listener. Holds nothing of any session."""

    __slots__ = ("_chain", "_listener", "_router")

    def __init__(self, chain: Chain, listener: str, router: Router | None = None) -> None:
        """`listener` is its address, as routes name it. Without a `router` nobody needs to know the transports."""
        self._chain = chain
        self._listener = listener
        self._router = router

    def expand(self, event: Recipient, sender: bytes) -> Reply | tuple[Target, ...]:
        """The targets of a recipient, at least one; or the reply that refuses it. Waits where tables are asked."""
        reply = self._chain.recipient(event.local, event.domain).reply
        if reply is not None:
            return reply
        address = event.local + b"@" + event.domain if event.domain else self._chain.postmaster
        transport = ""
        if self._router is not None:
            transport = self._router.transport(address, sender, self._listener) or ""
        return (Target(address, transport),)
