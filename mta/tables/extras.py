"""Packages that only some kinds of tables need, and the extras that they come with."""

from importlib.util import find_spec

PACKAGES = {"lmdb": ("lmdb",), "http": ("h11",), "sql": ("sqlalchemy", "psycopg"), "ldap": ("ldap3",)}
"""By the kind of a table, which is also the name of the extra: the packages that are imported."""


def missing(kind: str) -> str:
    """What to install for a kind of table, in words; empty where all is there. Looks at folders."""
    for package in PACKAGES.get(kind, ()):
        if find_spec(package) is None:
            return f"needs the Python package {package}, which is not installed: pip install 'mta[{kind}]'"
    return ""
