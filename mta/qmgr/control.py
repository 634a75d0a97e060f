"""Answers to `mta queue`: list, show, stats, retry, delete.

An answer is an iterator of pages (`mta.ipc.Reply`), made one by one as the client takes them, so that a long one
neither fills memory nor holds up the mail; whoever goes away early gets the rest of neither the answer nor the work.
Arguments are those of `Arguments`, items are plain dictionaries of text and numbers:

- `list`: arguments `state` (only messages in that state) and `limit`, both optional. Items: `id`, `state` (queued: in
  the log, not read in; active; waiting; failed), `sender`, `recipients` (count of those that have not got it), `to`
  (some of their addresses), `size_bytes`, `received_wall`, `attempts`, `due_wall` (null unless waiting), `reason`.
- `show`: argument `id`. First item: as in a list, without `to`, and `client`, `helo`, `protocol`, `session`, `shard`,
  `segment`, `offset_bytes`, `body_file` (text, empty where there is none). Then an item for each recipient, in the
  order of the envelope: `recipient`, `state` (queued, delivered, active, waiting, failed), `code`, `text`. A message
  that cannot be read has `problem` in its first item instead of what only the log knows.
- `stats`: one item: `queued` (accepted, not finished), `active`, `waiting`, `held`, `failed` (messages); `unread` (in
  the log, part of `queued`), `in_flight` (jobs), `workers`, `results` (recipients delivered, deferred and failed since
  the manager started), `corrupt`, `torn` (places in the log), `healthy`, `destinations` (by name: `waiting`,
  `in_flight`, `window`, and `suspended`, the reason or empty).
- `retry`, `delete`: argument `ids`, or `all`. One item: `count`, and `missing`, the ids that are not in the queue. To
  retry makes waiting messages due now (with `ids`, failed ones too) and ends all suspensions.
"""

import itertools
import math
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Literal

import msgspec

from mta import envelope as envelopes
from mta import ipc, log
from mta.envelope import Envelope
from mta.errors import SpoolCorrupt, SpoolError
from mta.qmgr.active import FAILED, Message
from mta.qmgr.core import Core
from mta.qmgr.journal import Recipient, Row, State
from mta.qmgr.progress import OFFSET_MASK, SEGMENT_SHIFT
from mta.spool import layout, queueid
from mta.spool.reader import MessageReader
from mta.spool.record import Record

PAGE_BYTES = 49152  # of items in a page, about; well under `ipc.PACKET_BYTES`
PAGE_ROWS = 500  # rows of the journal worked on before the mail has its turn again
ADDRESSES_LISTED = 5  # of each message in a list

Item = dict[str, Any]
Found = Message | Row | Record

_encoder = msgspec.msgpack.Encoder()


class Arguments(msgspec.Struct, forbid_unknown_fields=True):
    """What a request may say."""

    id: str = ""
    ids: list[str] = []
    all: bool = False
    state: Literal["queued", "active", "waiting", "failed"] | None = None
    limit: int | None = None


