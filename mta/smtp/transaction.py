"""A mail transaction: from MAIL until its message is answered, or until it is dropped whole (RFC 5321 section 3.3)."""

from collections.abc import Iterable

import msgspec
from msgspec.structs import replace

from mta.smtp.parameters import MailParameters, RcptParameters

ENTRY_BYTES = 512  # memory that a recipient takes, with what was asked for it; a long address takes about as much
FEW_ENTRIES = 16  # what so many take is not worth counting

NO_MAIL_PARAMETERS = MailParameters()
NO_RCPT_PARAMETERS = RcptParameters()

ENTRIES = 10_000
"""Entries of one envelope once aliases and copies are in it; who would make it longer has to send another message. What
several recipients come to counts for each, though it is there once: this bounds what following aliases costs as well.
The first recipient of a message always fits: it comes to `policy.aliases.TARGETS`, each with a handful of copies."""


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
    entry for each of them, or is None where none was expanded. `accepted` counts the forward-paths, `first` is the
    first of them. `is_full` is whether one came to more than there was room for.
    """

    __slots__ = (
        "_came_to",
        "_given",
        "_places",
        "accepted",
        "first",
        "is_full",
        "parameters",
        "recipients",
        "sender",
        "vias",
    )

    def __init__(self, sender: bytes, parameters: MailParameters = NO_MAIL_PARAMETERS) -> None:
        self.sender = sender
        self.parameters = parameters
        self.recipients: list[bytes] = []
        self.vias: list[tuple[str, bool]] | None = None
        self.accepted = 0
        self.first = b""
        self.is_full = False
        self._came_to = 0  # entries, those that were there already included
        self._given: dict[int, RcptParameters] = {}  # by the recipient's index; few ask for anything
        self._places: dict[tuple[bytes, str], int] = {}  # by address in lower case, and transport

    def add(self, recipient: bytes, parameters: RcptParameters = NO_RCPT_PARAMETERS) -> None:
        """One more recipient, as it is to be kept in the envelope; once, however often it is named."""
        self._accept(recipient)
        place = self._places.setdefault((recipient.lower(), ""), len(self.recipients))
        if place < len(self.recipients):
            parameters = self._merged(place, parameters, was_copy=False)
        else:
            self.recipients.append(recipient)
            if self.vias is not None:
                self.vias.append(("", False))
        self._give(place, parameters)

    def make_room(self, count: int) -> bool:
        """Whether there may be so many more entries, or fewer where some are there already; else it is full."""
        self._came_to += count
        self.is_full = self.accepted > 0 and self._came_to > ENTRIES
        return not self.is_full

    def expand(self, recipient: bytes, targets: Iterable[Target], given: RcptParameters = NO_RCPT_PARAMETERS) -> None:
        """One more recipient, and what it came to.

        What is there already, for the same transport, is not added again. What the sender asked for goes for each
        target, and where the sender named no original recipient, the one on the wire is it: that is the one the
        sender knows (RFC 3461 section 4.2). Of copies nobody is told.
        """
        self._accept(recipient)
        vias, places = self.vias, self._places
        if vias is None:
            vias = self.vias = [("", False)] * len(self.recipients)
        renamed = given if given.orcpt else replace(given, orcpt=original_recipient(recipient))
        for target in targets:
            wanted = given if target.address == recipient else renamed
            if target.is_copy:
                wanted = replace(wanted, notify="NEVER")
            place = places.setdefault((target.address.lower(), target.transport), len(self.recipients))
            if place == len(self.recipients):
                self.recipients.append(target.address)
                vias.append((target.via, target.is_copy))
            elif not target.is_copy:
                wanted = self._merged(place, wanted, was_copy=vias[place][1])
                vias[place] = (target.via, False)
            else:
                continue
            self._give(place, wanted)

    def _accept(self, recipient: bytes) -> None:
        if not self.accepted:
            self.first = recipient
        self.accepted += 1

    def _give(self, place: int, wanted: RcptParameters) -> None:
        if wanted != NO_RCPT_PARAMETERS:
            self._given[place] = wanted
        else:
            self._given.pop(place, None)

    def _merged(self, place: int, wanted: RcptParameters, *, was_copy: bool) -> RcptParameters:
        """What is wanted for an entry that two recipients came to: whatever either of them asked for."""
        there = self._given.get(place, NO_RCPT_PARAMETERS)
        if was_copy or there.notify == "NEVER":
            return wanted
        if wanted.notify == "NEVER" or wanted.notify == there.notify:
            return there
        words = {word for one in (there, wanted) for word in (one.notify or "FAILURE,DELAY").split(",")}
        return replace(there, notify=",".join(sorted(words)))

    @property
    def held_bytes(self) -> int:
        """Memory that the recipients take, roughly; 0 for a few."""
        entries = len(self.recipients)
        return entries * ENTRY_BYTES if entries > FEW_ENTRIES else 0

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
