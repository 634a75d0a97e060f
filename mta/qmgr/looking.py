"""The requests of `mta queue` that change nothing: list, show, stats. What they give stands in `control`."""

import heapq
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence

import msgspec

from mta.envelope import is_copy
from mta.errors import SpoolError
from mta.qmgr import items
from mta.qmgr.core import Core
from mta.qmgr.filters import Filter, matcher
from mta.qmgr.finding import Finder, Found, facts
from mta.qmgr.items import Item
from mta.qmgr.names import text
from mta.qmgr.refusal import Refusal, Seen, location
from mta.qmgr.rows import Row, State
from mta.spool import layout, queueid

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
            "draining": core.draining,
            "swept": core.has_swept,
            "destinations": self._destinations(),
            "full": sorted(core.sinks.full)[:DESTINATIONS_TOLD],
            "loads": self._loads(),
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

    def _loads(self) -> dict[str, int]:
        """The messages that wait for each transport or are in its hands, of those with the most."""
        loads = {name: self._core.load(name) for name in self._core.transports}
        names = heapq.nsmallest(DESTINATIONS_TOLD, loads, key=lambda name: (-loads[name], name))
        return {name: loads[name] for name in names}

    def listing(self, wanted: Filter, limit: int | None) -> Iterator[Item | Seen]:
        """Messages: in hand, in the journal, in the log. Ones that wander meanwhile may be missing."""
        left = math.inf if limit is None else limit
        for page, seen in self.walk(wanted):
            for found in page:
                if left <= 0:
                    return
                yield items.message(found)
                left -= 1
            if left <= 0:
                return
            yield seen

    def walk(self, wanted: Filter) -> Iterator[tuple[Sequence[Found], Seen]]:
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
            vias: Mapping[int, str] | Sequence[str] = {index: one.via for index, one in known.items()}
        else:
            del item["to"]
            shard, segment, offset = queueid.unpack(record.location)
            yield item | {
                "client": envelope.client,
                "helo": text(envelope.helo),
                "protocol": envelope.protocol,
                "session": envelope.session,
                "location": record.location,
                "shard": shard,
                "segment": segment,
                "offset_bytes": offset,
                "body_file": layout.body_name(record.body_file) if record.body_file else "",
            }
            addresses, vias = enumerate(envelope.recipients), envelope.via
        one = facts(found)
        for index, address in addresses:
            via = vias[index] if vias else ""
            transport = self._core.active.transport(one.moved_to, address, one.sender, one.listener, via)
            yield items.recipient(address, known.get(index), found, transport or "", is_copy=is_copy(via))
