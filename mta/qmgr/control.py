"""Answers to `mta queue`: what it may ask, and the pages of an answer.

An answer is an iterator of pages (`mta.ipc.Reply`), made one by one as the client takes them, so that a long one
neither fills memory nor holds up the mail; whoever goes away early gets the rest of neither the answer nor the work.
Arguments are those of `Arguments`, items are plain dictionaries of text and numbers:

- `list`: arguments are the filters (`mta.qmgr.filters`) and `limit`, all optional. Items: `id`, `state` (queued: in the
  log, not read in; active; waiting; held; failed), `sender`, `recipients` (count of those that have not got it), `to`
  (some of their addresses), `size_bytes`, `received_wall`, `attempts`, `due_wall` (null unless waiting), `transport`
  (where it was moved to, or empty), `reason`.
- `show`: argument `id`. First item: as in a list, without `to`, and `client`, `helo`, `protocol`, `session`, `location`
  (a number), `shard`, `segment`, `offset_bytes`, `body_file` (text, empty where there is none). Then an item for each
  recipient, in the order of the envelope: `recipient`, `state` (queued, delivered, active, waiting, held, failed),
  `transport` (which takes it now, or empty), `copy` (whether it is one), `code`, `text`. A message that cannot be read
  has `problem` in its first item instead of what only the log knows.
- `stats`: one item: `queued` (accepted, not finished), `active`, `waiting`, `held`, `failed` (messages); `unread` (in
  the log, part of `queued`), `in_flight` (jobs), `workers`, `results` (recipients delivered, deferred and failed since
  the manager started), `bounces` (notifications sent, and failures dropped, since then), `corrupt`, `torn` (places in
  the log), `healthy`, `draining` (text: empty, `deliver`, or who gets everything), `swept` (and what waited has been
  made due once), `destinations` (by name: `waiting`,
  `in_flight`, `window`, and `suspended`, the reason or empty; those with the most jobs), `loads` (by transport,
  the messages that wait for it or are in its hands; those with the most), `full` (names of the transports whose
  `queue_limit` is reached).
- `shape`: arguments `by` (domain: of recipients; sender: the domain of senders; transport), the filters, and `limit`.
  Recipients that have not got their message, by that and age. Items: `domain` or so, `total`, and a count for each of
  `mta.qmgr.shape.AGES`; the first one is TOTAL, the last one may be `(others)`.
- `hold`, `release`, `retry`, `delete`, `expire`, `bounce`, `move`: arguments are `ids`, `all` or filters; `move` needs
  `to`, a transport. One item: `count`, and two lists of ids, `missing` (not in the queue) and `unchanged` (nothing to
  be done about them). It comes when the change is on the disk. See `mta.qmgr.changing`.
- `drain`: argument `to`, a host and port, the name of a transport, or empty. One item: `since_wall` and `to`, when the
  order is on the disk. `undrain`: `cancelled`, whether there was one. See `mta.qmgr.draining`.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

import msgspec

from mta import ipc
from mta.errors import SpoolError
from mta.qmgr.changing import VERBS, Changer
from mta.qmgr.core import Core
from mta.qmgr.draining import drop_order, take_order
from mta.qmgr.filters import Filter
from mta.qmgr.finding import Finder
from mta.qmgr.items import Item
from mta.qmgr.looking import Looker
from mta.qmgr.refusal import Refusal, Seen
from mta.qmgr.shape import Shaper

PAGE_BYTES = 49152  # of items in a page, about; well under `ipc.PACKET_BYTES`

_encoder = msgspec.msgpack.Encoder()


class Arguments(Filter, kw_only=True, forbid_unknown_fields=True):
    """What a request may say."""

    id: str = ""
    ids: list[str] = []
    all: bool = False
    limit: int | None = None
    by: Literal["domain", "sender", "transport"] = "domain"
    to: str = ""


class Control:
    """Answers requests about the queue of a `Core`."""

    def __init__(self, core: Core, root: Path) -> None:
        finder = Finder(core, root)
        looker, self._changer = Looker(core, finder), Changer(core, finder)
        shaper = Shaper(core, finder, looker.walk)
        self._verbs: dict[str, Callable[[Arguments], Iterator[Item | Seen]]] = {
            "list": lambda said: looker.listing(said, said.limit),
            "show": lambda said: looker.show(said.id),
            "stats": lambda said: looker.stats(),
            "shape": lambda said: shaper.shape(said, said.by, said.limit),
            "drain": lambda said: take_order(core, str(root), said.to),
            "undrain": lambda said: drop_order(str(root)),
        }

    def answer(self, request: ipc.Request) -> Iterator[ipc.Reply]:
        """The pages of an answer, the last one with `more` unset. An empty page only tells how far the work is."""
        items: list[Item] = []
        size = 0
        try:
            for item in self._run(request):
                is_progress = isinstance(item, Seen)
                if is_progress or size > PAGE_BYTES:
                    seen, total = (item.count, item.total) if isinstance(item, Seen) else (0, 0)
                    yield ipc.Reply(items, more=True, seen=seen, total=total)
                    items, size = [], 0
                if not isinstance(item, Seen):
                    items.append(item)
                    size += len(_encoder.encode(item))
        except (Refusal, SpoolError, msgspec.ValidationError) as error:
            yield ipc.Reply(items, error=str(error))
            return
        yield ipc.Reply(items)

    def _run(self, request: ipc.Request) -> Iterator[Item | Seen]:
        verb = self._verbs.get(request.verb)
        if verb is None and request.verb not in VERBS:
            raise Refusal(f"unknown request {request.verb!r}")
        said = msgspec.convert(request.arguments, Arguments)
        if verb is not None:
            return verb(said)
        return self._changer.change(request.verb, said, ids=said.ids, is_all=said.all, transport=said.to)
