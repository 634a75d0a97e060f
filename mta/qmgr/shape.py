"""The request `shape` of `mta queue`: recipients without their message by name and age, as qshape has them.

What has a row is in the journal's counts (`mta.qmgr.tally`): they are read, not the rows, so that a million of waiting
messages are told of in less than a second. What has none is looked at one by one: the active set, and what is unread.
With filters, everything is; and so it is until every row of a journal of an earlier format is in the counts.
"""

import heapq
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence

from mta.qmgr.core import Core
from mta.qmgr.filters import Facts, Filter, is_empty
from mta.qmgr.finding import Finder, Found, facts
from mta.qmgr.items import Item
from mta.qmgr.names import domain_name, sender_name
from mta.qmgr.refusal import Seen
from mta.qmgr.tally import Aged, Kind

AGES = ("5", "10", "20", "40", "80", "160", "320", "640", "1280", "1280+")  # minutes, as qshape has them
NAMES_COUNTED = 10_000  # one by one; senders can name any number of domains
OTHERS = "(others)"

_EDGES = [float(age) for age in AGES[:-1]]
_KINDS = {"domain": Kind.DOMAIN, "sender": Kind.SENDER, "transport": Kind.TRANSPORT}
NO_TRANSPORT = "(none)"  # no route leads anywhere

Walk = Callable[[Filter], Iterator[tuple[Sequence[Found], Seen]]]


class Counts:
    """Recipients by name and age, of the names with the most of them; the rest is counted together."""

    def __init__(self, most: int = NAMES_COUNTED) -> None:
        self._most = most
        self._rows: dict[str, list[int]] = {}
        self.others = [0] * len(AGES)

    def add(self, aged: Iterable[Aged]) -> None:
        """Count. A name that was few and comes again later may be counted with the rest in part."""
        rows = self._rows
        for name, age, count in aged:
            row = rows.get(name)
            if row is None:
                row = rows[name] = [0] * len(AGES)
            row[age] += count
        if len(rows) > 2 * self._most:
            self._rows = dict(self.most(self._most))

    def most(self, limit: int) -> list[tuple[str, list[int]]]:
        """The names with the most recipients, in order. What is left out goes to `others`."""
        chosen = heapq.nsmallest(limit, self._rows.items(), key=lambda entry: (-sum(entry[1]), entry[0]))
        total = _sum([self.others, *self._rows.values()])
        shown = _sum([[0] * len(AGES), *(row for _, row in chosen)])
        self.others = [all_of_them - one for all_of_them, one in zip(total, shown, strict=True)]
        return chosen


class Shaper:
    """Answers `shape`. `walk` gives what a filter lets through, wherever it is."""

    def __init__(self, core: Core, finder: Finder, walk: Walk) -> None:
        self._core = core
        self._finder = finder
        self._walk = walk

    def shape(self, wanted: Filter, by: str, limit: int | None) -> Iterator[Item | Seen]:
        """The items of the answer, between pages of the mail's own work."""
        counts = Counts()
        is_kept = is_empty(wanted) and self._core.journal.is_counted
        if by == "transport":
            is_kept = is_kept and self._core.marker.is_done  # else some are counted for the routes of before
        for aged, seen in self._kept(by) if is_kept else self._walked(wanted, by):
            counts.add(aged)
            yield seen
        rows = counts.most(NAMES_COUNTED if limit is None else min(limit, NAMES_COUNTED))
        yield _item(by, "TOTAL", _sum([counts.others, *(row for _, row in rows)]))
        for name, row in rows:
            yield _item(by, name if name or by != "transport" else NO_TRANSPORT, row)
        if any(counts.others):
            yield _item(by, OTHERS, counts.others)

    def _walked(self, wanted: Filter, by: str) -> Iterator[tuple[list[Aged], Seen]]:
        now_wall = self._core.clock.wall()
        for page, seen in self._walk(wanted):
            yield self._aged(page, by, now_wall), seen

    def _kept(self, by: str) -> Iterator[tuple[list[Aged], Seen]]:
        """The counts, and what is not in them: messages without a row."""
        core, finder = self._core, self._finder
        now_wall = core.clock.wall()
        count, total = 0, finder.count()
        for page in finder.active():
            count += len(page)
            yield self._aged([found for found in page if found.segment is not None], by, now_wall), Seen(count, total)
        for unread in finder.unread():
            count += len(unread)
            yield self._aged(unread, by, now_wall), Seen(count, total)
        core.commit(core.clock.monotonic())
        for aged in core.journal.tally.pages(_KINDS[by], now_wall, _EDGES):
            count += sum(number for _, _, number in aged)
            yield aged, Seen(min(count, total), total)

    def _aged(self, page: Iterable[Found], by: str, now_wall: float) -> list[Aged]:
        """What messages count for."""
        found: list[Aged] = []
        for one in map(facts, page):
            age = _age(now_wall - one.received_wall)
            found += [(name, age, 1) for name in self._names(one, by)]
        return found

    def _names(self, one: Facts, by: str) -> list[str]:
        """The name that each recipient counts for."""
        if by == "domain":
            return [domain_name(address) for address in one.recipients]
        if by == "sender":
            return [sender_name(one.sender)] * len(one.recipients)
        way = self._core.active.transport
        return [
            way(one.moved_to, address, one.sender, one.listener, via) or ""
            for address, via in zip(one.recipients, one.vias or itertools.repeat(""), strict=False)
        ]


def _age(seconds: float) -> int:
    """The index of an age in `AGES`."""
    return next((index for index, edge in enumerate(_EDGES) if seconds < 60 * edge), len(_EDGES))


def _sum(rows: Iterable[Sequence[int]]) -> list[int]:
    return [sum(column) for column in zip(*rows, strict=True)]


def _item(by: str, name: str, row: Sequence[int]) -> Item:
    return {by: name, "total": sum(row), **dict(zip(AGES, row, strict=True))}
