"""Other people's SMTP clients send to us, into a maildir; what lies there is what they sent."""

import email
import email.policy
import shutil
import smtplib
import subprocess
from collections.abc import Iterator
from email.message import EmailMessage
from pathlib import Path

import pytest

from tests.support.server import Server

pytestmark = pytest.mark.interop

SMTP_SOURCE = "/usr/sbin/smtp-source"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for the whole module."""
    with Server(tmp_path_factory.mktemp("clients")) as server:
        yield server


def need(program: str) -> str:
    """The program's path; skips the test where it is absent."""
    path = shutil.which(program)
    if path is None:
        pytest.skip(f"{program} is not installed")
    return path


def collect(server: Server, user: str, count: int = 1) -> list[bytes]:
    """Wait for a user's `count` files and read them."""
    folder = server.mail / "example.org" / user / "new"
    server.until(lambda: len(list(folder.glob("*"))) >= count, f"{count} files in {folder}")
    server.wait_empty()
    return [file.read_bytes() for file in sorted(folder.iterdir())]


def parsed(content: bytes) -> EmailMessage:
    """A delivered file as a message."""
    message = email.message_from_bytes(content, policy=email.policy.SMTP)
    assert isinstance(message, EmailMessage)
    return message


def swaks(server: Server, *arguments: str) -> str:
    """Run swaks against the server; returns its transcript."""
    command = [need("swaks"), "--server", f"127.0.0.1:{server.port}", "--ehlo", "swaks.example.com", *arguments]
    result = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def test_swaks(server: Server) -> None:
    """A plain message with a body that has a line of one dot."""
    transcript = swaks(
        server,
        "--from",
        "a@example.com",
        "--to",
        "swaks@example.org",
        "--body",
        "first\n.\n..last\n",
        "--header",
        "X-T: 1",
    )
    assert "queued as" in transcript
    (content,) = collect(server, "swaks")
    assert parsed(content)["X-T"] == "1"
    assert b"\r\n\r\nfirst\r\n.\r\n..last\r\n" in content


def test_swaks_pipelining(server: Server) -> None:
    """The envelope in one go, several recipients."""
    swaks(server, "--pipeline", "--from", "a@example.com", "--to", "pipe1@example.org,pipe2@example.org")
    assert len(collect(server, "pipe1")) == 1
    assert len(collect(server, "pipe2")) == 1


def test_swaks_attachment(server: Server, tmp_path: Path) -> None:
    """A binary attachment of 2 MB arrives as it was."""
    attached = tmp_path / "octets.bin"
    attached.write_bytes(bytes(range(256)) * 8_192)
    swaks(server, "--from", "a@example.com", "--to", "attach@example.org", "--attach", f"@{attached}")
    (content,) = collect(server, "attach")
    payloads = [part.get_payload(decode=True) for part in parsed(content).walk() if not part.is_multipart()]
    assert attached.read_bytes() in payloads


def test_smtplib_with_utf8(server: Server) -> None:
    """SMTPUTF8 addresses and 8-bit content (RFC 6531)."""
    message = EmailMessage(policy=email.policy.SMTPUTF8)
    message["From"] = "grüße@example.com"
    message["To"] = "jürgen@example.org"
    message["Subject"] = "Übergrößenträger"
    message.set_content("Blöße\n", cte="8bit")
    with smtplib.SMTP(*server.address) as smtp:
        smtp.send_message(message)
    server.wait_empty()
    (file,) = [file for file in server.delivered() if "%c3%bc" in str(file)]
    received = email.message_from_bytes(file.read_bytes(), policy=email.policy.SMTPUTF8)
    assert received["Subject"] == "Übergrößenträger"
    assert "with UTF8SMTP" in received["Received"] or "with ESMTP" in received["Received"]


def test_smtplib_many_on_one_connection(server: Server) -> None:
    """200 messages, one after the other."""
    with smtplib.SMTP(*server.address) as smtp:
        for number in range(200):
            smtp.sendmail("a@example.com", ["many@example.org"], f"Subject: {number}\r\n\r\n{number}\r\n".encode())
    bodies = {content.rpartition(b"\r\n\r\n")[2] for content in collect(server, "many", 200)}
    assert bodies == {b"%d\r\n" % number for number in range(200)}


@pytest.mark.parametrize(
    ("user", "arguments"), [("source1", []), ("source2", ["-d"]), ("source3", ["-d", "-l", "300000"])]
)
def test_smtp_source(server: Server, user: str, arguments: list[str]) -> None:
    """Postfix's load generator: 20 sessions, 300 messages; every file is whole."""
    if not Path(SMTP_SOURCE).exists():
        pytest.skip("Postfix is not installed")
    arguments = arguments if "-l" in arguments else [*arguments, "-l", "4096"]
    command = [SMTP_SOURCE, *arguments, "-s", "20", "-m", "300", "-f", "a@example.com", "-t", f"{user}@example.org"]
    subprocess.run([*command, f"127.0.0.1:{server.port}"], check=True, timeout=120)
    contents = collect(server, user, 300)
    assert len(contents) == 300
    identifiers = {parsed(content)["Message-Id"] for content in contents}
    assert len(identifiers) == 300
    bodies = {content.partition(b"\r\n\r\n")[2] for content in contents}
    assert len(bodies) == 1  # the generator sends the same body each time
    (body,) = bodies
    assert len(body) >= int(arguments[arguments.index("-l") + 1]) * 0.9
