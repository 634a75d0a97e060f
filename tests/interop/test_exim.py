"""Exim sends to us, with all that it knows: STARTTLS, CHUNKING, PRDR, pipelining."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.exim import Exim, missing
from tests.support.front import Front, body, received
from tests.support.issued import Issued

pytestmark = [pytest.mark.interop, pytest.mark.skipif(bool(missing()), reason=missing())]

AWKWARD = b".\n..dot\n.\n\n" + "Grüße\n".encode() + b"x" * 998 + b"\n.\n"
LARGE = b"".join(b".%d %s\n" % (number, b"y" * (number % 120)) for number in range(20_000))  # 1.3 MB: many chunks


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory, issued: Issued) -> Iterator[Front]:
    """A server with a listener of each kind."""
    listeners = {
        "plain": {"tls": "none"},
        "starttls": {},
        "implicit": {"tls": "implicit"},
        "lmtp": {"protocol": "lmtp"},
        "certified": {"client_certificates": "require", "tls": "required"},
    }
    with Front(tmp_path_factory.mktemp("exim"), listeners, {"tls": issued.tls}) as front:
        yield front


def message(content: bytes) -> bytes:
    """A message with that body."""
    return b"From: a@example.com\nSubject: x\n\n" + content


def line(log: str, mark: str, recipient: str) -> str:
    """Exim's line for a recipient: `=>` or `->` delivered, `**` refused."""
    (found,) = [text for text in log.splitlines() if f" {mark} {recipient} " in text]
    return found


SECURED = {"hosts_require_tls": "*"}
WITHOUT = {"hosts_try_chunking": ":", "hosts_try_prdr": ":", "hosts_avoid_pipelining": "*"}


@pytest.mark.parametrize("content", [AWKWARD, LARGE], ids=["awkward", "large"])
@pytest.mark.parametrize(
    ("name", "door", "options"),
    [
        ("all", "starttls", SECURED),
        ("clear", "plain", {}),
        ("implicit", "implicit", {"protocol": "smtps"}),
        ("data", "starttls", {**SECURED, "hosts_try_chunking": ":"}),
        ("least", "plain", WITHOUT),
    ],
)
def test_content_arrives(front: Front, name: str, door: str, options: dict[str, str], content: bytes) -> None:
    """Byte for byte, by BDAT and by DATA, in the clear and not; Exim's log tells what it made use of."""
    user = f"{name}{len(content)}"
    with Exim(front.ports[door], options) as exim:
        log = exim.send("a@example.com", [f"{user}@example.org"], message(content))
    delivered = line(log, "=>", f"{user}@example.org")
    assert ' C="250 2.0.0 ' in delivered
    assert (" K " in delivered) == ("hosts_try_chunking" not in options)
    assert (" L " in delivered) == ("hosts_avoid_pipelining" not in options)
    assert (" X=TLS1.3:" in delivered) == (door != "plain")
    taken = front.one(user)
    assert body(taken) == content.replace(b"\n", b"\r\n")
    trace = received(taken)
    assert trace.startswith("from exim.example.com ")
    assert f" with {'ESMTP' if door == 'plain' else 'ESMTPS'} " in trace
    assert ("using TLSv1.3 " in trace) == (door != "plain")


def test_our_certificate_is_verified(front: Front, issued: Issued) -> None:
    """With the name that Exim asks for in SNI; the log says CV=yes."""
    options = {
        **SECURED,
        "tls_verify_hosts": "*",
        "tls_sni": "mail.example.net",
        "tls_verify_cert_hostnames": ":",
    }
    with Exim(front.ports["starttls"], options, {"tls_verify_certificates": issued.authority.ca}) as exim:
        log = exim.send("a@example.com", ["verified@example.org"], message(b"x\n"))
    delivered = line(log, "=>", "verified@example.org")
    assert " CV=yes" in delivered
    assert front.event("tls", session=front.session("verified"))["server_name"] == "mail.example.net"


def test_a_client_certificate(front: Front, issued: Issued) -> None:
    """Where one is demanded, Exim shows it, and comes in."""
    shown = {"tls_certificate": issued.client.certificate, "tls_privatekey": issued.client.key}
    with Exim(front.ports["certified"], SECURED, shown) as exim:
        exim.send("a@example.com", ["certified@example.org"], message(b"x\n"))
    assert f"(client certificate SHA-256 {issued.fingerprint} verified)" in received(front.one("certified"))


@pytest.mark.parametrize("prdr", [True, False], ids=["prdr", "without"])
def test_one_of_several_is_refused(front: Front, prdr: bool) -> None:
    """With PRDR, where each recipient that was taken has a reply of its own behind the content, and without."""
    users = [f"several{number}-{prdr:d}" for number in range(3)]
    recipients = [*(f"{user}@example.org" for user in users), "stranger@example.net"]
    with Exim(front.ports["starttls"], {} if prdr else {"hosts_try_prdr": ":"}) as exim:
        log = exim.send("a@example.com", recipients, message(AWKWARD))
    assert "550 5.7.1 Relaying denied [relay]" in line(log, "**", "stranger@example.net")
    for user in users:
        (delivered,) = [text for text in log.splitlines() if f"> {user}@example.org " in text]
        assert (" PRDR " in delivered) == prdr
        assert body(front.one(user)) == AWKWARD.replace(b"\n", b"\r\n")


def test_many_messages_on_one_connection(front: Front) -> None:
    """300 recipients with 20 a message: 15 transactions."""
    users = [f"batch{number}" for number in range(300)]
    options = {"max_rcpt": "20", "connection_max_messages": "500"}
    with Exim(front.ports["starttls"], options) as exim:
        log = exim.send("a@example.com", [f"{user}@example.org" for user in users], message(b"x\n"))
    assert sum(f"> {user}@example.org " in log for user in users) == 300
    front.until(lambda: len(list((front.mail / "example.org").glob("batch*/new/*"))) == 300, "300 files")


@pytest.mark.parametrize("tls", [True, False], ids=["tls", "clear"])
def test_lmtp(front: Front, tls: bool) -> None:
    """Exim's smtp transport speaks LMTP as well: a reply for each recipient, and one is refused."""
    users = [f"lmtp{number}-{tls:d}" for number in range(3)]
    options = {"protocol": "lmtp", **({} if tls else {"hosts_avoid_tls": "*"})}
    with Exim(front.ports["lmtp"], options) as exim:
        recipients = [*(f"{user}@example.org" for user in users), "stranger@example.net"]
        log = exim.send("a@example.com", recipients, message(AWKWARD))
    assert "550 5.7.1" in line(log, "**", "stranger@example.net")
    for user in users:
        taken = front.one(user)
        assert body(taken) == AWKWARD.replace(b"\n", b"\r\n")
        assert f" with {'LMTPS' if tls else 'LMTP'} " in received(taken)


def test_too_large_is_refused_before_it_comes(tmp_path: Path) -> None:
    """Exim reads SIZE, and says how much it has; the refusal is for good."""
    with (
        Front(tmp_path, {"small": {}}, {"limits": {"message_bytes": 100_000}}) as front,
        Exim(front.ports["small"]) as exim,
    ):
        log = exim.send("a@example.com", ["large@example.org"], message(LARGE))
    assert " ** large@example.org " in log
