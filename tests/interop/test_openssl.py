"""What `openssl s_client` makes of our TLS: versions, certificates, resumption, and who would inject commands."""

import contextlib
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.certificates import Authority
from tests.support.front import Front
from tests.support.issued import Issued
from tests.support.openssl import STARTTLS, Handshake, Injector, s_client, subject
from tests.support.server import HOST

pytestmark = pytest.mark.interop


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory, issued: Issued) -> Iterator[Front]:
    """A server of two workers."""
    listeners = {
        "starttls": {},
        "implicit": {"tls": "implicit"},
        "unasked": {"tls": "implicit", "client_certificates": "none"},
        "certified": {"tls": "implicit", "client_certificates": "require"},
    }
    settings = {"tls": issued.tls, "processes": {"server": 2}}
    with Front(tmp_path_factory.mktemp("openssl"), listeners, settings) as front:
        yield front


def greet(front: Front, door: str, *options: str) -> Handshake:
    """Hold a handshake at a listener."""
    return s_client(front.ports[door], *(STARTTLS if door == "starttls" else ()), *options)


both_ways = pytest.mark.parametrize("door", ["starttls", "implicit"])


@both_ways
@pytest.mark.parametrize(("option", "version"), [("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")])
def test_versions(front: Front, issued: Issued, door: str, option: str, version: str) -> None:
    """Both are spoken, the certificate is verified, and the session goes on inside."""
    shook = greet(front, door, option, "-CAfile", issued.ca, "-verify_hostname", "mx.example.org")
    assert shook.version == version
    assert shook.is_verified
    assert "221 2.0.0" in shook.output


@both_ways
@pytest.mark.parametrize("option", ["-tls1", "-tls1_1"])
def test_old_versions_are_refused(front: Front, door: str, option: str) -> None:
    """With the alert that says so, by us: s_client is made willing (RFC 8996)."""
    shook = greet(front, door, option, "-cipher", "DEFAULT@SECLEVEL=0")
    assert shook.version == ""
    assert "alert protocol version" in shook.output


@both_ways
@pytest.mark.parametrize("ciphers", ["kRSA", "aNULL", "eNULL", "DHE"])
def test_weak_ciphers_are_refused(front: Front, door: str, ciphers: str) -> None:
    """Those without forward secrecy, without certificates, without encryption; and DHE, which costs us most."""
    shook = greet(front, door, "-tls1_2", "-cipher", f"{ciphers}:@SECLEVEL=0")
    assert shook.version == ""
    assert "alert handshake failure" in shook.output


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_the_client_chooses_the_kind_of_key(front: Front, issued: Issued, version: str) -> None:
    """By the signatures it takes; ECDSA where it takes both."""
    both = greet(front, "starttls", version)
    assert (both.signature, both.subject) == ("ECDSA", subject(issued.ecdsa.certificate))
    rsa = greet(front, "starttls", version, "-sigalgs", "RSA-PSS+SHA256:RSA+SHA256")
    assert (rsa.signature, rsa.subject) == ("RSA-PSS", subject(issued.rsa.certificate))


@both_ways
def test_the_name_chooses_the_certificate(front: Front, issued: Issued, door: str) -> None:
    """Any name that is in none gets the first one, and so do clients that name nobody (RFC 6066 section 3)."""
    for name, pair in {
        "mail.example.net": issued.other,
        "mx.example.org": issued.ecdsa,
        "x.test": issued.ecdsa,
    }.items():
        shook = greet(front, door, "-servername", name, "-CAfile", issued.ca, "-verify_hostname", name)
        assert shook.subject == subject(pair.certificate), name
        assert shook.is_verified == (name != "x.test")
    assert greet(front, door, "-noservername").subject == subject(issued.ecdsa.certificate)


@both_ways
@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_a_session_is_resumed_by_every_worker(front: Front, tmp_path: Path, door: str, version: str) -> None:
    """The keys of the tickets are the same in all of them."""
    ticket = str(tmp_path / "session")
    assert not greet(front, door, version, "-sess_out", ticket).resumed
    before = len(front.events("tls", resumed=True))
    workers = set[str]()

    def both_did() -> bool:
        """One more connection; whether each worker has resumed one. The kernel spreads them by their ports."""
        assert greet(front, door, version, "-sess_in", ticket).resumed, f"not resumed; so far by {workers}"
        workers.update(event["process"] for event in front.events("tls", resumed=True)[before:])
        return workers == {"server/0", "server/1"}

    front.until(both_did, "a resumption by each worker")


def test_reconnecting(front: Front) -> None:
    """s_client's own test: five times, each a resumption."""
    shook = greet(front, "implicit", "-tls1_2", "-reconnect")
    assert shook.output.count("Reused, TLSv1.2") == 5


def test_a_client_certificate_is_recorded(front: Front, issued: Issued) -> None:
    """Asked for and not demanded: the log has the fingerprint, and whether it is our authority's."""
    shown = ("-cert", str(issued.client.certificate), "-key", str(issued.client.key))
    assert greet(front, "starttls", *shown).version
    assert front.event("tls", fingerprint=issued.fingerprint)["verified"]


