"""A case of the fuzzer: a listener's settings, and what a client sends. As a file, a dialogue without the server."""

import json
from pathlib import Path
from typing import Any

import msgspec

from tests.support import dialog

HANDSHAKE = None
"""A step: the client begins TLS, if the server is ready for it; else nothing."""


class Case(msgspec.Struct, frozen=True):
    """`steps` are what the client sends, each piece as one, or `HANDSHAKE`; `busy` as in a dialogue.

    `is_mutated`: bytes were changed at random, so that what was meant as content may have become commands.
    """

    settings: dict[str, Any]
    steps: tuple[bytes | None, ...]
    busy: tuple[int, ...] = ()
    is_mutated: bool = True

    def text(self) -> str:
        """The case as a file."""
        lines = [f"listener: {line}" for line in _flat(self.settings)]
        if self.busy:
            lines.append(f"busy: {' '.join(map(str, self.busy))}")
        lines += ["T." if step is HANDSHAKE else f"C- {_escape(step)}" for step in self.steps]
        return "\n".join(lines) + "\n"


def load(path: Path) -> Case:
    """Read a case's file."""
    return parse(path.read_bytes())


def parse(data: bytes) -> Case:
    """Read a case from the bytes of its file."""
    read = dialog.parse(data)
    steps = tuple(HANDSHAKE if step.verb == "T." else step.text for step in read.steps)
    return Case(read.listener, steps, read.busy)


def _flat(settings: dict[str, Any], prefix: str = "") -> list[str]:
    lines: list[str] = []
    for key, value in settings.items():
        if isinstance(value, dict):
            lines += _flat(value, f"{prefix}{key}.")
        else:
            lines.append(f"{prefix}{key} = {json.dumps(value)}")
    return lines


_NAMED = {0: "\\0", 9: "\\t", 10: "\\n", 13: "\\r", 92: "\\\\"}


def _escape(data: bytes) -> str:
    shown = [_NAMED.get(byte) or (chr(byte) if 32 <= byte < 127 else f"\\x{byte:02x}") for byte in data]
    return "".join(shown)
