"""Lines of keys in TOML texts of every shape that tomllib takes."""

import tomllib
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from mta.config_lines import Path, lines_of

TEXT = (
    '''\
# [not.a.table] x = 1
a = 1  # b = 2
b.c = "x # y" # dotted
"quo.ted" . 'key' = """
[no]
\\""" z = 1
"""
d = [ 1, # ]
  "]", [2,
  3],
  { e = 1, f = [4] },
]
[t]
when = 1979-05-27 07:32:00 # a blank inside
raw = \'\'\'a
'''
    + """'b'''''
n = 3
[t.sub]
[[list]]
x = 1
[list.inner]
y = 1
[[list]]

x = -inf
[[list.deep]]
z = { u.v = 1 }
[ t . "o p" ]
q = '#'
"""
)


def paths(data: Any, path: Path = ()) -> set[Path]:
    """The ways to all values."""
    found = {path} if path else set()
    items = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    for key, value in items:
        found |= paths(value, (*path, key))
    return found


def test_every_value_has_the_line_it_starts_on() -> None:
    lines = lines_of(TEXT)
    assert paths(tomllib.loads(TEXT)) == set(lines)
    rows = TEXT.splitlines()
    assert {path: rows[line - 1] for path, line in lines.items()} == {
        ("a",): "a = 1  # b = 2",
        ("b",): 'b.c = "x # y" # dotted',
        ("b", "c"): 'b.c = "x # y" # dotted',
        ("quo.ted",): '"quo.ted" . \'key\' = """',
        ("quo.ted", "key"): '"quo.ted" . \'key\' = """',
        ("d",): "d = [ 1, # ]",
        ("d", 0): "d = [ 1, # ]",
        ("d", 1): '  "]", [2,',
        ("d", 2): '  "]", [2,',
        ("d", 2, 0): '  "]", [2,',
        ("d", 2, 1): "  3],",
        ("d", 3): "  { e = 1, f = [4] },",
        ("d", 3, "e"): "  { e = 1, f = [4] },",
        ("d", 3, "f"): "  { e = 1, f = [4] },",
        ("d", 3, "f", 0): "  { e = 1, f = [4] },",
        ("t",): "[t]",
        ("t", "when"): "when = 1979-05-27 07:32:00 # a blank inside",
        ("t", "raw"): "raw = '''a",
        ("t", "n"): "n = 3",
        ("t", "sub"): "[t.sub]",
        ("list",): "[[list]]",
        ("list", 0): "[[list]]",
        ("list", 0, "x"): "x = 1",
        ("list", 0, "inner"): "[list.inner]",
        ("list", 0, "inner", "y"): "y = 1",
        ("list", 1): "[[list]]",
        ("list", 1, "x"): "x = -inf",
        ("list", 1, "deep"): "[[list.deep]]",
        ("list", 1, "deep", 0): "[[list.deep]]",
        ("list", 1, "deep", 0, "z"): "z = { u.v = 1 }",
        ("list", 1, "deep", 0, "z", "u"): "z = { u.v = 1 }",
        ("list", 1, "deep", 0, "z", "u", "v"): "z = { u.v = 1 }",
        ("t", "o p"): '[ t . "o p" ]',
        ("t", "o p", "q"): "q = '#'",
    }
    assert lines["list", 1] == rows.index("[[list]]", rows.index("[[list]]") + 1) + 1


@given(st.lists(st.sampled_from([*"ab\"'[]{}=.,#\\ \n10-", '"""', "'''", "[[", "]]", "a = ", "[t]\n"]), max_size=40))
def test_whatever_tomllib_takes_is_scanned(pieces: list[str]) -> None:
    text = "".join(pieces)
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return
    lines = lines_of(text)
    assert {path for path in paths(data) if not any("\\" in str(part) for part in path)} <= set(lines)
    assert all(1 <= line <= text.count("\n") + 1 for line in lines.values())