class Control:
    """Answers requests about the queue of a `Core`."""

    def __init__(self, core: Core, root: Path) -> None:
        self._core = core
        self._root = root
        self._verbs: dict[str, Callable[[Arguments], Iterator[Item | None]]] = {
            "list": self._list,
            "show": self._show,
            "stats": self._stats,
            "retry": self._retry,
            "delete": self._delete,
        }

    def answer(self, request: ipc.Request) -> Iterator[ipc.Reply]:
        """The pages of an answer, the last one with `more` unset. An empty page only tells that work goes on."""
        verb = self._verbs.get(request.verb)
        if verb is None:
            yield ipc.Reply(error=f"unknown request {request.verb!r}")
            return
        items: list[Item] = []
        size = 0
        try:
            for item in verb(msgspec.convert(request.arguments, Arguments)):
                if item is None or size > PAGE_BYTES:
                    yield ipc.Reply(items, more=True)
                    items, size = [], 0
                if item is not None:
                    items.append(item)
                    size += len(_encoder.encode(item))
        except (_Refusal, SpoolError, msgspec.ValidationError) as error:
            yield ipc.Reply(items, error=str(error))
            return
        yield ipc.Reply(items)

    # Looking

    def _stats(self, _arguments: Arguments) -> Iterator[Item | None]:
        core = self._core
        waiting = core.journal.states[State.WAITING]
        unread = core.intake.unread()
        corrupt, torn = core.intake.damage()
        active = len(core.active.messages)
        yield {
            "queued": unread + active + waiting,
            "active": active,
            "waiting": waiting,
            "held": 0,
            "failed": core.journal.states[State.FAILED],
            "unread": unread,
            "in_flight": core.scheduler.in_flight(),
            "workers": core.scheduler.workers(),
            "results": msgspec.structs.asdict(core.active.counts),
            "corrupt": corrupt,
            "torn": torn,
            "healthy": core.healthy,
            "destinations": {
                destination.name: {
                    "waiting": destination.waiting(),
                    "in_flight": destination.in_flight,
                    "window": destination.window.size,
                    "suspended": destination.window.reason if destination.window.suspended_until_at else "",
                }
                for destination in core.scheduler.destinations.values()
            },
        }

    def _list(self, arguments: Arguments) -> Iterator[Item | None]:
        limit = math.inf if arguments.limit is None else arguments.limit
        for item in self._everything():
            if limit <= 0:
                return
            if item is None:
                yield None
            elif arguments.state in (None, item["state"]):
                yield item
                limit -= 1

    def _everything(self) -> Iterator[Item | None]:
        core = self._core
        for location in list(core.active.messages):
            message = core.active.messages.get(location)
            if message is not None:
                yield _message_item(message)
        for rows in self._row_pages():
            yield None
            for row in rows:
                yield _row_item(row)
        for number, (record, envelope) in enumerate(core.intake.records()):
            if number % PAGE_ROWS == 0:
                yield None
            if record.location not in core.active.messages:  # read in while this was going on
                yield _record_item(record, envelope)

    def _row_pages(self) -> Iterator[list[Row]]:
        """All rows that are not in the manager's hands, in portions. Those made meanwhile may be missing."""
        core = self._core
        core.commit(core.clock.monotonic())
        after = -1
        while rows := core.journal.rows(after, PAGE_ROWS):
            after = rows[-1].location
            yield [row for row in rows if row.state is not State.ACTIVE]

    def _show(self, arguments: Arguments) -> Iterator[Item | None]:
        location = _location(arguments.id)
        found = self._find(location)
        if found is None:
            raise _Refusal(f"no message {queueid.text(location)} is in the queue")
        item, known = _details(found)
        try:
            record, envelope = self._read(found.location)
        except SpoolError as error:
            item["problem"] = str(error)
            yield item
            addresses: Iterable[tuple[int, bytes]] = [(index, known[index].address) for index in sorted(known)]
        else:
            if isinstance(found, Record):
                item = _record_item(record, envelope)
            del item["to"]
            shard, segment, offset = queueid.unpack(record.location)
            yield item | {
                "client": envelope.client,
                "helo": _text(envelope.helo),
                "protocol": envelope.protocol,
                "session": envelope.session,
                "shard": shard,
                "segment": segment,
                "offset_bytes": offset,
                "body_file": layout.body_name(record.body_file) if record.body_file else "",
            }
            addresses = enumerate(envelope.recipients)
        for index, address in addresses:
            yield _recipient_item(address, known.get(index), found)

    def _read(self, location: int) -> tuple[Record, Envelope]:
        reader = MessageReader(self._root)
        try:
            record = reader.record(location)
            return record, envelopes.decode(record.envelope)
        except ValueError as error:
            raise SpoolError(f"{queueid.text(location)}: {error}") from error
        finally:
            reader.close()

    def _find(self, location: int) -> Found | None:
        """A message by the id its sender was told."""
        core = self._core
        message = core.active.messages.get(location)
        if message is not None:
            return message
        for message in core.active.messages.values():
            if message.queue_id == location:  # moved
                return message
        row = core.journal.row(location) or core.journal.moved(location)
        if row is not None:
            return row
        if core.intake.is_unread(location):
            progress = core.progress.segments.get(location >> SEGMENT_SHIFT)
            if progress is None or (location & OFFSET_MASK) not in progress.done:
                try:
                    return self._read(location)[0]
                except SpoolCorrupt:
                    return None
        return None

    # Changing

    def _retry(self, arguments: Arguments) -> Iterator[Item | None]:
        core = self._core
        count, missing = 0, []
        self._check_health()
        core.scheduler.resume()
        if arguments.all:
            for rows in self._row_pages():
                waiting = [row for row in rows if row.state is State.WAITING]
                for row in waiting:
                    self._make_due(row)
                count += len(waiting)
                yield None
        for text in arguments.ids:
            found = self._find(_location(text))
            if found is None:
                missing.append(text)
                continue
            if isinstance(found, Row):
                self._make_due(found)
            count += 1
        yield {"count": count, "missing": missing}

    def _check_health(self) -> None:
        if not self._core.healthy:
            raise _Refusal("the journal cannot be written now")

    def _make_due(self, row: Row) -> None:
        core = self._core
        now_wall = core.clock.wall()
        before = row.state
        if before is State.FAILED:
            for recipient in row.detail.recipients:
                recipient.status = 0
        core.journal.put(msgspec.structs.replace(row, state=State.WAITING, due_wall=now_wall), before=before)
        core.active.due_wall = min(core.active.due_wall, now_wall)

    def _delete(self, arguments: Arguments) -> Iterator[Item | None]:
        core = self._core
        count, missing = 0, []
        self._check_health()
        if arguments.all:
            count += core.intake.purge()
            messages = list(core.active.messages.values())
            core.active.remove(messages)
            count += len(messages)
            for rows in self._row_pages():
                for row in rows:
                    self._delete_row(row)
                count += len(rows)
                yield None
        for text in arguments.ids:
            found = self._find(_location(text))
            if found is None:
                missing.append(text)
                continue
            count += 1
            if isinstance(found, Row):
                self._delete_row(found)
            elif isinstance(found, Message):
                core.active.remove([found])
            else:
                core.progress.settle_unread(found.location)
                if found.body_file:
                    core.journal.release_body(found.body_file)
                log.removed(text)
        yield {"count": count, "missing": missing}

    def _delete_row(self, row: Row) -> None:
        core = self._core
        core.journal.drop(row.location, before=row.state)
        core.progress.drop_row(row.location, row.inline_bytes)
        if row.body:
            core.journal.release_body(row.body)
        log.removed(queueid.text(row.queue_id))


