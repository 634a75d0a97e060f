"""Routes in a configuration: conditions, and what is said of those that cannot hold."""

from pathlib import Path

import pytest
from msgspec.structs import replace

from mta.config import Config
from mta.config_load import parse
from mta.config_targets import check_files
from mta.errors import ConfigError
from mta.tables.settings import Table

HEAD = """\
hostname = "mx.example.org"
spool = "spool"
[[listen]]
address = "127.0.0.1:2525"
[[listen]]
address = "[::1]:25"
[domains]
local = ["example.org"]
[transport.x]
kind = "discard"
"""
REST = '[[route]]\nrecipients = ["*"]\ntransport = "x"\n'
ROUTE = '[[route]]\nrecipients = ["*"]\ntransport = "x"\n'
FIRST = HEAD.count("\n") + 4  # line of what follows in the first route


def read(lines: str, rest: str = REST) -> Config:
    return parse(f"{HEAD}{ROUTE}{lines}\n{rest}", "/etc/mta/mta.toml")


def faults(lines: str, rest: str = REST) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        read(lines, rest)
    told = []
    for problem in caught.value.problems:
        _, line, text = problem.split(":", 2)
        told.append(f"{int(line) - FIRST + 1}:{text}")
    return told


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ('senders = ["nobody"]', '1: route[0].senders[0]: "nobody" given; "*", "<>", "*@example.org" or'),
        ('senders = [\n"*", "a@-"]', '2: route[0].senders[1]: "a@-" given'),
        ('senders = "<>"', '1: route[0].senders: "<>" given; a list, of a text each is allowed'),
        ("senders = [7]", "1: route[0].senders[0]: 7 given; a text is allowed"),
        (
            'listeners = ["127.0.0.1:25"]',
            '1: route[0].listeners[0]: there is no [[listen]] with address "127.0.0.1:25"; known: 127.0.0.1:2525, ',
        ),
        ('listeners = ["smtp"]', '1: route[0].listeners[0]: there is no [[listen]] with address "smtp"'),
        ('listener = ["127.0.0.1:25"]', "1: route[0].listener: unknown key; did you mean 'listeners'?"),
    ],
)
def test_faults(lines: str, expected: str) -> None:
    (fault,) = faults(lines)
    assert fault.startswith(expected)


@pytest.mark.parametrize("lines", ['senders = ["*@example.com"]', 'listeners = ["[::1]:25"]'])
def test_other_mail_would_have_nowhere_to_go(lines: str) -> None:
    (fault,) = faults(lines, rest="")
    assert 'no route takes mail for "example.org"' in fault


def test_everybody_is_no_condition() -> None:
    assert read('senders = ["<>", "*"]', rest="").route[0].senders == ["<>", "*"]


def test_form_that_the_program_uses() -> None:
    route = read('senders = ["a@bücher.example", "<>"]\nlisteners = ["[::1]:25"]').route[0]
    assert route.senders == ["a@xn--bcher-kva.example", "<>"]
    assert route.listeners == ["[::1]:25"]


TABLE = '[table.t]\nkind = "inline"\n[table.hosts]\nkind = "cidr"\nentries = ["192.0.2.0/24 x"]\n'


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ('table = "t"', "1: route[0].table: and transport are given; one of them is allowed"),
        ('copy_to = ["y"]', "1: route[0].copy_to[0]: there is no [transport.y]; known: x, a"),
        ('copy_to = ["x"]', '1: route[0].copy_to[0]: "x" is the transport of the route'),
        ('copy_to = ["a", "b", "a"]', '1: route[0].copy_to[2]: "a" is there twice'),
        ("copy_to = [1]", "1: route[0].copy_to[0]: 1 given; a text is allowed"),
        (f"copy_to = {[*'abcdefghi']}", "1: route[0].copy_to: has 9 names; 8 are allowed"),
    ],
)
def test_faults_of_targets(lines: str, expected: str) -> None:
    transports = "".join(f'[transport.{name}]\nkind = "discard"\n' for name in "abcdefghi")
    (fault,) = faults(lines, REST + TABLE + transports)
    assert fault.startswith(expected)


