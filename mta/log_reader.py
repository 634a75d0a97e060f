"""Reading log files back: lines of both formats (`mta.log`) as records, from files that may be compressed.

A record has the keys of its line in their order. Values are texts as the log shows them, with whatever could not be
printed escaped, so that they can be shown as they are; counts and seconds are numbers, flags are true or false.
"""

import gzip
import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any, cast

from mta.errors import MtaError

EX_NOINPUT = 66  # sysexits.h

Record = dict[str, Any]

_FIELD = re.compile(r'([a-z_]+)=("(?:[^"\\]|\\.)*"|[^\s"]*)(?: |$)')
_NUMBER = re.compile(r"\d{1,18}(\.\d{1,9})?", re.ASCII)
_NUMBERS = ("_bytes", "_s", "_wall")
_FLAG_NAMES = ("verified", "resumed")
_NUMBER_NAMES = ("seconds", "recipients", "messages", "commands", "lines", "bounces", "jobs")


class LogError(MtaError):
    """A log file cannot be read. The asker's to mend."""

    exit_code = EX_NOINPUT


def parse(line: str) -> Record | None:
    """One line as a record; `None` for what is no whole line of ours."""
    if line.startswith("{"):
        try:
            record = json.loads(line)
        except ValueError:
            return None
        return record if isinstance(record, dict) and "event" in record and "time" in record else None
    record, at = {}, 0
    line = line.rstrip("\n")
    while at < len(line):
        match = _FIELD.match(line, at)
        if match is None:
            return None
        record[match[1]] = _value(match[1], match[2])
        at = match.end()
    return record if "event" in record and "time" in record else None


def _value(name: str, text: str) -> Any:
    if text.startswith('"'):
        return text[1:-1].replace('\\"', '"')  # what else is escaped stays so
    if name in _FLAG_NAMES:
        return text == "true"
    if (name.endswith(_NUMBERS) or name in _NUMBER_NAMES) and _NUMBER.fullmatch(text):
        return float(text) if "." in text else int(text)
    return text


def records(file: IO[bytes], wanted: Iterable[str]) -> Iterator[tuple[int, Record]]:
    """The records of all lines that have one of the texts in `wanted` in them somewhere, with their line numbers.

    Blocks; raises `LogError` when the file cannot be read.
    """
    needles = [text.encode() for text in wanted]
    try:
        for number, line in enumerate(file):
            if any(needle in line for needle in needles):
                record = parse(line.decode("utf-8", "replace"))
                if record is not None:
                    yield number, record
    except (OSError, EOFError) as error:  # gzip says EOFError of a file that is cut short
        raise LogError(f"{getattr(file, 'name', 'log')}: {error}") from error


def open_log(path: str) -> IO[bytes]:
    """A log file, decompressed where its name ends with .gz; raises `LogError`. The caller closes it."""
    try:
        return cast(IO[bytes], gzip.open(path)) if path.endswith(".gz") else Path(path).open("rb")
    except OSError as error:
        raise LogError(f"{path}: {error.strerror}") from None
