"""Postfix's load generator sends to us, into a maildir; what lies there is what it sent."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.front import Front, body, parsed
from tests.support.server import HOST

SMTP_SOURCE = "/usr/sbin/smtp-source"
pytestmark = [
    pytest.mark.interop,
    pytest.mark.skipif(not Path(SMTP_SOURCE).exists(), reason="smtp-source is not installed: apt-get install postfix"),
]


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    """One server for the whole module."""
    with Front(tmp_path_factory.mktemp("source"), {"smtp": {}, "lmtp": {"protocol": "lmtp"}}) as front:
        yield front


@pytest.mark.parametrize(
    ("user", "arguments"),
    [
        ("source1", []),
        ("source2", ["-d"]),
        ("source3", ["-d", "-l", "300000"]),
        ("source4", ["-L"]),
        ("source5", ["-L", "-d"]),
    ],
)
def test_smtp_source(front: Front, user: str, arguments: list[str]) -> None:
    """20 sessions, 300 messages, over SMTP and LMTP (-L), on connections of their own or not (-d); all are whole."""
    arguments = arguments if "-l" in arguments else [*arguments, "-l", "4096"]
    port = front.ports["lmtp" if "-L" in arguments else "smtp"]
    command = [SMTP_SOURCE, *arguments, "-s", "20", "-m", "300", "-f", "a@example.com", "-t", f"{user}@example.org"]
    subprocess.run([*command, f"{HOST}:{port}"], check=True, timeout=120)
    contents = front.collect(user, 300)
    assert len(contents) == 300
    assert len({parsed(content)["Message-Id"] for content in contents}) == 300
    bodies = {body(content) for content in contents}
    assert len(bodies) == 1  # the generator sends the same body each time
    assert len(bodies.pop()) >= int(arguments[arguments.index("-l") + 1]) * 0.9
