"""Certificates as the supervisor reads them: faults, files that change, and what workers get."""

import errno
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from mta import cli, log
from mta.config import Certificate, Log, Tls
from mta.errors import ConfigError
from mta.supervisor.certificates import FILE_BYTES, LOOK_S, ROTATE_S, Certificates, read
from mta.tls_file import Reader
from tests.support.certificates import Authority, Pair
from tests.support.server import Server


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def log_file(tmp_path: Path) -> Path:
    file = tmp_path / "log"
    log.setup("supervisor", 0, Log(file=str(file)))
    return file


class Files:
    """A certificate and a key in places of their own, where others can be put."""

    def __init__(self, folder: Path, pair: Pair) -> None:
        self.certificate = folder / "cert.pem"
        self.key = folder / "key.pem"
        self.settings = Tls(certificate=str(self.certificate), key=str(self.key))
        self.put(pair)

    def put(self, pair: Pair) -> None:
        for source, target in zip(pair, (self.certificate, self.key), strict=True):
            fresh = target.with_suffix(".new")
            shutil.copy(source, fresh)
            fresh.rename(target)


@pytest.fixture
def files(tmp_path: Path, authority: Authority) -> Files:
    return Files(tmp_path, authority.server())


@pytest.fixture
def certificates(files: Files, log_file: Path) -> Iterator[Certificates]:
    made = Certificates(files.settings, 100.0)
    yield made
    made.close()


def settings(pair: Pair, *extra: Pair, client_ca: Path | str = "") -> Tls:
    return Tls(
        certificate=str(pair.certificate),
        key=str(pair.key),
        extra=[Certificate(certificate=str(other.certificate), key=str(other.key)) for other in extra],
        client_ca=str(client_ca),
    )


def faults(wrong: Tls) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        read(wrong)
    return caught.value.problems


def test_all_files_are_read(authority: Authority) -> None:
    first, second = authority.server("mx.example.org", "MX2.example.org"), authority.server(kind="rsa")
    identities, client_ca = read(settings(first, second, client_ca=authority.ca))
    assert [(found.names, found.kind) for found in identities] == [
        (("mx.example.org", "mx2.example.org"), "ecdsa"),
        (("mx.example.org",), "rsa"),
    ]
    assert identities[0].key == first.key.read_bytes()
    assert client_ca == authority.ca.read_bytes()


def test_every_fault_names_its_key_and_file(authority: Authority, tmp_path: Path) -> None:
    good, other, rsa = authority.server(), authority.server("b.example.org"), authority.server("c.org", kind="rsa")
    text = tmp_path / "text"
    text.write_text("nothing of the kind")
    empty = tmp_path / "empty"
    empty.touch()
    large = tmp_path / "large"
    large.write_bytes(bytes(FILE_BYTES + 1))
    broken = tmp_path / "broken"
    broken.write_text("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")
    wrong = settings(
        Pair(tmp_path / "nowhere", tmp_path),
        Pair(good.certificate, other.key),
        Pair(good.certificate, rsa.key),
        Pair(text, good.key),
        Pair(good.certificate, text),
        Pair(good.certificate, broken),
        Pair(empty, large),
        client_ca=good.key,
    )
    assert faults(wrong) == [
        f"tls.certificate: {tmp_path}/nowhere: cannot be read: No such file or directory",
        f"tls.key: {tmp_path}: cannot be read: Is a directory",
        f"tls.extra[0].key: {other.key}: is not the key of that certificate",
        f"tls.extra[1].key: {rsa.key}: is not the key of that certificate",
        f"tls.extra[2].certificate: {text}: holds no certificate in PEM form",
        f"tls.extra[3].key: {text}: holds no private key in PEM form",
        f"tls.extra[4].key: {broken}: holds no private key in PEM form",
        f"tls.extra[5].certificate: {empty}: is empty",
        f"tls.extra[5].key: {large}: longer than 1048576 bytes",
        f"tls.client_ca: {good.key}: holds no certificate in PEM form",
    ]


def test_an_encrypted_key_is_a_fault_and_no_question_on_the_terminal(authority: Authority, tmp_path: Path) -> None:
    pair = authority.server()
    locked = tmp_path / "locked.key"
    command = ["openssl", "ec", "-aes128", "-passout", "pass:secret", "-in", str(pair.key), "-out", str(locked)]
    subprocess.run(command, check=True, capture_output=True)
    (fault,) = faults(settings(Pair(pair.certificate, locked)))
    assert fault.startswith(f"tls.key: {locked}: is encrypted")


def test_two_of_a_kind_for_the_same_names_are_a_fault(authority: Authority) -> None:
    first, second = authority.server(), authority.server()
    (fault,) = faults(settings(first, second))
    assert fault == (
        f"tls.extra[0].certificate: {second.certificate}: a second one for mx.example.org with a key of that kind"
    )


def test_without_certificates_there_is_no_file_and_nothing_to_do() -> None:
    none = Certificates(Tls(), 100.0)
    assert (none.fd, none.due_at) == (-1, None)
    none.tend(1e9)
    none.close()


