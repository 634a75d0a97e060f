"""Packages that some kinds of tables need."""

import sys

import pytest

from mta.tables.extras import PACKAGES, missing


def test_kinds_that_need_nothing() -> None:
    assert missing("file") == ""


@pytest.mark.parametrize(("kind", "package"), [(kind, package) for kind in PACKAGES for package in PACKAGES[kind]])
def test_kinds_that_need_something(kind: str, package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert missing(kind) == ""
    monkeypatch.setitem(sys.modules, package, None)  # as Python has what cannot be imported
    assert missing(kind) == f"needs the Python package {package}, which is not installed: pip install 'mta[{kind}]'"
