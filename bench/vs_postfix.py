"""`mta` against Postfix on the same machine, in alternating rounds: `python bench/vs_postfix.py --help`."""

import argparse
import dataclasses
import json
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench import cases, certificate, inode_flags, report
from bench.beside import compare_idle, compare_slow, cut_slow
from bench.cases import Case
from bench.dovecot import MailStore
from bench.environment import describe, ensure_postfix
from bench.figures import Rounds, idle_figures, postfix_figures, sink_figures, slow_figures
from bench.measure import Round
from bench.rounds import alternate, one_round, say, scaled
from bench.sides import MtaSide, NextHop, PostfixSide, Side, Sink
from mta.errors import EX_UNAVAILABLE
from tests.support import dovecot
from tests.support.postfix import PostfixUnavailable

# The tables of the report, by the heads of their two columns.
VS_POSTFIX = ("Postfix", "mta")
VS_IDLE = ("without", "with")
VS_SINK = ("smtp-sink", "mta")


def next_hop(case: Case, folder: Path) -> NextHop | None:
    """Who takes what the sides of a case pass on; `None` where nothing is passed on."""
    if case.destination == "relay":
        return Sink()
    return MailStore(folder) if case.destination == "lmtp" else None


def compare(case: Case, options: argparse.Namespace) -> Rounds:
    """One of the cases that both Postfix and mta run."""
    with ExitStack() as stack:
        hop = next_hop(case, options.folder)
        if hop is not None:
            stack.enter_context(closing(hop))
        pair = certificate.make(options.folder) if case.load.starttls else None
        sides: dict[str, tuple[Side, int]] = {}
        if options.only != "mta":
            main_cf = certificate.postfix_settings(pair) if pair else {}
            postfix = stack.enter_context(closing(PostfixSide(case.destination, hop, options.folder, main_cf)))
            sides["postfix"] = (postfix, case.postfix_messages)
        if options.only != "postfix":
            settings = certificate.mta_settings(pair) if pair else {}
            mta = stack.enter_context(closing(MtaSide(case.destination, hop, options.folder, settings)))
            sides["mta"] = (mta, case.mta_messages)

        def runner(side: Side, messages: int) -> Callable[[int], Round]:
            return lambda _: one_round(side, case.load, scaled(messages, options), hop.processes() if hop else ())

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


@contextmanager
def run_folder(parent: Path) -> Iterator[Path]:
    """A folder for all that a run writes, removed at its end and not before.

    A file system without a journal does not use an inode again for minutes after a file was removed, and looks at all
    of these whenever a file is created nearby. So nothing is removed during a run that need not be, and ext4 is asked
    to put each server's folder into a block group of its own, so that neither pays for what the other removes.
    """
    folder = Path(tempfile.mkdtemp(prefix="bench-", dir=parent))
    folder.chmod(0o755)  # Postfix's daemons are other users
    with suppress(OSError):  # another file system
        inode_flags.add(folder, inode_flags.TOPDIR)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, epilog="The report is Markdown on standard output.")
    parser.add_argument("--case", action="append", choices=cases.NAMES, help="run this case only (may be repeated)")
    parser.add_argument("--rounds", type=int, default=5, help="counted rounds for each side (default: 5)")
    parser.add_argument("--scale", type=float, default=1.0, help="multiply the messages of each round (default: 1)")
    parser.add_argument("--only", choices=("postfix", "mta"), help="run one side alone and print no table")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the raw figures of all rounds to FILE")
    parser.add_argument("--check", action="store_true", help="end with exit code 1 when an aim was missed")
    folder = Path(tempfile.gettempdir())
    parser.add_argument("--folder", type=Path, default=folder, help="where queues and mail lie (default: %(default)s)")
    return parser.parse_args()


def main() -> int:
    """Run the cases and print the report; returns the exit code."""
    options = arguments()
    try:
        ensure_postfix()
    except PostfixUnavailable as error:
        say(str(error))
        return EX_UNAVAILABLE
    if "lmtp" in (options.case or cases.NAMES) and dovecot.missing():
        say(dovecot.missing())
        return EX_UNAVAILABLE
    with run_folder(options.folder) as options.folder:
        return run(options)


def run(options: argparse.Namespace) -> int:
    """Run the cases and print the report; returns the exit code."""
    facts = describe(options.folder)
    raw: dict[str, Any] = {}
    tables: dict[tuple[str, str], list[report.Figure]] = {VS_POSTFIX: [], VS_IDLE: [], VS_SINK: []}
    by_name = {case.name: case for case in cases.CASES}
    for name in options.case or cases.NAMES:
        say(name)
        if name == "idle":
            rounds, memory = compare_idle(options)
            raw["idle memory, bytes"] = memory
            tables[VS_IDLE] += idle_figures(rounds, memory)
        elif name == "slow-loris":
            rounds = compare_slow(options)
            cut = cut_slow(options)
            raw["slow clients, cut"] = dataclasses.asdict(cut)
            tables[VS_IDLE] += slow_figures(rounds, cut)
        elif name == "sink":
            rounds = compare_sink(options)
            tables[VS_SINK] += sink_figures(rounds)
        else:
            rounds = compare(by_name[name], options)
            if not options.only:
                tables[VS_POSTFIX] += postfix_figures(by_name[name], rounds)
        raw[name] = {side: [dataclasses.asdict(round_) for round_ in results] for side, results in rounds.items()}
    if options.json:
        options.json.write_text(json.dumps({"environment": facts, "rounds": raw}, indent=1))
    if options.only:
        return 0
    print(report.environment(facts))
    print(report.METHOD.format(rounds=options.rounds))
    for columns, figures in tables.items():
        if figures:
            print(report.table(figures, *columns))
    missed = [figure for figures in tables.values() for figure in figures if not figure.met]
    return 1 if options.check and missed else 0


if __name__ == "__main__":
    sys.exit(main())
