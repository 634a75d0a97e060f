"""Reads a configuration file and checks all of it: every fault is reported at once, with file and line.

`msgspec` stops at the first fault, so tables are taken apart here, field by field, along the structs of `mta.config`;
what the values mean, singly and together, is then checked by `mta.config_check`, `mta.config_listen`,
`mta.config_limits` and `mta.config_access`.
"""

import difflib
import os
import re
import tomllib
from pathlib import Path
from typing import Any, get_args, get_origin

import msgspec

from mta import config_check
from mta.config import Config
from mta.config_access import AccessGiven
from mta.config_limits import LimitsGiven
from mta.config_lines import Fault, lines_of
from mta.config_lines import Path as KeyPath
from mta.config_text import allowed, shown
from mta.errors import ConfigError

_BARE_KEY = re.compile("[A-Za-z0-9_-]+")


def load(file: str | os.PathLike[str]) -> Config:
    """Read, check and complete a configuration; relative paths are made absolute against the folder of the file.

    Blocks on reading. Raises `ConfigError` with a line `file:line: what, and what is allowed` for every fault found.
    """
    try:
        text = Path(file).read_bytes().decode()
    except OSError as error:
        raise ConfigError([f"{file}: cannot be read: {error.strerror}"]) from None
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise ConfigError([f"{file}:{line}: not UTF-8"]) from None
    return parse(text, str(file))


def parse(text: str, file: str) -> Config:
    """As `load`, from the text of `file`, whose name is for messages and for relative paths. Does not block."""
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError([_syntax_error(str(error), text, file)]) from None
    reader = _Reader()
    parts = reader.fields(Config, data, ())
    unreadable = {path for path, _ in reader.faults}
    limits = LimitsGiven(data, unreadable)
    access = AccessGiven(data, unreadable)
    parts = access.overlay(limits.overlay(parts))
    faults = reader.faults + config_check.check(parts, unreadable) + [*limits.check(parts), *access.check(parts)]
    if not faults:
        config = config_check.complete(Config(**parts), Path(file).absolute().parent.resolve())
        faults = config_check.check_whole(config)
    if faults:
        raise ConfigError(told(faults, text, file))
    return config


def told(faults: list[Fault], text: str, file: str) -> list[str]:
    """Faults of a file with that text, in its order, each as `file:line: key: what, and what is allowed`."""
    lines = lines_of(text)
    return [_told(path, words, lines, file) for path, words in _sorted(faults, lines)]


def _syntax_error(message: str, text: str, file: str) -> str:
    """`tomllib` ends its messages with "(at line 3, column 7)", or with "(at end of document)"."""
    match = re.fullmatch(r"(.*) \(at line (\d+), column (\d+)\)", message)
    if match:
        return f"{file}:{match[2]}: {match[1]} (column {match[3]})"
    return f"{file}:{text.count(chr(10)) + 1}: {message}"


def _line(path: KeyPath, lines: dict[KeyPath, int]) -> int:
    """The line of a value, or of the innermost thing around it that has one."""
    while path and path not in lines:
        path = path[:-1]
    return lines.get(path, 1)


def _sorted(faults: list[Fault], lines: dict[KeyPath, int]) -> list[Fault]:
    return sorted(faults, key=lambda fault: _line(fault[0], lines))


def _told(path: KeyPath, words: str, lines: dict[KeyPath, int], file: str) -> str:
    name = ""
    for part in path:
        if isinstance(part, int):
            name += f"[{part}]"
        else:
            name += ("." if name else "") + (part if _BARE_KEY.fullmatch(part) else shown(part))
    return f"{file}:{_line(path, lines)}: {name}: {words}"


class _Reader:
    """Takes plain TOML data apart along the structs, and gathers faults."""

    def __init__(self) -> None:
        self.faults: list[Fault] = []

    def fields(self, struct: type[msgspec.Struct], data: dict[str, Any], path: KeyPath) -> dict[str, Any]:
        """The fields of a struct that could be read, from a table; the others are left out."""
        known = {field.name: field for field in msgspec.structs.fields(struct)}
        for name in [name for name in data if name not in known]:
            close = difflib.get_close_matches(name, known, 1)
            hint = f"did you mean {close[0]!r}?" if close else f"known here: {', '.join(known)}"
            self._fault((*path, name), f"unknown key; {hint}")
        found: dict[str, Any] = {}
        for name, field in known.items():
            if name not in data:
                if field.required:
                    self._fault((*path, name), f"is missing; {allowed(field.type)} is needed")
                continue
            try:
                found[name] = self._value(field.type, data[name], (*path, name))
            except _Unreadable:
                continue
        return found

    def _value(self, hint: Any, value: Any, path: KeyPath) -> Any:
        """A value of a field's type; raises `_Unreadable` after it reported why there is none."""
        inner = get_args(hint)[0] if hasattr(hint, "__metadata__") else hint
        if isinstance(inner, type) and issubclass(inner, msgspec.Struct):
            return self._struct(inner, value, path)
        if get_origin(inner) in (list, dict):
            hint = inner
        if get_origin(hint) is list and isinstance(value, list):
            return [self._element(hint, item, (*path, number)) for number, item in enumerate(value)]
        if get_origin(hint) is dict and isinstance(value, dict):
            return {key: self._element(hint, item, (*path, key)) for key, item in value.items()}
        try:
            return msgspec.convert(value, hint)
        except msgspec.ValidationError:
            self._fault(path, f"{shown(value)} given; {allowed(hint)} is allowed")
        raise _Unreadable

    def _element(self, hint: Any, value: Any, path: KeyPath) -> Any:
        """An element of a list or table of type `hint`, or `None`, so that the others keep their places."""
        try:
            return self._value(get_args(hint)[-1], value, path)
        except _Unreadable:
            return None

    def _struct(self, struct: type[msgspec.Struct], value: Any, path: KeyPath) -> msgspec.Struct:
        if not isinstance(value, dict):
            self._fault(path, f"{shown(value)} given; a table is needed")
            raise _Unreadable
        found = self.fields(struct, value, path)
        # What could not be read is as if it were not there, so that the rest of the table can be checked.
        unread = {field.name: None for field in msgspec.structs.fields(struct) if field.required}
        return struct(**{**unread, **found})

    def _fault(self, path: KeyPath, words: str) -> None:
        self.faults.append((path, words))


class _Unreadable(Exception):
    """A value could not be read; the fault has been noted."""
