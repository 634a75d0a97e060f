"""Packages that only some kinds of tables need, and the extras that they come with."""

from importlib.util import find_spec

PACKAGES = {"lmdb": "lmdb", "http": "h11"}
"""By the kind of a table, which is also the name of the extra: the package that is imported."""


def missing(kind: str) -> str:
    """What to install for a kind of table, in words; empty where all is there. Looks at folders."""
    package = PACKAGES.get(kind)
    if package is None or find_spec(package) is not None:
        return ""
    return f"needs the Python package {package}, which is not installed: pip install 'mta[{kind}]'"
