"""Postfix's smtp and lmtp clients, with what they make use of: TLS, notifications, SMTPUTF8, XFORWARD.

One Postfix sends by several services of its master.cf, chosen by the recipient's domain. And its smtp server has us as
a filter that decides before it does.
"""

import contextlib
import smtplib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support.front import Front, body, received
from tests.support.issued import Issued
from tests.support.postfix import Postfix, missing
from tests.support.server import HOST, free_port, wait_until
from tests.support.sink import Sink

pytestmark = [pytest.mark.interop, pytest.mark.skipif(bool(missing()), reason=missing())]

CONTENT = "From: a@example.com\nSubject: x\n\n.\n..dot\nGrüße\n".encode()
WIRE = CONTENT.replace(b"\n", b"\r\n")
SENDER = "a@example.com"
ORIGIN = "127.0.0.9"  # whom Postfix had the message from


class Way(NamedTuple):
    """A service of Postfix: its program, which of our listeners it sends to, the options it runs with."""

    program: str
    door: str
    options: dict[str, str]


def domain(way: str) -> str:
    """The domain whose mail goes that way."""
    return f"{way}.example.org"


WAYS = {
    "may": Way("smtp", "starttls", {"smtp_tls_security_level": "may"}),
    "old": Way("smtp", "starttls", {"smtp_tls_security_level": "may", "smtp_tls_protocols": "<=TLSv1.2"}),
    "none": Way("smtp", "plain", {"smtp_tls_security_level": "may"}),
    "required": Way("smtp", "required", {"smtp_tls_security_level": "encrypt"}),
    "secure": Way(
        "smtp", "starttls", {"smtp_tls_security_level": "secure", "smtp_tls_secure_cert_match": "mx.example.org"}
    ),
    "wrapped": Way("smtp", "implicit", {"smtp_tls_security_level": "encrypt", "smtp_tls_wrappermode": "yes"}),
    "shown": Way("smtp", "certified", {"smtp_tls_security_level": "encrypt"}),
    "reused": Way(
        "smtp",
        "starttls",
        {
            "smtp_tls_security_level": "encrypt",
            "smtp_tls_connection_reuse": "yes",
            "smtp_connection_cache_destinations": "static:all",
        },
    ),
    "forward": Way("smtp", "forward", {"smtp_send_xforward_command": "yes"}),
    "lmtp": Way("lmtp", "lmtp", {}),
    "lmtps": Way("lmtp", "lmtp", {"lmtp_tls_security_level": "encrypt"}),
}
TLS = {"may": "TLSv1.3", "old": "TLSv1.2", "required": "TLSv1.3", "secure": "TLSv1.3", "wrapped": "TLSv1.3"}


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory, issued: Issued) -> Iterator[Front]:
    """A server with a listener of each kind."""
    listeners = {
        "plain": {"tls": "none"},
        "starttls": {},
        "required": {"tls": "required"},
        "implicit": {"tls": "implicit"},
        "certified": {"tls": "required", "client_certificates": "require"},
        "forward": {"xforward": ["127.0.0.0/8"]},
        "lmtp": {"protocol": "lmtp"},
    }
    settings = {"tls": issued.tls, "domains": {"local": [domain(way) for way in WAYS]}}
    with Front(tmp_path_factory.mktemp("front"), listeners, settings) as front:
        yield front


@pytest.fixture(scope="module")
def filtered_port() -> int:
    """Where Postfix takes mail for which it asks us at once."""
    return free_port()


