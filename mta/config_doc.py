"""Writes what can be told from the structs of `mta.config`: `conf/mta.toml` and `docs/configuration.md`.

`python -m mta.config_doc` writes both into the source tree; a test compares them with what this module makes.
"""

import json
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args, get_origin

import msgspec
from msgspec import NODEFAULT, Meta, Struct
from msgspec.structs import FieldInfo

from mta.config import Config
from mta.config_text import allowed, shown

EXAMPLE_NAME = "store"  # of the transport in the example
WIDTH = 110

TOML_HEAD = """\
# The configuration of mta: every key, what it does, and what is allowed.
# Keys that are set here have no useful default; the others stand behind a # with theirs.
# Check a file with `mta check -c FILE`; a running mta takes a changed one when it gets HUP.
#
# Generated from mta/config.py by `python -m mta.config_doc`.
"""

PAGE_HEAD = """\
# Configuration

One TOML file. `mta check -c FILE` reports every fault of it at once, with file and line; `mta run -c FILE` does the
same before it starts, and again at HUP: a file with faults never replaces what runs. Unknown keys are faults.
[conf/mta.toml](../conf/mta.toml) is a complete example with every key.

Relative paths (`spool`, `path`, `log.file`, `unix:` sockets) count from the folder of the file. Times are in seconds
(`_s`), sizes in bytes (`_bytes`). Domain names may be written in Unicode; they are compared as A-labels. `spool` and
`user` cannot be changed by a reload; everything else can.

This page is generated from `mta/config.py` by `python -m mta.config_doc`.
"""


def documents() -> dict[str, str]:
    """The generated files: path in the source tree, and content."""
    return {"conf/mta.toml": _toml(), "docs/configuration.md": _page()}


def main() -> int:
    """Write the files into the source tree that this module is part of."""
    root = Path(__file__).resolve().parent.parent
    for name, text in documents().items():
        (root / name).write_text(text)
        print(name)
    return 0


# ---------------------------------------------------------------------------------------------------------------------
# The structs


def _sections() -> Iterator[tuple[str, type[Struct]]]:
    """The tables of the file, each with its header as TOML writes it."""
    for field in msgspec.structs.fields(Config):
        arguments = get_args(field.type)
        if get_origin(field.type) is list and _is_struct(arguments[0]):
            yield f"[[{field.name}]]", arguments[0]
        elif get_origin(field.type) is dict:
            yield f"[{field.name}.{EXAMPLE_NAME}]", arguments[1]
        elif _is_struct(field.type):
            yield f"[{field.name}]", field.type


def _keys(struct: type[Struct]) -> list[FieldInfo]:
    """The fields that are plain keys, not tables."""
    tables = [kind for _, kind in _sections()] if struct is Config else []
    return [
        field
        for field in msgspec.structs.fields(struct)
        if not any(field.type is kind or kind in get_args(field.type) for kind in tables)
    ]


def _is_struct(hint: Any) -> bool:
    return isinstance(hint, type) and issubclass(hint, Struct)


def _meta(field: FieldInfo) -> Meta:
    """What the field says of itself; nested `Annotated` types are merged, the outermost last."""
    return next(meta for meta in reversed(get_args(field.type)) if isinstance(meta, Meta) and meta.description)


def _default(field: FieldInfo) -> Any:
    if field.default_factory is not NODEFAULT:
        return field.default_factory()
    return field.default


def _values(field: FieldInfo) -> str:
    """What is allowed, except where "a text" would say nothing."""
    words = allowed(field.type)
    return "" if "text" in words else f"; {words}"


# ---------------------------------------------------------------------------------------------------------------------
# conf/mta.toml


def _toml() -> str:
    parts = [TOML_HEAD, *(f"\n{_toml_key(field)}" for field in _keys(Config))]
    for header, struct in _sections():
        parts.append(f"\n\n{_comment(struct.__doc__ or '')}{header}\n")
        parts += [f"\n{_toml_key(field)}" for field in _keys(struct)]
    return "".join(parts)


def _toml_key(field: FieldInfo) -> str:
    meta = _meta(field)
    comment = _comment(f"{meta.description}{_values(field)}")
    if meta.examples:
        return f"{comment}{field.name} = {_toml_value(meta.examples[0])}\n"
    return f"{comment}#{field.name} = {_toml_value(_default(field))}\n"


def _toml_value(value: Any) -> str:
    return json.dumps(value)  # of texts, numbers and lists of them JSON and TOML think alike


def _comment(text: str) -> str:
    return "".join(f"# {line}\n" for line in textwrap.wrap(text, WIDTH - 2))


# ---------------------------------------------------------------------------------------------------------------------
# docs/configuration.md


def _page() -> str:
    parts = [PAGE_HEAD, "\n## Top level\n\n", _table(_keys(Config))]
    for header, struct in _sections():
        title = header.replace(EXAMPLE_NAME, "NAME")
        parts += [f"\n## `{title}`\n\n{struct.__doc__}\n\n", _table(_keys(struct))]
    return "".join(parts)


def _table(fields: list[FieldInfo]) -> str:
    rows = ["| key | what | allowed | default |\n|---|---|---|---|\n"]
    for field in fields:
        default = "must be set" if field.required else f"`{shown(_default(field))}`"
        rows.append(f"| `{field.name}` | {_meta(field).description} | {allowed(field.type)} | {default} |\n")
    return "".join(rows)


if __name__ == "__main__":
    sys.exit(main())
