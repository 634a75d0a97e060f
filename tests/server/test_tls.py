"""Contexts: which certificate a client gets, what is asked of it, and who can resume its session."""

import os
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import SimpleNamespace

import pytest

from mta import log, tls_file
from mta.config import Log, Tls
from mta.errors import IpcError
from mta.server import openssl
from mta.server.tls import TlsContexts, _on_unraisable
from tests.support.certificates import Authority, Pair
from tests.support.tls import SECRET, Client, client_context, contexts, memory_file, put, shake

VERSIONS = ("1.2", "1.3")


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    """A client's certificate that no authority of ours knows."""
    return Authority(tmp_path_factory.mktemp("stranger"), "Somebody else").client()


@pytest.fixture
def log_file(tmp_path: Path) -> Path:
    file = tmp_path / "log"
    log.setup("server", 0, Log(file=str(file)))
    return file


def names(client: Client) -> set[str]:
    """The names in the certificate that the client was shown."""
    certificate = client.tls.getpeercert()
    assert certificate
    return {str(value) for _, value in certificate["subjectAltName"]}


# --- names


@pytest.mark.parametrize(
    ("asked", "shown"),
    [
        ("mx.example.org", "mx.example.org"),
        ("MX.Example.ORG", "mx.example.org"),
        ("other.example.net", "other.example.net"),
        ("third.example.net", "*.example.net"),
        ("deep.third.example.net", "mx.example.org"),
        ("example.net", "mx.example.org"),
        ("unknown.example.com", "mx.example.org"),
        (None, "mx.example.org"),
    ],
)
def test_the_certificate_is_that_of_the_name_asked_for(authority: Authority, asked: str | None, shown: str) -> None:
    served = contexts(
        authority.server("mx.example.org"), authority.server("*.example.net"), authority.server("other.example.net")
    )
    context = client_context(authority.ca)
    context.check_hostname = False
    client = Client(context, asked)
    tls = shake(served.context("none"), client)
    assert names(client) == {shown}
    assert tls.server_name == (asked or "").lower()


def test_names_that_are_none_are_not_taken(authority: Authority) -> None:
    client = Client(client_context(), "a b\r\nc")
    assert shake(contexts(authority.server()).context("none"), client).server_name == ""


def test_python_is_silent_about_names_beyond_ascii(authority: Authority, capfd: pytest.CaptureFixture[str]) -> None:
    """Such a name ends the handshake, as it did before."""
    client = Client(client_context(), "mx.example.org")
    hello = client.advance().replace(b"mx.example.org", b"mx.\x1b[2J\xff.org")
    assert b"\xff.org" in hello
    incoming = ssl.MemoryBIO()
    tls = contexts(authority.server()).context("none").wrap_bio(incoming, ssl.MemoryBIO(), server_side=True)
    incoming.write(hello)
    with pytest.raises(ssl.SSLError):
        tls.do_handshake()
    assert capfd.readouterr().err == ""