def test_changed_files_are_read_when_it_is_time_to_look(
    files: Files, certificates: Certificates, authority: Authority
) -> None:
    reader = Reader(certificates.fd)
    before = reader.read()
    assert before is not None
    files.put(authority.server("new.example.org"))
    certificates.tend(100.0 + LOOK_S - 1)
    assert reader.read() is None
    assert certificates.due_at == 100.0 + LOOK_S
    certificates.tend(100.0 + LOOK_S)
    after = reader.read()
    assert after is not None
    assert after.identities[0].names == ("new.example.org",)
    assert after.ticket_secret == before.ticket_secret
    certificates.tend(100.0 + 2 * LOOK_S)
    assert reader.read() is None


def test_new_files_with_a_fault_are_reported_once_and_the_old_ones_stay(
    files: Files, certificates: Certificates, authority: Authority, log_file: Path
) -> None:
    reader = Reader(certificates.fd)
    reader.read()
    new = authority.server("new.example.org")
    shutil.copy(new.certificate, files.certificate)
    for turn in range(1, 4):
        certificates.tend(100.0 + turn * LOOK_S)
    log.flush()
    text = log_file.read_text()
    assert text.count("is not the key of that certificate") == 1
    assert text.count("the certificates stay as they were") == 1
    assert reader.read() is None
    shutil.copy(new.key, files.key)
    certificates.tend(100.0 + 4 * LOOK_S)
    mended = reader.read()
    assert mended is not None
    assert mended.identities[0].names == ("new.example.org",)


def test_a_file_that_disappears_changes_nothing(files: Files, certificates: Certificates, log_file: Path) -> None:
    reader = Reader(certificates.fd)
    reader.read()
    files.key.unlink()
    certificates.tend(100.0 + LOOK_S)
    log.flush()
    assert "cannot be read: No such file or directory" in log_file.read_text()
    assert reader.read() is None


def test_without_descriptors_everything_stays_as_it_is_until_there_are_some(
    files: Files, certificates: Certificates, authority: Authority, log_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = Reader(certificates.fd)
    reader.read()
    files.put(authority.server("new.example.org"))

    def none_left(name: str, flags: int) -> int:
        raise OSError(errno.EMFILE, "Too many open files")

    with monkeypatch.context() as patch:
        patch.setattr("mta.pem.os.memfd_create", none_left)
        certificates.tend(100.0 + LOOK_S)
    assert reader.read() is None
    log.flush()
    assert "Too many open files" in log_file.read_text()
    certificates.tend(100.0 + 2 * LOOK_S)
    found = reader.read()
    assert found is not None
    assert found.identities[0].names == ("new.example.org",)


def test_the_secret_of_tickets_is_rotated_and_outlives_a_reload(files: Files, certificates: Certificates) -> None:
    reader = Reader(certificates.fd)
    first = reader.read()
    successor = Certificates(files.settings, 500.0, certificates)
    second = Reader(successor.fd).read()
    assert first is not None
    assert second is not None
    assert first.ticket_secret == second.ticket_secret
    successor.tend(100.0 + ROTATE_S - 1)
    assert certificates.fd != successor.fd
    assert Reader(successor.fd).read() == second
    successor.tend(100.0 + ROTATE_S)
    third = Reader(successor.fd).read()
    assert third is not None
    assert third.ticket_secret != second.ticket_secret
    assert third.identities == second.identities
    successor.close()


def test_expired_certificates_are_used_and_reported(authority: Authority, log_file: Path) -> None:
    made = Certificates(settings(authority.expired(), authority.server("b.example.org")), 0.0)
    made.tell()
    log.flush()
    text = log_file.read_text()
    assert text.count("a certificate has expired") == 1
    assert re.search(r"event=certificate names=mx\.example\.org key=ecdsa days_left=-\d{4}", text)
    assert re.search(r"event=certificate names=b\.example\.org key=ecdsa days_left=\d{4}", text)
    made.close()


CONFIG = """
hostname = "mx.example.org"
spool = "spool"
[[listen]]
address = "127.0.0.1:2525"
[tls]
certificate = "cert.pem"
key = "key.pem"
[domains]
local = []
[transport.store]
kind = "discard"
[[route]]
recipients = ["*"]
transport = "store"
"""


def test_mta_check_reads_the_files(files: Files, tmp_path: Path, authority: Authority) -> None:
    config = tmp_path / "mta.toml"
    config.write_text(CONFIG)
    fine = CliRunner().invoke(cli.cli, ["check", "-c", str(config)], standalone_mode=False)
    assert (fine.return_value, fine.output) == (0, f"{config}: fine\n")
    shutil.copy(authority.server().key, files.key)
    wrong = CliRunner().invoke(cli.cli, ["check", "-c", str(config)], standalone_mode=False)
    assert wrong.return_value == 1
    assert wrong.output == f"{config}: tls.key: {files.key}: is not the key of that certificate\n"


def tls_settings(files: Files) -> dict[str, Any]:
    return {"tls": {"certificate": str(files.certificate), "key": str(files.key)}, "processes": {"server": 1}}


def test_a_reload_with_bad_certificates_is_refused(tmp_path: Path, files: Files, authority: Authority) -> None:
    with Server(tmp_path, tls_settings(files)) as server:
        assert "event=certificate names=mx.example.org" in server.log.read_text()
        before = server.children("server")
        shutil.copy(authority.server().key, files.key)
        server.signal(signal.SIGHUP)
        server.until(lambda: "the configuration stays as it was" in server.log.read_text(), "the refusal")
        assert f"tls.key: {files.key}: is not the key of that certificate" in server.log.read_text()
        assert server.children("server") == before
