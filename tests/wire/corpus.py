"""The cases of this folder, and ways to cut a stream into pieces."""

import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent
FACTS = {
    "done": True,
    "size": 0,
    "oversize": False,
    "header_end": -1,
    "bare_cr": False,
    "bare_lf": False,
    "nul": False,
    "eight_bit": False,
    "longest_line": 0,
    "received_count": 0,
}


@dataclass(frozen=True)
class Case:
    """One case: the bytes on the wire, and what its JSON says."""

    name: str
    wire: bytes
    expected: dict[str, Any]

    def limit_bytes(self, default: int) -> int:
        """The limit that the case asks for."""
        return int(self.expected.get("limit_bytes", default))

    def facts(self) -> dict[str, Any]:
        """Every fact that an Unstuffer has to tell at the end of a case of `data`."""
        facts = FACTS | {"size": len(self.expected["content"])}
        return facts | {name: self.expected[name] for name in facts if name in self.expected}


def cases(folder: str) -> list[Case]:
    """All cases of one folder."""
    wires = sorted((FOLDER / folder).glob("*.wire"))
    return [Case(wire.stem, wire.read_bytes(), json.loads(wire.with_suffix(".json").read_text())) for wire in wires]


def octets(text: str) -> bytes:
    """The bytes that a string of a case stands for."""
    return text.encode("latin-1")


def splits(length: int) -> Iterator[tuple[int, ...]]:
    """Ends of the pieces in which a stream of that many bytes may come.

    Whole; byte by byte; in two at every place; in three at every pair of places when there are not too many.
    """
    yield (length,)
    yield tuple(range(1, length + 1))
    for cuts in itertools.combinations(range(length + 1), 1):
        yield (*cuts, length)
    if length <= 32:
        for cuts in itertools.combinations(range(length + 1), 2):
            yield (*cuts, length)
