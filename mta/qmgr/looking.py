"""The requests of `mta queue` that change nothing: list, show, stats, shape. What they give stands in `control`."""

import heapq
import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

import msgspec

from mta.errors import SpoolError
from mta.qmgr import items
from mta.qmgr.core import Core
from mta.qmgr.filters import Facts, Filter, domain_of, matcher
from mta.qmgr.finding import Finder, Found, facts
from mta.qmgr.items import Item
from mta.qmgr.journal import Row, State
from mta.qmgr.refusal import Refusal, Seen, location
from mta.spool import layout, queueid

AGES = ("5", "10", "20", "40", "80", "160", "320", "640", "1280", "1280+")  # minutes, as qshape has them
DOMAINS_COUNTED = 10_000  # one by one; senders can name any number of them
OTHERS = "(others)"
DESTINATIONS_TOLD = 100  # with REASON_TOLD and names of up to 260 characters, which stay below `ipc.PACKET_BYTES`
REASON_TOLD = 200  # characters


class Looker:
    """Answers questions about the queue of a `Core`."""

    def __init__(self, core: Core, finder: Finder) -> None:
        self._core = core
        self._finder = finder

    def stats(self) -> Iterator[Item | Seen]:
        """Counts, as of now."""
        core = self._core
        core.intake.find()  # a worker that has just begun may have accepted mail already
        states = core.journal.states
        waiting = states[State.WAITING] + states[State.TELLING]
        unread = core.intake.unread()
        corrupt, torn = core.intake.damage()
        active = len(core.active.messages)
        yield {
            "queued": unread + active + waiting + states[State.HELD],
            "active": active,
            "waiting": waiting,
            "held": states[State.HELD],
            "failed": states[State.FAILED],
            "unread": unread,
            "in_flight": core.scheduler.in_flight(),
            "workers": core.scheduler.workers(),
            "results": msgspec.structs.asdict(core.active.counts),
            "bounces": msgspec.structs.asdict(core.bounces.counts),
            "corrupt": corrupt,
            "torn": torn,
            "healthy": core.healthy,
            "destinations": self._destinations(),
        }

    def _destinations(self) -> dict[str, Item]:
        """The destinations with the most jobs; as many as fit into an answer that may be asked for often."""
        everyone = self._core.scheduler.destinations.values()
        first = heapq.nlargest(DESTINATIONS_TOLD, everyone, key=lambda one: one.waiting() + one.in_flight)
        return {
            destination.name: {
                "waiting": destination.waiting(),
                "in_flight": destination.in_flight,
                "window": destination.window.size,
                "suspended": destination.window.reason[:REASON_TOLD] if destination.window.suspended_until_at else "",
            }
            for destination in first
        }

    def listing(self, wanted: Filter, limit: int | None) -> Iterator[Item | Seen]:
        """Messages: in hand, in the journal, in the log. Ones that wander meanwhile may be missing."""
        left = math.inf if limit is None else limit
        for page, seen in self._walk(wanted):
            for found in page:
                if left <= 0:
                    return
                yield items.message(found)
                left -= 1
            if left <= 0:
                return
            yield seen

    def _walk(self, wanted: Filter) -> Iterator[tuple[Sequence[Found], Seen]]:
        """What a filter lets through, each page with how far that is."""
        core, finder = self._core, self._finder
        is_wanted = matcher(wanted, core.clock.wall(), core.active.transport)
        count, total = 0, finder.count()
        for page in finder.active():
            count += len(page)
            yield [found for found in page if is_wanted(facts(found))], Seen(count, total)
        for rows in finder.rows():
            count += len(rows)
            yield [found for found in rows if isinstance(found, Row) and is_wanted(facts(found))], Seen(count, total)
        for unread in finder.unread():
            count += len(unread)
            yield [found for found in unread if is_wanted(facts(found))], Seen(count, total)

    def show(self, queue_id: str) -> Iterator[Item | Seen]:
        """One message, and its recipients."""
        place = location(queue_id)
        found = self._finder.find(place)
        if found is None:
            raise Refusal(f"no message {queueid.text(place)} is in the queue")
        item, known = items.message(found), items.known(found)
        try:
            record, envelope = self._finder.read(found.location)
        except SpoolError as error:
            item["problem"] = str(error)
            yield item
            addresses: Iterable[tuple[int, bytes]] = [(index, known[index].address) for index in sorted(known)]
        else:
            del item["to"]
            shard, segment, offset = queueid.unpack(record.location)
            yield item | {
                "client": envelope.client,
                "helo": items.text(envelope.helo),
                "protocol": envelope.protocol,
                "session": envelope.session,
                "location": record.location,
                "shard": shard,
                "segment": segment,
                "offset_bytes": offset,
                "body_file": layout.body_name(record.body_file) if record.body_file else "",
            }
            addresses = enumerate(envelope.recipients)
        for index, address in addresses:
            yield items.recipient(address, known.get(index), found)

    def shape(self, wanted: Filter, by: str, limit: int | None) -> Iterator[Item | Seen]:
        """Recipients that have not got their message, by domain and age."""
        now_wall = self._core.clock.wall()
        counts: dict[str, list[int]] = defaultdict(lambda: [0] * len(AGES))
        for page, seen in self._walk(wanted):
            for one in map(facts, page):
                age = _age(now_wall - one.received_wall)
                for name in _names(one, by):
                    counts[name if name in counts or len(counts) < DOMAINS_COUNTED else OTHERS][age] += 1
            yield seen
        others = counts.pop(OTHERS, [0] * len(AGES))
        ordered = sorted(counts.items(), key=lambda entry: (-sum(entry[1]), entry[0]))
        shown = len(ordered) if limit is None else limit
        for _, row in ordered[shown:]:
            others = _sum([others, row])
        rows = ordered[:shown]
        yield _shape_item(by, "TOTAL", _sum([others, *(row for _, row in rows)]))
        for name, row in rows:
            yield _shape_item(by, name, row)
        if any(others):
            yield _shape_item(by, OTHERS, others)


def _names(one: Facts, by: str) -> Iterator[str]:
    """The domain that each recipient counts for; the one of the null sender is MAILER-DAEMON, as with qshape."""
    if by == "domain":
        for address in one.recipients:
            yield items.text(domain_of(address))
    else:
        name = items.text(domain_of(one.sender)) if one.sender else "MAILER-DAEMON"
        for _ in one.recipients:
            yield name


def _age(seconds: float) -> int:
    """The index of an age in `AGES`."""
    return next((index for index, name in enumerate(AGES[:-1]) if seconds < 60 * int(name)), len(AGES) - 1)


def _sum(rows: Iterable[Sequence[int]]) -> list[int]:
    return [sum(column) for column in zip(*rows, strict=True)]


def _shape_item(by: str, name: str, row: Sequence[int]) -> Item:
    return {by: name, "total": sum(row), **dict(zip(AGES, row, strict=True))}
