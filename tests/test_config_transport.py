"""Transports in a configuration: what each kind may have, and what is said of what it may not."""

import re
import textwrap
from pathlib import Path

import pytest

from mta.config import Config
from mta.config_load import parse
from mta.errors import ConfigError

ROOT = Path(__file__).resolve().parent.parent

HEAD = """\
hostname = "mx.example.org"
spool = "spool"
[[listen]]
address = "127.0.0.1:2525"
[domains]
local = ["example.org"]
[[route]]
recipients = ["*"]
transport = "x"
[transport.x]
"""
FIRST = HEAD.count("\n") + 1  # line of the first key of the transport


def read(lines: str) -> Config:
    return parse(HEAD + lines, "/etc/mta/mta.toml")


def faults(lines: str) -> list[str]:
    """Faults of `lines`, which are counted from 1, without the names of file and table; a missing key is in line 0."""
    with pytest.raises(ConfigError) as caught:
        read(lines)
    told = []
    for problem in caught.value.problems:
        _, line, key, words = problem.split(":", 3)
        told.append(f"{int(line) - FIRST + 1}: {key.strip().removeprefix('transport.x.')}:{words}")
    return told


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ('kind = "mbox"', ["0: path: is missing; kind mbox needs it"]),
        ('kind = "mbox"\npath = "mail/"', ['2: path: "mail/" given; the path of a file is needed']),
        ('kind = "mbox"\npath = "{user}"', ['2: path: "{user}" has braces around something else']),
        ('kind = "fail"\ntext = "a\\nb"\ncode = "2.0.0"', ["2: text: ", "3: code: "]),
        ('kind = "fail"\ntext = ""', ['2: text: "" given; ASCII, 200 characters at most, is allowed']),
        ('kind = "discard"\ncode = "4.0.0"', ["2: code: is of no use with kind discard; it is for fail"]),
        ('kind = "pipe"', ["0: command: is missing; kind pipe needs it"]),
        ('kind = "pipe"\ncommand = "cat"', ['2: command: "cat" given; a list, of a text each is allowed']),
        ('kind = "pipe"\ncommand = [\n"cat"]', ['3: command[0]: "cat" given; the absolute path of a program']),
        ('kind = "pipe"\ncommand = ["/bin/{local}"]', ['2: command[0]: "/bin/{local}" given; the absolute path']),
        (
            'kind = "pipe"\ncommand = [\n"/bin/x",\n"{user}", 7, "a\\u0000"]',
            [
                "4: command[2]: 7 given; a text is allowed",
                '4: command[1]: "{user}" has {user}; what is replaced is {sender}, {recipient}, {local}, {domain}',
                "4: command[3]: no NUL is allowed",
            ],
        ),
        (
            'kind = "pipe"\ncommand = ["/bin/sh", "-ec", "cat > {local}"]',
            ["2: command[2]: {local} in a script would be run as a part of it; add it as an argument"],
        ),
        (
            'kind = "pipe"\ncommand = ["/bin/cat"]\nper = "mail"\nline_end = "cr"\nenvelope_fields = 1',
            ['3: per: "mail" given; one of', '4: line_end: "cr" given; one of', "5: envelope_fields: 1 given; true or"],
        ),
        ('kind = "pipe"\ncommand = ["/bin/cat"]\nconcurrency = 1001', ["3: concurrency: 1001 given; up to 1000 is"]),
        ('kind = "http"', ["0: url: is missing; kind http needs it"]),
        (
            'kind = "smtp"\nhost = "x:25"\ntls = "always"\ntls_name = "a b"',
            ['3: tls: "always" given; one of', '4: tls_name: "a b" is no host name'],
        ),
        ('kind = "smtp"\ntls_ca = "ca"\nmta_sts = false', ['2: tls_ca: is of use with tls = "verify" only']),
        ('kind = "smtp"\ntls_ca = "ca"\ntls = "none"', ['2: tls_ca: is of use with tls = "verify" only']),
        ('kind = "smtp"\ntls_ca = "ca"\nhost = "x:25"', ['2: tls_ca: is of use with tls = "verify" only']),
        ('kind = "smtp"\nhost = "x:25"\nmta_sts = false', ["3: mta_sts: is of no use with a host"]),
        ('kind = "discard"\nmta_sts = false', ["2: mta_sts: is of no use with kind discard; it is for smtp"]),
        (
            'kind = "lmtp"\nhost = "unix:/run/lmtp"\ntls = "verify"',
            ["0: tls_name: is missing"],
        ),
        (
            'kind = "discard"\ntls = "none"\ntls_name = "x"',
            [f"{n}: {key}: is of no use with kind discard" for n, key in ((2, "tls"), (3, "tls_name"))],
        ),
        (
            'kind = "http"\nurl = "ftp://x/"\nformat = "json"\nconcurrency = 5000',
            [
                '2: url: "ftp://x/" given; an address like',
                '3: format: "json" given; one of',
                "4: concurrency: 5000 given",
            ],
        ),
        ('kind = "http"\nurl = "http://x/"\ntls_ca = "ca"', ["3: tls_ca: is of use with https:// only"]),
        (
            'kind = "discard"\nurl = "http://x/"\nkey_file = "k"\nformat = "multipart"',
            [
                f"{n}: {key}: is of no use with kind discard; it is for http"
                for n, key in ((2, "url"), (3, "key_file"), (4, "format"))
            ],
        ),
        (
            'kind = "smtp"\nhost = "x:25"\ncommand = ["/bin/cat"]\nper = "message"\nline_end = "crlf"',
            [
                f"{n}: {key}: is of no use with kind smtp; it is for pipe"
                for n, key in ((3, "command"), (4, "per"), (5, "line_end"))
            ],
        ),
    ],
)
def test_faults(lines: str, expected: list[str]) -> None:
    found = faults(lines)
    assert len(found) == len(expected), found
    for fault, begin in zip(found, expected, strict=True):
        assert fault.startswith(begin), found


