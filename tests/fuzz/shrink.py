"""Makes a case smaller as long as it still shows what it showed."""

from collections.abc import Callable, Iterator

from tests.fuzz.case import HANDSHAKE, Case

ROUNDS = 2000  # cases tried, at most


def shrink(case: Case, is_shown: Callable[[Case], bool]) -> Case:
    """The smallest case found for which `is_shown`; `case` itself is one."""
    rounds = 0
    smaller = True
    while smaller:
        smaller = False
        for candidate in _smaller(case):
            rounds += 1
            if rounds > ROUNDS:
                return case
            if is_shown(candidate):
                case, smaller = candidate, True
                break
    return case


def _smaller(case: Case) -> Iterator[Case]:
    steps = case.steps
    for count in (8, 4, 2, 1):
        for place in range(0, len(steps) - count + 1):
            yield _with(case, steps[:place] + steps[place + count :])
    for key in case.settings.keys() - {"limits", "protocol"}:
        yield Case({name: value for name, value in case.settings.items() if name != key}, steps, case.busy)
    limits = case.settings.get("limits", {})
    for key in limits:
        fewer = {name: value for name, value in limits.items() if name != key}
        yield Case({**case.settings, "limits": fewer}, steps, case.busy)
    if case.busy:
        yield Case(case.settings, steps)
    for place, step in enumerate(steps):
        if step is HANDSHAKE:
            continue
        for count in (1000, 100, 30, 10, 3, 1):
            for at in range(0, len(step) - count + 1, count):
                yield _with(case, (*steps[:place], step[:at] + step[at + count :], *steps[place + 1 :]))


def _with(case: Case, steps: tuple[bytes | None, ...]) -> Case:
    return Case(case.settings, steps, case.busy)
