"""How fair the scheduler is, in simulated time: `python bench/simulate_queue.py`.

10,000 destinations get mail. In the second run 100 of them hang (connections are taken and nothing is ever answered,
until the timeout) with a quarter of all mail, and one gets half of it. What the others see is printed for both runs:
how much of their mail was delivered, with which delay. Nothing is measured here, so every run with one seed gives the
same figures; the scheduler and its shares are the real ones, the rest is a model:

- mail comes at an even pace and waits in the log; at most ACTIVE messages are in hand, and what `Shares` cuts off comes
  back when its line is nearly empty;
- a delivery worker begins a job each START_S and has any number under way; a healthy destination answers after
  0.1 to 2 s, whatever it is sent; one that hangs, after TIMEOUT_S, with failure.
"""

import argparse
import heapq
import random
import sys
from collections import deque
from pathlib import Path

import msgspec

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from mta.ipc import Job
from mta.qmgr.lines import Terms
from mta.qmgr.scheduler import Answer, Scheduler
from mta.qmgr.shares import Shares

TURN_S = 0.02
START_S = 0.0005
TIMEOUT_S = 300.0
SUSPEND_S = 300.0
LATENCY_S = (0.1, 2.0)
WORKERS = 2
ACTIVE = 20_000
HUGE = "mx/huge"


class Load(msgspec.Struct, kw_only=True):
    """What comes: messages a second over `seconds`, to so many destinations of each kind."""

    healthy: int = 9_899
    healthy_rate: float = 500.0
    hanging: int = 0
    hanging_rate: float = 0.0
    huge_rate: float = 0.0
    seconds: float = 60.0


class Result(msgspec.Struct):
    """What became of the mail for healthy destinations, the huge one apart."""

    arrived: int = 0
    delivered: int = 0
    delivered_huge: int = 0
    deferred: int = 0  # of those that hang
    parked: int = 0  # put aside, ever
    held: int = 0  # in hand at once, at most
    delays: list[float] = []

    def percentile(self, percent: float) -> float:
        """Of the delays, in seconds."""
        delays = sorted(self.delays)
        return delays[min(len(delays) - 1, int(len(delays) * percent / 100))] if delays else 0.0


