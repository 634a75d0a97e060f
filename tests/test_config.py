"""Reading a configuration: what is made of a good file, and what is said about a bad one."""

from pathlib import Path

import pytest

from mta.config import Config, Limits, Tls
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
        ('kind = "maildir"', 'kind = "mbx"', '8: transport.store.kind: "mbx" given; one of "discard", "fail"'),
        ('kind = "maildir"', 'kind = "lmtp"', "7: transport.store.host: is missing; kind lmtp needs it"),
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
        ('transport = "store"', "", "10: route[0].transport: is missing; a name from [transport.NAME]"),
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


# ---------------------------------------------------------------------------------------------------------------------
# Limits of listeners


def test_limits_of_a_listener_lie_over_those_of_all() -> None:
    text = GOOD.replace(
        "[domains]",
        "[listen.limits]\nerrors = 7\nclient_exempt = ['192.0.2.0/24']\n"
        "[[listen]]\naddress = '127.0.0.1:2526'\nlimits = { data_rate = 0, errors = 20 }\n"
        "[[listen]]\naddress = '127.0.0.1:2527'\n"
        "[limits]\nerrors = 9\nconnections = 33\ndata_rate = 7\n[domains]",
    )
    config = read(text)
    assert config.limits == Limits(errors=9, connections=33, data_rate=7)
    assert [listen.limits for listen in config.listen] == [
        Limits(errors=7, connections=33, data_rate=7, client_exempt=["192.0.2.0/24"]),
        Limits(errors=20, connections=33, data_rate=0),  # 20 is the default, and yet was set
        config.limits,
    ]


def test_limits_without_any_table() -> None:
    assert read(GOOD).listen[0].limits == Limits()


def test_a_limit_that_cannot_be_read_is_that_of_all() -> None:
    """No fault follows from the default that would have stood in its place."""
    text = GOOD.replace(
        "[domains]",
        "[listen.limits]\nsoft_errors = 15\nerrors = 'many'\n[limits]\nerrors = 30\n[domains]",
    )
    assert faults(text) == ['7: listen[0].limits.errors: "many" given; a whole number from 1 to 1000000 is allowed']


@pytest.mark.parametrize(
    ("top", "own", "expected"),
    [
        ("", "connections = 5", "6: listen[0].limits.connections: counts for a worker as a whole; it is allowed in [l"),
        ("", "memory_bytes = 1048576", "6: listen[0].limits.memory_bytes: counts for a worker as a whole"),
        ("", "large_bytes = 4096", "6: listen[0].limits.large_bytes: counts for a worker as a whole"),
        ("", "recipients = 99", "6: listen[0].limits.recipients: 99 given; at least 100 is needed (RFC 5321"),
        ("", "error = 5", "6: listen[0].limits.error: unknown key; did you mean 'errors'?"),
        ("", "hops = 29", "6: listen[0].limits.hops: 29 given; a whole number from 30 to 10000"),
        ("", "client_exempt = ['::1', '::1/64']", '6: listen[0].limits.client_exempt[1]: "::1/64" has bits behind its'),
        ("client_exempt = ['localhost']", "", '7: limits.client_exempt[0]: "localhost" is no network; an address or'),
        ("soft_errors = 5\nerrors = 4", "", "7: limits.soft_errors: 5 given; no more than errors (4) is allowed"),
        (
            "soft_errors = 5",
            "errors = 4",
            "6: listen[0].limits.errors: 4 given; no less than soft_errors (5) is allowed",
        ),
        (
            "errors = 4",
            "soft_errors = 5",
            "6: listen[0].limits.soft_errors: 5 given; no more than errors (4) is allowed",
        ),
        (
            "",
            "command_timeout_s = 2.5\nsession_timeout_s = 2",
            "6: listen[0].limits.command_timeout_s: 2.5 given; no more than session_timeout_s (2) is allowed",
        ),
        (
            "session_timeout_s = 60\ndata_timeout_s = 61",
            "",
            "8: limits.data_timeout_s: 61 given; no more than session_timeout_s (60) is allowed",
        ),
    ],
)
def test_fault_in_limits(top: str, own: str, expected: str) -> None:
    """One at a time, and told once: what [limits] has wrong is not repeated for each listener."""
    text = GOOD.replace("[domains]", f"[listen.limits]\n{own}\n[limits]\n{top}\n[domains]".replace("\n\n", "\n"))
    found = faults(text)
    assert len(found) == 1
    assert found[0].startswith(expected), found


