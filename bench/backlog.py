"""What a large backlog costs: `python bench/backlog.py --messages 1000000`.

Two servers: one with an empty queue, one whose queue holds many messages that wait for their next attempt (none becomes
due meanwhile). The backlog is written with the spool's and the journal's own code, as if the mail had come and had been
deferred; that takes a minute or two for a million. Then:

- the one with the backlog is started; when does it take a message, when is that delivered (to discard);
- how much memory has its queue manager, how long does `mta queue stats` take;
- new mail is sent to both in turns; messages a second, counted when they are finished.

Progress goes to standard error, figures to standard output. With --check, the exit code is 1 when an aim was missed.
The folder (--folder; a temporary one by default) should be on a real disk with 2 GB free for a million messages.
"""

import argparse
import contextlib
import json
import random
import smtplib
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
from xxhash import xxh3_64_intdigest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from mta import config_load
from mta.envelope import Envelope, encode
from mta.errors import IpcError
from mta.qmgr import recount, tally
from mta.qmgr.journal import Journal, Settled
from mta.qmgr.rows import Detail, Recipient, Row, State
from mta.qmgr.tally import Mark
from mta.spool import layout
from mta.spool.queueid import UNIT_BYTES
from mta.spool.record import HEADER_BYTES
from mta.spool.writer import SpoolWriter
from tests.support.server import HOST, ROOT, Server

BODY = b"Subject: backlog\r\n\r\n" + b"One line of a message that waits.\r\n" * 28  # 1 KB
AT_ONCE = 5000  # messages between two commits
WAIT_S = (7200.0, 14400.0)  # until they are due: not while this runs
POLL_S = 0.005
SETTINGS = {
    "domains": {"local": ["example.org"]},
    "transport": {"sink": {"kind": "discard"}, "relay": {"kind": "smtp", "host": f"{HOST}:9"}},
    "route": [{"recipients": ["*@example.org"], "transport": "sink"}, {"recipients": ["*"], "transport": "relay"}],
}

# The aims for a million messages.
ACCEPT_S, DELIVER_S, STATS_S, MEMORY_MB, RATIO = 2.0, 10.0, 1.0, 250.0, 0.9


class Figures(msgspec.Struct):
    """What came out."""

    messages: int
    accept_s: float  # from the start to the first 250
    deliver_s: float  # to its delivery
    memory_mb: float  # of the queue manager, resident, at most
    stats_s: float  # the command `mta queue stats`, the slowest of three
    empty: list[float]  # messages a second, by round
    waiting: list[float]

    def ratio(self) -> float:
        """New mail with the backlog against an empty queue."""
        return statistics.median(self.waiting) / statistics.median(self.empty)

    def missed(self) -> list[str]:
        """The aims that were."""
        aims = {
            "accept_s": self.accept_s <= ACCEPT_S,
            "deliver_s": self.deliver_s <= DELIVER_S,
            "memory_mb": self.memory_mb <= MEMORY_MB,
            "stats_s": self.stats_s <= STATS_S,
            "ratio": self.ratio() >= RATIO,
        }
        return [name for name, is_met in aims.items() if not is_met]