class _Refusal(Exception):
    """A request that cannot be answered; one line."""


def _location(text: object) -> int:
    try:
        return queueid.parse(str(text))
    except ValueError as error:
        raise _Refusal(str(error)) from None


def _text(data: bytes) -> str:
    return data.decode("utf-8", "backslashreplace")


def _item(queue_id: int, state: str, sender: bytes, received_wall: float, size_bytes: int) -> Item:
    return {
        "id": queueid.text(queue_id),
        "state": state,
        "sender": _text(sender),
        "recipients": 0,
        "to": [],
        "size_bytes": size_bytes,
        "received_wall": received_wall,
        "attempts": 0,
        "due_wall": None,
        "reason": "",
    }


def _addresses(addresses: Iterable[bytes]) -> list[str]:
    return [_text(address) for address in itertools.islice(addresses, ADDRESSES_LISTED)]


def _reason(recipients: Iterable[Recipient]) -> str:
    return next((f"{recipient.code} {recipient.text}" for recipient in recipients if recipient.text), "")


def _record_item(record: Record, envelope: Envelope) -> Item:
    item = _item(record.location, "queued", envelope.sender, envelope.received_wall, record.body_bytes)
    item["recipients"] = len(envelope.recipients)
    item["to"] = _addresses(envelope.recipients)
    return item


def _message_item(message: Message) -> Item:
    item = _item(message.queue_id, "active", message.sender, message.received_wall, message.size_bytes)
    recipients = message.recipients
    item["recipients"] = len(recipients)
    item["to"] = _addresses(recipients.values() if isinstance(recipients, dict) else recipients)
    item["attempts"] = message.attempts
    item["reason"] = _reason((message.unreached or {}).values())
    return item


def _row_item(row: Row) -> Item:
    state = "failed" if row.state is State.FAILED else "waiting"
    item = _item(row.queue_id, state, row.sender, row.received_wall, row.size_bytes)
    item["recipients"] = len(row.detail.recipients)
    item["to"] = _addresses(recipient.address for recipient in row.detail.recipients)
    item["attempts"] = row.attempts
    item["due_wall"] = row.due_wall if row.state is State.WAITING else None
    item["reason"] = _reason(row.detail.recipients)
    return item


def _details(found: Found) -> tuple[Item, dict[int, Recipient]]:
    """The item of a message, and what is known of the recipients that have not got it."""
    if isinstance(found, Row):
        return _row_item(found), {recipient.index: recipient for recipient in found.detail.recipients}
    if isinstance(found, Message):
        return _message_item(found), dict(found.unreached or {})
    return {}, {}


def _recipient_item(address: bytes, known: Recipient | None, found: Found) -> Item:
    state = "queued"
    if isinstance(found, Row):
        state = "delivered" if known is None else "failed" if known.status == FAILED else "waiting"
    elif isinstance(found, Message):
        state = "failed" if known is not None and known.status == FAILED else "active"
    code, text = (known.code, known.text) if known is not None else ("", "")
    return {"recipient": _text(address), "state": state, "code": code, "text": text}