@pytest.mark.parametrize(
    "limits",
    [
        "errors = 3",  # the default of soft_errors is out of reach, which harms nobody
        "session_timeout_s = 60",
        "stress_timeout_s = 3600",
        "soft_errors = 20\nerrors = 20",
        "error_delay_s = 0\ndata_rate = 0",
        "client_connections = 1\nclient_ipv4_prefix = 8\nclient_ipv6_prefix = 16\nclient_exempt = []",
    ],
)
def test_no_fault_in_limits(limits: str) -> None:
    read(GOOD.replace("[domains]", f"[listen.limits]\n{limits}\n[limits]\n{limits}\n[domains]"))


# ---------------------------------------------------------------------------------------------------------------------
# Listeners and TLS

TLS = "[tls]\ncertificate = 'cert.pem'\nkey = 'keys/../key.pem'\n"


def test_paths_of_certificates_count_from_the_folder_of_the_file() -> None:
    extra = "[[tls.extra]]\ncertificate = '/srv/rsa.pem'\nkey = 'rsa.key'\n"
    tls = read(GOOD + TLS + "client_ca = 'ca.pem'\n" + extra).tls
    assert (tls.certificate, tls.key, tls.client_ca) == ("/etc/mta/cert.pem", "/etc/mta/key.pem", "/etc/mta/ca.pem")
    assert (tls.extra[0].certificate, tls.extra[0].key) == ("/srv/rsa.pem", "/etc/mta/rsa.key")
    assert read(GOOD).tls == Tls()


@pytest.mark.parametrize(
    "listen",
    [
        "tls = 'required'",
        "tls = 'implicit'\nproxy_protocol = ['192.0.2.1', '2001:db8::/32', '0.0.0.0/0']",
        "tls = 'required'\nclient_certificates = 'require'",
        "protocol = 'lmtp'",
        "xfer = ['192.0.2.1', '10.0.0.0/8', 'fd00::/32']",
        "refuse_early = []",
        "refuse_early = ['data', 'ehlo', 'helo', 'greeting']",
    ],
)
def test_good_listeners(listen: str) -> None:
    read(GOOD.replace("[domains]", f"{listen}\n[domains]") + TLS + "client_ca = 'ca.pem'\n")


@pytest.mark.parametrize(
    ("listen", "tls", "expected"),
    [
        ("tls = 'required'", "", '5: listen[0].tls: "required" given; without tls.certificate "none" or "optional" is'),
        ("tls = 'implicit'", "", '5: listen[0].tls: "implicit" given; without tls.certificate'),
        ("tls = 'on'", TLS, '5: listen[0].tls: "on" given; one of "implicit", "none", "optional", "required" is allow'),
        (
            "tls = 'required'\nclient_certificates = 'require'",
            TLS,
            '6: listen[0].client_certificates: "require" given; without tls.client_ca "none" or "ask" is allowed',
        ),
        (
            "client_certificates = 'require'",
            TLS + "client_ca = 'ca.pem'",
            '5: listen[0].client_certificates: "require" given; it needs tls = "required" or "implicit" here',
        ),
        ("proxy_protocol = ['::1/128', 'x']", "", '5: listen[0].proxy_protocol[1]: "x" is no network; an address or a'),
        (
            "xclient = ['192.0.2.1/24']",
            "",
            '5: listen[0].xclient[0]: "192.0.2.1/24" has bits behind its prefix; "192.0.2.0/24" or "192.0.2.1" is',
        ),
        ("xforward = [\n'127.0.0.1',\n'[::1]']", "", '7: listen[0].xforward[1]: "[::1]" is no network'),
        (
            "xfer = ['10.0.0.0/8', 'node']",
            "",
            '5: listen[0].xfer[1]: "node" is no network; an address or a network, as',
        ),
        ("xfer = ['0.0.0.0/0']", "", '5: listen[0].xfer[0]: "0.0.0.0/0" is too wide: whoever is in it could relay'),
        (
            "xfer = ['::1', '2000::/3']",
            "",
            '5: listen[0].xfer[1]: "2000::/3" is too wide: whoever is in it could',
        ),
        ("protocol = 'lmtp'\nxfer = ['::1']", "", '6: listen[0].xfer: is of use with protocol = "smtp" only'),
        ("xforward = '127.0.0.1'", "", '5: listen[0].xforward: "127.0.0.1" given; a list, of a text each is allowed'),
        (
            "refuse_early = ['ehlo', 'starttls']",
            "",
            '5: listen[0].refuse_early[1]: "starttls" given; one of "data", "ehlo", "greeting", "helo" is allowed',
        ),
        (
            "refuse_early = ['ehlo',\n'data', 'ehlo']",
            "",
            '6: listen[0].refuse_early[2]: "ehlo" is there already; each once is allowed',
        ),
        ("", "[tls]\ncertificate = 'c'", "13: tls.key: is missing; tls.certificate needs it"),
        ("", "[tls]\nkey = 'c'", "13: tls.certificate: is missing; tls.key needs it"),
        (
            "",
            "[[tls.extra]]\ncertificate = 'c'\nkey = 'k'",
            "13: tls.certificate: is missing; [[tls.extra]] needs it",
        ),
        ("", TLS + "[[tls.extra]]\ncertificate = 'c'", "16: tls.extra[0].key: is missing; a text is needed"),
        ("", TLS + "[[tls.extra]]\ncertificate = ''\nkey = 'k'", "17: tls.extra[0].certificate: the path of a PEM fil"),
        ("", TLS + 'client_ca = "a\\u0000b"', "16: tls.client_ca: the path of a PEM file is needed"),
        (
            "",
            TLS + "[[tls.extra]]\ncertificate = './cert.pem'\nkey = 'k'",
            '17: tls.extra[0].certificate: "./cert.pem" is there already, in tls.certificate',
        ),
        (
            "",
            TLS + "[[tls.extra]]\ncertificate = 'b'\nkey = 'k'\n[[tls.extra]]\nkey = 'k'\ncertificate = 'b'",
            '21: tls.extra[1].certificate: "b" is there already, in tls.extra[0].certificate',
        ),
        ("", "[tls]\nmin_version = '1.1'", '14: tls.min_version: "1.1" given; one of "1.2", "1.3" is allowed'),
        # What cannot be read is told once, and nothing follows from it.
        ("tls = 'required'", "[tls]\ncertificate = 5", "15: tls.certificate: 5 given; a text is allowed"),
        ("tls = 'required'", "tls = 5", "1: tls: 5 given; a table is needed"),
        ("", "[tls]\ncertificate = 'c'\nkey = 5", "15: tls.key: 5 given; a text is allowed"),
        (
            "tls = 'required'\nclient_certificates = 'require'",
            TLS + "client_ca = 5",
            "18: tls.client_ca: 5 given; a text is allowed",
        ),
    ],
)
def test_fault_in_listeners_and_tls(listen: str, tls: str, expected: str) -> None:
    text = GOOD.replace("[domains]", f"{listen}\n[domains]") if listen else GOOD
    found = faults(f"{tls}\n{text}" if tls == "tls = 5" else text + tls)
    assert len(found) == 1
    assert found[0].startswith(expected), found


