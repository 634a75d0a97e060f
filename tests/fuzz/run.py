"""Fuzzes the session for as long as told: `python -m tests.fuzz.run --seconds 3600`.

Each failure is made small and written to `tests/fuzz/corpus/`, where `make test` replays it. With `--keep` inputs are
written that do something no other did. Exit code 1 when anything failed.
"""

import argparse
import random
import sys
import traceback
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from time import monotonic

from tests.fuzz.case import Case, load
from tests.fuzz.generate import Generator
from tests.fuzz.harness import check, look
from tests.fuzz.shrink import shrink

CORPUS = Path(__file__).parent / "corpus"
FAILURES = 20  # of different kinds; then it is time to look at them


def corpus() -> dict[str, Case]:
    """The cases kept in files, by their names."""
    return {path.stem: load(path) for path in sorted(CORPUS.glob("*.case"))}


def cases(seed: int, known: list[Case]) -> Iterator[tuple[int, Case]]:
    """Cases without end, each with the seed that makes it."""
    while True:
        yield seed, Generator(seed, known).case()
        seed += 1


def failure(case: Case, seed: int) -> str:
    """What is wrong with a case, in a word that does not depend on its bytes; empty when nothing is."""
    try:
        check(case, random.Random(seed))
    except Exception as error:  # noqa: BLE001 - all that comes is a finding
        place = traceback.extract_tb(error.__traceback__)[-1]
        return f"{type(error).__name__} {Path(place.filename).name}:{place.lineno}"
    return ""


def main() -> int:
    """Entry; returns the exit code."""
    parser = argparse.ArgumentParser(prog="tests.fuzz.run", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=None, help="the first of the run; at random if not given")
    parser.add_argument("--keep", action="store_true", help="write inputs that do something new to the corpus")
    arguments = parser.parse_args()
    seed = arguments.seed if arguments.seed is not None else random.SystemRandom().randrange(1 << 48)
    print(f"seed {seed}", flush=True)
    known = corpus()
    seen = set().union(*(look(case).seen for case in known.values()))
    found: set[str] = set()
    ends_at = monotonic() + arguments.seconds
    count = 0
    for number, case in cases(seed, list(known.values())):
        if monotonic() >= ends_at or len(found) >= FAILURES:
            break
        count += 1
        what = failure(case, number)
        if what:
            if what not in found:
                found.add(what)
                _report(case, number, what)
        elif arguments.keep and (new := look(case).seen - seen):
            seen |= _keep(case, new)
    print(f"{count} cases, {len(found)} kinds of failures")
    return 1 if found else 0


def _report(case: Case, seed: int, what: str) -> None:
    small = shrink(case, lambda candidate: failure(candidate, seed) == what)
    try:
        check(small, random.Random(seed))
    except Exception as error:  # noqa: BLE001
        print(f"seed {seed}: {what}: {error}\n{small.text()}", flush=True)
    _write(f"found-{sha256(small.text().encode()).hexdigest()[:8]}", what, small)


def _keep(case: Case, new: set[str]) -> set[str]:
    def is_shown(candidate: Case) -> bool:
        try:
            return new <= look(candidate).seen
        except AssertionError:
            return False

    small = shrink(case, is_shown)
    _write(min(new), ", ".join(sorted(new)), small)
    return look(small).seen


def _write(name: str, why: str, case: Case) -> None:
    (CORPUS / f"{name}.case").write_text(f"# {why}\n{case.text()}")


if __name__ == "__main__":
    sys.exit(main())
