"""What a round costs: wall time, the machine's busy time, and the time of the programs that are not the server.

The CPU time of a server of many processes cannot be had from its processes alone: work done in the kernel for them
(network receive, disk completion) is charged to whoever was running, and Postfix's short-lived processes are gone
before they can be asked. So the machine's busy time is taken, and what is known not to be the server's is subtracted:
the load generator, the next hop's stand-in, and this program itself. Both sides are measured in the same way.
"""

import os
import resource
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.loads import Load

TICKS_PER_S = os.sysconf("SC_CLK_TCK")
POLL_S = 0.02  # pause between two looks whether everything is delivered


def busy_s() -> float:
    """Seconds all CPUs together have worked since boot: user, nice, system, irq, softirq; not idle, iowait, steal."""
    with open("/proc/stat", "rb") as file:
        user, nice, system, _idle, _iowait, irq, softirq = map(int, file.readline().split()[1:8])
    return (user + nice + system + irq + softirq) / TICKS_PER_S


def process_s(pid: int) -> float:
    """Seconds of CPU a live process has used."""
    fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_S


def pss_bytes(pids: Sequence[int]) -> int:
    """Memory of processes; pages shared by several are divided among them (proportional set size)."""
    total = 0
    for pid in pids:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                total += int(line.split()[1]) * 1024
    return total


def _own_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


@dataclass(frozen=True)
class Round:
    """One round's raw figures, times in seconds."""

    messages: int
    accepted_s: float  # wall time of the generator
    finished_s: float  # from the generator's start until all it sent was delivered
    busy_s: float  # the machine's, over finished_s
    generator_s: float  # the generator's, user and system
    others_s: float  # the next hop's stand-in and this program
    processes_s: float  # the server's own processes as the kernel charged them; 0 where they come and go
    generators: int = 1  # processes of the generator

    @property
    def accepted_per_s(self) -> float:
        """Messages a second that got their 250."""
        return self.messages / self.accepted_s

    @property
    def finished_per_s(self) -> float:
        """Messages a second that were delivered."""
        return self.messages / self.finished_s

    @property
    def cpu_ms(self) -> float:
        """The server's CPU time for a message, in milliseconds."""
        return (self.busy_s - self.generator_s - self.others_s) * 1000 / self.messages

    @property
    def processes_ms(self) -> float:
        """The CPU time for a message that was charged to the server's processes, in milliseconds."""
        return self.processes_s * 1000 / self.messages

    @property
    def generator_ms(self) -> float:
        """The generator's CPU time for a message, in milliseconds."""
        return self.generator_s * 1000 / self.messages

    @property
    def generator_share(self) -> float:
        """How much of its time the generator worked: near 1 it is what limits the speed."""
        return self.generator_s / (self.accepted_s * self.generators)


def measure(
    load: Load,
    address: str,
    messages: int,
    *,
    done: Callable[[], bool],
    processes: Sequence[int] = (),
    neighbours: Sequence[int] = (),
) -> Round:
    """Run the generator against `address` and wait until `done()`.

    `processes` are the server's, where they live throughout the round; `neighbours` are those that work during the
    round and are not the server. Raises `RuntimeError` when the
    generator fails, `TimeoutError` when not everything is delivered a minute after the last was accepted. Blocks.
    """
    busy, own = busy_s(), _own_s()
    neighbour, server = sum(map(process_s, neighbours)), sum(map(process_s, processes))
    start = time.monotonic()
    generator = subprocess.Popen(load.command(address, messages), stdin=subprocess.DEVNULL)
    _, status, usage = os.wait4(generator.pid, 0)
    generator.returncode = os.waitstatus_to_exitcode(status)
    accepted = time.monotonic()
    if generator.returncode:
        raise RuntimeError(f"the load generator ended with {generator.returncode}")
    while not done():
        if time.monotonic() > accepted + 60:
            raise TimeoutError("accepted messages were not delivered within a minute")
        time.sleep(POLL_S)
    finished = time.monotonic()
    return Round(
        messages=messages,
        accepted_s=accepted - start,
        finished_s=finished - start,
        busy_s=busy_s() - busy,
        generator_s=usage.ru_utime + usage.ru_stime,
        others_s=_own_s() - own + sum(map(process_s, neighbours)) - neighbour,
        processes_s=sum(map(process_s, processes)) - server,
        generators=load.processes,
    )


def settle(timeout_s: float = 10.0) -> None:
    """Let the machine come to rest, so that one round's writing is not charged to the next. Blocks."""
    os.sync()
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        before = busy_s()
        time.sleep(0.3)
        if busy_s() - before < 0.03 * (os.cpu_count() or 1):
            return
