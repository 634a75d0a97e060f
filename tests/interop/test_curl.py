"""curl sends to us: in the clear, with STARTTLS, with implicit TLS, our certificate verified for our name."""

import subprocess
from collections.abc import Iterator

import pytest

from tests.support.front import Front, body, need, received
from tests.support.issued import Issued
from tests.support.server import HOST

pytestmark = pytest.mark.interop

CONTENT = b"Subject: hello\r\n\r\n.\r\n..hi there\r\n"
WAYS = {
    "plain": ("smtp://mx.example.org", []),
    "starttls": ("smtp://mx.example.org", ["--ssl-reqd"]),
    "implicit": ("smtps://mx.example.org", []),
}


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory, issued: Issued) -> Iterator[Front]:
    """A server with a listener of each kind."""
    listeners = {"plain": {"tls": "none"}, "starttls": {"tls": "required"}, "implicit": {"tls": "implicit"}}
    with Front(tmp_path_factory.mktemp("curl"), listeners, {"tls": issued.tls}) as front:
        yield front


@pytest.mark.parametrize("door", list(WAYS))
def test_curl(front: Front, issued: Issued, door: str) -> None:
    """Two recipients, and every byte."""
    url, options = WAYS[door]
    users = [f"{door}{number}" for number in range(2)]
    command = [need("curl"), "--silent", "--show-error", "--connect-to", f"::{HOST}:{front.ports[door]}"]
    command += ["--cacert", issued.ca, *options, "--mail-from", "a@example.com", "--upload-file", "-", url]
    for user in users:
        command += ["--mail-rcpt", f"{user}@example.org"]
    result = subprocess.run(command, input=CONTENT, capture_output=True, timeout=60, check=False)
    assert result.returncode == 0, result.stderr
    for user in users:
        taken = front.one(user)
        assert body(taken) == body(CONTENT)
        assert f" with {'ESMTP' if door == 'plain' else 'ESMTPS'} " in received(taken)
