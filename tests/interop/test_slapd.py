"""A real OpenLDAP as a table: values, hostile keys, TLS, binds, silence, restarts; who is known at RCPT."""

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from mta.tables.book import ReportedTable, open_table
from mta.tables.settings import Table
from tests.support.issued import Issued
from tests.support.outage import check_hanging, check_recipients, check_restart, down
from tests.support.slapd import BASE, MANAGER, Slapd

pytestmark = pytest.mark.interop

PEOPLE = {
    "joe": {"mail": ["joe@example.org", "j@example.org"], "description": ["a välue", "b, c"], "title": ["ünter"]},
    "jane": {"mail": ["jane@example.org", "j@example.org"], "description": ["x"]},
    "none": {"mail": ["none@example.org"]},
    "many": {"mail": ["many@example.org"], "description": [f"{number:04}" for number in range(1001)]},
    "*": {"mail": ["*@example.org"], "description": ["a star"], "title": [") (|(cn=*"]},
}
ACCESS = """\
access to attrs=title by dn.exact="cn=manager,dc=example,dc=org" read by anonymous auth by * none
access to * by * read
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, issued: Issued) -> Iterator[Slapd]:
    pair = issued.authority.server("127.0.0.1")
    with Slapd(tmp_path_factory.mktemp("slapd"), PEOPLE, pair=pair) as server:
        yield server


def table_of(url: str, **given: object) -> ReportedTable:
    settings = {
        **{"kind": "ldap", "url": url, "base": BASE, "filter": "(mail={key})", "attribute": "description"},
        **{"cache_s": 0, "negative_cache_s": 0, **given},
    }
    return open_table("users", msgspec.convert(settings, Table), lambda *_, **__: None)


@pytest.mark.parametrize("where", ["ldap", "ldapi"])
def test_values(server: Slapd, where: str) -> None:
    table = table_of(getattr(server, where))
    for _ in range(2):
        assert table.get(b"joe@example.org") == "a välue,b, c".encode()
        assert table.get(b"JANE@example.org") == b"x"
        assert table.get(b"none@example.org") is None
        assert table.get(b"nobody@example.org") is None
    both = table.get(b"j@example.org")
    assert both is not None
    assert sorted(both.split(b",")) == sorted("a välue,b, c,x".encode().split(b","))
    assert down(table, b"many@example.org").endswith(": more than 1000 values")


def test_hostile_keys(server: Slapd) -> None:
    """None reaches more than itself. What is equal is up to the server: a control character may count for nothing."""
    table = table_of(server.ldap)
    assert table.get(b"*@example.org") == b"a star"
    for key in (
        b"*",
        b"joe*",
        b")(mail=*",
        b"joe@example.org)(|(cn=*",
        b"\\2a",
        b"\0",
        b"joe\0x@example.org",
        b"\xff",
        b"",
        b" ",
    ):
        assert table.get(key) is None
    titles = table_of(server.ldap, filter="(title={key})")
    assert titles.get(b") (|(cn=*") == b"a star"
    assert titles.get("ünter".encode()) == "a välue,b, c".encode()


@pytest.mark.parametrize(
    ("given", "value"),
    [
        ({"filter": "(&(cn={local})(mail=*@{domain}))"}, "a välue,b, c"),
        ({"filter": "(&(cn={local})(mail=*@x.{domain}))"}, None),
        ({"scope": "one"}, "a välue,b, c"),
        ({"scope": "base"}, None),
        ({"base": "dc=example,dc=org", "scope": "one"}, None),
        ({"base": f"cn=joe,{BASE}", "scope": "base", "attribute": "title"}, "ünter"),
        ({"attribute": "nosuchattribute"}, None),
    ],
)
def test_searches(server: Slapd, given: dict[str, object], value: str | None) -> None:
    assert table_of(server.ldap, **given).get(b"joe@example.org") == (None if value is None else value.encode())


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"base": "ou=nobody,dc=example,dc=org"}, "noSuchObject"),
        ({"base": "no name"}, "invalidDNSyntax"),
        ({"filter": "(&(mail={key})mail)"}, "filter"),
    ],
)
def test_searches_that_fail(server: Slapd, given: dict[str, object], reason: str) -> None:
    assert reason in down(table_of(server.ldap, **given))


def test_binds(tmp_path: Path, password: str) -> None:
    with Slapd(tmp_path, PEOPLE, more=ACCESS) as server:
        asked = {"attribute": "title", "bind_dn": MANAGER, "password_file": password}
        assert table_of(server.ldap, **asked).get(b"joe@example.org") == "ünter".encode()
        assert table_of(server.ldap, attribute="title").get(b"joe@example.org") is None
        (tmp_path / "wrong").write_text("geheim\n")
        reason = down(table_of(server.ldap, **{**asked, "password_file": str(tmp_path / "wrong")}))
        assert reason == f"{server.ldap}: bind as {MANAGER}: invalidCredentials"


def test_tls(server: Slapd, issued: Issued, password: str) -> None:
    who = {"bind_dn": MANAGER, "password_file": password}
    begun = {"starttls": True, **who}
    for url, given in ((server.ldaps, who), (server.ldap, begun)):
        assert table_of(url, tls_ca=issued.ca, **given).get(b"jane@example.org") == b"x"
        assert "unable to get local issuer certificate" in down(table_of(url, **given))
        other = url.replace("127.0.0.1", "localhost")
        assert "Hostname mismatch" in down(table_of(other, tls_ca=issued.ca, **given))


def test_a_server_without_tls(tmp_path: Path, issued: Issued) -> None:
    with Slapd(tmp_path, PEOPLE) as server:
        assert "startTLS failed - protocolError" in down(table_of(server.ldap, starttls=True, tls_ca=issued.ca))


def test_referrals_are_not_followed(tmp_path: Path) -> None:
    with Slapd(tmp_path, PEOPLE, more="referral ldap://127.0.0.1:1/") as server:
        assert down(table_of(server.ldap, base="dc=example,dc=net")).startswith(f"{server.ldap}: referral")
        assert table_of(server.ldap).get(b"jane@example.org") == b"x"


def test_a_server_that_hangs(server: Slapd, issued: Issued) -> None:
    """A kept connection, a new one, one that begins TLS."""
    more = {"timeout_s": 0.5, "connections": 1}
    kept, fresh = (table_of(server.ldap, **more) for _ in range(2))
    encrypted = table_of(server.ldaps, tls_ca=issued.ca, **more)
    assert kept.get(b"joe@example.org") is not None
    check_hanging(server, [kept, fresh, encrypted])


def test_a_restart(tmp_path: Path) -> None:
    with Slapd(tmp_path, PEOPLE) as server:
        check_restart(server, table_of(server.ldap))


def test_recipients(tmp_path: Path, password: str) -> None:
    (tmp_path / "slapd").mkdir()
    with Slapd(tmp_path / "slapd", PEOPLE) as server:
        table = {
            **{"kind": "ldap", "url": server.ldap, "base": BASE, "filter": "(mail={key})", "attribute": "mail"},
            **{"bind_dn": MANAGER, "password_file": password},
        }
        check_recipients(tmp_path / "mta", server, table, "j*@example.org")