def test_other_faults_of_callbacks_are_not_hidden(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    contexts(authority.server())
    told: list[object] = []
    monkeypatch.setattr("mta.server.tls._previous_hook", [told.append])
    fault = SimpleNamespace(exc_type=RuntimeError, object=b"")
    _on_unraisable(fault)
    assert told == [fault]


# --- kinds of keys, versions, ciphers


@pytest.mark.parametrize(
    ("ciphers", "kind"), [("ECDHE-ECDSA-AES128-GCM-SHA256", "ECDSA"), ("ECDHE-RSA-AES128-GCM-SHA256", "RSA")]
)
def test_ecdsa_and_rsa_side_by_side(authority: Authority, ciphers: str, kind: str) -> None:
    served = contexts(authority.server(), authority.server(kind="rsa"))
    context = client_context(authority.ca, version="1.2")
    context.set_ciphers(ciphers)
    tls = shake(served.context("none"), Client(context))
    cipher = tls.cipher()
    assert cipher
    assert kind in cipher[0]


def test_ecdsa_is_preferred_whatever_the_client_prefers(authority: Authority) -> None:
    served = contexts(authority.server(kind="rsa"), authority.server())
    context = client_context(authority.ca, version="1.2")
    context.set_ciphers("ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384")
    cipher = shake(served.context("none"), Client(context)).cipher()
    assert cipher
    assert cipher[0] == "ECDHE-ECDSA-AES256-GCM-SHA384"


def test_an_rsa_certificate_for_fewer_names_does_not_answer_for_the_others(authority: Authority) -> None:
    served = contexts(authority.server("a.example.org", "b.example.org"), authority.server("a.example.org", kind="rsa"))
    for name, works in (("a.example.org", True), ("b.example.org", False)):
        context = client_context(authority.ca, version="1.2")
        context.set_ciphers("ECDHE-RSA-AES128-GCM-SHA256")
        if works:
            shake(served.context("none"), Client(context, name))
        else:
            with pytest.raises(ssl.SSLError, match="NO_SHARED_CIPHER"):
                shake(served.context("none"), Client(context, name))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_versions_before_1_2_are_not_spoken(authority: Authority) -> None:
    context = client_context()
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises(ssl.SSLError, match="UNSUPPORTED_PROTOCOL"):
        shake(contexts(authority.server()).context("none"), Client(context))


def test_1_3_can_be_demanded(authority: Authority) -> None:
    served = contexts(authority.server(), min_version="1.3").context("none")
    assert shake(served, Client(client_context())).version() == "TLSv1.3"
    with pytest.raises(ssl.SSLError, match="UNSUPPORTED_PROTOCOL"):
        shake(served, Client(client_context(version="1.2")))


@pytest.mark.parametrize("ciphers", ["AES256-GCM-SHA384", "DHE-RSA-AES256-GCM-SHA384", "ADH-AES256-SHA256:@SECLEVEL=0"])
def test_ciphers_without_forward_secrecy_or_authentication_are_not_spoken(authority: Authority, ciphers: str) -> None:
    context = client_context(version="1.2")
    context.set_ciphers(ciphers)
    with pytest.raises(ssl.SSLError, match="NO_SHARED_CIPHER"):
        shake(contexts(authority.server(kind="rsa")).context("none"), Client(context))


# --- certificates of clients


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("who", ["nobody", "known", "stranger", "expired"])
def test_asking_for_a_certificate_takes_any_and_none(
    authority: Authority, stranger: Pair, version: str, who: str
) -> None:
    shown = {"nobody": None, "known": authority.client(), "stranger": stranger, "expired": authority.expired()}[who]
    served = contexts(authority.server(), client_ca=authority.ca).context("ask")
    tls = shake(served, Client(client_context(version=version, certificate=shown)))
    functions = openssl.library()
    assert functions
    assert (tls.getpeercert(binary_form=True) is None) == (shown is None)
    assert functions.is_verified(tls) == (who in ("nobody", "known"))


@pytest.mark.parametrize("version", VERSIONS)
def test_requiring_a_certificate_takes_verified_ones_only(authority: Authority, stranger: Pair, version: str) -> None:
    served = contexts(authority.server(), client_ca=authority.ca).context("require")
    shake(served, Client(client_context(version=version, certificate=authority.client())))
    for shown, reason in (
        (None, "PEER_DID_NOT_RETURN_A_CERTIFICATE"),
        (stranger, "CERTIFICATE_VERIFY_FAILED"),
        (authority.expired(), "CERTIFICATE_VERIFY_FAILED"),
    ):
        with pytest.raises(ssl.SSLError, match=reason):
            shake(served, Client(client_context(version=version, certificate=shown)))


def test_none_is_asked_for_where_none_is_wanted(authority: Authority, stranger: Pair) -> None:
    tls = shake(contexts(authority.server()).context("none"), Client(client_context(certificate=stranger)))
    assert tls.getpeercert(binary_form=True) is None


# --- resumption


def resumes(served: ssl.SSLContext, other: ssl.SSLContext, client: ssl.SSLContext) -> bool:
    """Whether a session opened at one context goes on at the other."""
    first = Client(client)
    assert not shake(served, first).session_reused
    session = first.tls.session
    assert session
    return bool(shake(other, Client(client, session=session)).session_reused)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_session_goes_on_with_certificate_and_verdict(authority: Authority, stranger: Pair, version: str) -> None:
    served = contexts(authority.server(), client_ca=authority.ca).context("ask")
    functions = openssl.library()
    assert functions
    for shown, is_known in ((authority.client(), True), (stranger, False)):
        client = client_context(version=version, certificate=shown)
        first = Client(client)
        shown_first = shake(served, first).getpeercert(binary_form=True)
        tls = shake(served, Client(client, session=first.tls.session))
        assert tls.session_reused
        assert tls.getpeercert(binary_form=True) == shown_first
        assert functions.is_verified(tls) is is_known


@pytest.mark.parametrize("version", VERSIONS)
def test_a_session_goes_on_only_with_the_same_secret_and_demands(authority: Authority, version: str) -> None:
    pair = authority.server()
    client = client_context(version=version, certificate=authority.client())
    one = contexts(pair, client_ca=authority.ca)
    same = contexts(pair, client_ca=authority.ca)
    other_secret = contexts(pair, client_ca=authority.ca, secret=bytes(48))
    other_authorities = contexts(pair)
    for mode in ("none", "ask", "require"):
        assert resumes(one.context(mode), same.context(mode), client)
        assert not resumes(one.context(mode), other_secret.context(mode), client)
    assert not resumes(one.context("ask"), other_authorities.context("ask"), client)
    assert not resumes(one.context("none"), one.context("require"), client)
    assert not resumes(one.context("ask"), one.context("require"), client)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_session_does_not_go_on_at_another_name(authority: Authority, version: str) -> None:
    served = contexts(authority.server("a.example.org"), authority.server("b.example.org")).context("none")
    context = client_context(authority.ca, version=version)
    first = Client(context, "b.example.org")
    shake(served, first)
    second = Client(context, "b.example.org", session=first.tls.session)
    assert shake(served, second).session_reused
    assert names(second) == {"b.example.org"}


@contextmanager
def worker(tls_fd: int) -> Iterator[tuple[int, subprocess.Popen[str]]]:
    """A process with a descriptor of the memory file; gives its port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        program = str(Path(__file__).with_name("tls_worker.py"))
        process = subprocess.Popen(
            [sys.executable, program, str(tls_fd), str(listener.fileno())],
            pass_fds=(tls_fd, listener.fileno()),
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            yield listener.getsockname()[1], process
        finally:
            process.kill()
            process.wait()
            assert process.stdout
            process.stdout.close()


@pytest.mark.parametrize("version", VERSIONS)
def test_a_session_goes_on_in_another_process(authority: Authority, version: str) -> None:
    fd = memory_file(authority.server())
    client = client_context(authority.ca, version=version)
    session: ssl.SSLSession | None = None
    told = []
    with worker(fd) as first, worker(fd) as second:
        for port, process in (first, second, first):
            with socket.create_connection(("127.0.0.1", port), 30) as raw:
                raw.settimeout(30)
                with client.wrap_socket(raw, server_hostname="mx.example.org", session=session) as tls:
                    assert tls.recv(100) == b"hello"
                    session = tls.session
            assert process.stdout
            told.append(process.stdout.readline().strip())
    assert told == ["full", "resumed", "resumed"]
    os.close(fd)


# --- new certificates


def test_new_certificates_are_for_new_sessions(authority: Authority, log_file: Path) -> None:
    fd = memory_file(authority.server())
    served = TlsContexts(tls_file.read_only(fd), Tls())
    assert served.available
    first = Client(client_context(authority.ca))
    shake(served.context("ask"), first)
    assert not served.refresh()
    put(fd, authority.server("mx.example.org", "new.example.org"))
    assert served.refresh()
    second = Client(client_context(authority.ca))
    shake(served.context("ask"), second)
    assert (names(first), names(second)) == ({"mx.example.org"}, {"mx.example.org", "new.example.org"})
    assert not served.refresh()
    log.flush()
    assert log_file.read_text().count("event=certificates count=1") == 1


@pytest.mark.parametrize("version", VERSIONS)
def test_a_new_secret_ends_old_tickets_and_nothing_else(authority: Authority, version: str) -> None:
    pair = authority.server()
    fd = memory_file(pair)
    served = TlsContexts(fd, Tls())
    context = served.context("ask")
    client = client_context(version=version)
    first = Client(client)
    shake(context, first)
    put(fd, pair, secret=SECRET[::-1])
    assert served.refresh()
    assert served.context("ask") is context
    assert not shake(context, Client(client, session=first.tls.session)).session_reused
    assert resumes(context, contexts(pair, secret=SECRET[::-1]).context("ask"), client)


def test_what_cannot_be_used_is_reported_once_and_changes_nothing(authority: Authority, log_file: Path) -> None:
    fd = memory_file(authority.server())
    served = TlsContexts(fd, Tls())
    context = served.context("none")
    good, other = authority.server(), authority.server()
    for _ in range(3):
        put(fd, Pair(good.certificate, other.key))
        assert not served.refresh()
    log.flush()
    assert log_file.read_text().count("new certificates cannot be used") == 1
    assert served.context("none") is context
    put(fd, good)
    assert served.refresh()


def test_without_certificates_there_is_no_tls() -> None:
    none = TlsContexts(-1, Tls())
    assert not none.available
    assert not none.refresh()
    with pytest.raises(IpcError):
        none.context("none")


def test_an_empty_memory_file_is_a_fault() -> None:
    fd = tls_file.create()
    with pytest.raises(IpcError):
        TlsContexts(fd, Tls())
    os.close(fd)


# --- where OpenSSL cannot be reached


def test_without_access_to_openssl_the_rest_works_and_it_is_reported(
    authority: Authority, stranger: Pair, log_file: Path
) -> None:
    served = contexts(authority.server(), client_ca=authority.ca, find_library=lambda: None)
    client = client_context(authority.ca, certificate=stranger)
    assert shake(served.context("ask"), Client(client)).getpeercert(binary_form=True) is None
    with pytest.raises(ssl.SSLError, match="CERTIFICATE_VERIFY_FAILED"):
        shake(served.context("require"), Client(client))
    log.flush()
    assert log_file.read_text().count("no access to Python's OpenSSL") == 1


@pytest.mark.parametrize("name", ["_CONTEXT_AT", "_SESSION_AT", "_SESSION_CONTEXT_AT"])
@pytest.mark.parametrize("shift", [-8, 8])
def test_another_layout_is_noticed_without_harm(monkeypatch: pytest.MonkeyPatch, name: str, shift: int) -> None:
    functions = openssl.library()
    assert functions
    assert functions.works()
    monkeypatch.setattr(openssl, name, getattr(openssl, name) + shift)
    with suppress(OSError):  # a pointer to nowhere: `library` takes that for an answer
        assert not functions.works()


def test_sessions_are_not_kept_in_memory(authority: Authority) -> None:
    """A client without tickets does not fill the cache of 20,480 sessions that OpenSSL has for it."""
    served = contexts(authority.server()).context("none")
    client = client_context(version="1.2")
    client.options |= ssl.OP_NO_TICKET
    for _ in range(3):
        shake(served, Client(client))
    assert served.session_stats()["number"] == 0