def test_certificates_of_clients_may_not_be_asked_for(front: Front, issued: Issued) -> None:
    """A listener says whether they are."""
    shown = ("-cert", str(issued.client.certificate), "-key", str(issued.client.key))
    for door, asked in {"implicit": True, "unasked": False}.items():
        shook = greet(front, door, "-tls1_2", *shown)
        assert shook.version == "TLSv1.2"
        assert ("Client Certificate Types" in shook.output) == asked


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_certificates_of_clients_may_be_demanded(front: Front, issued: Issued, tmp_path: Path, version: str) -> None:
    """One of our authority's comes in; none, or a stranger's, does not."""
    stranger = Authority(tmp_path).client("client.example.net")
    taken = {}
    for who, pair in {"ours": issued.client, "a stranger's": stranger, "none": None}.items():
        shown = ("-cert", str(pair.certificate), "-key", str(pair.key)) if pair else ()
        taken[who] = "220 mx.example.org" in greet(front, "certified", version, *shown).output
    assert taken == {"ours": True, "a stranger's": False, "none": False}


def test_what_is_behind_starttls_is_refused(front: Front) -> None:
    """Somebody between client and server adds a command to STARTTLS: 554 and the end, and no handshake."""
    with Injector(front.ports["starttls"], b"STARTTLS", b"RSET\r\n") as injector:
        shook = s_client(injector.port, *STARTTLS)
    assert shook.version == ""
    last = injector.heard.splitlines()[-1]
    assert last.startswith(b"554 5.5.0"), injector.heard
    assert last.endswith(b"[early-talker]")


def test_what_is_not_tls_is_survived(front: Front) -> None:
    """SMTP in the clear to a listener with implicit TLS: no answer in SMTP, and the next one is served."""
    with socket.create_connection((HOST, front.ports["implicit"]), 30) as sock:
        sock.sendall(b"EHLO client.example.com\r\n")
        with contextlib.suppress(ConnectionResetError):
            while answer := sock.recv(4096):
                assert b"220" not in answer
    assert front.event("tls_failed")["reason"]
    assert greet(front, "implicit").version == "TLSv1.3"


class TestReplacedCertificates:
    """Certificates change without a restart."""

    @pytest.fixture
    def folder(self, tmp_path: Path, issued: Issued) -> Path:
        """Where the server's only certificate and its key are."""
        folder = tmp_path / "tls"
        folder.mkdir()
        shutil.copy(issued.ecdsa.certificate, folder / "cert.pem")
        shutil.copy(issued.ecdsa.key, folder / "key.pem")
        return folder

    @pytest.fixture
    def server(self, tmp_path: Path, folder: Path) -> Iterator[Front]:
        """A server that has it."""
        tls = {"certificate": str(folder / "cert.pem"), "key": str(folder / "key.pem")}
        with Front(tmp_path / "front", {"starttls": {}}, {"tls": tls}) as server:
            yield server

    @staticmethod
    def replace(folder: Path, issued: Issued) -> None:
        """As certbot does: new files under the old names."""
        for source, name in ((issued.other.certificate, "cert.pem"), (issued.other.key, "key.pem")):
            shutil.copy(source, folder / f"new-{name}")
            (folder / f"new-{name}").rename(folder / name)

    @pytest.mark.parametrize("how", ["told", "seen"])
    def test_are_served(self, server: Front, folder: Path, issued: Issued, how: str) -> None:
        """At once after HUP; after a while, when nobody says anything. No worker of before is lost by the latter."""
        workers = server.children("server")
        assert greet(server, "starttls").subject == subject(issued.ecdsa.certificate)
        self.replace(folder, issued)
        if how == "told":
            server.signal(signal.SIGHUP)
        new = subject(issued.other.certificate)
        served = 0

        def settled() -> bool:
            """Ten connections in a row, so that both workers have had one."""
            nonlocal served
            served = served + 1 if greet(server, "starttls").subject == new else 0
            return served == 10

        server.until(settled, "the new certificate")
        if how == "seen":
            assert server.children("server") == workers

    def test_a_pair_that_does_not_match_is_not_served(self, server: Front, folder: Path, issued: Issued) -> None:
        """The old one stays until both files are there, and the log says why."""
        shutil.copy(issued.other.certificate, folder / "cert.pem")
        server.signal(signal.SIGHUP)
        server.until(lambda: any(str(folder) in str(event) for event in server.events("problem")), "a complaint")
        assert greet(server, "starttls").subject == subject(issued.ecdsa.certificate)
        shutil.copy(issued.other.key, folder / "key.pem")
        server.signal(signal.SIGHUP)
        server.until(
            lambda: greet(server, "starttls").subject == subject(issued.other.certificate), "the new certificate"
        )


def test_renegotiation_is_refused_and_not_left_hanging(front: Front) -> None:
    """TLS 1.2 lets a client ask for a new handshake at any time; the answer must not wait for our next words."""
    command = ["openssl", "s_client", "-connect", f"{HOST}:{front.ports['implicit']}", "-tls1_2", "-crlf"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, bufsize=0
    ) as client:
        assert client.stdin is not None
        assert client.stdout is not None
        for line in client.stdout:
            if line.startswith(b"220 "):
                break
        client.stdin.write(b"R\n")  # s_client takes it as a command
        try:
            assert client.wait(20) != 0
        finally:
            client.kill()
        assert b"no renegotiation" in client.stdout.read()