class Simulation:
    """One run."""

    def __init__(self, load: Load, seed: int, active: int = ACTIVE) -> None:
        self.result = Result()
        self._load = load
        self._rng = random.Random(seed)
        terms = Terms(window=160, by_domain=True)
        self._scheduler = Scheduler({"mx": terms, "other": Terms(window=1)}, suspend_s=SUSPEND_S)
        self._shares = Shares(self._scheduler, active)
        self._active = active
        self._log: deque[tuple[float, str]] = deque()
        self._jobs: dict[int, tuple[float, str]] = {}  # in hand: when it came, and where it goes
        self._numbers = 0
        self._parked: dict[str, deque[tuple[float, str]]] = {}
        self._turns: deque[str] = deque()  # names of those, to look at in turn
        self._flying: list[tuple[float, int, int, bool]] = []  # end, number, worker, whether it hangs
        self._free_at = [0.0] * WORKERS
        for worker in range(WORKERS):
            self._scheduler.join(worker)

    def run(self) -> Result:
        """Until all mail has come and as much time again has passed."""
        now, owed = 0.0, [0.0, 0.0, 0.0]
        load = self._load
        while now < 2 * load.seconds:
            now += TURN_S
            if now <= load.seconds:
                for kind, rate in enumerate((load.healthy_rate, load.hanging_rate, load.huge_rate)):
                    owed[kind] += rate * TURN_S
                    while owed[kind] >= 1.0:
                        owed[kind] -= 1.0
                        self._arrive(now, kind)
            self._turn(now)
        return self.result

    def _arrive(self, now: float, kind: int) -> None:
        names = (f"mx/h{self._rng.randrange(self._load.healthy)}", "", HUGE)
        name = names[kind] or f"mx/x{self._rng.randrange(self._load.hanging)}"
        self.result.arrived += kind == 0
        self._log.append((now, name))

    def _turn(self, now: float) -> None:
        """As the manager's: outcomes, suspended ones, cuts, what was put aside, new mail, jobs."""
        while self._flying and self._flying[0][0] <= now:
            self._finish(now, *heapq.heappop(self._flying)[1:])
        for job, _reason in self._scheduler.suspended(now):
            del self._jobs[job.number]
            self.result.deferred += 1
        for line, count in self._shares.look(now, len(self._jobs)):
            for job in self._scheduler.evict(line, count):
                self._park(self._jobs.pop(job.number))
        if self._turns and not self._shares.is_crowded(len(self._jobs)):
            self._unpark(self._turns.popleft())
        while self._log and len(self._jobs) < self._active:
            self._add(*self._log.popleft())
        self.result.held = max(self.result.held, len(self._jobs))
        for worker, jobs in self._scheduler.assign(now).items():
            for job in jobs:
                self._start(now, worker, job)

    def _add(self, came: float, name: str) -> None:
        self._numbers += 1
        self._jobs[self._numbers] = (came, name)
        self._scheduler.add(Job(self._numbers, self._numbers, self._numbers, "mx", (0,), 1), name)

    def _start(self, now: float, worker: int, job: Job) -> None:
        begin = self._free_at[worker] = max(self._free_at[worker], now) + START_S
        hangs = self._jobs[job.number][1].startswith("mx/x")
        end = begin + (TIMEOUT_S if hangs else self._rng.uniform(*LATENCY_S))
        heapq.heappush(self._flying, (end, job.number, worker, hangs))

    def _finish(self, now: float, number: int, worker: int, hangs: bool) -> None:
        came, name = self._jobs.pop(number)
        self._scheduler.finish(worker, number, Answer.DOWN if hangs else Answer.GOOD, now=now, reason="timeout")
        if hangs:
            self.result.deferred += 1
        elif name == HUGE:
            self.result.delivered_huge += 1
        else:
            self.result.delivered += 1
            self.result.delays.append(now - came)

    def _park(self, mail: tuple[float, str]) -> None:
        self.result.parked += 1
        if mail[1] not in self._parked:
            self._parked[mail[1]] = deque()
            self._turns.append(mail[1])
        self._parked[mail[1]].append(mail)

    def _unpark(self, name: str) -> None:
        line = self._scheduler.destinations.get(name)
        mails = self._parked[name]
        if line is None or self._shares.may_refill(line):
            for _ in range(min(len(mails), 500)):
                self._add(*mails.popleft())
        if mails:
            self._turns.append(name)
        else:
            del self._parked[name]


def trouble(load: Load) -> Load:
    """The same mail for healthy destinations, with those that hang and the huge one beside it."""
    hanging = round(load.healthy / 99)
    return msgspec.structs.replace(
        load, hanging=hanging, hanging_rate=load.healthy_rate, huge_rate=load.healthy_rate * 2
    )


def main() -> None:
    """Both runs, side by side."""
    parser = argparse.ArgumentParser(description="Simulate the scheduler with destinations that hang.")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rate", type=float, default=500.0, help="messages a second to healthy destinations")
    parser.add_argument("--seconds", type=float, default=60.0)
    arguments = parser.parse_args()
    quiet = Load(healthy_rate=arguments.rate, seconds=arguments.seconds)
    print(f"{'':24}{'delivered':>12}{'huge':>9}{'put aside':>11}{'p50 s':>8}{'p90 s':>8}{'p99 s':>8}{'max s':>8}")
    for name, load in (("healthy ones alone", quiet), ("100 hang, one is huge", trouble(quiet))):
        result = Simulation(load, arguments.seed).run()
        share = f"{100 * result.delivered / result.arrived:.1f} %"
        delays = "".join(f"{result.percentile(percent):8.2f}" for percent in (50, 90, 99, 100))
        print(f"{name:24}{share:>12}{result.delivered_huge:>9}{result.parked:>11}{delays}")


if __name__ == "__main__":
    main()