@pytest.mark.parametrize(
    "lines",
    [
        'kind = "pipe"\ncommand = ["/bin/sh", "-c", "cat > \\"$1\\"; awk { print }", "x", "{local}"]\nper = "message"',
        'kind = "mbox"\npath = "mail/{domain}/{local}"',
        'kind = "http"\nurl = "https://x"\ntls_ca = "ca"\nkey_file = "key"\nformat = "multipart"',
        'kind = "smtp"',
        'kind = "smtp"\ntls_ca = "ca"',
        'kind = "smtp"\nmta_sts = false',
        'kind = "smtp"\ntls = "verify"\ntls_ca = "ca"\ntls_name = "mx.example.org"',
        'kind = "lmtp"\nhost = "unix:/run/lmtp"\ntls = "verify"\ntls_name = "127.0.0.1"',
        'kind = "fail"',
        'kind = "fail"\ncode = "4.2.1"\ntext = "Later."',
    ],
)
def test_good_ones(lines: str) -> None:
    assert read(lines).transport["x"].kind in lines


def test_paths_count_from_the_folder_of_the_file() -> None:
    made = read('kind = "http"\nurl = "https://x"\ntls_ca = "ca"\nkey_file = "key"').transport["x"]
    assert (made.tls_ca, made.key_file) == ("/etc/mta/ca", "/etc/mta/key")


BLOCKS = re.findall(r"(?:^    .*\n|^\n(?=    ))+", (ROOT / "docs/transports.md").read_text(), re.MULTILINE)


@pytest.mark.parametrize("block", [each for each in BLOCKS if "[" in each.split("\n")[1][:6] + each[:6]])
def test_examples_of_the_page(block: str) -> None:
    """Each is right in a configuration that has the rest."""
    own = set(re.findall(r"\[transport\.(\w+)\]", block))
    rest = [f'[transport.{name}]\nkind = "discard"\n' for name in ("x", "store", "archive") if name not in own]
    text = HEAD.replace("[transport.x]\n", "") + "".join(rest) + textwrap.dedent(block)
    assert parse(text, "/etc/mta/mta.toml").transport
