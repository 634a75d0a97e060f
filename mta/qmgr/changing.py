"""The orders of `mta queue`: hold, release, retry, delete, expire, bounce, move.

An order is given for messages named by id, or for all that filters let through. What it does depends on where a message
is. One that is not read in yet gets a row in the journal first, and the log is passed over there; one in hand is
recalled (`ActiveSet.recall`): what is in flight ends, nothing more is handed out.

- `hold`: it stays until it is released. It does not expire meanwhile.
- `release`: a held one is due now.
- `retry`: one that waits is due now; one that has failed, too, where it is named or failed ones are asked for.
- `delete`: it is gone. Its sender is not told.
- `expire`: it is given up as if its lifetime had ended.
- `bounce`: the same, and its sender is told even where `bounces.send` is off; also of one that has failed and is kept.
- `move`: it goes by another transport from now on, and is due now unless it is held or has failed.

A row in state TELLING stays in it until its sender has been told; what an order wants is done by its due time.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import msgspec

from mta import log
from mta.drain import PEER
from mta.qmgr.core import COMMIT_OUTCOMES, Core
from mta.qmgr.filters import Filter, is_empty, matcher
from mta.qmgr.finding import PAGE_ROWS, Finder, Found, Unread, facts, queue_id
from mta.qmgr.items import Item
from mta.qmgr.message import Aim, Message
from mta.qmgr.refusal import Refusal, Seen, location
from mta.qmgr.rows import NEVER_WALL, Detail, Row, State
from mta.spool import queueid


class Verb(NamedTuple):
    """An order: the states in which it does something, and those in which it does so only where they are asked for."""

    states: tuple[str, ...]
    named: tuple[str, ...] = ()


VERBS = {
    "hold": Verb(("queued", "active", "waiting")),
    "release": Verb(("active", "held")),
    "retry": Verb(("waiting",), ("queued", "active", "failed")),
    "delete": Verb(("queued", "active", "waiting", "held", "failed")),
    "expire": Verb(("queued", "active", "waiting", "held")),
    "bounce": Verb(("queued", "active", "waiting", "held"), ("failed",)),
    "move": Verb(("queued", "active", "waiting", "held"), ("failed",)),
}


class Changer:
    """Carries out orders on the queue of a `Core`."""

    def __init__(self, core: Core, finder: Finder) -> None:
        self._core = core
        self._finder = finder

    def change(
        self, verb: str, wanted: Filter, *, ids: Sequence[str], is_all: bool, transport: str
    ) -> Iterator[Item | Seen]:
        """Carry out an order, page by page. Its last item comes when that is on the disk; raises `Refusal`."""
        core = self._core
        if not ids and not is_all and is_empty(wanted):
            raise Refusal("which messages? Give ids, filters or all")
        if verb == "move" and (transport not in core.transports or transport == PEER):
            raise Refusal(f"there is no transport {transport!r}")
        self._check_health()
        if verb == "retry":
            core.scheduler.resume()
        work = _Work(core, verb, wanted, transport, is_named=bool(ids))
        if ids:
            yield from self._change_named(work, ids)
        else:
            yield from self._change_all(work)
        self._commit()
        yield {"count": work.count, "missing": work.missing, "unchanged": work.unchanged}

    def _change_named(self, work: "_Work", ids: Sequence[str]) -> Iterator[Seen]:
        places = {text: location(text) for text in ids}  # all of them, before anything is done
        names = list(places)
        for start in range(0, len(names), PAGE_ROWS):
            page: dict[int, Found] = {}
            for text in names[start : start + PAGE_ROWS]:
                found = self._finder.find(places[text])
                if found is None:
                    work.missing.append(text)
                else:
                    page[found.location] = found
            work.do(list(page.values()))
            self._relieve()
            yield Seen(start + len(page), len(names))

    def _change_all(self, work: "_Work") -> Iterator[Seen]:
        core, finder = self._core, self._finder
        count, total = 0, finder.count()
        if work.verb == "delete" and work.is_everything:
            work.count += core.intake.purge()
        moves = -1
        while moves != core.cleaner.moves:  # a message that was moved to another place may have been missed
            moves = core.cleaner.moves
            for walk in (finder.unread, finder.active, finder.rows):
                for page in walk():
                    work.do(page)
                    self._relieve()
                    count += len(page)
                    yield Seen(count, max(count, total))

    def _relieve(self) -> None:
        """Write down what has gathered; while a manager runs, it does so as well."""
        if self._core.pending() >= COMMIT_OUTCOMES:
            self._commit()

    def _commit(self) -> None:
        self._core.commit(self._core.clock.monotonic())
        self._check_health()

    def _check_health(self) -> None:
        if not self._core.healthy:
            raise Refusal("the journal cannot be written now")


class _Work:
    """One order under way: what to do, and what has been done."""

    def __init__(self, core: Core, verb: str, wanted: Filter, transport: str, *, is_named: bool) -> None:
        self.verb = verb
        self.is_everything = is_empty(wanted)
        self.count = 0
        self.missing: list[str] = []
        self.unchanged: list[str] = []
        self._core = core
        self._transport = transport
        self._is_named = is_named
        states, named = VERBS[verb]
        self._states = (*states, *named) if is_named or wanted.state in named else states
        self._is_wanted = matcher(wanted, core.clock.wall(), core.active.transport)
        self._since_wall = core.clock.wall()
        self._row_orders: dict[str, Callable[[Row], None]] = {
            "hold": self._hold,
            "release": self._release,
            "retry": self._make_due,
            "delete": self._delete,
            "expire": core.active.expire,
            "bounce": core.active.bounce,
            "move": self._move,
        }

    def do(self, page: Sequence[Found]) -> None:
        """Carry the order out on those of a page that it concerns."""
        messages: list[Message] = []
        for found in page:
            seen = facts(found)
            if seen.state not in self._states or not self._is_wanted(seen) or self._is_done(found):
                if self._is_named:
                    self.unchanged.append(queueid.text(queue_id(found)))
                continue
            self.count += 1
            if isinstance(found, Message):
                messages.append(found)
            elif isinstance(found, Row):
                self._row_orders[self.verb](found)
            else:
                self._do_unread(found)
        if messages:
            self._do_messages(messages)

    def _is_done(self, found: Found) -> bool:
        """Whether a message is already as the order wants it. A walk may meet it again, and must not count it twice."""
        if isinstance(found, Message):
            if self.verb == "move":
                return found.transport == self._transport
            aims = {"hold": Aim.HOLD, "expire": Aim.EXPIRE, "bounce": Aim.BOUNCE}
            return found.aim is not Aim.HOLD if self.verb == "release" else found.aim is aims.get(self.verb)
        if isinstance(found, Row):
            if self.verb == "move":
                return found.detail.transport == self._transport
            if self.verb == "retry":
                return found.state is not State.FAILED and found.due_wall <= self._since_wall
            if self.verb in ("expire", "bounce"):
                return found.state is State.TELLING
        return False

    def _do_unread(self, found: Unread) -> None:
        core = self._core
        if self.verb == "delete":
            core.progress.settle_unread(found.location)
            if found.record.body_file:
                core.journal.release_body(found.record.body_file)
            log.removed(queueid.text(found.location))
        elif self.verb != "retry":  # its first attempt is to come anyway
            self._row_orders[self.verb](core.take_unread(found.record, found.envelope))

    def _do_messages(self, messages: list[Message]) -> None:
        active = self._core.active
        if self.verb == "delete":
            active.remove(messages)
        elif self.verb == "hold":
            self._tell("held", messages)
            active.recall(messages, Aim.HOLD)
        elif self.verb == "release":
            self._tell("released", messages)
            active.recall(messages, Aim.REQUEUE)
        elif self.verb == "expire":
            active.recall(messages, Aim.EXPIRE)
        elif self.verb == "bounce":
            active.recall(messages, Aim.BOUNCE)
        elif self.verb == "move":
            self._tell("moved", messages, transport=self._transport)
            for aim in (Aim.HOLD, Aim.REQUEUE):
                part = [message for message in messages if (message.aim is Aim.HOLD) is (aim is Aim.HOLD)]
                active.recall(part, aim, transport=self._transport)

    # Rows

    def _hold(self, row: Row) -> None:
        if row.state is State.TELLING:
            self._core.journal.put(msgspec.structs.replace(row, due_wall=NEVER_WALL), before=row.state)
        else:
            self._core.journal.put(msgspec.structs.replace(row, state=State.HELD, detail=_kept(row)), before=row.state)
        self._tell("held", [row])

    def _release(self, row: Row) -> None:
        state = row.state if row.state is State.TELLING else State.WAITING
        due_wall = self._since_wall
        self._core.journal.put(
            msgspec.structs.replace(row, state=state, due_wall=due_wall, detail=_kept(row)), before=row.state
        )
        self._tell("released", [row])

    def _make_due(self, row: Row) -> None:
        detail = _kept(row)
        if row.state is State.FAILED:
            recipients = [msgspec.structs.replace(recipient, status=0) for recipient in detail.recipients]
            detail = msgspec.structs.replace(detail, recipients=recipients)
        state = row.state if row.state is State.TELLING else State.WAITING
        due_wall = self._since_wall
        self._core.journal.put(
            msgspec.structs.replace(row, state=state, due_wall=due_wall, detail=detail), before=row.state
        )

    def _move(self, row: Row) -> None:
        detail = msgspec.structs.replace(_kept(row), transport=self._transport)
        due_wall = self._since_wall if row.state is State.WAITING else row.due_wall
        self._core.journal.put(
            msgspec.structs.replace(row, due_wall=due_wall, detail=detail, destination=""), before=row.state
        )
        self._tell("moved", [row], transport=self._transport)

    def _delete(self, row: Row) -> None:
        core = self._core
        core.journal.drop(row.location, before=row.state)
        core.progress.drop_row(row.location, row.inline_bytes)
        if row.body:
            core.journal.release_body(row.body)
        log.removed(queueid.text(row.queue_id))

    def _tell(self, event: str, found: Sequence[Message | Row], **fields: str) -> None:
        for one in found:
            log.note(event, queue=queueid.text(one.queue_id), **fields)


def _kept(row: Row) -> Detail:
    """What stays of a row: of two orders about what was in flight when a manager ended, the last one counts."""
    return msgspec.structs.replace(row.detail, ending="")
