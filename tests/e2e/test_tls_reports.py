"""MTA-STS and its reports in a whole `mta run`: the record is looked up, the policy is sought, and that is reported."""

import json
import socket
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.support.command import mta
from tests.support.load import RawClient
from tests.support.server import HOST, Server

MX, A, TXT = 15, 1, 16
RECORDS = {
    ("example.net", MX): b"\x00\x0a\x02mx\x07example\x03net\x00",
    ("mx.example.net", A): b"\xc0\x00\x02\x01",  # 192.0.2.1, where nobody is
    ("mta-sts.example.net", A): b"\x7f\x00\x00\x03",  # 127.0.0.3, where nobody serves policies
    ("_mta-sts.example.net", TXT): b"\x0fv=STSv1; id=1a;",
    ("_smtp._tls.example.net", TXT): b"\x24v=TLSRPTv1; rua=mailto:t@example.net",
}


@pytest.fixture
def resolver() -> Iterator[str]:
    """The address of a resolver that knows those records."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind((HOST, 0))
        thread = threading.Thread(target=_answer, args=(sock,))
        thread.start()
        yield f"{HOST}:{sock.getsockname()[1]}"
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as end:
            end.sendto(b"", sock.getsockname())
        thread.join()


def _answer(sock: socket.socket) -> None:
    while True:
        query, client = sock.recvfrom(4096)
        if not query:
            return
        end = query.index(b"\0", 12) + 5
        labels, at = [], 12
        while query[at]:
            labels.append(query[at + 1 : at + 1 + query[at]].decode())
            at += 1 + query[at]
        kind = query[end - 3]
        data = RECORDS.get((".".join(labels), kind), b"")
        head = query[:2] + b"\x81\x80\0\1" + (b"\0\1" if data else b"\0\0") + b"\0\0\0\0"
        answer = b"\xc0\x0c\0" + bytes((kind,)) + b"\0\1\0\0\0\x3c" + len(data).to_bytes(2, "big") + data
        sock.sendto(head + query[12:end] + (answer if data else b""), client)


def test_a_policy_that_cannot_be_fetched_is_reported(tmp_path: Path, resolver: str) -> None:
    settings = {
        "dns": {"servers": [resolver]},
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
