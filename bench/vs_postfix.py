"""`mta` against Postfix on the same machine, in alternating rounds: `python bench/vs_postfix.py --help`."""

import argparse
import dataclasses
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench import cases, report
from bench.cases import MB, Case
from bench.environment import describe, ensure_postfix
from bench.idle import raise_descriptor_limit
from bench.measure import Load, Round, measure, pss_bytes, settle
from bench.sides import MtaSide, PostfixSide, Side, Sink
from mta.errors import EX_UNAVAILABLE
from tests.support.postfix import PostfixUnavailable

Rounds = dict[str, list[Round]]


def say(text: str) -> None:
    """Progress, to standard error; the report goes to standard output."""
    print(text, file=sys.stderr, flush=True)


def one_round(side: Side, load: Load, messages: int, neighbours: tuple[int, ...] = ()) -> Round:
    """Measure one round on a machine at rest, and clear away what it delivered."""
    settle()
    side.mark()
    result = measure(load, side.address, messages, lambda: side.done(messages), neighbours)
    side.clear()
    return result


def alternate(sides: Mapping[str, Callable[[int], Round]], rounds: int) -> Rounds:
    """Run the sides in turns, `rounds` times each, after one turn that is not counted."""
    results: Rounds = {name: [] for name in sides}
    for number in range(rounds + 1):
        for name, run in sides.items():
            result = run(number)
            say(
                f"  round {number or '-'} {name}: {result.accepted_per_s:.0f}/s accepted, "
                f"{result.finished_per_s:.0f}/s finished, {result.cpu_ms:.3f} ms CPU"
            )
            if number:
                results[name].append(result)
    return results


def compare(case: Case, options: argparse.Namespace) -> Rounds:
    """One of the cases that both Postfix and mta run."""
    with ExitStack() as stack:
        sink = stack.enter_context(closing(Sink())) if case.destination == "relay" else None
        neighbours = (sink.pid,) if sink else ()
        sides: dict[str, tuple[Side, int]] = {}
        if options.only != "mta":
            postfix = stack.enter_context(closing(PostfixSide(case.destination, sink, options.folder)))
            sides["postfix"] = (postfix, case.postfix_messages)
        if options.only != "postfix":
            mta = stack.enter_context(closing(MtaSide(case.destination, sink, options.folder)))
            sides["mta"] = (mta, case.mta_messages)

        def runner(side: Side, messages: int) -> Callable[[int], Round]:
            return lambda _: one_round(side, case.load, scaled(messages, options), neighbours)

        return alternate({name: runner(*side) for name, side in sides.items()}, options.rounds)


def compare_sink(options: argparse.Namespace) -> Rounds:
    """mta against smtp-sink, one message per connection."""
    with ExitStack() as stack:
        sink = stack.enter_context(closing(Sink()))
        mta = stack.enter_context(closing(MtaSide("discard", None, options.folder)))
        messages = scaled(cases.SINK_MESSAGES, options)
        return alternate(
            {
                "smtp-sink": lambda _: one_round(sink, cases.SINK_LOAD, messages),
                "mta": lambda _: one_round(mta, cases.SINK_LOAD, messages),
            },
            options.rounds,
        )


def compare_idle(options: argparse.Namespace) -> tuple[Rounds, list[float]]:
    """mta without and with idle sessions beside the load; also returns the memory of an idle session, in bytes."""
    count = cases.IDLE_SESSIONS
    raise_descriptor_limit(count * 2)  # inherited by the workers; one of them may get the most
    settings = {"limits": {"command_timeout_s": 3600.0}}  # idle for longer than the default of 300 s
    messages = scaled(cases.IDLE_MESSAGES, options)
    memory: list[float] = []
    with ExitStack() as stack:
        mta = stack.enter_context(closing(MtaSide("discard", None, options.folder, settings)))
        one_round(mta, cases.IDLE_LOAD, messages)
        pids = mta.server.processes()
        empty = pss_bytes(pids)

        def without(_: int) -> Round:
            return one_round(mta, cases.IDLE_LOAD, messages)

        def beside(number: int) -> Round:
            command = [sys.executable, str(Path(__file__).with_name("idle.py")), mta.address, str(count)]
            holder = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            assert holder.stdin is not None
            assert holder.stdout is not None
            expect(holder.stdout.readline(), f"holding {count}")
            if number:
                memory.append((pss_bytes(pids) - empty) / count)
            result = one_round(mta, cases.IDLE_LOAD, messages)
            expect(holder.communicate()[0], f"alive {count}")
            return result

        return alternate({"without": without, "with": beside}, options.rounds), memory


def expect(said: str, wanted: str) -> None:
    """Hold a line of the idle holder against what it must be."""
    if said.strip() != wanted:
        raise RuntimeError(f"idle sessions: {said.strip()!r} instead of {wanted!r}")


