"""Reading a configuration: what is made of a good file, and what is said about a bad one."""

from pathlib import Path

import pytest

from mta.config import Config, Limits
from mta.config_load import load, parse
from mta.errors import EX_CONFIG, ConfigError

GOOD = """\
hostname = "mx.example.org"
spool = "var/spool"
[[listen]]
address = "127.0.0.1:2525"
[domains]
local = ["example.org"]
[transport.store]
kind = "maildir"
path = "mail/{domain}/{local}"
[[route]]
recipients = ["*@example.org"]
transport = "store"
"""


def read(text: str) -> Config:
    return parse(text, "/etc/mta/mta.toml")


def faults(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        read(text)
    assert caught.value.exit_code == EX_CONFIG
    for problem in caught.value.problems:
        assert problem.startswith("/etc/mta/mta.toml:")
        assert "\n" not in problem
    return [problem.removeprefix("/etc/mta/mta.toml:") for problem in caught.value.problems]


def test_good_file() -> None:
    config = read(GOOD)
    assert config.hostname == "mx.example.org"
    assert config.limits == Limits()
    assert config.processes.server == 0
    assert config.listen[0].bare_newlines == "refuse"


def test_paths_count_from_the_folder_of_the_file() -> None:
    text = GOOD + (
        '[transport.hop]\nkind = "lmtp"\nhost = "unix:run/lmtp"\n'
        '[transport.abs]\nkind = "maildir"\npath = "/mail"\n[log]\nfile = "log"\n'
    )
    config = read(text)
    assert config.spool == "/etc/mta/var/spool"
    assert config.transport["store"].path == "/etc/mta/mail/{domain}/{local}"
    assert config.transport["hop"].host == "unix:/etc/mta/run/lmtp"
    assert config.transport["abs"].path == "/mail"
    assert config.log.file == "/etc/mta/log"
    assert read(GOOD).log.file == ""


def test_file_in_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mta.toml").write_text(GOOD)
    assert load("mta.toml").spool == str(tmp_path / "var/spool")


def test_names_in_unicode_become_a_labels() -> None:
    config = read(GOOD.replace("example.org", "bücher.example"))
    assert config.hostname == "mx.xn--bcher-kva.example"
    assert config.domains.local == ["xn--bcher-kva.example"]
    assert config.route[0].recipients == ["*@xn--bcher-kva.example"]


def test_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"mta\.toml: cannot be read: No such file"):
        load(tmp_path / "mta.toml")
    (tmp_path / "mta.toml").write_bytes(b"\n\nx = '\xff'")
    with pytest.raises(ConfigError, match=r"mta\.toml:3: not UTF-8"):
        load(tmp_path / "mta.toml")


