"""The door `mta.fastparse`: which implementation runs, and what is said when the compiled one is not there."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mta import _fastparse, fastparse

ROOT = Path(__file__).resolve().parents[1]


def run(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run code in a Python of its own, with no switch set but those given."""
    inherited = {name: value for name, value in os.environ.items() if name != "MTA_PURE_PYTHON"}
    return subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=inherited | environment, capture_output=True, text=True, timeout=60
    )


@pytest.mark.parametrize(
    ("environment", "implementation", "module"),
    [
        ({}, "cython", "mta._fastparse"),
        ({"MTA_PURE_PYTHON": ""}, "cython", "mta._fastparse"),
        ({"MTA_PURE_PYTHON": "0"}, "cython", "mta._fastparse"),
        ({"MTA_PURE_PYTHON": "1"}, "python", "mta._fastparse_py"),
    ],
)
def test_choice(environment: dict[str, str], implementation: str, module: str) -> None:
    code = "from mta import fastparse; print(fastparse.IMPLEMENTATION, fastparse.Unstuffer.__module__)"
    assert run(code, **environment).stdout.split() == [implementation, module]


def test_a_missing_module_is_an_error_that_says_what_to_run() -> None:
    done = run("import sys; sys.modules['mta._fastparse'] = None; import mta.fastparse")
    assert done.returncode != 0
    assert "ImportError" in done.stderr
    assert "python setup.py build_ext --inplace" in done.stderr
    assert "MTA_PURE_PYTHON=1" in done.stderr


def test_the_oracle_needs_no_compiled_module() -> None:
    code = "import sys; sys.modules['mta._fastparse'] = None; from mta.fastparse import stuff; print(stuff(b'.'))"
    assert run(code, MTA_PURE_PYTHON="1").stdout.strip() == repr(b"..\r\n.\r\n")


def test_everything_passes_through() -> None:
    offered = {name for name in vars(_fastparse) if not name.startswith("_")}
    assert offered | {"IMPLEMENTATION"} == set(fastparse.__all__)
