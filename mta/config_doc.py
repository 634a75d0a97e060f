"""Writes what can be told from the structs of `mta.config`: `conf/mta.toml` and `docs/configuration.md`.

`python -m mta.config_doc` writes both, and `docs/replies.md` (`mta.replies_doc`), into the source tree; a test compares
them with what these modules make.
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
from mta.replies_doc import page as replies_page

EXAMPLE_NAME = "store"  # of the transport in the example
WIDTH = 110

TOML_HEAD = """\
# The configuration of mta: every key, what it does, and what is allowed.
# Keys that are set here have no useful default; the others stand behind a # with theirs.
# Check a file with `mta check -c FILE`; a running mta takes a changed one when it gets HUP.
#
# Generated from the structs of mta/config.py by `python -m mta.config_doc`.
"""

PAGE_HEAD = """\
# Configuration

One TOML file. `mta check -c FILE` reports every fault of it at once, with file and line; `mta run -c FILE` does the
same before it starts, and again at HUP: a file with faults never replaces what runs. Unknown keys are faults.
[conf/mta.toml](../conf/mta.toml) is a complete example with every key.

Relative paths (`spool`, `path`, `log.file`, PEM files, `unix:` sockets) count from the folder of the file. Times are
in seconds (`_s`), sizes in bytes (`_bytes`). Domain names may be written in Unicode; they are compared as A-labels.
Networks are written as `192.0.2.0/24` or `2001:db8::/32`, single addresses without the slash; `0.0.0.0/0` is all of
IPv4, `::/0` all of IPv6. `spool` and `user` cannot be changed by a reload; everything else can.

A `[listen.limits]` belongs to the `[[listen]]` above it and sets for that listener what differs from `[limits]`,
wherever in the file that stands; likewise `[listen.access]` and `[access]`.

This page is generated from `mta/config.py` by `python -m mta.config_doc`.
"""


def documents() -> dict[str, str]:
    """The generated files: path in the source tree, and content."""
    return {"conf/mta.toml": _toml(), "docs/configuration.md": _page(), "docs/replies.md": replies_page()}


def main() -> int:
    """Write the files into the source tree that this module is part of."""
    root = Path(__file__).resolve().parent.parent
    for name, text in documents().items():
        (root / name).write_text(text)
        print(name)
    return 0


# ---------------------------------------------------------------------------------------------------------------------
# The structs


def _tables(struct: type[Struct], around: str = "") -> Iterator[tuple[FieldInfo, str, type[Struct]]]:
    """The fields that are tables, each with its header as TOML writes it (`around` is `tls.`, say) and its struct."""
    for field in msgspec.structs.fields(struct):
        hint = _bare(field.type)
        arguments = get_args(hint)
        if get_origin(hint) is list and _is_struct(arguments[0]):
            yield field, f"[[{around}{field.name}]]", arguments[0]
        elif get_origin(hint) is dict:
            yield field, f"[{around}{field.name}.{EXAMPLE_NAME}]", arguments[1]
        elif _is_struct(hint):
            yield field, f"[{around}{field.name}]", hint


def _inner(header: str, struct: type[Struct]) -> Iterator[tuple[FieldInfo, str, type[Struct]]]:
    """The tables within the table that has this header."""
    return _tables(struct, header.strip("[]") + ".")


def _keys(struct: type[Struct]) -> list[FieldInfo]:
    """The fields that are plain keys, not tables."""
    tables = [field.name for field, _, _ in _tables(struct)]
    return [field for field in msgspec.structs.fields(struct) if field.name not in tables]


def _bare(hint: Any) -> Any:
    """A type without what it is annotated with."""
    return get_args(hint)[0] if hasattr(hint, "__metadata__") else hint


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
    for _, header, struct in _tables(Config):
        parts.append(f"\n\n{_comment(struct.__doc__ or '')}{header}\n")
        parts += [f"\n{_toml_key(field)}" for field in _keys(struct)]
        parts += [f"\n{_toml_table(field, inner)}" for field, inner, _ in _inner(header, struct)]
    return "".join(parts)


def _toml_key(field: FieldInfo) -> str:
    meta = _meta(field)
    comment = _comment(f"{meta.description}{_values(field)}")
    if meta.examples:
        return f"{comment}{field.name} = {_toml_value(meta.examples[0])}\n"
    return f"{comment}#{field.name} = {_toml_value(_default(field))}\n"


def _toml_table(field: FieldInfo, header: str) -> str:
    """A table within another, as an example in a comment: setting it is never needed."""
    meta = _meta(field)
    example = (meta.examples or [{}])[0]
    lines = [header]
    for name, value in (example[0] if isinstance(example, list) else example).items():
        lines.append(f"{name} = {_toml_value(value)}")
    return _comment(meta.description or "") + "".join(f"#     {line}\n" for line in lines)


def _toml_value(value: Any) -> str:
    return json.dumps(value)  # of texts, numbers and lists of them JSON and TOML think alike


def _comment(text: str) -> str:
    return "".join(f"# {line}\n" for line in textwrap.wrap(text, WIDTH - 2))


# ---------------------------------------------------------------------------------------------------------------------
# docs/configuration.md


def _page() -> str:
    parts = [PAGE_HEAD, "\n## Top level\n\n", _table(_keys(Config))]
    at_top = [struct for _, _, struct in _tables(Config)]
    for _, header, struct in _tables(Config):
        title = header.replace(EXAMPLE_NAME, "NAME")
        parts.append(_section(title, struct, [*_keys(struct), *(field for field, _, _ in _inner(header, struct))]))
        parts += [
            _section(title, inner, _keys(inner)) for _, title, inner in _inner(header, struct) if inner not in at_top
        ]
    return "".join(parts)


def _section(title: str, struct: type[Struct], fields: list[FieldInfo]) -> str:
    return f"\n## `{title}`\n\n{struct.__doc__}\n\n{_table(fields)}"


def _table(fields: list[FieldInfo]) -> str:
    rows = ["| key | what | allowed | default |\n|---|---|---|---|\n"]
    for field in fields:
        default = "must be set" if field.required else f"`{shown(_default(field))}`"
        if _is_struct(_bare(field.type)):
            default = "`{}`"
        rows.append(f"| `{field.name}` | {_meta(field).description} | {allowed(field.type)} | {default} |\n")
    return "".join(rows)


if __name__ == "__main__":
    sys.exit(main())
