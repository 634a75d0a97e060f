"""TLS with the real processes: what comes out at the other end, renewed certificates, sessions over all workers."""

import re
import shutil
import smtplib
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.certificates import Authority, Pair
from tests.support.server import Server, wait_until
from tests.support.tls import client_context

PATIENCE_S = 30.0


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "authority")


@pytest.fixture
def files(tmp_path: Path, authority: Authority) -> Pair:
    """The configured files; another pair can be put in their place."""
    files = Pair(tmp_path / "cert.pem", tmp_path / "key.pem")
    put(authority.server(), files)
    return files


def put(pair: Pair, files: Pair) -> None:
    for source, target in zip(pair, files, strict=True):
        shutil.copy(source, target)


@pytest.fixture
def server(tmp_path: Path, authority: Authority, files: Pair) -> Iterator[Server]:
    tls = {"certificate": str(files.certificate), "key": str(files.key), "client_ca": str(authority.ca)}
    folder = tmp_path / "mta"
    folder.mkdir()
    with Server(folder, {"tls": tls, "processes": {"server": 2}}) as server:
        yield server


def started(server: Server, context: ssl.SSLContext) -> smtplib.SMTP:
    """A client that has done STARTTLS."""
    client = smtplib.SMTP(*server.address, timeout=PATIENCE_S)
    client._host = "mx.example.org"  # type: ignore[attr-defined] # the name that it asks for and verifies
    client.starttls(context=context)
    return client


def begin(raw: socket.socket) -> None:
    """Come to where the handshake begins."""
    for command, end in ((b"", b"\r\n"), (b"EHLO client.example\r\n", b"250 HELP\r\n"), (b"STARTTLS\r\n", b"\r\n")):
        raw.sendall(command)
        reply = b""
        while not reply.endswith(end):
            reply += raw.recv(1000)
    assert reply.startswith(b"220")


def shown(server: Server, authority: Authority) -> set[str]:
    """The names in the certificate that a new client is shown."""
    with started(server, client_context(authority.ca)) as client:
        assert isinstance(client.sock, ssl.SSLSocket)
        certificate = client.sock.getpeercert()
        assert certificate
        return {str(value) for _, value in certificate["subjectAltName"]}


def test_a_message_over_starttls_tells_how_it_came(server: Server, authority: Authority) -> None:
    context = client_context(authority.ca, version="1.3", certificate=authority.client())
    with started(server, context) as client:
        assert "starttls" not in client.esmtp_features
        client.sendmail("me@example.com", ["user@example.org"], b"Subject: x\r\n\r\nhello\r\n")
    server.wait_empty()
    (message,) = server.delivered()
    text = message.read_bytes()
    assert b"with ESMTPS id" in text
    assert b"(using TLSv1.3 with cipher TLS_AES_256_GCM_SHA384 (256/256 bits))" in text
    wait_until(lambda: "event=disconnect" in logged(server), "the log")
    told = re.search(
        r"event=tls session=(\S+) .* fingerprint=([0-9a-f]{64}) verified=true resumed=false", logged(server)
    )
    assert told
    assert told[2].encode() in text
    assert re.search(rf"event=queued .*session={told[1]} ", logged(server))


def test_a_client_that_breaks_the_handshake_is_logged_and_harms_nobody(server: Server, authority: Authority) -> None:
    with socket.create_connection(server.address, PATIENCE_S) as client:
        begin(client)
        client.sendall(b"MAIL FROM:<me@example.com>\r\n")
        while client.recv(1000):
            pass
    wait_until(lambda: "event=tls_failed" in logged(server), "the failure in the log")
    assert re.search(
        r"event=tls_failed session=\S+ client=127\.0\.0\.1:\d+ reason=wrong_version_number", logged(server)
    )
    assert shown(server, authority) == {"mx.example.org"}


def test_renewed_certificates_need_no_signal(server: Server, authority: Authority, files: Pair) -> None:
    """Takes as long as the supervisor takes to look: up to 10 s."""
    assert shown(server, authority) == {"mx.example.org"}
    before = server.children("server")
    with started(server, client_context(authority.ca)) as old:
        put(authority.server("mx.example.org", "renewed.example.org"), files)
        wait_until(lambda: len(shown(server, authority)) == 2, "the new certificate")
        assert old.noop()[0] == 250
    assert server.children("server") == before
    assert 'event=certificate names="mx.example.org renewed.example.org"' in logged(server)


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_a_session_goes_on_at_any_worker(server: Server, authority: Authority, version: str) -> None:
    context = client_context(authority.ca, version=version)
    session: ssl.SSLSession | None = None
    for _ in range(64):
        with socket.create_connection(server.address, PATIENCE_S) as raw:
            begin(raw)
            with context.wrap_socket(raw, server_hostname="mx.example.org", session=session) as tls:
                assert tls.session_reused is (session is not None)
                tls.sendall(b"QUIT\r\n")
                assert tls.recv(1000).startswith(b"221")
                session = session or tls.session

    def workers() -> set[str]:
        return set(re.findall(r"process=(server/\d) event=tls .* resumed=true", logged(server)))

    wait_until(lambda: workers() == {"server/0", "server/1"}, "both workers to have resumed it")


def logged(server: Server) -> str:
    return server.log.read_text()
