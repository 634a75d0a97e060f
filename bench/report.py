"""The report: medians with their spread, ratios, and whether the aim was met, as Markdown."""

import enum
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

METHOD = """\
Each figure is the median of {rounds} rounds with its minimum and maximum. Rounds alternate between the two columns;
while one is measured the other is idle. One round of each went before and is not counted. The load comes from
Postfix's smtp-source on the same machine or, in the cases that show a figure of the generator, from `bench/sender.py`.

- *accepted*: messages divided by the generator's running time; each has been answered with 250.
- *finished*: messages divided by the time from the generator's start until all of them were delivered.
- *CPU*: the machine's busy time over that window, less the CPU time of the generator, of the next hop's stand-in where
  there is one, and of the measuring program; divided by messages. The kernel's work for the server is thus included.

Both sides are durable before they say 250: Postfix syncs a queue file of its own for each message (fsync), mta syncs
its log (fdatasync), one sync for all messages that wait for it. Both log every mail event to a file.
"""


class Better(enum.Enum):
    """Which way a quantity should go."""

    MORE = "≥"
    LESS = "≤"


@dataclass(frozen=True)
class Figure:
    """One row: a quantity measured on both sides, and the bound on the ratio of the medians (ours to theirs).

    `bound` is the least ratio where more is better, else the greatest; `ceiling` is the greatest median on either side.
    0 demands nothing.
    """

    case: str
    what: str
    theirs: Sequence[float]
    ours: Sequence[float]
    better: Better
    bound: float = 0.0
    ceiling: float = 0.0

    @property
    def ratio(self) -> float:
        """Our median in terms of theirs."""
        return statistics.median(self.ours) / statistics.median(self.theirs)

    @property
    def met(self) -> bool:
        """Whether the ratio and the medians are as demanded."""
        if self.ceiling and max(map(statistics.median, (self.theirs, self.ours))) > self.ceiling:
            return False
        if not self.bound:
            return True
        return self.ratio >= self.bound if self.better is Better.MORE else self.ratio <= self.bound

    def row(self) -> str:
        """The row of the table."""
        aim, verdict = "", ""
        if self.bound:
            aim = f"{self.better.value} {number(self.bound)}"
        if self.ceiling:
            aim = f"each {Better.LESS.value} {number(self.ceiling)}"
        if aim:
            verdict = "met" if self.met else "**missed**"
        cells = (self.case, self.what, spread(self.theirs), spread(self.ours), number(self.ratio), aim, verdict)
        return f"| {' | '.join(cells)} |"


def number(value: float) -> str:
    """A figure with three significant digits or, above 1000, whole."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:#.3g}".rstrip(".")


def spread(values: Sequence[float]) -> str:
    """The median, then the least and the greatest."""
    return f"{number(statistics.median(values))} ({number(min(values))} to {number(max(values))})"


def table(figures: Sequence[Figure], theirs: str, ours: str) -> str:
    """Figures as a Markdown table; `theirs` and `ours` head the two columns."""
    head = f"| case | figure | {theirs} | {ours} | ratio | aim | |\n|---|---|---|---|---|---|---|\n"
    return head + "".join(f"{figure.row()}\n" for figure in figures)


def environment(facts: Mapping[str, str]) -> str:
    """Machine and versions as a list."""
    return "".join(f"- {name}: {value}\n" for name, value in facts.items())
