"""MTA-STS and its reports in a whole `mta run`: the record is looked up, the policy is sought, and that is reported."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.support.command import mta
from tests.support.load import RawClient
from tests.support.namethread import NameThread
from tests.support.server import Server

RECORDS = {
    "example.net MX": "10 mx.example.net.",
    "mx.example.net A": "192.0.2.1",  # where nobody is
    "mta-sts.example.net A": "127.0.0.3",  # where nobody serves policies
    "_mta-sts.example.net TXT": '"v=STSv1; id=1a;"',
    "_smtp._tls.example.net TXT": '"v=TLSRPTv1; rua=mailto:t@example.net"',
}


@pytest.fixture
def resolver() -> Iterator[NameThread]:
    with NameThread(RECORDS) as resolver:
        yield resolver


def test_a_policy_that_cannot_be_fetched_is_reported(tmp_path: Path, resolver: NameThread) -> None:
    settings = {
        "dns": {"servers": [resolver.address]},
        "domains": {"local": ["example.net"]},
        "transport": {"out": {"kind": "smtp", "connect_timeout_s": 0.5}},
        "route": [{"recipients": ["*"], "transport": "out"}],
    }
    with Server(tmp_path, settings) as server:
        RawClient(server.address).send("sender@example.com", ["joe@example.net"], b"Subject: x\r\n\r\nhello\r\n")
        server.until(lambda: "event=deferred" in server.log.read_text(), "a deferred recipient")
    (line,) = [line for line in server.log.read_text().splitlines() if "event=tls_result" in line]
    assert " domain=example.net policy=sts policy_domain=example.net result=sts-policy-fetch-error " in line
    day = datetime.now(UTC).date().isoformat()
    ran = mta("tlsrpt", "-c", server.config, "--day", day, "--out", tmp_path / "reports", "--json")
    assert (ran.returncode, ran.stderr) == (0, "")
    item = json.loads(ran.stdout)
    assert (item["domain"], item["successful"], item["failed"]) == ("example.net", 0, 1)
    assert item["rua"] == ["mailto:t@example.net"]
