"""Dovecot's LMTP proxy sends to us: pipelined, with STARTTLS, and with XCLIENT where we offer it."""

import smtplib
from collections.abc import Iterator

import pytest

from tests.support.dovecot import Dovecot, missing
from tests.support.front import Front, body, received
from tests.support.issued import Issued
from tests.support.server import HOST

pytestmark = [pytest.mark.interop, pytest.mark.skipif(bool(missing()), reason=missing())]

SETTINGS = """\
lmtp_proxy = yes
service lmtp {{
  inet_listener lmtp {{
    address = {host}
    port = {port}
  }}
}}
"""
# A user's name begins with the door that the mail goes to.
PASSDB = """\
passdb {{
  driver = static
  username_filter = {door}-*
  args = nopassword=y proxy=y host={host} port={port} {options}
}}
"""
WAYS = {"plain": "", "starttls": "ssl=any-cert starttls=yes", "xclient": ""}
CONTENT = b"Subject: x\r\n\r\n.\r\n..dot\r\nGr\xc3\xbc\xc3\x9fe\r\n"
ORIGIN = "127.0.0.9"


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory, issued: Issued) -> Iterator[Front]:
    """A server that speaks LMTP at each of its doors."""
    listeners = {
        "plain": {"protocol": "lmtp", "tls": "none"},
        "starttls": {"protocol": "lmtp", "tls": "required"},
        "xclient": {"protocol": "lmtp", "xclient": ["127.0.0.0/8"]},
    }
    with Front(tmp_path_factory.mktemp("front"), listeners, {"tls": issued.tls}) as front:
        yield front


@pytest.fixture(scope="module")
def proxy(front: Front) -> Iterator[Dovecot]:
    """A Dovecot in front of all of them."""
    running = Dovecot()
    settings = SETTINGS.format(host=HOST, port=running.port)
    for door, options in WAYS.items():
        settings += PASSDB.format(door=door, host=HOST, port=front.ports[door], options=options)
    running.start(settings)
    yield running
    running.close()


@pytest.mark.parametrize("door", list(WAYS))
def test_proxied(front: Front, proxy: Dovecot, door: str) -> None:
    """Three recipients, of whom we refuse one, each with our answer; and with XCLIENT we know whose mail it is."""
    users = [f"{door}-{number}" for number in range(2)]
    with smtplib.LMTP(HOST, proxy.port, "origin.example.com", source_address=(ORIGIN, 0)) as lmtp:
        lmtp.mail("a@example.com")
        assert [lmtp.rcpt(f"{user}@example.org")[0] for user in users] == [250, 250]
        code, text = lmtp.rcpt(f"{door}-3@example.net")
        assert (code, b"[relay]" in text) == (550, True)
        assert lmtp.docmd("DATA")[0] == 354
        lmtp.send(CONTENT.replace(b"\r\n.", b"\r\n..") + b".\r\n")
        assert [lmtp.getreply()[0] for _ in users] == [250, 250]
    for user in users:
        taken = front.one(user)
        assert body(taken) == body(CONTENT)
        trace = received(taken)
        assert f" with {'LMTPS' if door == 'starttls' else 'LMTP'} " in trace
        assert (f"[{ORIGIN}]" in trace) == (door == "xclient")