def build(spool: Path, messages: int, progress: Callable[[int], None] = lambda _: None, *, routes: str = "") -> None:
    """Fill a new spool with messages that wait. Blocks; raises `SpoolError`.

    `routes` are those that they are counted for (`mta.qmgr.recount`); with others, a queue manager counts them anew.
    """
    rng = random.Random(1)
    layout.make_folders(spool)
    layout.make_folder(spool / "qmgr")
    writer, journal = SpoolWriter(spool), Journal(spool / "qmgr" / "journal.db")
    digest, now_wall = xxh3_64_intdigest(BODY), time.time()
    mark = Mark(tally.bucket(now_wall, now_wall), ["relay"])
    journal.mark = lambda _: mark
    journal.note(recount.ROUTES, routes)
    settled: dict[int, Settled] = {}
    for number in range(messages):
        sender, recipient = b"sender-%d@example.com" % (number % 997), b"user-%d@d%d.example" % (number, number % 10007)
        envelope = encode(Envelope(sender, (recipient,), now_wall, "192.0.2.1", b"client.example.com", session="b.1"))
        location = writer.append(envelope, [BODY], body_bytes=len(BODY), body_hash=digest)
        end = (location & 0xFFFFF) + -(-(HEADER_BYTES + len(envelope) + len(BODY)) // UNIT_BYTES)
        settled[location >> 20] = Settled(location >> 20, end, [])
        due_wall = now_wall + rng.uniform(*WAIT_S)
        failure = Recipient(0, recipient, 4, "4.4.1", "connection refused by the next hop, said the system")
        detail = Detail("b.1", [failure])
        values = (location, location, State.WAITING, due_wall, 1, now_wall, sender, len(BODY), 0, detail)
        journal.put(Row(*values), before=None)
        if (number + 1) % AT_ONCE == 0 or number + 1 == messages:
            writer.commit()
            journal.commit(settled.values())
            settled.clear()
            progress(number + 1)
    writer.close()
    journal.close()


def submit(server: Server, deadline_at: float) -> None:
    """Send one message as soon as the server takes it."""
    while True:
        try:
            with smtplib.SMTP(*server.address, "bench.example.com", timeout=10) as client:
                client.sendmail("bench@example.com", ["user@example.org"], BODY)
            return
        except (OSError, smtplib.SMTPException):
            if time.monotonic() > deadline_at:
                raise
            time.sleep(POLL_S)


def delivered(server: Server) -> int:
    """Recipients that have got a message since the queue manager started; -1 while it does not answer."""
    try:
        return int(server.stats()["results"]["delivered"])
    except IpcError:
        return -1


def timed_start(server: Server) -> tuple[float, float]:
    """Start; seconds until a message was accepted, and until it was delivered."""
    with contextlib.ExitStack() as stack:
        log = stack.enter_context(server.stderr.open("ab"))
        begun_at = time.monotonic()
        command = [sys.executable, "-m", "mta", "run", "-c", str(server.config)]
        server.process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        submit(server, begun_at + 60.0)
        accepted_at = time.monotonic()
        while delivered(server) < 1:
            if time.monotonic() > begun_at + 120.0:
                raise TimeoutError(f"nothing is delivered:\n{server.complaints()}")
            time.sleep(POLL_S)
        return accepted_at - begun_at, time.monotonic() - begun_at


def memory_mb(server: Server) -> float:
    """The most that the queue manager has had resident."""
    (pid,) = server.children("qmgr")
    fields = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return int(fields["VmHWM"].split()[0]) / 1024


def stats_s(server: Server) -> tuple[float, int]:
    """How long the command `mta queue stats` takes, and how many messages wait according to it."""
    begun_at = time.monotonic()
    command = [sys.executable, "-m", "mta", "queue", "stats", "-c", str(server.config), "--json"]
    answer: dict[str, Any] = json.loads(subprocess.run(command, cwd=ROOT, check=True, capture_output=True).stdout)
    return time.monotonic() - begun_at, answer["waiting"]


def rate(server: Server, messages: int) -> float:
    """New messages finished a second."""
    goal = delivered(server) + messages
    command = [sys.executable, "bench/sender.py", f"{HOST}:{server.port}", "--messages", str(messages), "--reuse"]
    begun_at = time.monotonic()
    subprocess.run([*command, "--sessions", "20"], cwd=ROOT, check=True)
    while delivered(server) < goal:
        time.sleep(POLL_S)
    return messages / (time.monotonic() - begun_at)


def measure(folder: Path, messages: int, *, rounds: int, sent: int) -> Figures:
    """Everything; `sent` messages in each round."""
    full, empty = Server(folder / "full", SETTINGS), Server(folder / "empty", SETTINGS)
    begun_at = time.monotonic()
    routes = recount.routes(config_load.load(full.config))
    build(full.spool, messages, lambda count: say(f"built {count}", end="\r"), routes=routes)
    say(f"built {messages} in {time.monotonic() - begun_at:.1f} s")
    try:
        accept_s, deliver_s = timed_start(full)
        say(f"accepting after {accept_s:.2f} s, delivering after {deliver_s:.2f} s")
        say(f"with an empty queue after {timed_start(empty)[0]:.2f} s")
        asked = [stats_s(full) for _ in range(3)]
        if any(waiting != messages for _, waiting in asked):
            raise RuntimeError(f"{asked[0][1]} messages wait, of {messages}")
        figures = Figures(messages, accept_s, deliver_s, 0.0, max(seconds for seconds, _ in asked), [], [])
        for server in (empty, full):
            rate(server, sent)  # warm
        for number in range(rounds):
            for server, rates in ((empty, figures.empty), (full, figures.waiting))[:: 1 if number % 2 else -1]:
                rates.append(rate(server, sent))
            say(f"round {number + 1}: {figures.empty[-1]:.0f}/s empty, {figures.waiting[-1]:.0f}/s with the backlog")
        figures.memory_mb = memory_mb(full)
        return figures
    finally:
        for server in (full, empty):
            server.kill()


def say(text: str, *, end: str = "\n") -> None:
    """Progress."""
    print(text, end=end, file=sys.stderr, flush=True)


def main() -> int:
    """Measure and tell; returns the exit code."""
    parser = argparse.ArgumentParser(description="Measure what a backlog of waiting messages costs.")
    parser.add_argument("--messages", type=int, default=1_000_000, help="that wait (default: 1000000)")
    parser.add_argument("--rounds", type=int, default=5, help="of new mail, for each server (default: 5)")
    parser.add_argument("--sent", type=int, default=20_000, help="new messages in a round (default: 20000)")
    parser.add_argument("--folder", type=Path, help="where the servers live (default: a temporary folder)")
    parser.add_argument("--check", action="store_true", help="exit code 1 when an aim was missed")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        figures = measure(Path(folder), options.messages, rounds=options.rounds, sent=options.sent)
    print(f"waiting messages           {figures.messages}")
    print(f"start to accepting mail    {figures.accept_s:.2f} s  (aim: {ACCEPT_S:.0f} s)")
    print(f"start to delivering mail   {figures.deliver_s:.2f} s  (aim: {DELIVER_S:.0f} s)")
    print(f"mta queue stats            {figures.stats_s:.2f} s  (aim: {STATS_S:.0f} s)")
    print(f"queue manager, resident    {figures.memory_mb:.0f} MB  (aim: {MEMORY_MB:.0f} MB)")
    print(f"new mail, empty queue      {statistics.median(figures.empty):.0f} messages/s")
    print(f"new mail, with backlog     {statistics.median(figures.waiting):.0f} messages/s")
    print(f"ratio                      {figures.ratio():.2f}  (aim: {RATIO})")
    missed = figures.missed()
    if options.check and missed:
        say(f"missed: {', '.join(missed)}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
