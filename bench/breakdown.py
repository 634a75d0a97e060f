"""Where a message's CPU time goes: per process, in user and in system mode; with `--perf`, by function.

`python bench/breakdown.py [--case NAME] [--perf ROLE]` runs one round of a case of `bench/cases.py` against mta alone.
"""

import argparse
import contextlib
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench import certificate
from bench.cases import CASES
from bench.measure import TICKS_PER_S, measure, settle
from bench.sides import MtaSide, Sink
from tests.support.server import ROLES, Server

SAMPLES_PER_S = 1999  # not a round number, so as not to beat with timers
LINES = 60  # of perf's report


def times(pids: list[int]) -> tuple[float, float]:
    """Seconds in user and in system mode of some processes together."""
    user = system = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
        user, system = user + int(fields[11]), system + int(fields[12])
    return user / TICKS_PER_S, system / TICKS_PER_S


def switches(pids: list[int]) -> int:
    """How often the threads of some processes gave up their CPU to wait."""
    total = 0
    for pid in pids:
        for status in Path(f"/proc/{pid}/task").glob("*/status"):
            for line in status.read_text().splitlines():
                if line.startswith("voluntary_ctxt_switches"):
                    total += int(line.split()[1])
    return total


@contextlib.contextmanager
def perf(server: Server, role: str, data: Path) -> Iterator[None]:
    """Sample the processes of a role meanwhile, and print what was found."""
    pids = ",".join(map(str, server.children(role)))
    command = ["perf", "record", "-q", "-F", str(SAMPLES_PER_S), "-g", "-p", pids, "-o", str(data)]
    recorder = subprocess.Popen(command)
    try:
        yield
    finally:
        recorder.send_signal(signal.SIGINT)
        recorder.wait()
    show = ["perf", "report", "-i", str(data), "--stdio", "--no-children", "-g", "none", "--percent-limit", "0.4"]
    text = subprocess.run(show, capture_output=True, text=True, check=True).stdout
    rows = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    print("\n".join(rows[:LINES]))


def main() -> None:
    """Run a warm-up round and a measured one, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--case", default="reused", choices=[case.name for case in CASES])
    parser.add_argument("--messages", type=int, help="messages of the round (default: as in bench/cases.py)")
    parser.add_argument(
        "--perf", choices=ROLES, metavar="ROLE", help=f"sample this role with perf ({', '.join(ROLES)})"
    )
    options = parser.parse_args()
    (case,) = [case for case in CASES if case.name == options.case]
    messages = options.messages or case.mta_messages
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="profile-")))
        sink = stack.enter_context(closing(Sink())) if case.destination == "relay" else None
        settings = certificate.mta_settings(certificate.make(folder)) if case.load.starttls else {}
        side = stack.enter_context(closing(MtaSide(case.destination, sink, folder, settings)))

        def one_round() -> float:
            side.mark()
            result = measure(
                case.load,
                side.address,
                messages,
                done=lambda: side.done(messages),
                neighbours=sink.processes() if sink else (),
            )
            return result.cpu_ms * messages / 1000

        one_round()
        settle()
        pids = {"supervisor": [side.server.pid], **{role: side.server.children(role) for role in ROLES}}
        before = {role: (*times(pids[role]), switches(pids[role])) for role in pids}
        with perf(side.server, options.perf, folder / "perf.data") if options.perf else contextlib.nullcontext():
            total = one_round()
        print(f"{case.title}: {messages} messages, {os.cpu_count()} cores")
        print(f"us of CPU for a message: {total / messages * 1e6:.1f}, of these")
        charged = 0.0
        for role, (user, system, switched) in before.items():
            now = (*times(pids[role]), switches(pids[role]))
            used = now[0] - user, now[1] - system
            charged += sum(used)
            print(
                f"  {role:10}  user {used[0] / messages * 1e6:6.1f}  system {used[1] / messages * 1e6:6.1f}"
                f"  waits {(now[2] - switched) / messages:6.2f}"
            )
        print(f"  {'no process':10}  {(total - charged) / messages * 1e6:6.1f}")


if __name__ == "__main__":
    main()