def test_lmtp_on_the_port_of_smtp() -> None:
    text = GOOD.replace("127.0.0.1:2525", "127.0.0.1:25").replace("[domains]", "protocol = 'lmtp'\n[domains]")
    assert faults(text) == [
        '5: listen[0].protocol: "lmtp" given; on port 25 only "smtp" is allowed (RFC 2033 section 5)'
    ]


def test_all_faults_of_nested_tables_at_once() -> None:
    text = """\
hostname = "mx.example.org"
spool = "x"
[[listen]]
address = "127.0.0.1:25"
tls = "required"
protocol = "lmtp"
[listen.limits]
recipients = 1
bounces = 5

[[listen]]
address = "[::1]:26"
xclient = ["10.0.0.1/8",
  "x"]
limits.connections = 0
limits.client_exempt = [
  "127.0.0.0/8", 7,
  "y"]

[[listen]]
address = "[::1]:26"
limits = { hops = 5, client_connections = 0 }
[listen.limit]
[limits]
hops = 1
[tls]
key = "x"
[[tls.extra]]
key = "k"
[[tls.extra]]
certificate = "a"
key = 5
[domains]
[[route]]
recipients = ["*"]
transport = "s"
[transport.s]
kind = "discard"
"""
    told = [fault.split(": ")[:2] for fault in faults(text)]
    assert told == [
        ["5", "listen[0].tls"],
        ["6", "listen[0].protocol"],
        ["8", "listen[0].limits.recipients"],
        ["9", "listen[0].limits.bounces"],
        ["13", "listen[1].xclient[0]"],
        ["14", "listen[1].xclient[1]"],
        ["15", "listen[1].limits.connections"],
        ["17", "listen[1].limits.client_exempt[1]"],
        ["18", "listen[1].limits.client_exempt[2]"],
        ["21", "listen[2].address"],
        ["22", "listen[2].limits.hops"],
        ["22", "listen[2].limits.client_connections"],
        ["23", "listen[2].limit"],
        ["25", "limits.hops"],
        ["26", "tls.certificate"],
        ["28", "tls.extra[0].certificate"],
        ["32", "tls.extra[1].key"],
    ]
