"""Packages that some kinds of tables need."""

import sys

import pytest

from mta.tables.extras import PACKAGES, missing


def test_kinds_that_need_nothing() -> None:
    assert missing("file") == ""


@pytest.mark.parametrize("kind", PACKAGES)
def test_kinds_that_need_something(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert missing(kind) == ""
    monkeypatch.setitem(sys.modules, PACKAGES[kind], None)  # as Python has what cannot be imported
    package = PACKAGES[kind]
    assert missing(kind) == f"needs the Python package {package}, which is not installed: pip install 'mta[{kind}]'"
