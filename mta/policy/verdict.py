"""What a check says: accept, or refuse with a reply."""

import msgspec

from mta.smtp.replies import Reply


class Verdict(msgspec.Struct, frozen=True, gc=False):
    """`reply` is None to go on, or what the client is told. `reason` is one word for logs and counters."""

    reply: Reply | None
    reason: str


ACCEPT = Verdict(None, "accept")


def refuse(reply: Reply) -> Verdict:
    """A refusal, permanent (5xx) or for now (4xx) as the reply's code says. Made once, when a check is set up."""
    return Verdict(reply, reply.reason)
