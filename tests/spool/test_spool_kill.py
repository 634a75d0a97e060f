"""Writers that are killed at any moment: what they said was accepted is there, once, in order, and whole."""

import os
import random
import subprocess
import sys
from pathlib import Path

from spooltools import read_back

from mta.spool import layout, reader, reclaim

ROUNDS = 12
CHILD = Path(__file__).with_name("kill_child.py")


def test_kill(tmp_path: Path, repository: Path) -> None:
    rng = random.Random(20)
    accepted: list[tuple[int, int]] = []  # ranges of numbers
    environment = {**os.environ, "PYTHONPATH": str(repository)}
    for round_number in range(ROUNDS):
        first = round_number * 1_000_000
        child = subprocess.Popen(
            [sys.executable, str(CHILD), str(tmp_path), str(first)], stdout=subprocess.PIPE, env=environment
        )
        assert child.stdout is not None
        said = b""
        for _ in range(rng.randrange(1, 120)):
            said = child.stdout.readline()
        child.kill()
        said = (child.stdout.read().splitlines() or [said])[-1] if said else said
        child.wait()
        child.stdout.close()
        accepted.append((first, int(said)))
        assert reader.shards(tmp_path) == [0], "a dead writer's shard is free at once"
        check(tmp_path, accepted)
        if round_number == ROUNDS // 2:
            for name in layout.segment_names(layout.shard_folder(tmp_path, 0)):
                reclaim.free_segment(tmp_path, 0, name.number)
            accepted.clear()


def check(root: Path, accepted: list[tuple[int, int]]) -> None:
    """All that was accepted is found; of the rest at most the last batches of each writer."""
    found = read_back(root)
    assert not found.problems
    numbers = set(found.numbers)
    assert len(numbers) == len(found.numbers)
    for first, stop in accepted:
        assert numbers.issuperset(range(first, stop))
    more = [number for number in found.numbers if not any(first <= number < stop for first, stop in accepted)]
    assert len(more) <= 16 * len(accepted)
