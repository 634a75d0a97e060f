"""Sending, delivering, crashing and orders, as they come, against a model of who has got what and what is held."""

import tempfile
from collections import Counter
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from queuetools import Bench, Sender, assert_counted, deferred, delivered, failed

from mta import ipc
from mta.spool import queueid

DOMAINS = (b"store.example", b"relay.example")


class OrdersMachine(RuleBasedStateMachine):
    """`held` and `gone` are what orders said; `got` counts deliveries by message and recipient."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.root = Path(self.folder.name)
        self.sender = Sender(self.root, segment_bytes=4096)
        self.queue = Bench(self.root, active=4)
        self.jobs: list[ipc.Job] = []  # with the worker
        self.recipients: dict[int, int] = {}  # of each message
        self.got: Counter[tuple[int, int]] = Counter()
        self.failed: set[tuple[int, int]] = set()
        self.held: set[int] = set()
        self.gone: set[int] = set()  # deleted, or expired
        self.crashes = 0

    def teardown(self) -> None:
        """Whatever has happened: once all is released and next hops work, everybody has got everything."""
        self.order("release", {"all": True})
        self.held.clear()
        self.answer(len(self.jobs), "ok")
        for _ in range(60):  # few fit into the active set at once
            if not self.queue.stats()["queued"]:
                break
            self.queue.wait(5000.0)
            for job in self.queue.work(self.outcome(delivered)):
                assert job.queue_id not in self.gone
        for location, count in self.recipients.items():
            if location not in self.gone:
                for index in range(count):
                    times = self.got[location, index]
                    assert times >= 1 or (location, index) in self.failed
                    assert times <= 1 + self.crashes
        assert self.queue.core.commit(self.queue.clock.monotonic())
        assert_counted(self.queue.core.journal)
        left = {queueid.parse(str(item["id"])) for item in self.queue.ask("list")}
        assert left <= self.gone | {location for location, _ in self.failed}
        self.sender.close()
        self.queue.close()
        self.folder.cleanup()

    def outcome(self, how):
        """An answer that is noted in the books."""

        def answer(job: ipc.Job) -> ipc.Outcome:
            for index in job.recipients:
                if how is delivered:
                    self.got[job.queue_id, index] += 1
                elif how is failed:
                    self.failed.add((job.queue_id, index))
            return how(job)

        return answer

    def order(self, verb: str, arguments: dict[str, object]) -> None:
        (item,) = self.queue.ask(verb, **arguments)
        assert item["count"] <= len(self.recipients)

    # Mail

    @initialize()
    def begin(self) -> None:
        self.send(2, 3)

    @rule(count=st.integers(1, 4), recipients=st.integers(1, 3))
    def send(self, count: int, recipients: int) -> None:
        for _ in range(count):
            names = [b"%d@%s" % (index, DOMAINS[index % 2]) for index in range(recipients)]
            self.recipients[self.sender.send(*names, size=300)] = recipients
        self.sender.commit()

    @rule()
    def fetch(self) -> None:
        jobs = self.queue.fetch()
        for job in jobs:
            assert job.queue_id not in self.held
            assert job.queue_id not in self.gone
        self.jobs += jobs

    @precondition(lambda self: self.jobs)
    @rule(count=st.integers(1, 3), how=st.sampled_from(["ok", "later", "never"]))
    def answer(self, count: int, how: str) -> None:
        jobs, self.jobs = self.jobs[:count], self.jobs[count:]
        self.queue.answer(jobs, self.outcome({"ok": delivered, "later": deferred, "never": failed}[how]))

    @rule(seconds=st.sampled_from([0.2, 6.0, 400.0]))
    def wait(self, seconds: float) -> None:
        self.queue.wait(seconds)
        self.queue.core.settle(self.queue.clock.monotonic())

    @rule()
    def lose_the_worker(self) -> None:
        """Its jobs are given out again; what it did with them nobody knows."""
        self.queue.core.active.leave(Bench.WORKER)
        self.queue.core.scheduler.join(Bench.WORKER)
        self.jobs.clear()

    @rule()
    def crash(self) -> None:
        self.queue.close()
        self.queue = Bench(self.root, self.queue.clock, active=4)
        assert_counted(self.queue.core.journal)
        self.jobs.clear()
        self.crashes += 1

    # Orders. They concern what is in the queue; a message that has ended or failed cannot be held.

    def living(self) -> dict[int, str]:
        return {queueid.parse(str(item["id"])): str(item["state"]) for item in self.queue.ask("list")}

    @rule(data=st.data(), verb=st.sampled_from(["hold", "release", "delete", "expire", "move"]))
    def by_id(self, data: st.DataObject, verb: str) -> None:
        location = data.draw(st.sampled_from(sorted(self.recipients)))
        living = self.living()
        where = {"to": "relay"} if verb == "move" else {}
        (item,) = self.queue.ask(verb, ids=[queueid.text(location)], **where)
        assert (item["missing"] == []) == (location in living)
        self.note(verb, {location} if item["count"] and (verb != "move" or living[location] != "failed") else set())

    @rule(verb=st.sampled_from(["hold", "release"]), state=st.sampled_from([None, "queued", "active", "waiting"]))
    def by_filter(self, verb: str, state: str | None) -> None:
        concerned = {location for location, now in self.living().items() if state in (None, now) and now != "failed"}
        self.order(verb, {"all": True} if state is None else {"state": state})
        self.note(verb, concerned if verb == "hold" or state in (None, "active") else set())

    def note(self, verb: str, concerned: set[int]) -> None:
        if verb == "hold":  # what was to expire when a worker is done with it is held instead: the last order counts
            self.held |= concerned
            self.gone -= concerned
        elif verb == "release":
            self.held -= concerned
        elif verb == "move":  # the last order counts, again
            self.gone -= concerned
        else:
            self.gone |= concerned
            self.held -= concerned

    @invariant()
    def held_means_held(self) -> None:
        """What is held is listed as that, or in somebody's hands still, or has ended there."""
        states = self.living()
        in_flight = {job.queue_id for job in self.jobs}
        for location, state in states.items():
            if location in self.held:
                assert state in ("held", "failed") or (state == "active" and location in in_flight), state
            else:
                assert state != "held"
        item = self.queue.stats()
        assert item["queued"] == sum(state != "failed" for state in states.values())
        assert item["held"] == sum(state == "held" for state in states.values())


OrdersMachine.TestCase.settings = settings(max_examples=20, stateful_step_count=25, deadline=None)
TestOrders = OrdersMachine.TestCase
