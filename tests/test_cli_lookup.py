"""`mta table get`, and the files of tables in `mta check`, as a process."""

import json
import subprocess
from pathlib import Path

import pytest

from mta.errors import EX_OK, EX_TEMPFAIL, EX_USAGE
from tests.support import command
from tests.support.httpvalues import HttpValues

CONFIG = """\
hostname = "mx.example.org"
spool = "spool"
[[listen]]
address = "127.0.0.1:0"
[domains]
local = ["example.org"]
recipients = "users"
extension = "+"
[transport.store]
kind = "discard"
[[route]]
recipients = ["*"]
transport = "store"
[table.users]
kind = "file"
path = "users"
[table.down]
kind = "redis"
host = "unix:nobody"
[table.senders]
kind = "inline"
entries = ["example.com REJECT no more", "good@example.com OK", "<> DEFER", "192.0 dunno"]
[table.networks]
kind = "cidr"
entries = ["192.0.2.0/24 550 5.7.1 no"]
"""


def mta(config: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return command.mta(*words, MTA_CONFIG=str(config))


@pytest.fixture
def config(tmp_path: Path) -> Path:
    file = tmp_path / "mta.toml"
    file.write_text(CONFIG)
    (tmp_path / "users").write_text("joe@example.org\ta value\x1b[2J\njane@example.org\n@list.example.org x\n")
    return file


def test_values(config: Path) -> None:
    done = mta(config, "table", "get", "users", "JOE@example.org")
    assert (done.returncode, done.stdout, done.stderr) == (EX_OK, "a value\\x1b[2J\n", "")
    done = mta(config, "table", "get", "users", "jane@example.org")
    assert (done.returncode, done.stdout, done.stderr) == (EX_OK, "\n", "")
    done = mta(config, "table", "get", "users", "joe+tag@example.org")
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "")


@pytest.mark.parametrize(
    ("recipient", "key", "value"),
    [
        ("jane+tag@Example.org", "jane@example.org", ""),
        ("anybody@list.example.org", "@list.example.org", "x"),
        ("nobody@example.org", "nobody@example.org", None),
    ],
)
def test_recipients_as_json(config: Path, recipient: str, key: str, value: str | None) -> None:
    done = mta(config, "table", "get", "--json", "--recipient", "users", recipient)
    assert json.loads(done.stdout) == {"table": "users", "key": key, "value": value}
    assert done.returncode == (1 if value is None else EX_OK)


@pytest.mark.parametrize(
    ("stage", "name", "about", "key", "value"),
    [
        ("sender", "senders", "Joe+tag@Mail.Example.com", "example.com", "REJECT no more"),
        ("recipient", "senders", "good@example.com", "good@example.com", "OK"),
        ("sender", "senders", "<>", "<>", "DEFER"),
        ("client", "senders", "192.0.2.1", "192.0", "dunno"),
        ("helo", "senders", "mx.example.com.", "example.com", "REJECT no more"),
        ("client", "networks", "192.0.2.1", "192.0.2.1", "550 5.7.1 no"),
        ("sender", "senders", "joe@example.net", "joe@example.net", None),
    ],
)
def test_access_as_json(config: Path, stage: str, name: str, about: str, key: str, value: str | None) -> None:
    done = mta(config, "table", "get", "--json", "--access", stage, name, about)
    assert json.loads(done.stdout) == {"table": name, "key": key, "value": value}
    assert (done.returncode, done.stderr) == (1 if value is None else EX_OK, "")


def test_access_with_a_value_that_is_no_action(config: Path) -> None:
    done = mta(config, "table", "get", "--access", "sender", "users", "joe@example.org")
    assert done.returncode == EX_OK
    assert done.stderr == "mta: the value has other characters than printable ASCII; such mail is put off\n"


def test_access_is_no_recipient(config: Path) -> None:
    done = mta(config, "table", "get", "--access", "sender", "--recipient", "users", "joe@example.org")
    assert done.returncode == EX_USAGE


def test_down(config: Path) -> None:
    done = mta(config, "table", "get", "down", "joe")
    assert (done.returncode, done.stdout) == (EX_TEMPFAIL, "")
    assert done.stderr == f"mta: unix:{config.parent}/nobody: No such file or directory\n"


def test_over_http(config: Path) -> None:
    with HttpValues({"joe@example.org": "a value"}, token="s3cret") as values:
        (config.parent / "token").write_text("s3cret\n")
        with config.open("a") as file:
            url = f"http://127.0.0.1:{values.port}/{{key}}"
            file.write(f'[table.web]\nkind = "http"\nurl = "{url}"\nkey_file = "token"\n')
        assert mta(config, "table", "get", "web", "joe@example.org").stdout == "a value\n"
        assert mta(config, "table", "get", "web", "jane@example.org").returncode == 1
        values.is_down = True
        done = mta(config, "table", "get", "web", "joe@example.org")
    assert done.returncode == EX_TEMPFAIL
    assert done.stderr == f"mta: 127.0.0.1:{values.port}: 503 Service Unavailable\n"


def test_no_such_table(config: Path) -> None:
    done = mta(config, "table", "get", "user", "joe")
    assert done.returncode == EX_USAGE
    assert "there is no [table.user]; known: users, down, senders, networks" in done.stderr


def test_check_reads_the_files(config: Path) -> None:
    assert mta(config, "check").returncode == EX_OK
    users = config.parent / "users"
    users.write_text("joe\n\njoe\n")
    done = mta(config, "check")
    assert (done.returncode, done.stdout) == (1, f"{users}:3: 'joe' is there twice\n")
    users.unlink()
    done = mta(config, "check")
    assert (done.returncode, done.stdout) == (1, f"{users}: cannot be read: No such file or directory\n")
