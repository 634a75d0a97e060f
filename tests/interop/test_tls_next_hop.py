"""Postfix as a next hop that speaks TLS: it agrees with us about what is spoken, and has its say about what is not."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.certificates import Authority
from tests.support.postfix import Postfix, missing
from tests.support.relaying import Relaying
from tests.support.server import HOST, free_port, wait_until

pytestmark = [pytest.mark.interop, pytest.mark.skipif(bool(missing()), reason=missing())]

SETTINGS = {
    "virtual_mailbox_domains": "example.org",
    "virtual_mailbox_maps": "static:all/",
    "virtual_transport": "virtual",
    "smtpd_tls_received_header": "yes",
}


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module", params=["may", "encrypt"])
def postfix(request: pytest.FixtureRequest, authority: Authority) -> Iterator[Postfix]:
    """With a certificate for its address."""
    pair = authority.server(HOST)
    settings = {
        **SETTINGS,
        "smtpd_tls_security_level": request.param,
        "smtpd_tls_cert_file": str(pair.certificate),
        "smtpd_tls_key_file": str(pair.key),
    }
    with Postfix(free_port(), settings) as postfix:
        yield postfix


@pytest.fixture
def relaying(postfix: Postfix) -> Iterator[Relaying]:
    for path in (postfix.mail / "all" / "new").glob("*"):
        path.unlink()
    made = Relaying()
    yield made
    made.close()


def stored(postfix: Postfix) -> bytes:
    """The one message of the mailbox."""
    folder = postfix.mail / "all" / "new"
    wait_until(lambda: list(folder.glob("*")), "a file")
    (path,) = folder.glob("*")
    return Path(path).read_bytes()


@pytest.mark.parametrize("level", ["default", "required", "verify"])
def test_it_says_in_received_what_was_spoken(
    postfix: Postfix, authority: Authority, relaying: Relaying, level: str
) -> None:
    ca = str(authority.ca) if level == "verify" else ""
    relaying.use(f"{HOST}:{postfix.port}", tls=level, tls_ca=ca)
    assert relaying.one() == []
    content = stored(postfix)
    assert b"(using TLSv1.3 with cipher " in content
    assert b"with ESMTPS id " in content


def test_another_name_gets_nothing(postfix: Postfix, authority: Authority, relaying: Relaying) -> None:
    relaying.use(f"{HOST}:{postfix.port}", tls="verify", tls_ca=str(authority.ca), tls_name="mx.example.org")
    assert relaying.one() == [(4, "4.7.5")]


def test_one_that_insists_gets_no_plain_text(postfix: Postfix, relaying: Relaying) -> None:
    """It refuses MAIL without TLS, with a code of its own; one that does not insist takes it."""
    relaying.use(f"{HOST}:{postfix.port}", tls="none")
    insists = b"smtpd_tls_security_level = encrypt" in (postfix.folder / "etc" / "main.cf").read_bytes()
    assert relaying.one() == ([(5, "5.7.0")] if insists else [])
