"""Mail without and with a crowd beside it: sessions that say nothing, and clients that are slow. mta alone."""

import argparse
import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from typing import Any

from bench import cases
from bench.figures import Cut, Rounds
from bench.idle import raise_descriptor_limit
from bench.loads import Load
from bench.measure import Round, pss_bytes
from bench.rounds import alternate, one_round, say, scaled
from bench.sides import MtaSide
from mta.config import Limits

FOLDER = Path(__file__).parent
LONG_S = 3600.0  # a command_timeout_s that outlasts any round
CUT_MIN_S = 10.0  # least command_timeout_s in a run of small scale
CLOCK_S = 2.0  # the server looks at its deadlines, and its clock, once a second


@contextmanager
def crowd(program: str, address: str, count: int, *arguments: str) -> Iterator[int]:
    """Sessions held by a program of this folder, whose process id this is; all must still be alive at the end."""
    command = [sys.executable, str(FOLDER / program), address, str(count), *arguments]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        expect(holder.stdout.readline(), f"holding {count}")
        yield holder.pid
        expect(holder.communicate()[0], f"alive {count}")


def expect(said: str, wanted: str) -> None:
    """Hold a line of a crowd's program against what it must be."""
    if said.strip() != wanted:
        raise RuntimeError(f"sessions held: {said.strip()!r} instead of {wanted!r}")


def without_and_with(
    options: argparse.Namespace,
    load: Load,
    messages: int,
    *,
    sessions: int,
    gather: Callable[[str], AbstractContextManager[int]],
) -> tuple[Rounds, list[float]]:
    """Rounds without and with `gather(address)`, a `crowd` of that many sessions.

    Also returns the growth of our processes for each session, in bytes.
    """
    raise_descriptor_limit(sessions * 2)  # inherited by the workers; one of them may get the most
    settings = {"limits": {"command_timeout_s": LONG_S}}
    memory: list[float] = []
    with closing(MtaSide("discard", None, options.folder, settings)) as mta:
        one_round(mta, load, messages)
        pids = mta.server.processes()
        empty = pss_bytes(pids)

        def without(_: int) -> Round:
            return one_round(mta, load, messages)

        def beside(number: int) -> Round:
            with gather(mta.address) as holder:
                if number:
                    memory.append((pss_bytes(pids) - empty) / sessions)
                return one_round(mta, load, messages, [holder])

        return alternate({"without": without, "beside": beside}, options.rounds), memory


def compare_idle(options: argparse.Namespace) -> tuple[Rounds, list[float]]:
    """Idle sessions beside the load; also returns the memory of one, in bytes."""
    count = cases.IDLE_SESSIONS
    return without_and_with(
        options,
        cases.IDLE_LOAD,
        scaled(cases.IDLE_MESSAGES, options),
        sessions=count,
        gather=lambda address: crowd("idle.py", address, count),
    )


def compare_slow(options: argparse.Namespace) -> Rounds:
    """Slow clients beside the load. The server lets them stay, which it would not by default: see `cut_slow`."""
    count, period = cases.SLOW_SESSIONS, str(cases.SLOW_PERIOD_S)
    rounds, _ = without_and_with(
        options,
        cases.IDLE_LOAD,
        scaled(cases.IDLE_MESSAGES, options),
        sessions=count,
        gather=lambda address: crowd("loris.py", address, count, period),
    )
    return rounds


def cut_slow(options: argparse.Namespace) -> Cut:
    """What becomes of slow clients by default. A run of small scale shortens the timeout likewise.

    Raises `RuntimeError` when one was not cut, or too early. Blocks for as long as they live.
    """
    count, timeout_s = cases.SLOW_SESSIONS, Limits().command_timeout_s
    settings: Mapping[str, Any] = {}
    if options.scale < 1:
        timeout_s = max(CUT_MIN_S, timeout_s * options.scale)
        settings = {"limits": {"command_timeout_s": timeout_s}}
    say(f"  until the slow clients are cut, {timeout_s:.0f} s")
    raise_descriptor_limit(count * 2)
    with closing(MtaSide("discard", None, options.folder, settings)) as mta:
        command = [sys.executable, str(FOLDER / "loris.py"), mta.address, str(count), str(cases.SLOW_PERIOD_S)]
        command += ["--until-cut", str(2 * timeout_s)]
        said = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, check=True).stdout
    found = json.loads(said.splitlines()[-1])
    after_s: list[float] = sorted(found["after_s"])
    if len(after_s) != count or after_s[0] < timeout_s - CLOCK_S:
        raise RuntimeError(f"slow clients: {len(after_s)} of {count} were cut, the first after {after_s[:1]} s")
    return Cut(timeout_s, [after_s[0], after_s[count // 2], after_s[-1]], found["told"])
