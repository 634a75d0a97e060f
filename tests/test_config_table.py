"""Tables in a configuration, and who asks them."""

import pytest

from mta.config import Config
from mta.config_load import parse
from mta.errors import ConfigError

HEAD = """\
hostname = "mx.example.org"
spool = "spool"
[[listen]]
address = "127.0.0.1:2525"
[transport.x]
kind = "discard"
[[route]]
recipients = ["*"]
transport = "x"
"""
TABLE = """\
[domains]
local = ["example.org"]
recipients = "users"
[table.users]
"""
FIRST = (HEAD + TABLE).count("\n") + 1  # line of the first key of the table


def read(text: str) -> Config:
    return parse(text, "/etc/mta/mta.toml")


def faults(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        read(text)
    return [problem.removeprefix("/etc/mta/mta.toml:") for problem in caught.value.problems]


def table_faults(lines: str) -> list[str]:
    """Faults of `lines`, which are counted from 1, without the name of the table; a missing key is in line 0."""
    told = []
    for fault in faults(HEAD + TABLE + lines):
        line, key, words = fault.split(":", 2)
        told.append(f"{int(line) - FIRST + 1}: {key.strip().removeprefix('table.users').removeprefix('.')}:{words}")
    return told


@pytest.mark.parametrize(
    "lines",
    [
        'kind = "inline"\nentries = ["joe@example.org", "@list.example x"]',
        'kind = "file"\npath = "users"',
        'kind = "regexp"\npath = "users"',
        'kind = "regexp"\nentries = ["^joe@"]',
        'kind = "sqlite"\npath = "users.db"\nquery = "select 1 from users where name = ?;"\ntimeout_s = 1',
        'kind = "socketmap"\nhost = "127.0.0.1:99"\nmap = "users"\nconnections = 1\ncache_s = 0',
        'kind = "lmdb"\npath = "users.db"',
        'kind = "http"\nurl = "https://a.example/b/{key}?c=d"\ntls_ca = "ca.pem"\nkey_file = "token"\nconnections = 1',
        'kind = "http"\nurl = "http://[::1]:8080/?q={key}"\nkey_file = "token"\ntimeout_s = 1',
        'kind = "redis"\nhost = "unix:run/redis"\nhash = "users"\nnegative_cache_s = 1.5\ncache_entries = 5',
    ],
)
def test_good(lines: str) -> None:
    config = read(HEAD + TABLE + lines)
    assert config.domains.recipients == "users"
    table = config.table["users"]
    assert table.path in ("", "/etc/mta/users", "/etc/mta/users.db")
    assert table.key_file in ("", "/etc/mta/token")
    assert table.tls_ca in ("", "/etc/mta/ca.pem")
    assert table.host in ("", "127.0.0.1:99", "unix:/etc/mta/run/redis")


def test_no_table() -> None:
    config = read(HEAD + TABLE.partition("recipients")[0])
    assert config.domains.recipients == ""
    assert config.table == {}


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ("", ["0: kind: is missing; one of"]),
        ('kind = "nis"', ['1: kind: "nis" given; one of "cidr", "file"']),
        ('kind = "file"', ["0: path: is missing; kind file needs it"]),
        ('kind = "file"\npath = "a\\u0000"', ["2: path: no NUL is allowed"]),
        ('kind = "regexp"', ["0: : kind regexp needs either path or entries"]),
        ('kind = "regexp"\npath = "x"\nentries = ["x"]', ["0: : kind regexp needs either path or entries"]),
        ('kind = "inline"\npath = "x"', ["2: path: is of no use with kind inline; it is for file, regexp"]),
        ('kind = "inline"\ncache_s = 1', ["2: cache_s: is of no use with kind inline; it is for sqlite, sql, ldap"]),
        (
            'kind = "inline"\nentries = [\n"joe x",\n" jane",\n"JOE y", 7,\n"a\\nb"]',
            [
                "4: entries[1]: begins with a blank",
                "5: entries[3]: 7 given; a text is allowed",
                "5: entries[2]: 'joe' is there twice",
                "6: entries[4]: has more than one line",
            ],
        ),
        (
            'kind = "regexp"\nentries = [\n"(a+)+$ x",\n"("]',
            ["3: entries[0]: has a pattern that can take too long", "4: entries[1]: is no pattern"],
        ),
        ('kind = "sqlite"\npath = "x"', ["0: query: is missing; kind sqlite needs it"]),
        (
            'kind = "sqlite"\npath = "x"\nquery = "select 1"',
            ['3: query: "select 1" given; one ? is needed, for the key'],
        ),
        ('kind = "sqlite"\npath = "x"\nquery = "delete ?"', ['3: query: "delete ?" given; a query that begins with']),
        ('kind = "sqlite"\npath = "x"\nquery = "select \'?"', ['3: query: "select \'?" does not end']),
        (
            'kind = "socketmap"\nhost = "x"\nmap = "a b"',
            ['2: host: "x" given; a host and a port, as in', '3: map: "a b" given; ASCII without blanks'],
        ),
        ('kind = "lmdb"', ["0: path: is missing; kind lmdb needs it"]),
        ('kind = "lmdb"\npath = "x"\ncache_s = 1', ["3: cache_s: is of no use with kind lmdb; it is for sqlite, "]),
        ('kind = "http"', ["0: url: is missing; kind http needs it"]),
        ('kind = "http"\nurl = "ftp://x/{key}"', ['2: url: "ftp://x/{key}" given; an address like']),
        ('kind = "http"\nurl = "https://{key}/x"', ['2: url: "https://{key}/x" given; an address like']),
        ('kind = "http"\nurl = "https://x/key"', ['2: url: "https://x/key" given; one {key} is needed, and no other']),
        ('kind = "http"\nurl = "https://x/{key}{key}"', ['2: url: "https://x/{key}{key}" given; one {key} is']),
        ('kind = "http"\nurl = "https://x/{key}/{x}"', ['2: url: "https://x/{key}/{x}" given; one {key} is']),
        (
            'kind = "http"\nurl = "http://192.0.2.1/{key}"\ntls_ca = "a"\nkey_file = "b"',
            ["3: tls_ca: is of use with https:// only", "4: key_file: is sent in plain text by http://; https://"],
        ),
        ('kind = "http"\nurl = "http://localhost/{key}"\nkey_file = "b"', ["3: key_file: is sent in plain text"]),
        ('kind = "file"\npath = "x"\ntls_ca = "y"', ["3: tls_ca: is of no use with kind file; it is for http"]),
        ('kind = "http"\nurl = "https://x/{key}"\nkey_file = "a\\u0000"', ["3: key_file: no NUL is allowed"]),
        ('kind = "redis"\nhost = "x:1"\ntimeout_s = 0', ["3: timeout_s: 0 given; a number over 0, up to 60"]),
    ],
)
def test_faults(lines: str, expected: list[str]) -> None:
    found = table_faults(lines)
    assert len(found) == len(expected), found
    for fault, begin in zip(found, expected, strict=True):
        assert fault.startswith(begin), found


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ('"users"', '"user"', "12: domains.recipients: there is no [table.user]; did you mean 'users'?"),
        ('"users"', '"x"', "12: domains.recipients: there is no [table.x]; known: users"),
        ("[domains]", '[domains]\nextension = "++"', '11: domains.extension: "++" given; one of '),
        ('recipients = "users"', 'extension = "+"', "12: domains.extension: is of use with domains.recipients, "),
        ("table.users", 'table."a b"', '13: table."a b": letters, digits, - and _ are allowed in a name, 64 at most'),
    ],
)
def test_references(old: str, new: str, expected: str) -> None:
    found = faults((HEAD + TABLE + 'kind = "file"\npath = "x"').replace(old, new, 1))
    assert any(fault.startswith(expected) for fault in found), found


def test_networks_are_no_recipients() -> None:
    assert table_faults('kind = "cidr"\nentries = ["::/0"]') == [
        "-1: domains.recipients: [table.users] is of kind cidr, which knows addresses of hosts and none of mail"
    ]
