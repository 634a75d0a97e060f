"""`mta trace`, and the reading of log files that it stands on."""

import gzip
import json
import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mta import log, log_text
from mta.cli_trace import gather, told
from mta.config import Log
from mta.log_reader import LogError, open_log, parse, records
from mta.tls_facts import TlsFacts
from tests.support.command import CONFIG, mta

EVIL = 'quote " backslash \\ escape \x1b[2J tab \t end'


def write_log(path: Path, style: str) -> None:
    """Two messages of one session, and what is none of its business."""
    log.setup("server", 0, Log(file=str(path), format=style))
    log.connect("other.1", "192.0.2.9:1", "0.0.0.0:25")
    log.connect("abc.1", "192.0.2.7:57178", "0.0.0.0:25")
    facts = TlsFacts("TLSv1.3", "TLS_AES_256_GCM_SHA384", 256, "mx.example.org", "", False, False)
    log.tls("abc.1", "192.0.2.7:57178", facts)
    log.refused(
        "abc.1", "", "192.0.2.7:57178", "RCPT", b"550 5.1.1 who?\r\n", "user", b"me@example.net", b"TO:<x@b.example>"
    )
    log.queued("5a1", "abc.1", "192.0.2.7:57178", b"me@example.net", 2, 2814, 0.005)
    log.queued("5a2", "abc.1", "192.0.2.7:57178", b"me@example.net", 1, 10, 0.005)
    log.queued("5a11", "other.1", "192.0.2.9:1", b"abc.1@example.net", 1, 10, 0.005)
    log.delivered("5a1", "abc.1", b"a@b.example", "store", "", "ok", 0.1)
    log.deferred("5a1", "abc.1", b"b@b.example", "next", "mx.b.example", "4.2.2", EVIL, 0.2)
    log.note("held", queue="5a1")
    log.removed("5a2")
    log.disconnect("abc.1", "192.0.2.7:57178", "quit", 2, 9, 1.5)
    log.removed("5a1")
    log.setup("mta", 0, Log())


@pytest.fixture(params=["kv", "json"])
def file(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path = tmp_path / "mta.log"
    write_log(path, request.param)
    return path


def events(path: Path, name: str) -> list[str]:
    return [record["event"] for record in gather([str(path)], name)]


def test_a_message(file: Path) -> None:
    assert events(file, "5a1") == [
        *("connect", "tls", "refused", "queued", "delivered", "deferred", "held", "disconnect", "removed"),
    ]
    assert events(file, "5a11") == ["connect", "queued"]
    assert events(file, "5a") == []


def test_a_session(file: Path) -> None:
    found = gather([str(file)], "abc.1")
    assert [record["event"] for record in found] == [
        *("connect", "tls", "refused", "queued", "queued", "delivered", "deferred"),
        *("held", "removed", "disconnect", "removed"),
    ]
    assert {record["session"] for record in found if "session" in record} == {"abc.1"}
    assert told(found[3], "abc.1").startswith("[5a1] from <me@example.net>")


def test_both_formats_say_the_same(tmp_path: Path) -> None:
    said = []
    for style in ("kv", "json"):
        write_log(tmp_path / style, style)
        said.append([dict(record, time="") for record in gather([str(tmp_path / style)], "5a1")])
    assert said[0] == said[1]
    assert said[0][3]["size_bytes"] == 2814
    assert said[0][5]["text"] == log_text.printable(EVIL)


def test_rotated_and_compressed(file: Path, tmp_path: Path) -> None:
    """The life of a message over several files, given in any order; one is cut short."""
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join(lines[8:]))
    with gzip.open(tmp_path / "mta.log.2.gz", "wb") as old:
        old.writelines(lines[:5])
    (tmp_path / "mta.log.1").write_bytes(b"".join(lines[5:8]))
    paths = [str(file), *(str(tmp_path / f"mta.log.{name}") for name in ("1", "2.gz"))]
    assert len(gather(paths, "5a1")) == 9
    whole = (tmp_path / "mta.log.2.gz").read_bytes()
    (tmp_path / "mta.log.2.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(LogError):
        gather(paths, "5a1")
    with pytest.raises(LogError, match="nothing-there"):
        open_log(str(tmp_path / "nothing-there"))


def test_the_command(file: Path, tmp_path: Path) -> None:
    config = tmp_path / "mta.toml"
    config.write_text(f'{CONFIG}[log]\nfile = "mta.log"\n')

    def trace(*words: str, stdin: bytes = b"") -> subprocess.CompletedProcess[str]:
        return mta("trace", "-c", config, *words, stdin=stdin)

    done = trace("5a1")
    lines = done.stdout.splitlines()
    assert (done.returncode, len(lines)) == (0, 9)
    assert "192.0.2.7:57178 on 0.0.0.0:25" in lines[0]
    assert "at RCPT TO:<x@b.example>, from <me@example.net>: 550 5.1.1 who?" in lines[2]
    assert "\x1b" not in done.stdout
    (first, *_) = trace("5a1", "--json").stdout.splitlines()
    assert json.loads(first)["event"] == "connect"
    assert trace("nobody").returncode == 1
    assert trace("5a1", str(tmp_path / "nothing-there")).returncode == 66
    content = file.read_bytes()
    os.truncate(file, 0)
    assert trace("5a1", "-", stdin=content).stdout == done.stdout
    config.write_text(config.read_text().replace("mta.log", ""))
    assert trace("5a1").returncode == 64


@given(st.text(max_size=40), st.sampled_from(["kv", "json"]))
def test_what_is_logged_is_read_back(tmp_path_factory: pytest.TempPathFactory, text: str, style: str) -> None:
    path = tmp_path_factory.mktemp("log") / "log"
    log.setup("deliver", 1, Log(file=str(path), format=style))
    log.deferred("5a1", "abc.1", b"a@b.example", "store", "relay", "4.0.0", text, 1.25)
    log.setup("mta", 0, Log())
    with open_log(str(path)) as file:
        ((_, record),) = records(file, ["5a1"])
    assert record["text"] == log_text.printable(text)
    assert (record["process"], record["delay_s"], record["relay"]) == ("deliver/1", 1.25, "relay")


@given(st.text(alphabet='ab="\\ {}:,\n1', max_size=30))
def test_rubbish_is_passed_over(line: str) -> None:
    assert parse(line) is None