@pytest.mark.parametrize(
    ("route", "expected"),
    [
        ('recipients = ["*"]', "transport: is missing; a name from [transport.NAME] is needed, or else table"),
        ('recipients = ["*"]\ntable = "u"', "table: there is no [table.u]; did you mean"),
        ('recipients = ["*"]\ntable = "hosts"', "table: [table.hosts] is of kind cidr"),
    ],
)
def test_faults_of_tables(route: str, expected: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(f"{HEAD}[[route]]\n{route}\n{REST}{TABLE}".replace("[table.t]", "[table.uu]"), "/etc/mta/mta.toml")
    (problem,) = caught.value.problems
    assert problem.split(":", 2)[2].strip().startswith(f"route[0].{expected}")


def test_a_table_takes_nobody_for_certain() -> None:
    route = '[[route]]\nrecipients = ["*"]\ntable = "t"\ncopy_to = ["x"]\n'
    with pytest.raises(ConfigError, match=r'no route takes mail for "example\.org"'):
        parse(f"{HEAD}{route}{TABLE}", "/etc/mta/mta.toml")
    config = parse(f"{HEAD}{route}{REST}{TABLE}", "/etc/mta/mta.toml")
    assert (config.route[0].transport, config.route[0].table, config.route[0].copy_to) == ("", "t", ["x"])


@pytest.mark.parametrize(
    ("domains", "recipients", "is_right"),
    [
        ('table = "t"', "*@example.org", False),
        ('table = "t"', "*@virtual.example", True),
        ('table = "t"', "*", True),
        ('table = "t"\naliases = "t"', "*@example.org", True),
    ],
)
def test_routes_for_a_table_of_domains(domains: str, recipients: str, is_right: bool) -> None:
    head = HEAD.replace('local = ["example.org"]\n', f'local = ["example.org"]\n{domains}\n')
    routes = f'[[route]]\nrecipients = ["{recipients}", "*@example.org"]\ntransport = "x"\n'
    if is_right:
        assert parse(f"{head}{routes}{TABLE}", "/etc/mta/mta.toml").domains.table == "t"
    else:
        with pytest.raises(ConfigError, match=r"domains\.table: no route takes mail for domains that are only in"):
            parse(f"{head}{routes}{TABLE}", "/etc/mta/mta.toml")


def test_names_of_tables_of_domains() -> None:
    head = HEAD.replace('local = ["example.org"]\n', 'local = ["example.org"]\naliases = "hosts"\ntable = "u"\n')
    with pytest.raises(ConfigError) as caught:
        parse(f"{head}{REST}{TABLE}", "/etc/mta/mta.toml")
    assert [problem.split(":", 2)[2].strip().partition(";")[0] for problem in caught.value.problems] == [
        "domains.aliases: [table.hosts] is of kind cidr, which knows addresses of hosts and none of mail",
        "domains.table: there is no [table.u]",
    ]


VALUES = """\
[table.t]
kind = "inline"
entries = [
"joe@example.org x",
"ann@example.org y",
]
[table.names]
kind = "inline"
entries = [
"joe@example.org ann@example.org, @old.example",
"ann@example.org ann",
]
"""


def test_values_of_tables(tmp_path: Path) -> None:
    route = '[[route]]\nrecipients = ["*"]\ntable = "t"\n'
    head = HEAD.replace('local = ["example.org"]\n', 'local = ["example.org"]\naliases = "names"\n')
    with pytest.raises(ConfigError) as caught:
        parse(f"{head}{route}{REST}{VALUES}", "/etc/mta/mta.toml")
    told = [problem.split(":", 2)[2].strip() for problem in caught.value.problems]
    assert told[0] == "table.t.entries[1]: 'y' is no [transport.NAME]"
    assert told[1].startswith("table.names.entries[1]: 'ann' is no list of addresses: ")
    path = tmp_path / "values"
    path.write_text("joe@example.org y\n")
    values = VALUES.replace('example.org y"', 'example.org x"').replace('org ann"', 'org ann@example.org"')
    config = parse(f"{head}{route}{REST}{values}", "/etc/mta/mta.toml")
    file = Table("file", path=str(path))
    faults = check_files(replace(config, table={"t": file, "names": file}))
    assert [fault.partition(" is no ")[0] for fault in faults] == [f"{path}:1: 'y'"] * 2
