"""What the types in `mta.config` allow, in words: for error messages and for the reference."""

import os
from pathlib import Path
from typing import Any

import msgspec
from msgspec import inspect


def allowed(hint: object) -> str:
    """The values that a type takes, as "a whole number from 1 to 10"."""
    return _phrase(inspect.type_info(hint))


def shown(value: Any) -> str:
    """A value as it would stand in the file, cut where it is long."""
    try:
        text = msgspec.json.encode(value).decode()
    except (TypeError, ValueError):
        text = str(value)
    return text if len(text) <= 60 else text[:57] + "..."


def absolute(folder: Path, path: str) -> str:
    """A path that does not depend on the working directory; none stays none."""
    return os.path.normpath(folder / path) if path else ""


def _phrase(info: inspect.Type) -> str:
    if isinstance(info, inspect.Metadata):
        return _phrase(info.type)
    if isinstance(info, inspect.IntType | inspect.FloatType):
        kind = "a whole number" if isinstance(info, inspect.IntType) else "a number"
        return kind + _bounds(info)
    if isinstance(info, inspect.LiteralType):
        return "one of " + ", ".join(shown(value) for value in info.values)
    if isinstance(info, inspect.ListType):
        if isinstance(info.item_type, inspect.LiteralType):
            return "a list, of " + ", ".join(shown(value) for value in info.item_type.values)
        return f"a list, of {_phrase(info.item_type)} each"
    if isinstance(info, inspect.StrType):
        return "a text"
    if isinstance(info, inspect.BoolType):
        return "true or false"
    if isinstance(info, inspect.DictType | inspect.StructType):
        return "a table"
    raise TypeError(f"no words for {info!r}")


def _bounds(info: inspect.IntType | inspect.FloatType) -> str:
    if info.ge is not None and info.le is not None:
        return f" from {info.ge} to {info.le}"
    low = f" over {info.gt}" if info.gt is not None else f" of at least {info.ge}" if info.ge is not None else ""
    high = f" up to {info.le}" if info.le is not None else ""
    return f"{low}{',' if low and high else ''}{high}"
