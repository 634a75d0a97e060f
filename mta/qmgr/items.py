"""Messages and recipients as `mta queue` is told of them: plain dictionaries of text and numbers."""

import itertools
from collections.abc import Iterable
from typing import Any

from mta.ipc import DELIVERED, FAILED
from mta.qmgr.finding import Found, Unread, state_name
from mta.qmgr.names import text
from mta.qmgr.rows import Recipient, Row, State
from mta.spool import queueid

_ENDS = {DELIVERED: "delivered", FAILED: "failed"}  # of recipients, for good

ADDRESSES_LISTED = 5  # of each message in a list

Item = dict[str, Any]


def message(found: Found) -> Item:
    """A message in a list."""
    if isinstance(found, Unread):
        envelope = found.envelope
        item = _item(found.location, "queued", envelope.sender, envelope.received_wall, found.record.body_bytes)
        return item | _recipients(envelope.recipients)
    if isinstance(found, Row):
        item = _item(found.queue_id, state_name(found), found.sender, found.received_wall, found.size_bytes)
        results = found.detail.recipients
        item |= _recipients([recipient.address for recipient in results])
        item["due_wall"] = found.due_wall if found.state is State.WAITING else None
        item["transport"] = found.detail.transport
    else:
        item = _item(found.queue_id, "active", found.sender, found.received_wall, found.size_bytes)
        results = list((found.unreached or {}).values())
        item |= _recipients(found.recipients.values() if isinstance(found.recipients, dict) else found.recipients)
        item["transport"] = found.transport
    item["attempts"] = found.attempts
    item["reason"] = next((f"{result.code} {result.text}" for result in results if result.text), "")
    return item


def known(found: Found) -> dict[int, Recipient]:
    """What is known of the recipients that have not got a message."""
    if isinstance(found, Unread):
        return {}
    if isinstance(found, Row):
        return {recipient.index: recipient for recipient in found.detail.recipients}
    return dict(found.unreached or {})


def recipient(address: bytes, result: Recipient | None, found: Found, transport: str, *, is_copy: bool) -> Item:
    """One recipient of a message; `result` is what is known of it, `transport` what takes it now, if anything does."""
    state = "queued"
    if isinstance(found, Row):
        state = "held" if found.state is State.HELD else "waiting"
        state = "delivered" if result is None else _ENDS.get(result.status, state)
    elif not isinstance(found, Unread):
        state = "active" if result is None else _ENDS.get(result.status, "active")
    code, words = (result.code, result.text) if result is not None else ("", "")
    return {
        "recipient": text(address),
        "state": state,
        "transport": transport,
        "copy": is_copy,
        "code": code,
        "text": words,
    }


def _item(queue_id: int, state: str, sender: bytes, received_wall: float, size_bytes: int) -> Item:
    return {
        "id": queueid.text(queue_id),
        "state": state,
        "sender": text(sender),
        "recipients": 0,
        "to": [],
        "size_bytes": size_bytes,
        "received_wall": received_wall,
        "attempts": 0,
        "due_wall": None,
        "transport": "",
        "reason": "",
    }


def _recipients(addresses: Iterable[bytes]) -> Item:
    addresses = list(addresses)
    return {"recipients": len(addresses), "to": [text(one) for one in itertools.islice(addresses, ADDRESSES_LISTED)]}
