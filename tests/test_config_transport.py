"""Transports in a configuration: what each kind may have, and what is said of what it may not."""

import pytest

from mta.config import Config
from mta.config_load import parse
from mta.errors import ConfigError

HEAD = """\
hostname = "mx.example.org"
spool = "spool"
[[listen]]
address = "127.0.0.1:2525"
[domains]
local = ["example.org"]
[[route]]
recipients = ["*"]
transport = "x"
[transport.x]
"""
FIRST = HEAD.count("\n") + 1  # line of the first key of the transport


def read(lines: str) -> Config:
    return parse(HEAD + lines, "/etc/mta/mta.toml")


def faults(lines: str) -> list[str]:
    """Faults of `lines`, which are counted from 1, without the names of file and table; a missing key is in line 0."""
    with pytest.raises(ConfigError) as caught:
        read(lines)
    told = []
    for problem in caught.value.problems:
        _, line, key, words = problem.split(":", 3)
        told.append(f"{int(line) - FIRST + 1}: {key.strip().removeprefix('transport.x.')}:{words}")
    return told


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ('kind = "fail"\ntext = "a\\nb"\ncode = "2.0.0"', ["2: text: ", "3: code: "]),
        ('kind = "fail"\ntext = ""', ['2: text: "" given; ASCII, 200 characters at most, is allowed']),
        ('kind = "discard"\ncode = "4.0.0"', ["2: code: is of no use with kind discard; it is for fail"]),
    ],
)
def test_faults(lines: str, expected: list[str]) -> None:
    found = faults(lines)
    assert len(found) == len(expected), found
    for fault, begin in zip(found, expected, strict=True):
        assert fault.startswith(begin), found


@pytest.mark.parametrize("lines", ['kind = "fail"', 'kind = "fail"\ncode = "4.2.1"\ntext = "Later."'])
def test_good_ones(lines: str) -> None:
    assert read(lines).transport["x"].kind in lines
