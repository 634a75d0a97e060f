"""[access] and [listen.access]: which listener has which tables, and faults with their lines."""

from pathlib import Path

import pytest
from msgspec.structs import replace

from mta.config import Config
from mta.config_access import Access, check_files, used
from mta.config_load import parse
from mta.errors import ConfigError
from mta.tables.settings import Table

HEAD = """\
hostname = "mx.example.org"
spool = "spool"
[transport.x]
kind = "discard"
[[route]]
recipients = ["*"]
transport = "x"
[domains]
local = ["example.org"]
[table.nets]
kind = "cidr"
entries = ["192.0.2.0/24 REJECT"]
[table.words]
kind = "inline"
entries = ["example.com OK"]
[table.more]
kind = "redis"
host = "127.0.0.1:99"
[[listen]]
address = "127.0.0.1:2525"
"""
FIRST = HEAD.count("\n") + 1


def read(text: str) -> Config:
    return parse(text, "/etc/mta/mta.toml")


def faults(lines: str, head: str = HEAD) -> list[str]:
    """The faults of `lines` behind `head`, their numbers counted from 1 there."""
    with pytest.raises(ConfigError) as caught:
        read(head + lines)
    told = []
    for problem in caught.value.problems:
        _, line, words = problem.split(":", 2)
        told.append(f"{int(line) - FIRST + 1}:{words}")
    return told


def test_nothing_is_asked_by_default() -> None:
    [listen] = read(HEAD).listen
    assert listen.access == Access()
    assert used(listen.access) == {}
    assert (listen.access.sender_unknown, listen.access.sender_null_mx) == ("ignore", "ignore")


def test_a_listener_changes_what_it_sets() -> None:
    text = """\
[listen.access]
client = ""
sender = "more"
[[listen]]
address = "127.0.0.1:2526"
[access]
client = "nets"
sender = "words"
sender_unknown = "refuse"
"""
    first, second = (listen.access for listen in read(HEAD + text).listen)
    assert second == Access(client="nets", sender="words", sender_unknown="refuse")
    assert first == replace(second, client="", sender="more")
    assert used(first) == {"sender": "more"}
    assert used(second) == {"client": "nets", "sender": "words"}


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        ('[access]\nclient = "net"', ["2: access.client: there is no [table.net]; did you mean 'nets'?"]),
        ('[access]\nhelo = "x"', ["2: access.helo: there is no [table.x]; known: nets, words, more"]),
        (
            '[listen.access]\nsender = "nets"',
            [
                "2: listen[0].access.sender: [table.nets] is of kind cidr, which knows addresses of hosts; it is for "
                "access.client"
            ],
        ),
        ('[access]\nrecipients = "words"', ["2: access.recipients: unknown key; did you mean 'recipient'?"]),
        (
            '[access]\nsender_unknown = "defer"',
            ['2: access.sender_unknown: "defer" given; one of "ignore", "refuse" is allowed'],
        ),
        ("[access]\nclient = 1", ["2: access.client: 1 given; a text is allowed"]),
    ],
)
def test_faults(lines: str, told: list[str]) -> None:
    assert faults(lines) == told


def test_a_fault_is_told_where_it_is_set() -> None:
    lines = '[listen.access]\nsender = "words"\n[access]\nclient = "x"\nsender = "y"'
    assert [fault.partition(":")[0] for fault in faults(lines)] == ["4", "5"]


def test_without_tables() -> None:
    head = HEAD.replace("[table.", "[tables.")
    assert any("there is no [table.nets]; known: none" in fault for fault in faults('[access]\nclient = "nets"', head))


@pytest.mark.parametrize(
    ("entries", "kind", "told"),
    [
        (["a.example OK", "b.example nope"], "inline", "[1]: 'nope' is no action; "),
        (["a.example"], "inline", "[0]: '' is no action; "),
        ([".example REJECT"], "inline", "[0]: begins with a dot; "),
        (["# x", "/@a b/ REJECT", "/^c/ 550 4.7.1 x"], "regexp", "[2]: '550 4.7.1 x' has two codes "),
    ],
)
def test_values_in_the_configuration(entries: list[str], kind: str, told: str) -> None:
    table = f'[table.given]\nkind = "{kind}"\nentries = {entries}\n[access]\nsender = "given"'
    [fault] = faults(table)
    assert fault.startswith(f"3: table.given.entries{told}")
    read(HEAD + table.replace("[access]\nsender", "[domains.x]\nx").partition("[domains.x]")[0])  # no fault in others


def test_networks_are_judged_too() -> None:
    [fault] = faults('[table.given]\nkind = "cidr"\nentries = ["::/0 drop"]\n[access]\nclient = "given"')
    assert fault.startswith("3: table.given.entries[0]: 'drop' is no action; OK, DUNNO, REJECT")


def test_values_in_files(tmp_path: Path) -> None:
    path = tmp_path / "senders"
    path.write_text("# who\nexample.com REJECT\nexample.net REJEKT\n\n.example.org OK\n")
    tables = {"senders": Table("file", path=str(path)), "other": Table("file", path="/nonexistent")}
    told = check_files([Access(sender="senders"), Access(sender="senders", helo="other")], tables)
    assert [fault.partition(" ")[0] for fault in told] == [f"{path}:3:", f"{path}:5:"]
    assert check_files([Access(client="other"), Access()], tables) == []