def scaled(messages: int, options: argparse.Namespace) -> int:
    """Messages of a round at the wanted scale."""
    scale: float = options.scale
    return max(1, round(messages * scale))


# The report ---------------------------------------------------------------------------------------------------------


def column(rounds: list[Round], what: Callable[[Round], float], scale: float = 1.0) -> list[float]:
    """One quantity of all rounds, times `scale`."""
    return [what(round_) * scale for round_ in rounds]


def accepted(round_: Round) -> float:
    """Messages a second accepted."""
    return round_.accepted_per_s


def finished(round_: Round) -> float:
    """Messages a second finished."""
    return round_.finished_per_s


def cpu(round_: Round) -> float:
    """CPU time of a message in milliseconds."""
    return round_.cpu_ms


def case_figures(case: Case, rounds: Rounds) -> list[report.Figure]:
    """The rows of a case that both sides ran."""
    theirs, ours = rounds["postfix"], rounds["mta"]
    scale, unit = 1.0, "messages/s"
    if case.load.message_bytes >= MB:
        scale, unit = case.load.message_bytes / MB, "MB/s"

    return [
        report.Figure(
            case.title, f"accepted, {unit}", column(theirs, accepted, scale), column(ours, accepted, scale), True
        ),
        report.Figure(
            "", f"finished, {unit}", column(theirs, finished, scale), column(ours, finished, scale), True, case.speed
        ),
        report.Figure("", "CPU, ms a message", column(theirs, cpu), column(ours, cpu), False, case.cpu or None),
    ]


def idle_figures(rounds: Rounds, memory: list[float]) -> list[report.Figure]:
    """The rows of the idle case: without idle sessions on the left, with them on the right."""
    without, beside = rounds["without"], rounds["with"]
    title = f"{cases.IDLE_SESSIONS:,} idle sessions beside 20 that send"

    finish = column(without, finished), column(beside, finished)
    limit = [float(cases.IDLE_BYTES)]
    return [
        report.Figure(title, "finished, messages/s", *finish, True, cases.IDLE_THROUGHPUT),
        report.Figure("", "CPU, ms a message", column(without, cpu), column(beside, cpu), False),
        report.Figure("", "memory of an idle session, bytes (left: the limit)", limit, memory, False, 1.0),
    ]


def sink_figures(rounds: Rounds) -> list[report.Figure]:
    """The rows of the comparison with smtp-sink."""
    theirs, ours = column(rounds["smtp-sink"], cpu), column(rounds["mta"], cpu)
    title = "one message per connection"
    return [report.Figure(title, "CPU, ms a message", theirs, ours, False, cases.SINK_CPU)]


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, epilog="The report is Markdown on standard output.")
    parser.add_argument("--case", action="append", choices=cases.NAMES, help="run this case only (may be repeated)")
    parser.add_argument("--rounds", type=int, default=5, help="counted rounds for each side (default: 5)")
    parser.add_argument("--scale", type=float, default=1.0, help="multiply the messages of each round (default: 1)")
    parser.add_argument("--only", choices=("postfix", "mta"), help="run one side alone and print no table")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the raw figures of all rounds to FILE")
    folder = Path(tempfile.gettempdir())
    parser.add_argument("--folder", type=Path, default=folder, help="where queues and mail lie (default: %(default)s)")
    return parser.parse_args()


def main() -> int:
    """Run the cases and print the report; returns 0, or 1 when an aim was missed."""
    options = arguments()
    try:
        ensure_postfix()
    except PostfixUnavailable as error:
        say(str(error))
        return EX_UNAVAILABLE
    facts = describe(options.folder)
    raw: dict[str, Any] = {}
    tables: dict[str, list[report.Figure]] = {"Postfix": [], "without": [], "smtp-sink": []}
    by_name = {case.name: case for case in cases.CASES}
    for name in options.case or cases.NAMES:
        say(name)
        if name == "idle":
            rounds, memory = compare_idle(options)
            raw["idle memory, bytes"] = memory
            tables["without"] += idle_figures(rounds, memory)
        elif name == "sink":
            rounds = compare_sink(options)
            tables["smtp-sink"] += sink_figures(rounds)
        else:
            rounds = compare(by_name[name], options)
            if len(rounds) == 2:
                tables["Postfix"] += case_figures(by_name[name], rounds)
        raw[name] = {side: [dataclasses.asdict(round_) for round_ in results] for side, results in rounds.items()}
    if options.json:
        options.json.write_text(json.dumps({"environment": facts, "rounds": raw}, indent=1))
    if options.only:
        return 0
    print(report.environment(facts))
    print(report.METHOD.format(rounds=options.rounds))
    for theirs, figures in tables.items():
        if figures:
            print(report.table(figures, theirs, "with" if theirs == "without" else "mta"))
    return 0 if all(figure.met for figures in tables.values() for figure in figures) else 1


if __name__ == "__main__":
    sys.exit(main())
