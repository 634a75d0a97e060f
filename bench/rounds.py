"""Rounds in turns: what keeps a comparison fair, whatever is compared."""

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence

from bench.figures import Rounds
from bench.loads import Load
from bench.measure import Round, measure, settle
from bench.sides import Side


def say(text: str) -> None:
    """Progress, to standard error; the report goes to standard output."""
    print(text, file=sys.stderr, flush=True)


def scaled(messages: int, options: argparse.Namespace) -> int:
    """Messages of a round at the wanted scale."""
    scale: float = options.scale
    return max(1, round(messages * scale))


def one_round(side: Side, load: Load, messages: int, neighbours: Sequence[int] = ()) -> Round:
    """Measure one round on a machine at rest."""
    settle()
    side.mark()
    return measure(
        load,
        side.address,
        messages,
        done=lambda: side.done(messages),
        processes=side.processes(),
        neighbours=neighbours,
    )


def alternate(sides: Mapping[str, Callable[[int], Round]], rounds: int) -> Rounds:
    """Run the sides in turns, `rounds` times each, after one turn that is not counted."""
    results: dict[str, list[Round]] = {name: [] for name in sides}
    for number in range(rounds + 1):
        for name, run in sides.items():
            result = run(number)
            say(
                f"  round {number or '-'} {name}: {result.accepted_per_s:.0f}/s accepted, "
                f"{result.finished_per_s:.0f}/s finished, {result.cpu_ms:.3f} ms CPU, "
                f"generator {result.generator_ms:.3f} ms ({result.generator_share:.0%} of its time)"
            )
            if number:
                results[name].append(result)
    return results
