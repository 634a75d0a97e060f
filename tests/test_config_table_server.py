"""Tables of SQL servers and directories in a configuration."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import make_url

from mta.config_table_server import sql_url
from mta.tables.sql import SqlServer
from tests.test_config_table import HEAD, TABLE, read, table_faults

SQL = """\
kind = "sql"
url = "postgresql+psycopg://mta@db.example.org/mail"
query = "SELECT 1 FROM users WHERE address = :key"
"""
LDAP = """\
kind = "ldap"
url = "ldap://dir.example.org"
base = "dc=example,dc=org"
filter = "(mail={key})"
attribute = "mail"
"""


def changed(lines: str, more: str) -> str:
    """With other values for the keys of `more`, at the end."""
    keys = {line.partition(" = ")[0] for line in more.splitlines()}
    kept = [line for line in lines.splitlines() if line.partition(" = ")[0] not in keys]
    return "\n".join([*kept, *more.splitlines()])


@pytest.mark.parametrize(
    "lines",
    [
        SQL,
        changed(SQL, 'url = "postgresql+psycopg:///mail?host=/run/postgresql"\npassword_file = "secret"'),
        changed(SQL, 'url = "postgresql+psycopg://mta@[::1]:5433/mail?sslmode=verify-full"\nconnections = 8'),
        changed(SQL, 'query = "select CAST(:local AS text) || x::text from x where d = :domain;"\ntimeout_s = 1'),
        changed(SQL, r'query = "WITH a AS (SELECT :key) SELECT \\:plain FROM a"' + "\ncache_s = 0"),
        LDAP,
        changed(LDAP, 'url = "ldaps://[::1]:6360"\ntls_ca = "ca.pem"\nscope = "one"\ncache_entries = 5'),
        changed(LDAP, 'url = "ldapi:///run/slapd/ldapi"\nbind_dn = "cn=mta"\npassword_file = "secret"'),
        changed(LDAP, 'url = "ldapi://%2Frun%2Fldapi"'),
        changed(LDAP, 'starttls = true\ntls_ca = "ca.pem"\nfilter = "(&(uid={local})(|(dc={domain})(dc=x)))"'),
    ],
)
def test_good(lines: str) -> None:
    table = read(HEAD + TABLE + lines).table["users"]
    assert table.password_file in ("", "/etc/mta/secret")
    assert table.tls_ca in ("", "/etc/mta/ca.pem")


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ('kind = "sql"', ["0: query: is missing; kind sql needs it", "0: url: is missing; kind sql needs it"]),
        (
            'kind = "ldap"',
            [f"0: {key}: is missing; kind ldap needs it" for key in ("url", "base", "filter", "attribute")],
        ),
        (SQL + 'base = "dc=x"', ["4: base: is of no use with kind sql; it is for ldap"]),
        (LDAP + 'query = "SELECT :key"', ["6: query: is of no use with kind ldap; it is for sqlite, sql"]),
        (
            'kind = "redis"\nhost = "127.0.0.1:1"\npassword_file = "x"',
            ["3: password_file: is of no use with kind redis"],
        ),
        (SQL + "starttls = true", ["4: starttls: is of no use with kind sql; it is for ldap"]),
        (changed(SQL, 'url = "postgresql://mta@db/mail"'), ["3: url: given is not allowed"]),
        (changed(SQL, 'url = "postgresql+psycopg://db"'), ["3: url: given is not allowed"]),
        (changed(SQL, 'url = "postgresql+psycopg://db:0/x"'), ["3: url: given is not allowed"]),
        (changed(SQL, 'url = "postgresql+psycopg://db:99999/x"'), ["3: url: is no URL"]),
        (changed(SQL, 'url = "postgresql+psycopg://[::1/x"'), ["3: url: is no URL"]),
        (changed(SQL, 'query = "SELECT 1"'), ['3: query: "SELECT 1" given; :key is needed']),
        (
            changed(SQL, 'query = "SELECT :key, :user"'),
            ['3: query: "SELECT :key, :user" given; :user stands for nothing'],
        ),
        (changed(SQL, 'query = "SELECT :key::int"'), ['3: query: "SELECT :key::int" given; :key:: is taken']),
        (
            changed(SQL, 'query = "DELETE FROM x WHERE a = :key"'),
            ['3: query: "DELETE FROM x WHERE a = :key" given; a query'],
        ),
        (changed(LDAP, 'url = "ldap://dir.example.org/dc=x"'), ['5: url: "ldap://dir.example.org/dc=x" given; ']),
        (changed(LDAP, 'url = "ldap://dir:99999"'), ['5: url: "ldap://dir:99999" given; ']),
        (changed(LDAP, 'url = "ldapi://run/ldapi"'), ['5: url: "ldapi://run/ldapi" given; ']),
        (changed(LDAP, 'filter = "(mail=x)"'), ['5: filter: "(mail=x)" given; {key} is needed']),
        (changed(LDAP, 'filter = "(mail={key}){user}"'), ['5: filter: "(mail={key}){user}" given; only {key}']),
        (changed(LDAP, 'filter = "mail={key}"'), ['5: filter: "mail={key}" given; a filter in one pair']),
        (changed(LDAP, 'filter = "(mail={key}"'), ['5: filter: "(mail={key}" given; a filter in one pair']),
        (changed(LDAP, 'filter = "(a={key})(b=c)"'), ['5: filter: "(a={key})(b=c)" given; a filter in one pair']),
        (changed(LDAP, 'filter = "(a={key}))("'), ['5: filter: "(a={key}))(" given; a filter in one pair']),
        (changed(LDAP, 'attribute = "mail,cn"'), ['5: attribute: "mail,cn" given; the name of one attribute']),
        (changed(LDAP, 'attribute = "*"'), ['5: attribute: "*" given; the name of one attribute']),
        (changed(LDAP, 'scope = "all"'), ['6: scope: "all" given; one of "base", "one", "sub"']),
        (LDAP + 'bind_dn = "cn=x"', ["6: bind_dn: needs a password_file"]),
        (LDAP + 'password_file = "x"', ["6: password_file: is of no use without bind_dn"]),
        (LDAP + 'tls_ca = "x"', ["6: tls_ca: is of use with ldaps:// or starttls only"]),
        (changed(LDAP, 'url = "ldaps://x"\nstarttls = true'), ["6: starttls: is of use with ldap:// only"]),
        (LDAP + 'bind_dn = "a\\u0000"\npassword_file = "x"', ["6: bind_dn: no NUL is allowed"]),
    ],
)
def test_faults(lines: str, expected: list[str]) -> None:
    told = sorted(table_faults(lines))
    assert len(told) == len(expected), told
    for fault, start in zip(told, sorted(expected), strict=True):
        assert fault.startswith(start)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql+psycopg://mta:geheim@db/mail",
        "postgresql+psycopg://mta@db/mail?password=geheim",
        "postgresql+psycopg://mta@db/mail?sslpassword=geheim",
        "postgresql+psycopg://mta@db mail?passwort=geheim",
        "mysql://mta:geheim@db/mail",
    ],
)
def test_a_password_is_not_shown(url: str) -> None:
    (fault,) = table_faults(changed(SQL, f'url = "{url}"'))
    assert "geheim" not in fault
    assert fault.startswith("3: url: ")


@given(st.text(alphabet="abz019:/@?&=[]%.-_ü#", max_size=30))
def test_what_is_allowed_can_be_used(end: str) -> None:
    """SQLAlchemy makes something of it, at the start of a process, where it must not fail."""
    url = f"postgresql+psycopg://{end}"
    if not sql_url(url):
        assert make_url(url).password is None
        SqlServer(url, "SELECT :key", "", 1.0)
