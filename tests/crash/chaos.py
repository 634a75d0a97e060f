"""Kill processes of a running server, again and again, while mail comes in."""

import os
import random
import signal
import time
from collections import Counter
from functools import partial
from pathlib import Path

from tests.support.load import Ledger
from tests.support.server import ROLES, Server, wait_until

VICTIMS = (*ROLES, "supervisor", "everything")
PROGRESS_S = 150.0  # a restart may be put off by up to 60 s after many deaths
JITTER_S = 0.05  # spreads the kills over what a process does within one message


def order(rng: random.Random, kills: int) -> list[str]:
    """Whom to kill: every role before any twice, then by chance."""
    first = rng.sample(VICTIMS, len(VICTIMS))
    return [*first, *rng.choices(VICTIMS, k=max(0, kills - len(first)))][: max(kills, len(first))]


def rampage(server: Server, ledger: Ledger, rng: random.Random, victims: list[str]) -> Counter[str]:
    """Kill the victims in turn, each after some more mail was accepted; starts the supervisor again where it was one.

    Returns how many of each role died. Raises `TimeoutError` when no mail is accepted any more, or when a process that
    lost its supervisor does not end.
    """
    killed: Counter[str] = Counter()
    orphans: list[int] = []
    for role in victims:
        ledger.wait_for(rng.randint(3, 60), PROGRESS_S)
        time.sleep(rng.uniform(0, JITTER_S))
        if role == "supervisor":
            orphans += [pid for child in ROLES for pid in server.children(child)]
            os.kill(server.pid, signal.SIGKILL)
            server.wait()
            server.start()
        elif role == "everything":
            server.kill()
            server.start()
        else:
            server.until(partial(_kill_one, server, role, rng), f"a {role} process", PROGRESS_S)
        killed[role] += 1
    ledger.wait_for(100, PROGRESS_S)
    wait_until(lambda: not any(map(alive, orphans)), "the end of processes without a supervisor", PROGRESS_S)
    return killed


def _kill_one(server: Server, role: str, rng: random.Random) -> bool:
    """Kill one process of a role; False when there is none just now."""
    pids = server.children(role)
    if not pids:
        return False
    try:
        os.kill(rng.choice(pids), signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


def alive(pid: int) -> bool:
    """Whether a process, not a zombie, has this id and is one of ours."""
    try:
        return b"mta." in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
