"""[limits] and the [listen.limits] of every listener: which keys are set where, laid over each other, and checked.

A listener's limits are those of [limits] with what its own table sets. A struct cannot tell a key that was set from one
with its default, so this works on the plain data of the file as well.
"""

from collections.abc import Iterable, Iterator
from typing import Any

from msgspec.structs import replace

from mta.config import WORKER_LIMITS, Limits, Listen
from mta.config_lines import Fault, Path
from mta.config_listen import network_faults

RECIPIENTS_MIN = 100  # RFC 5321 section 4.5.3.1.8

ORDERED = (
    ("soft_errors", "errors"),
    ("command_timeout_s", "session_timeout_s"),
    ("data_timeout_s", "session_timeout_s"),
)
"""Pairs of keys of which the second, where it is smaller, leaves the first without effect."""


class LimitsGiven:
    """The keys that the limits tables of a file set.

    `data` is the file as `tomllib` read it, `unreadable` the paths of values that were refused: those are as if they
    were not there.
    """

    def __init__(self, data: dict[str, Any], unreadable: Iterable[Path]) -> None:
        self._unreadable = frozenset(unreadable)
        self._top = self._given(data.get("limits"), ("limits",))
        listens = data.get("listen")
        self._listens = [
            self._given(table.get("limits") if isinstance(table, dict) else None, ("listen", number, "limits"))
            for number, table in enumerate(listens if isinstance(listens, list) else [])
        ]

    def overlay(self, parts: dict[str, Any]) -> dict[str, Any]:
        """The readable parts of a configuration (fields of `Config`), with complete limits in every listener."""
        if "listen" not in parts:
            return parts
        top: Limits = parts.get("limits", Limits())
        listens: list[Listen | None] = [
            listen and replace(listen, limits=replace(top, **{name: getattr(listen.limits, name) for name in names}))
            for listen, names in zip(parts["listen"], self._listens, strict=True)
        ]
        return {**parts, "listen": listens}

    def check(self, parts: dict[str, Any]) -> Iterator[Fault]:
        """The faults of all limits, in parts that `overlay` has been at. One of [limits] is told there only."""
        if "limits" in parts:
            yield from _faults(("limits",), parts["limits"], self._top, self._top)
        for number, listen in enumerate(parts.get("listen", ())):
            if listen is not None:
                path = ("listen", number, "limits")
                own = self._listens[number]
                for name in WORKER_LIMITS:
                    if name in own:
                        yield (*path, name), "counts for a worker as a whole; it is allowed in [limits] only"
                yield from _faults(path, listen.limits, own, own | self._top)

    def _given(self, table: Any, path: Path) -> frozenset[str]:
        names = table if isinstance(table, dict) else ()
        known = Limits.__struct_fields__
        return frozenset(name for name in names if name in known and (*path, name) not in self._unreadable)


def _faults(path: Path, limits: Limits, own: frozenset[str], given: frozenset[str]) -> Iterator[Fault]:
    """Faults of complete `limits` that involve a key which the table at `path` sets; `given` are those set anywhere."""
    if "recipients" in own and limits.recipients < RECIPIENTS_MIN:
        yield (
            (*path, "recipients"),
            f"{limits.recipients} given; at least {RECIPIENTS_MIN} is needed (RFC 5321 section 4.5.3.1.8)",
        )
    if path == ("limits",) and limits.large_bytes > limits.memory_bytes:
        yield (*path, "large_bytes"), f"{limits.large_bytes} given; no more than memory_bytes is allowed"
    for low, high in ORDERED:
        # Set both, they contradict each other; a default that is out of reach is no mistake.
        if {low, high} <= given and own & {low, high} and getattr(limits, low) > getattr(limits, high):
            low_value, high_value = f"{getattr(limits, low):g}", f"{getattr(limits, high):g}"
            if low in own:
                yield (*path, low), f"{low_value} given; no more than {high} ({high_value}) is allowed"
            else:
                yield (*path, high), f"{high_value} given; no less than {low} ({low_value}) is allowed"
    if "client_exempt" in own:
        yield from network_faults((*path, "client_exempt"), limits.client_exempt)
