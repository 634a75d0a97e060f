"""The queue manager alone: `python -m pytest bench/bench_qmgr.py --benchmark-only`.

A round is one turn of its loop with MESSAGES messages: read from the log, routed, scheduled, made into packets for a
delivery worker, their outcomes taken, and, each tenth turn as under load, the journal committed. The round's time
divided by MESSAGES is the manager's time for a message, without the system calls of its sockets.
"""

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from xxhash import xxh3_64_intdigest

from mta import ipc
from mta.config import Config, Domains, Listen, Route, Transport
from mta.envelope import Envelope, encode
from mta.qmgr.core import Core
from mta.spool import layout
from mta.spool.writer import SpoolWriter

MESSAGES = 40  # a turn's share at 4,000 messages a second
TURN_S = 0.010
ROUNDS = 300
WORKER = 1
BODY = b"0123456789" * 400
BODY_HASH = xxh3_64_intdigest(BODY)
ENVELOPE = encode(
    Envelope(b"sender@example.com", (b"recipient@example.org",), 1.7e9, "192.0.2.1", b"client.example.com")
)

Benchmark = Any  # pytest-benchmark has no types


class Clock:
    """Moves by a turn at a time, whatever the real one does."""

    now_s = 1000.0

    def monotonic(self) -> float:
        return self.now_s

    def wall(self) -> float:
        return 1.7e9 + self.now_s


@pytest.fixture
def core(tmp_path: Path) -> Iterator[Core]:
    """A manager with one delivery worker."""
    layout.make_folders(tmp_path)
    layout.make_folder(tmp_path / "qmgr")
    config = Config(
        hostname="mx.example.org",
        spool=str(tmp_path),
        listen=[Listen("127.0.0.1:2525")],
        domains=Domains(["example.org"]),
        transport={"sink": Transport("discard")},
        route=[Route(["*@example.org"], "sink")],
    )
    core = Core(config, Clock(), random.Random(1))
    core.scheduler.join(WORKER)
    yield core
    core.close()


def test_turn(core: Core, tmp_path: Path, benchmark: Benchmark) -> None:
    """All that is done for a message that is delivered at the first attempt."""
    writer = SpoolWriter(tmp_path)

    def fill() -> None:
        core.clock.now_s += TURN_S  # type: ignore[attr-defined]
        for _ in range(MESSAGES):
            writer.append(ENVELOPE, [BODY], body_bytes=len(BODY), body_hash=BODY_HASH)
        writer.commit()

    def turn() -> None:
        now = core.clock.monotonic()
        core.take(now)
        jobs: list[ipc.Job] = []
        for assigned in core.scheduler.assign(now).values():
            for batch in ipc.batches(assigned):
                packet = ipc.encode(batch)
                assert len(packet) < ipc.PACKET_BYTES
                jobs += batch.jobs
        outcomes = ipc.decode(ipc.encode(ipc.Outcomes([ipc.Outcome(job.number) for job in jobs])))
        assert isinstance(outcomes, ipc.Outcomes)
        for outcome in outcomes.outcomes:
            core.active.finish(WORKER, outcome)
        core.settle(now)

    core.take(core.clock.monotonic())
    core.settle(core.clock.monotonic() + 1.0)  # the look that finds the shard
    benchmark.extra_info["messages"] = MESSAGES
    benchmark.pedantic(turn, setup=fill, rounds=ROUNDS, warmup_rounds=20)
    assert core.active.counts.delivered == MESSAGES * (ROUNDS + 20)
    writer.close()
