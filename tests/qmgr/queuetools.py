"""What the queue manager's tests share: a spool to put mail into, clocks that stand still, a worker that obeys."""

import random
import select
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
from xxhash import xxh3_64_intdigest

from mta import drain, ipc
from mta import envelope as envelopes
from mta.config import Bounces, Config, Domains, Listen, Queue, Route, Transport
from mta.drain import Order
from mta.envelope import Envelope
from mta.qmgr import tally
from mta.qmgr.control import Control
from mta.qmgr.core import Core
from mta.qmgr.journal import Journal
from mta.qmgr.rows import State
from mta.qmgr.tally import Kind, Totals
from mta.spool import layout
from mta.spool.writer import SpoolWriter

START_WALL = 1_800_000_000.0

TRANSPORTS = {"store": Transport("discard"), "relay": Transport("smtp", host="127.0.0.1:1", concurrency=2)}
ROUTES = [Route(["*@store.example"], "store"), Route(["*@relay.example"], "relay")]

SILENT = Bounces(send=False)  # what has failed stays in the queue, where a test can look at it

Answer = Callable[[ipc.Job], ipc.Outcome]


class FakeClock:
    """Both clocks; they move only when told."""

    def __init__(self) -> None:
        self.elapsed_s = 0.0

    def monotonic(self) -> float:
        return 1000.0 + self.elapsed_s

    def wall(self) -> float:
        return START_WALL + self.elapsed_s


def make_config(root: Path, bounces: Bounces = SILENT, **queue: float) -> Config:
    return Config(
        hostname="mx.example",
        spool=str(root),
        listen=[Listen("127.0.0.1:2525")],
        domains=Domains(["store.example", "relay.example"]),
        transport=TRANSPORTS,
        route=ROUTES,
        queue=msgspec.structs.replace(Queue(), **queue),
        bounces=bounces,
    )


class Sender:
    """An SMTP worker, as far as the spool can tell: it appends messages and commits them."""

    def __init__(self, root: Path, **options: int) -> None:
        self.writer = SpoolWriter(root, **options)
        self._closed = False

    def send(
        self,
        *recipients: bytes,
        size: int = 100,
        wall: float = START_WALL,
        large: bool = False,
        body: bytes = b"",
        **facts: object,
    ) -> int:
        """Append one message; `commit` makes it visible. `facts` are fields of its envelope. Returns its location."""
        facts = {"sender": b"from@sender.example", "session": "s1"} | facts
        envelope = envelopes.encode(Envelope(recipients=recipients, received_wall=wall, **facts))
        body = body or b"x" * size
        if large:
            return self._send_large(envelope, body)
        return self.writer.append(envelope, [body], body_bytes=len(body), body_hash=xxh3_64_intdigest(body))

    def _send_large(self, envelope: bytes, data: bytes) -> int:
        bodies = self.writer.bodies
        body = bodies.open()
        body.write([data])
        body.finish(xxh3_64_intdigest(data))
        while not body.durable:
            select.select([bodies.fileno()], [], [], 10.0)
            bodies.collect()
        return self.writer.append_large(envelope, body)

    def commit(self) -> None:
        self.writer.commit()

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self.writer.close()


def delivered(job: ipc.Job) -> ipc.Outcome:
    return ipc.Outcome(job.number)


def deferred(job: ipc.Job) -> ipc.Outcome:
    return ipc.Outcome(job.number, tuple(ipc.Result(index, 4, "4.2.2", "mailbox full") for index in job.recipients))


def failed(job: ipc.Job) -> ipc.Outcome:
    return ipc.Outcome(job.number, tuple(ipc.Result(index, 5, "5.1.1", "no such user") for index in job.recipients))


def down(job: ipc.Job) -> ipc.Outcome:
    results = tuple(ipc.Result(index, 4, "4.4.1", "connection refused") for index in job.recipients)
    return ipc.Outcome(job.number, results, True)


