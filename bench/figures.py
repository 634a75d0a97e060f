"""From rounds to the rows of the report: which quantities a case shows, and what bounds them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from bench import cases
from bench.cases import MB, Case
from bench.loads import Sender
from bench.measure import Round
from bench.report import Better, Figure

Rounds = Mapping[str, Sequence[Round]]  # by side


@dataclass(frozen=True)
class Quantity:
    """Something that every round yields, and whether more or less of it is good."""

    name: str
    better: Better
    of: Callable[[Round], float]


ACCEPTED = Quantity("accepted, messages/s", Better.MORE, lambda round_: round_.accepted_per_s)
FINISHED = Quantity("finished, messages/s", Better.MORE, lambda round_: round_.finished_per_s)
CPU = Quantity("CPU, ms a message", Better.LESS, lambda round_: round_.cpu_ms)
PROCESSES = Quantity("the same, as charged to the processes alone", Better.LESS, lambda round_: round_.processes_ms)
GENERATOR = Quantity("generator's CPU, ms a message", Better.LESS, lambda round_: round_.generator_ms)
SHARE = Quantity("generator, part of its time that it works", Better.LESS, lambda round_: round_.generator_share)


def megabytes(quantity: Quantity, message_bytes: int) -> Quantity:
    """A quantity of messages a second in MB a second."""
    name = quantity.name.replace("messages/s", "MB/s")
    return Quantity(name, quantity.better, lambda round_: quantity.of(round_) * message_bytes / MB)


def figure(
    title: str,
    quantity: Quantity,
    theirs: Sequence[Round],
    ours: Sequence[Round],
    bound: float = 0.0,
    *,
    ceiling: float = 0.0,
) -> Figure:
    """One quantity of all rounds on both sides; a bound or a ceiling of 0 demands nothing."""
    left, right = [quantity.of(round_) for round_ in theirs], [quantity.of(round_) for round_ in ours]
    return Figure(title, quantity.name, left, right, quantity.better, bound, ceiling)


def postfix_figures(case: Case, rounds: Rounds) -> list[Figure]:
    """The rows of a case that Postfix and mta ran."""
    theirs, ours = rounds["postfix"], rounds["mta"]
    accepted, finished = ACCEPTED, FINISHED
    if case.load.message_bytes >= MB:
        accepted, finished = (megabytes(quantity, case.load.message_bytes) for quantity in (accepted, finished))
    rows = [
        figure(case.title, accepted, theirs, ours),
        figure("", finished, theirs, ours, case.speed),
        figure("", CPU, theirs, ours, case.cpu),
    ]
    if isinstance(case.load, Sender):
        rows.append(figure("", GENERATOR, theirs, ours))
        rows.append(figure("", SHARE, theirs, ours, ceiling=cases.GENERATOR_SHARE))
    return rows


def idle_figures(rounds: Rounds, memory: Sequence[float]) -> list[Figure]:
    """The rows of the idle case: without idle sessions on the left, beside them on the right.

    `memory` is the growth of our processes for each idle session, in bytes, a value a round.
    """
    without, beside = rounds["without"], rounds["beside"]
    title = f"{cases.IDLE_SESSIONS:,} idle sessions, while {cases.IDLE_LOAD.sessions} others send"
    limit = [float(cases.IDLE_BYTES)]
    return [
        figure(title, FINISHED, without, beside, cases.IDLE_THROUGHPUT),
        figure("", CPU, without, beside),
        Figure("", "memory of an idle session, bytes (left: the limit)", limit, memory, Better.LESS, 1.0),
    ]


@dataclass(frozen=True)
class Cut:
    """What became of slow clients that were not let stay."""

    timeout_s: float  # the command_timeout_s
    after_s: Sequence[float]  # when they were cut: the first, half, all
    told: int  # how many of them got a 421 before


def slow_figures(rounds: Rounds, cut: Cut) -> list[Figure]:
    """The rows of the slow-loris case: without the slow clients on the left, beside them on the right."""
    without, beside = rounds["without"], rounds["beside"]
    title = f"{cases.SLOW_SESSIONS:,} clients that send a byte each {cases.SLOW_PERIOD_S:.0f} s, and are let stay"
    what = f"cut after, s, {cut.told:,} of them with a 421 (left: command_timeout_s)"
    return [
        figure(title, FINISHED, without, beside, cases.SLOW_THROUGHPUT),
        figure("", CPU, without, beside),
        Figure("the same, not let stay", what, [cut.timeout_s], cut.after_s, Better.LESS, cases.SLOW_CUT),
    ]


def sink_figures(rounds: Rounds) -> list[Figure]:
    """The rows of the comparison with smtp-sink. Its processes live as long as it does: so both ways can be shown."""
    theirs, ours = rounds["smtp-sink"], rounds["mta"]
    return [
        figure("one message per connection", CPU, theirs, ours, cases.SINK_CPU),
        figure("", PROCESSES, theirs, ours),
        figure("", FINISHED, theirs, ours),
    ]