@pytest.fixture(scope="module")
def postfix(front: Front, issued: Issued, filtered_port: int) -> Iterator[Postfix]:
    """A Postfix that sends by all of the ways; what is not ours goes with the mail of `lmtp`, to be refused."""
    services = "".join(
        f"way-{name} unix - - n - - {way.program}\n"
        + "".join(f"  -o {key}={value}\n" for key, value in way.options.items())
        for name, way in WAYS.items()
    )
    nexthop = {
        name: f"way-{name}:{'inet:' if way.program == 'lmtp' else ''}[{HOST}]:{front.ports[way.door]}"
        for name, way in WAYS.items()
    }
    routes = {domain(name): nexthop[name] for name in WAYS} | {"stranger.example.net": nexthop["lmtp"]}
    settings = {
        "transport_maps": "inline:{ " + ", ".join(f"{key}={value}" for key, value in routes.items()) + " }",
        "relay_domains": " ".join(routes),
        "smtp_tls_CAfile": issued.ca,
        "smtp_tls_loglevel": "1",
        "smtp_tls_cert_file": str(issued.client.certificate),
        "smtp_tls_key_file": str(issued.client.key),
        "tlsproxy_client_security_level": "encrypt",  # it does not see the options of the service that asks it
        "default_transport": "discard:",  # bounces
        "smtpd_peername_lookup": "no",  # there may be nobody to ask
    }
    services += (
        f"{HOST}:{filtered_port} inet n - n - - smtpd\n  -o smtpd_proxy_filter={HOST}:{front.ports['forward']}\n"
    )
    with Postfix(free_port(), settings, services=services) as postfix:
        yield postfix


def log_of(postfix: Postfix, recipient: str) -> str:
    """The line with which Postfix logs the fate of a recipient; waits for it."""

    def found() -> list[str]:
        return [line for line in postfix.log.read_text().splitlines() if f"to=<{recipient}>" in line]

    try:
        wait_until(found, f"{recipient} in Postfix's log")
    except TimeoutError as error:
        raise TimeoutError(f"{error}:\n{postfix.log.read_text()}") from None
    return found()[-1]


@pytest.mark.parametrize("way", ["may", "old", "none", "required", "secure", "wrapped"])
def test_smtp(front: Front, postfix: Postfix, way: str) -> None:
    """Each with the protection that its policy and ours give; Postfix verifies our name where it is told to."""
    postfix.send(SENDER, [f"smtp@{domain(way)}"], CONTENT)
    assert "status=sent" in log_of(postfix, f"smtp@{domain(way)}")
    taken = front.one("smtp", domain(way))
    assert body(taken) == body(WIRE)
    trace = received(taken)
    assert trace.startswith("from postfix.example.org ")
    if way in TLS:
        assert f"using {TLS[way]} with cipher " in trace
        assert " with ESMTPS " in trace
        assert front.event("tls", session=front.session("smtp", domain(way)), version=TLS[way])
    else:
        assert "using TLS" not in trace
        assert " with ESMTP " in trace
    if way == "secure":
        assert f"Verified TLS connection established to {HOST}" in postfix.log.read_text()


def test_a_client_certificate(front: Front, postfix: Postfix, issued: Issued) -> None:
    """Where one is demanded, Postfix comes in with its own."""
    postfix.send(SENDER, [f"shown@{domain('shown')}"], CONTENT)
    assert "status=sent" in log_of(postfix, f"shown@{domain('shown')}")
    trace = received(front.one("shown", domain("shown")))
    assert f"(client certificate SHA-256 {issued.fingerprint} verified)" in trace


def test_smtputf8(front: Front, postfix: Postfix) -> None:
    """Postfix sees for itself that an address needs it."""
    recipient = f"jürgen@{domain('may')}"
    postfix.send("grüße@example.com", [recipient], CONTENT)
    assert "status=sent" in log_of(postfix, recipient)
    front.wait_empty()
    (file,) = [file for file in front.delivered() if "%c3%bc" in str(file).lower()]
    assert " with UTF8SMTPS " in received(file.read_bytes())


@pytest.mark.parametrize("way", ["lmtp", "lmtps"])
def test_lmtp(front: Front, postfix: Postfix, way: str) -> None:
    """Several recipients, each with an outcome of its own, one of them refused."""
    recipients = [f"user{number}@{domain(way)}" for number in range(5)]
    strangers = ["x@stranger.example.net"] if way == "lmtp" else []
    postfix.send(SENDER, [*recipients, *strangers], CONTENT)
    for recipient in recipients:
        line = log_of(postfix, recipient)
        assert "status=sent" in line
        assert "queued as" in line
    for stranger in strangers:
        line = log_of(postfix, stranger)
        assert "status=bounced" in line
        assert "550 5.7.1" in line
    for number in range(5):
        taken = front.one(f"user{number}", domain(way))
        assert body(taken) == body(WIRE)
        assert f" with {'LMTPS' if way == 'lmtps' else 'LMTP'} " in received(taken)


