"""`mta tlsrpt`: from a log and the DNS to files and messages."""

import email
import email.policy
import gzip
import json
import socket
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner
from dns.rcode import SERVFAIL

from mta import log
from mta.cli import cli
from mta.config import Log
from tests.support.namethread import NameThread
from tests.support.server import HOST, defaults, free_port, toml


@pytest.fixture(params=["kv", "json"])
def config(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Path, NameThread]]:
    """A log of today: two domains that want reports, one that does not, one whose record nobody knows."""
    records = {
        "_smtp._tls.a.example TXT": '"v=TLSRPTv1; rua=mailto:tls@a.example,https://a.example/v1"',
        "_smtp._tls.b.example TXT": '"v=TLSRPTv1; rua=https://b.example/v1"',
        "_smtp._tls.d.example TXT": SERVFAIL,
    }
    with NameThread(records) as dns:
        file = tmp_path / "mta.toml"
        file.write_text(toml({**defaults(free_port()), "dns": {"servers": [dns.address], "timeout_s": 5}}))
        log.setup("deliver", 0, Log(file=str(tmp_path / "mta.log"), format=request.param))
        for name in ("a.example", "a.example", "b.example", "c.example", "d.example"):
            log.tls_result(name, "no-policy-found", name, "starttls-not-supported", "", host=f"mx.{name}")
        log.tls_result("a.example", "sts", "a.example", "success", "", policy_text="version: STSv1;mode: none")
        log.delivered("q1", "s1", b"tls_result@a.example", "out", "", "ok", 0.1)
        log.setup("mta", 0, Log())
        yield file, dns


def run(*arguments: str) -> tuple[int, str]:
    """The command's exit code, and what it says."""
    result = CliRunner().invoke(cli, ["tlsrpt", *arguments], standalone_mode=False)
    if result.exception is not None:
        raise result.exception
    return int(result.return_value), result.output


def today() -> str:
    return datetime.now(UTC).date().isoformat()


def test_reports_are_written(config: tuple[Path, NameThread], tmp_path: Path) -> None:
    file, dns = config
    out = tmp_path / "out"
    code, said = run("-c", str(file), "--day", today(), "--out", str(out), "--eml", "--json")
    assert code == 75
    items = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
    assert [(item["domain"], item["successful"], item["failed"], item["sent"]) for item in items] == [
        ("a.example", 1, 2, []),
        ("b.example", 0, 1, []),
    ]
    assert "cannot look up _smtp._tls.d.example: " in said
    assert sorted(set(dns.asked)) == [f"_smtp._tls.{letter}.example TXT" for letter in "abcd"]
    report = json.loads(gzip.decompress(Path(items[0]["file"]).read_bytes()))
    assert [policy["policy"]["policy-type"] for policy in report["policies"]] == ["no-policy-found", "sts"]
    assert report["contact-info"] == "postmaster@mx.example.org"
    assert len(list(out.glob("*.json.gz"))) == 2
    (message,) = out.glob("*.eml")
    made = email.message_from_bytes(message.read_bytes(), policy=email.policy.default)
    assert made["To"] == "tls@a.example"
    _, attached = made.iter_parts()
    assert attached.get_content() == Path(items[0]["file"]).read_bytes()


def test_another_day_has_nothing(config: tuple[Path, NameThread], tmp_path: Path) -> None:
    file, dns = config
    assert run("-c", str(file), "--out", str(tmp_path / "out")) == (0, "")
    assert dns.asked == []
    assert not (tmp_path / "out").exists()


def test_reports_are_sent(config: tuple[Path, NameThread], tmp_path: Path) -> None:
    """Through a host of ours, to addresses; by hand to other places."""
    file, _ = config
    with socket.create_server((HOST, 0)) as listener:
        heard: list[bytes] = []
        thread = threading.Thread(target=_take, args=(listener, heard))
        thread.start()
        where = f"{HOST}:{listener.getsockname()[1]}"
        options = ("--out", str(tmp_path / "out"), "--contact", "me@mx.example.org", "--send", where)
        _, said = run("-c", str(file), "--day", today(), "--json", *options)
        thread.join(20)
    items = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
    assert [item["sent"] for item in items] == [["tls@a.example"], []], said
    (conversation,) = heard
    assert b"mail FROM:<me@mx.example.org>" in conversation
    assert b"rcpt TO:<tls@a.example>" in conversation
    assert b"\r\nTLS-Report-Domain: a.example\r\n" in conversation


def _take(listener: socket.socket, heard: list[bytes]) -> None:
    """A host that takes one message."""
    client, _ = listener.accept()
    with client, client.makefile("rwb", 0) as lines:
        lines.write(b"220 hop.example\r\n")
        said, in_content = b"", False
        for line in lines:
            said += line
            if in_content:
                if line == b".\r\n":
                    in_content = False
                    lines.write(b"250 ok\r\n")
                continue
            in_content = line.upper() == b"DATA\r\n"
            lines.write(b"354 go\r\n" if in_content else b"250 ok\r\n")
            if line.upper().startswith(b"QUIT"):
                break
        heard.append(said)


def test_a_host_that_is_not_there_is_told(config: tuple[Path, NameThread], tmp_path: Path) -> None:
    file, _ = config
    options = ("--out", str(tmp_path / "out"), "--send", f"{HOST}:{free_port()}")
    code, said = run("-c", str(file), "--day", today(), *options)
    assert code == 75
    assert "the report for a.example is not sent: " in said
    assert len(list((tmp_path / "out").glob("*.json.gz"))) == 2


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["--day", "4 May"], "is no day like"),
        (["--send", "nowhere"], "is needed"),
        (["--send", "unix:/x"], "a host and a port are needed"),
        (["--contact", "me"], "is no address"),
        (["--contact", "a@b\r\nBcc: c@d.example"], "is no address"),
    ],
)
def test_wrong_arguments(config: tuple[Path, NameThread], arguments: list[str], why: str) -> None:
    with pytest.raises(Exception, match=why):
        run("-c", str(config[0]), *arguments)
