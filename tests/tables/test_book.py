"""Tables from their settings, and what an administrator is told of them."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from mta.errors import TableDown
from mta.tables.book import REPORT_S, Book, ReportedTable, open_table
from mta.tables.lines import check_file
from mta.tables.settings import Table
from mta.tables.socketmap import netstring
from tests.support.tableserver import TableServer


def settings(**given: Any) -> Table:
    return msgspec.convert(given, Table)


class Reports(list[tuple[str, dict[str, object]]]):
    def __call__(self, text: str, **fields: object) -> None:
        self.append((text, fields))


@pytest.fixture
def reports() -> Reports:
    return Reports()


@pytest.mark.parametrize(
    ("kind", "line", "key"),
    [("inline", "joe x", b"joe"), ("regexp", "^jo x", b"joe"), ("cidr", "192.0.2.0/24 x", b"192.0.2.1")],
)
def test_entries(reports: Reports, kind: str, line: str, key: bytes) -> None:
    table = open_table("t", settings(kind=kind, entries=[line]), reports)
    assert table.get(key) == b"x"
    assert table.get(b"10.0.0.1") is None
    assert reports == []


@pytest.mark.parametrize("kind", ["file", "regexp"])
def test_files(reports: Reports, tmp_path: Path, kind: str) -> None:
    path = tmp_path / "users"
    path.write_text("joe x\n")
    given = settings(kind=kind, path=str(path))
    assert open_table("t", given, reports).get(b"joe") == b"x"
    assert check_file(given) == []
    path.write_text(" joe x\n")
    assert [fault.partition(": ")[0] for fault in check_file(given)] == [f"{path}:1"]
    with pytest.raises(TableDown):
        open_table("users", given, reports).get(b"joe")
    assert [fields for _, fields in reports] == [
        {"table": "users"},
        {"table": "users", "reason": reports[0][0]},
    ]


@pytest.mark.parametrize("kind", ["socketmap", "redis"])
def test_servers_are_asked_once(reports: Reports, kind: str) -> None:
    said = {"socketmap": netstring(b"OK x"), "redis": b"$1\r\nx\r\n"}[kind]
    with TableServer(lambda _data: said) as server:
        table = open_table("t", settings(kind=kind, host=server.host, map="users"), reports)
        assert [table.get(b"joe"), table.get(b"joe")] == [b"x", b"x"]
        assert len(server.asked) == 1


def test_each_is_opened_once(reports: Reports, tmp_path: Path) -> None:
    path = tmp_path / "users"
    path.write_text(" joe x\n")
    book = Book({name: settings(kind="file", path=str(path)) for name in ("users", "others")}, reports)
    assert reports == []
    assert book.table("users") is book.table("users")
    assert [fields for _, fields in reports] == [{"table": "users"}]
    assert book.table("others") is not book.table("users")


class Source:
    """A table that is down while it has a `reason`."""

    reason = ""

    def get(self, _key: bytes) -> bytes | None:
        if self.reason:
            raise TableDown(self.reason)
        return None


def test_that_it_is_down_is_told_now_and_then(reports: Reports) -> None:
    now = [0.0]
    source = Source()
    table = ReportedTable("users", source, reports, lambda: now[0])
    assert table.get(b"joe") is None
    source.reason = "is burning"
    for _ in range(3):
        with pytest.raises(TableDown, match="is burning"):
            table.get(b"joe")
    down = ("a table is down", {"table": "users", "reason": "is burning"})
    assert reports == [down]
    now[0] += REPORT_S
    with pytest.raises(TableDown):
        table.get(b"joe")
    assert reports == [down, down]
    source.reason = ""
    assert table.get(b"joe") is None
    assert table.get(b"joe") is None
    assert reports == [down, down, ("a table is there again", {"table": "users"})]


def test_one_that_comes_and_goes_is_told_of_once(reports: Reports) -> None:
    """A key for which it is down, and one for which it is not, may be asked for in turn."""
    now = [0.0]
    source = Source()
    table = ReportedTable("users", source, reports, lambda: now[0])
    for _ in range(5):
        source.reason = "is burning"
        with pytest.raises(TableDown):
            table.get(b"joe")
        source.reason = ""
        table.get(b"jane")
    assert [text for text, _ in reports] == ["a table is down", "a table is there again"]
    now[0] += REPORT_S
    source.reason = "is burning"
    with pytest.raises(TableDown):
        table.get(b"joe")
    assert len(reports) == 3


def test_sql_is_asked_once(reports: Reports, tmp_path: Path) -> None:
    url = f"sqlite+pysqlite:///{tmp_path}/users.db"
    given = settings(kind="sql", url=url, query="SELECT :local WHERE :domain = 'example.org'")
    table = open_table("t", given, reports)
    for _ in range(2):
        assert table.get(b"joe@example.org") == b"joe"
        assert table.get(b"joe@example.net") is None
    (tmp_path / "users.db").unlink()
    tmp_path.rename(tmp_path.with_name("moved"))
    assert table.get(b"joe@example.org") == b"joe"
    assert reports == []


def test_a_directory_that_is_not_there(reports: Reports) -> None:
    with TableServer(lambda _data: None) as server:
        host = server.host
    given = settings(kind="ldap", url=f"ldap://{host}", base="dc=x", filter="(mail={key})", attribute="mail")
    with pytest.raises(TableDown, match="refused"):
        open_table("users", given, reports).get(b"joe@example.org")
    ((text, fields),) = reports
    assert (text, fields["table"]) == ("a table is down", "users")