def test_syntax_error_has_its_line() -> None:
    assert faults(GOOD + "x == 1\n") == ["13: Invalid value (column 4)"]
    assert faults("a = [\n1") == ["2: Unclosed array (at end of document)"]


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ('hostname = "mx.example.org"', "", "1: hostname: is missing; a text is needed"),
        ('hostname = "mx', 'hostname = "m x', '1: hostname: "m x.example.org" is no domain name; give one like'),
        ('"mx.example.org"', '"[192.0.2.1]"', '1: hostname: "[192.0.2.1]" is no domain name'),
        ('hostname = "mx.example.org"', 'hostname = ["x"]', '1: hostname: ["x"] given; a text is allowed'),
        ('spool = "var/spool"', 'spol = "var/spool"', "2: spol: unknown key; did you mean 'spool'?"),
        ('spool = "var/spool"', 'spool = ""', "2: spool: the path of a folder is needed"),
        ("[[listen]]", "[listen]", '3: listen: {"address":"127.0.0.1:2525"} given; a list, of a table each is allowed'),
        ('address = "127.0.0.1:2525"', "", "3: listen[0].address: is missing; a text is needed"),
        ("127.0.0.1:2525", "localhost:25", '4: listen[0].address: "localhost:25" given; an IP address and a port'),
        ("127.0.0.1:2525", "::1:25", '4: listen[0].address: "::1:25" given; an IP address'),
        ("127.0.0.1:2525", "127.0.0.1:65536", '4: listen[0].address: "127.0.0.1:65536" given; an IP address'),
        ("[domains]", "[[listen]]\naddress = '127.0.0.1:2525'\n[domains]", '6: listen[1].address: "127.0.0.1:2525" is'),
        (
            "[domains]\n",
            "[[listen]]\naddress='1.2.3.4:5'\nbare_newlines='fix'\n[domains]\n",
            "7: listen[1].bare_newline",
        ),
        ('local = ["example.org"]', 'local = [\n"example.org",\n"-"]', '8: domains.local[1]: "-" is no domain name'),
        (
            'local = ["example.org"]',
            'local = "example.org"',
            '6: domains.local: "example.org" given; a list, of a text',
        ),
        (
            'local = ["example.org"]',
            'local = ["example.net"]',
            '6: domains.local[0]: no route takes mail for "example.n',
        ),
        ('kind = "maildir"', 'kind = "mbox"', '8: transport.store.kind: "mbox" given; one of "discard", "lmtp"'),
        ('kind = "maildir"', 'kind = "smtp"', "7: transport.store.host: is missing; kind smtp needs it"),
        (
            'kind = "maildir"',
            'kind = "smtp"',
            "9: transport.store.path: is of no use with kind smtp; it is for maildir",
        ),
        ("path = ", "#", "7: transport.store.path: is missing; kind maildir needs it"),
        ("{local}", "{user}", '9: transport.store.path: "mail/{domain}/{user}" has braces around something else'),
        ("{local}", "{local}/../x", '9: transport.store.path: "mail/{domain}/{local}/../x": neither . nor ..'),
        (
            "path = ",
            'host = "x"\npath = ',
            "9: transport.store.host: is of no use with kind maildir; it is for lmtp, smtp",
        ),
        ("path = ", "concurrency = 0\npath = ", "9: transport.store.concurrency: 0 given; a whole number from 1 to"),
        ("transport.store", "transport.'a/b'", '7: transport."a/b": letters, digits, - and _ are allowed in a name'),
        (
            '"*@example.org"',
            '"*.example.org"',
            '11: route[0].recipients[0]: "*.example.org" given; "*", "*@example.org"',
        ),
        ('"*@example.org"', "", '11: route[0].recipients: is empty; "*" matches everybody'),
        (
            'transport = "store"',
            'transport = "stroe"',
            "12: route[0].transport: there is no [transport.stroe]; did you",
        ),
        ('transport = "store"', "", "10: route[0].transport: is missing; a text is needed"),
        (
            "[domains]",
            "[limits]\nrecipients = 99\n[domains]",
            "6: limits.recipients: 99 given; at least 100 is needed",
        ),
        (
            "[domains]",
            "[limits]\nmessage_bytes = true\n[domains]",
            "6: limits.message_bytes: true given; a whole number",
        ),
        (
            "[domains]",
            "[limits]\nlarge_bytes = 4294967296\n[domains]",
            "6: limits.large_bytes: 4294967296 given; no more",
        ),
        (
            "[domains]",
            "[queue]\nretry_min_s = 5000\n[domains]",
            "6: queue.retry_min_s: 5000 given; no more than retry_max_s",
        ),
        (
            "[domains]",
            "[processes]\nserver = 257\n[domains]",
            "6: processes.server: 257 given; a whole number from 0 to 256",
        ),
        ("spool =", 'user = "no such user"\nspool =', '2: user: there is no user "no such user" on this machine'),
        ("spool =", "[log]\nformat = 1979-05-27\n#", '3: log.format: "1979-05-27" given; one of'),
    ],
)
def test_fault(old: str, new: str, expected: str) -> None:
    assert old in GOOD
    found = faults(GOOD.replace(old, new))
    assert any(fault.startswith(expected) for fault in found), found


def test_all_faults_are_told_at_once_in_the_order_of_lines() -> None:
    text = """\
hostname = 7
spol = "x"
[[listen]]
address = 25
[[listen]]
address = "nowhere"
bare_newlines = "fix"
[limits]
recipients = 5
connections = 0
[domains]
local = ["-", 3, "ok.example"]
[transport.a]
kind = "none"
[transport.b]
kind = "lmtp"
host = "foo"
timeout_s = 0
[[route]]
recipients = ["x"]
transport = "c"
"""
    told = [fault.split(": ")[:2] for fault in faults(text)]
    assert told == [
        ["1", "hostname"],
        ["1", "spool"],
        ["2", "spol"],
        ["4", "listen[0].address"],
        ["6", "listen[1].address"],
        ["7", "listen[1].bare_newlines"],
        ["9", "limits.recipients"],
        ["10", "limits.connections"],
        ["12", "domains.local[1]"],
        ["12", "domains.local[0]"],
        ["14", "transport.a.kind"],
        ["17", "transport.b.host"],
        ["18", "transport.b.timeout_s"],
        ["20", "route[0].recipients[0]"],
        ["21", "route[0].transport"],
    ]


def test_dotted_keys_and_inline_tables() -> None:
    text = GOOD.replace("[[listen]]\n", "").replace('address = "127.0.0.1:2525"\n', "")
    text = 'listen = [\n  { address = "127.0.0.1:1" },\n  { address = "x" },\n]\nlimits.errors = 0\n' + text
    assert [fault.split(" ")[:2] for fault in faults(text)] == [
        ["3:", "listen[1].address:"],
        ["5:", "limits.errors:"],
    ]


def test_hostile_values_do_not_break_the_lines_of_the_report() -> None:
    for fault in faults(GOOD.replace('"127.0.0.1:2525"', '"\\n\\u001b[2J"') + '["x\\ny"]\n'):
        assert fault.isprintable()


@pytest.mark.parametrize("host", ["127.0.0.1:24", "[::1]:24", "relay.example:25", "localhost:2525", "unix:/run/lmtp"])
def test_next_hops(host: str) -> None:
    text = GOOD.replace('"maildir"', '"lmtp"').replace('path = "mail/{domain}/{local}"', f'host = "{host}"')
    assert read(text).transport["store"].host == host