class Bench:
    """A core, a clock, and one delivery worker that answers as it is told. The log of what was delivered is kept."""

    WORKER = 1

    def __init__(
        self,
        root: Path,
        clock: FakeClock | None = None,
        bounces: Bounces = SILENT,
        order: Order | None = None,
        **queue: float,
    ) -> None:
        """`order`: the manager is to drain."""
        layout.make_folders(root)
        layout.make_folder(root / "qmgr")
        self.root = root
        self.config = drain.for_queue(drain.applied(make_config(root, bounces, **queue), order))
        self.clock = clock or FakeClock()
        self.core = Core(self.config, self.clock, random.Random(1))
        self.core.scheduler.join(self.WORKER)
        self.control = Control(self.core, root)
        self.jobs: list[ipc.Job] = []  # all that were handed out

    def fetch(self) -> list[ipc.Job]:
        """One turn up to the jobs."""
        now = self.clock.monotonic()
        self.core.take(now)
        jobs = self.core.scheduler.assign(now).get(self.WORKER, [])
        self.jobs += jobs
        return jobs

    def answer(self, jobs: list[ipc.Job], how: Answer = delivered) -> None:
        """Outcomes of jobs, and the rest of the turn."""
        for job in jobs:
            self.core.active.finish(self.WORKER, how(job))
        self.core.settle(self.clock.monotonic())

    def work(self, how: Answer = delivered) -> list[ipc.Job]:
        """Turns until nothing moves, with all jobs answered alike; then a commit."""
        done: list[ipc.Job] = []
        self.clock.elapsed_s += 1.0
        self.core.settle(self.clock.monotonic())
        while jobs := self.fetch():
            done += jobs
            self.answer(jobs, how)
        assert self.core.commit(self.clock.monotonic())
        return done

    def fetch_due(self) -> list[ipc.Job]:
        """As `fetch`, with those whose time has come."""
        self.clock.elapsed_s += 1.0
        self.core.settle(self.clock.monotonic())
        return self.fetch()

    def wait(self, seconds: float) -> None:
        """Time passes."""
        self.clock.elapsed_s += seconds

    def ask(self, verb: str, **arguments: object) -> list[dict[str, object]]:
        """Ask as `mta queue` does; the answer's items."""
        return ask(self.control.answer(ipc.Request(verb, arguments)))

    def stats(self) -> dict[str, object]:
        (item,) = self.ask("stats")
        return item

    def counts(self) -> tuple[object, ...]:
        """Queued, active, waiting, failed."""
        item = self.stats()
        return item["queued"], item["active"], item["waiting"], item["failed"]

    def segments(self) -> list[str]:
        """Names of the log segments on disk."""
        return sorted(
            name.file
            for shard in layout.shard_numbers(self.root)
            for name in layout.segment_names(layout.shard_folder(self.root, shard))
        )

    def close(self) -> None:
        self.core.close()


def assert_counted(journal: Journal) -> None:
    """The counts on disk are those of the rows on disk; nothing is in the batch."""
    totals: Totals = {}
    after = -1
    while (last := journal.page_end(after, 100)) is not None:
        for row in journal.between(after + 1, last + 1):
            assert row.detail.mark is not None
            addresses = [recipient.address for recipient in row.detail.recipients]
            tally.add(totals, row.detail.mark, row.sender, addresses, is_waiting=row.state is State.WAITING)
        after = last
    kept = {(kind, name, at): count for kind, name, at, count in journal._query("SELECT * FROM tally")}
    assert kept == totals
    loads = {name: count for (kind, name, _), count in totals.items() if kind is Kind.LOAD}
    assert {name: count for name, count in journal.loads.items() if count} == loads


def ask(replies: Iterator[ipc.Reply]) -> list[dict[str, object]]:
    """All items of an answer, whose pages must fit and end as agreed."""
    items: list[dict[str, object]] = []
    more = True
    for reply in replies:
        assert more
        assert not reply.error, reply.error
        assert len(ipc.encode(reply)) <= ipc.PACKET_BYTES
        items += reply.items
        more = reply.more
    assert not more
    return items


@contextmanager
def bench(
    root: Path,
    clock: FakeClock | None = None,
    bounces: Bounces = SILENT,
    order: Order | None = None,
    **queue: float,
) -> Iterator[Bench]:
    """A bench that is closed at the end, without a commit: as a crash would."""
    it = Bench(root, clock, bounces, order, **queue)
    try:
        yield it
    finally:
        it.close()
