"""A mail transaction: from MAIL until its message is answered, or until it is dropped whole (RFC 5321 section 3.3)."""

from collections.abc import Iterable

import msgspec
from msgspec.structs import replace

from mta.smtp.parameters import MailParameters, RcptParameters

NO_MAIL_PARAMETERS = MailParameters()
NO_RCPT_PARAMETERS = RcptParameters()

ENTRIES = 10_000
"""Entries of one envelope once aliases and copies are in it; who would make it longer has to send another message. The
first recipient of a message always fits: it comes to `policy.aliases.TARGETS`, each with a handful of copies."""


class Target(msgspec.Struct, frozen=True, gc=False):
    """An entry of the envelope that a recipient comes to.

    `transport` is the one that takes it now; empty where nobody needs to know at RCPT. `via` is the one that was
    decided there, whatever the routes say later; empty where they say it. A copy is for an archive or the like: what
    becomes of it does not concern the sender.
    """

    address: bytes
    transport: str = ""
    via: str = ""
    is_copy: bool = False


class Transaction:
    """Who sends to whom, and what was asked for besides.

    `recipients` are the addresses of the envelope in order: the forward-paths, or what they came to. `vias` has one
    entry for each of them, or none at all. `accepted` counts the forward-paths, `first` is the first of them.
    """

    __slots__ = ("_given", "_places", "accepted", "first", "parameters", "recipients", "sender", "vias")

    def __init__(self, sender: bytes, parameters: MailParameters = NO_MAIL_PARAMETERS) -> None:
        self.sender = sender
        self.parameters = parameters
        self.recipients: list[bytes] = []
        self.vias: list[tuple[str, bool]] = []
        self.accepted = 0
        self.first = b""
        self._given: dict[int, RcptParameters] = {}  # by the recipient's index; few ask for anything
        self._places: dict[tuple[bytes, str], int] = {}  # of what was expanded

    def add(self, recipient: bytes, parameters: RcptParameters = NO_RCPT_PARAMETERS) -> None:
        """One more recipient, as it is to be kept in the envelope."""
        if parameters is not NO_RCPT_PARAMETERS:
            self._given[len(self.recipients)] = parameters
        if not self.accepted:
            self.first = recipient
        self.accepted += 1
        self.recipients.append(recipient)
        if self.vias:
            self.vias.append(("", False))

    def has_room(self, count: int) -> bool:
        """Whether there may be so many more entries."""
        return not self.recipients or len(self.recipients) + count <= ENTRIES

    def expand(self, recipient: bytes, targets: Iterable[Target], given: RcptParameters = NO_RCPT_PARAMETERS) -> None:
        """One more recipient, and what it came to.

        What is there already, for the same transport, is not added again. What the sender asked for goes for each
        target, and where the sender named no original recipient, the one on the wire is it: that is the one the
        sender knows (RFC 3461 section 4.2). Of copies nobody is told.
        """
        if not self.accepted:
            self.first = recipient
        self.accepted += 1
        self.vias += [("", False)] * (len(self.recipients) - len(self.vias))
        renamed = given if given.orcpt else replace(given, orcpt=original_recipient(recipient))
        for target in targets:
            wanted = given if target.address == recipient else renamed
            if target.is_copy:
                wanted = replace(wanted, notify="NEVER")
            place = self._places.setdefault((target.address.lower(), target.transport), len(self.recipients))
            if place == len(self.recipients):
                self.recipients.append(target.address)
                self.vias.append((target.via, target.is_copy))
            elif not target.is_copy:
                wanted = self._merged(place, wanted)
                self.vias[place] = (target.via, False)
            else:
                continue
            if wanted != NO_RCPT_PARAMETERS:
                self._given[place] = wanted
            else:
                self._given.pop(place, None)

    def _merged(self, place: int, wanted: RcptParameters) -> RcptParameters:
        """What is wanted for an entry that two recipients came to: whatever either of them asked for."""
        there = self._given.get(place, NO_RCPT_PARAMETERS)
        if self.vias[place][1] or there.notify == "NEVER":
            return wanted
        if wanted.notify == "NEVER" or wanted.notify == there.notify:
            return there
        words = {word for one in (there, wanted) for word in (one.notify or "FAILURE,DELAY").split(",")}
        return replace(there, notify=",".join(sorted(words)))

    @property
    def wants_notices(self) -> bool:
        """Whether anything was said about delivery status notifications (RFC 3461 section 4)."""
        return bool(self._given or self.parameters.ret or self.parameters.envid)

    def recipient_parameters(self) -> list[RcptParameters]:
        """What was given for each recipient, in order."""
        return [self._given.get(index, NO_RCPT_PARAMETERS) for index in range(len(self.recipients))]


def original_recipient(address: bytes) -> bytes:
    """An address as ORCPT names it, decoded (RFC 3461 section 4.2, RFC 6533 section 3)."""
    return (b"rfc822;" if address.isascii() else b"utf-8;") + address
