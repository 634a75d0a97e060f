"""The command of a pipe transport: its arguments, and what its end means. Pure; running it is `mta.deliver.child`.

A placeholder in an argument is replaced by a value; the result stays one argument, whatever is in it, and no shell sees
it. What remains is the command's own reading: an address that begins with `-` would look like an option. So an argument
that begins with `-` only because of a value is refused, unless `--` stands as an argument before it.

Exit codes are those of sysexits.h and mean what they mean to Postfix's pipe(8). A status code such as `4.2.2` or
`5.1.1` at the start of the output of a command that failed goes before its exit code.
"""

import re
from collections.abc import Mapping, Sequence

from mta.deliver.attempt import DELIVERED_CODE
from mta.ipc import DEFERRED, DELIVERED, FAILED
from mta.smtp.client_reply import printable

PLACEHOLDERS = ("sender", "recipient", "local", "domain", "queue_id", "size")
OF_A_RECIPIENT = ("{recipient}", "{local}", "{domain}")

_PLACEHOLDER = re.compile("{(" + "|".join(PLACEHOLDERS) + ")}")
_STATUS = re.compile(rb"([45])\.[0-9]{1,3}\.[0-9]{1,3}(?=[ \t]|$)")

_EXITS = {  # sysexits.h
    64: ("5.3.0", "command line usage error"),
    65: ("5.6.0", "data format error"),
    66: ("5.3.0", "cannot open input"),
    67: ("5.1.1", "user unknown"),
    68: ("5.1.2", "host name unknown"),
    69: ("5.3.0", "service unavailable"),
    70: ("5.3.0", "internal software error"),
    71: ("4.3.0", "system resource problem"),
    72: ("5.3.0", "critical system file missing"),
    73: ("5.2.0", "cannot create user output file"),
    74: ("4.3.0", "input/output error"),
    75: ("4.3.0", "temporary failure"),
    76: ("5.5.0", "remote error in protocol"),
    77: ("5.7.0", "permission denied"),
    78: ("5.3.5", "local configuration error"),
}

Values = Mapping[str, bytes]
"""What the placeholders stand for, by their names."""


class Command:
    """A configured command."""

    def __init__(self, argv: Sequence[str]) -> None:
        """`argv` is the program and its arguments; the program has no placeholders."""
        self.program = argv[0]
        self._templates: list[tuple[str, bool]] = []  # with: may it begin with -
        is_free = False
        for template in argv[1:]:
            self._templates.append((template, is_free or template.startswith("-")))
            is_free = is_free or template == "--"

    def fault(self, values: Values) -> str:
        """Why these values cannot be given to the command: a status code and words; empty where they can."""
        for template, may_be_option in self._templates:
            argument = _filled(template, values)
            if b"\0" in argument or (argument.startswith(b"-") and not may_be_option):
                what = "a NUL in it" if b"\0" in argument else "a - at its start"
                code = "5.1.7" if "{sender}" in template else "5.1.3"
                return f"{code} an address with {what} is not given to a command"
        return ""

    def argv(self, recipients: Sequence[Values]) -> list[bytes]:
        """Program and arguments for these recipients, of which `fault` found none wrong.

        An argument with a placeholder of the recipient's is there once for each.
        """
        argv = [self.program.encode()]
        for template, _ in self._templates:
            each = recipients if any(name in template for name in OF_A_RECIPIENT) else recipients[:1]
            argv += [_filled(template, values) for values in each]
        return argv


def _filled(template: str, values: Values) -> bytes:
    """In one pass, so that braces in a value mean nothing."""
    pieces = _PLACEHOLDER.split(template)
    return b"".join([values[piece] if at % 2 else piece.encode() for at, piece in enumerate(pieces)])


def verdict(exit_code: int, output: bytes) -> tuple[int, str, str]:
    """Status, enhanced status code and text for a command that ended by itself; the text is one printable line."""
    line = first_line(output)
    if exit_code == 0:
        return DELIVERED, DELIVERED_CODE, line
    code, meaning = _EXITS.get(exit_code, ("5.3.0", f"exit code {exit_code}"))
    said = _STATUS.match(output.lstrip())
    if said:
        code = said[0].decode()
    text = f"command failed, {meaning}: {line}" if line else f"command failed, {meaning}"
    return DEFERRED if code.startswith("4") else FAILED, code, text


def first_line(output: bytes) -> str:
    """The first line with something in it, as printable ASCII, cut where it is long."""
    return printable(output.strip().partition(b"\n")[0].strip())
