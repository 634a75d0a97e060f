"""What may be asked of SQL servers and of directories, as far as it can be told without them and their libraries.

Faults are in words that show no secret.
"""

import re
from collections.abc import Callable, Iterator
from urllib.parse import parse_qsl, urlsplit

from mta.config_lines import Fault, Path
from mta.config_text import shown
from mta.tables.settings import Table

_HOST = r"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)"
_SQL_URL = re.compile(rf"postgresql\+psycopg://(?:[^:/@?#\s]+@)?(?:{_HOST}(?::\d{{1,5}})?)?/[^/?#\s]+(?:\?[!-~]*)?")
_LDAP_URL = re.compile(rf"ldaps?://{_HOST}(?::\d{{1,5}})?|ldapi://(?:/|%2[Ff])[!-~]+")
_ATTRIBUTE = re.compile(r"[A-Za-z0-9][A-Za-z0-9.;-]{0,254}")

_PARAMETER = re.compile(r"(?<![:\w$\\]):([\w$]+)(?![:\w$])")  # as SQLAlchemy finds them
_CAST = re.compile(r"(?<![:\w$\\]):([\w$]+)::")
_PLACE = re.compile(r"\{(?:key|local|domain)\}")

_SECRETS = ("password", "sslpassword")


def check(path: Path, table: Table) -> Iterator[Fault]:
    """All faults of a table of kind sql or ldap, which is at `path`; missing keys are not among them. Does no I/O."""
    if table.kind == "sql":
        if table.url and (words := sql_url(table.url)):
            # It is not shown: one with a slip may have its password where none is looked for.
            yield (*path, "url"), words
        yield from _shown(path, table, {"query": sql_query})
    if table.kind == "ldap":
        yield from _shown(path, table, {"url": ldap_url, "filter": ldap_filter, "attribute": ldap_attribute})
        yield from _ldap(path, table)


def _shown(path: Path, table: Table, judges: dict[str, Callable[[str], str]]) -> Iterator[Fault]:
    for key, judge in judges.items():
        value = getattr(table, key)
        if value and (words := judge(value)):
            yield (*path, key), f"{shown(value)} {words}"


def _ldap(path: Path, table: Table) -> Iterator[Fault]:
    scheme = table.url.partition(":")[0]
    if table.starttls and scheme != "ldap":
        yield (*path, "starttls"), "is of use with ldap:// only"
    if table.tls_ca and not table.starttls and scheme != "ldaps":
        yield (*path, "tls_ca"), "is of use with ldaps:// or starttls only"
    if table.bind_dn and not table.password_file:
        yield (*path, "bind_dn"), "needs a password_file: without a password a server binds as nobody"
    if table.password_file and not table.bind_dn:
        yield (*path, "password_file"), "is of no use without bind_dn"
    for key in ("base", "bind_dn"):
        if "\0" in getattr(table, key):
            yield (*path, key), "no NUL is allowed"


def sql_url(url: str) -> str:
    """What is wrong with the URL of a database; empty if nothing. So with the others."""
    try:
        parts = urlsplit(url)
        has_password = parts.password is not None
        port = parts.port
    except ValueError:
        return "is no URL"
    if has_password or any(name in _SECRETS for name, _ in parse_qsl(parts.query)):
        return "has a password, which everybody would see; it belongs into password_file"
    if not _SQL_URL.fullmatch(url) or port == 0:
        return 'given is not allowed; as "postgresql+psycopg://user@host:5432/database" is'
    return ""


def sql_query(query: str) -> str:
    """A query with its parameters."""
    if cast := _CAST.search(query):
        return f"given; :{cast[1]}:: is taken for no parameter, CAST(:{cast[1]} AS ...) is"
    names = set(_PARAMETER.findall(query))
    unknown = sorted(names - {"key", "local", "domain"})
    if unknown:
        return rf"given; :{unknown[0]} stands for nothing, only :key, :local and :domain do (\: is a colon)"
    if not names:
        return "given; :key is needed, or :local or :domain"
    if not query.lstrip().lower().startswith(("select", "with")):
        return "given; a query that begins with SELECT or WITH is needed"
    return ""


def ldap_url(url: str) -> str:
    """The URL of a directory's server."""
    try:
        is_good = _LDAP_URL.fullmatch(url) is not None and urlsplit(url).port != 0
    except ValueError:
        is_good = False
    if is_good:
        return ""
    return 'given; "ldap://host:389", "ldaps://host:636" or "ldapi:///path" is allowed, without a password'


def ldap_filter(words: str) -> str:
    """A filter with places for the key."""
    rest, count = _PLACE.subn("", words)
    if not count:
        return "given; {key} is needed, or {local} or {domain}"
    if "{" in rest or "}" in rest:
        return "given; only {key}, {local} and {domain} may be in braces"
    if not _is_enclosed(rest):
        return "given; a filter in one pair of parentheses is needed, with as many ) as ("
    return ""


def ldap_attribute(name: str) -> str:
    """The name of an attribute."""
    return "" if _ATTRIBUTE.fullmatch(name) else "given; the name of one attribute is allowed"


def _is_enclosed(words: str) -> bool:
    """Whether the first character is a parenthesis that the last one closes."""
    depth = 0
    for number, character in enumerate(words, 1):
        depth += (character == "(") - (character == ")")
        if depth <= 0:
            return depth == 0 and number == len(words)
    return False