def test_xforward(front: Front, postfix: Postfix) -> None:
    """Postfix tells us whom it had the message from; we believe it for the log, and for nothing else."""
    with smtplib.SMTP(HOST, postfix.port, "origin.example.com", source_address=(ORIGIN, 0)) as smtp:
        smtp.sendmail(SENDER, [f"forward@{domain('forward')}"], CONTENT)
    trace = received(front.one("forward", domain("forward")))
    assert trace.startswith("from postfix.example.org ([127.0.0.1])")
    session = front.session("forward", domain("forward"))
    front.event("disconnect", session=session)
    forwarded = {key: value for event in front.events("forwarded", session=session) for key, value in event.items()}
    assert (forwarded["addr"], forwarded["helo"]) == (ORIGIN, "origin.example.com")  # told in two commands


def test_a_filter_before_the_queue(front: Front, postfix: Postfix, filtered_port: int) -> None:
    """Postfix hands us each message while its client waits, and passes our answers on (smtpd_proxy_filter)."""
    taken, refused = f"filtered@{domain('forward')}", "x@stranger.example.net"
    with smtplib.SMTP(HOST, filtered_port, "origin.example.com", source_address=(ORIGIN, 0)) as smtp:
        assert list(smtp.sendmail(SENDER, [taken, refused], WIRE)) == [refused]
        smtp.mail(SENDER)
        code, text = smtp.rcpt(refused)
        assert (code, text.split()[0], text.split()[-1]) == (550, b"5.7.1", b"[relay]")
        smtp.rset()
        smtp.mail(SENDER)
        smtp.rcpt(taken)
        code, text = smtp.data(WIRE)
        assert (code, b"queued as" in text) == (250, True)
    contents = front.collect("filtered", 2, domain("forward"))
    assert [body(content) for content in contents] == [body(WIRE)] * 2
    session = front.session("filtered", domain("forward"))
    assert front.event("forwarded", session=session, addr=ORIGIN)


def test_connections_are_used_again(front: Front, postfix: Postfix) -> None:
    """Through TLS, too, which Postfix's tlsproxy speaks then."""
    for number in range(30):
        postfix.send(SENDER, [f"reused@{domain('reused')}"], b"Subject: x\n\n%d\n" % number)
    bodies = {body(content) for content in front.collect("reused", 30, domain("reused"))}
    assert bodies == {b"%d\r\n" % number for number in range(30)}
    sessions = {event["session"] for event in front.events("delivered", to=f"reused@{domain('reused')}")}
    assert len(sessions) < 30
    assert all(front.events("tls", session=session) for session in sessions)


@pytest.mark.parametrize("offered", [True, False], ids=["offered", "not offered"])
def test_what_is_asked_of_notifications_is_passed_on(tmp_path: Path, offered: bool) -> None:
    """Postfix asks us, and we ask the next hop, if it offers DSN (RFC 3461 section 5.2.1)."""
    with contextlib.ExitStack() as stack:
        extensions = ("PIPELINING", "8BITMIME", *(["DSN"] if offered else []), "SMTPUTF8")
        sink = stack.enter_context(Sink(extensions=extensions))
        relay = {
            "transport": {"next": {"kind": "smtp", "host": f"{HOST}:{sink.port}"}},
            "route": [{"recipients": ["*"], "transport": "next"}],
        }
        front = stack.enter_context(Front(tmp_path, {"plain": {}}, relay))
        settings = {"relayhost": f"[{HOST}]:{front.ports['plain']}"}
        postfix = stack.enter_context(Postfix(free_port(), settings))
        options = ["-N", "success,failure", "-V", "envelope+1=2", "-R", "hdrs"]
        postfix.send(SENDER, ["asked@example.org"], CONTENT, options)
        front.until(lambda: sink.messages, "the message at the next hop")
        (taken,) = sink.messages
    of_mail, of_rcpt = taken.parameters
    assert (b"RET=HDRS" in of_mail.split()) == offered
    assert (b"ENVID=envelope+2B1+3D2" in of_mail.split()) == offered
    assert (set(of_rcpt.split()) >= {b"NOTIFY=SUCCESS,FAILURE", b"ORCPT=rfc822;asked@example.org"}) == offered
    assert offered or b"NOTIFY" not in of_rcpt
