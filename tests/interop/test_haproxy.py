"""HAProxy in front of us: its clients are ours, whatever TLS is spoken and by whom."""

import contextlib
import smtplib
import socket
import ssl
from collections.abc import Iterator

import pytest

from tests.support.front import Front, body, need, received
from tests.support.haproxy import Balancer, HAProxy
from tests.support.issued import Issued
from tests.support.server import HOST

pytestmark = pytest.mark.interop

CLIENT, OTHER = "127.0.0.7", "127.0.0.8"  # the balancer itself comes from 127.0.0.1
BALANCERS = ["127.0.0.1/32"]
CONTENT = b"Subject: x\r\n\r\n.\r\n..dot\r\n"
KINDS = ["send-proxy", "send-proxy-v2", "send-proxy-v2-ssl-cn"]


def has_ipv6() -> bool:
    """Whether there is a loopback address of IPv6."""
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory, issued: Issued) -> Iterator[Front]:
    """A server that believes 127.0.0.1; and a listener that does not."""
    listeners = {
        "starttls": {"proxy_protocol": BALANCERS},
        "implicit": {"proxy_protocol": BALANCERS, "tls": "implicit"},
        "checked": {"proxy_protocol": BALANCERS},
        "limited": {"proxy_protocol": BALANCERS, "limits": {"client_connections": 2, "client_exempt": []}},
        "lmtp": {"proxy_protocol": BALANCERS, "protocol": "lmtp"},
        "unlisted": {"proxy_protocol": ["192.0.2.0/24"], "refuse_early": []},
    }
    with Front(tmp_path_factory.mktemp("behind"), listeners, {"tls": issued.tls}) as front:
        yield front


@pytest.fixture(scope="module")
def haproxy(tmp_path_factory: pytest.TempPathFactory, front: Front, issued: Issued) -> Iterator[dict[str, Balancer]]:
    """HAProxy in front of each listener in each of its ways; where it comes in, by `door kind`."""
    balancers = {f"{door} {kind}": Balancer(front.ports[door], kind) for door in front.ports for kind in KINDS}
    pem = tmp_path_factory.mktemp("haproxy") / "both.pem"
    pem.write_bytes(issued.ecdsa.certificate.read_bytes() + issued.ecdsa.key.read_bytes())
    for kind in KINDS:
        balancers[f"ended {kind}"] = Balancer(front.ports["starttls"], kind, bind=f"ssl crt {pem}")
        if has_ipv6():
            balancers[f"six {kind}"] = Balancer(front.ports["starttls"], kind, address="::1")
    with HAProxy(need("haproxy"), {name.replace(" ", "."): balancer for name, balancer in balancers.items()}):
        yield balancers


@pytest.fixture
def context(issued: Issued) -> ssl.SSLContext:
    """A client's, that verifies who issued our certificate; it connects by address, which is in none."""
    context = ssl.create_default_context(cafile=issued.ca)
    context.check_hostname = False
    return context


def send(smtp: smtplib.SMTP, user: str) -> None:
    """One message, and good-bye."""
    with smtp:
        smtp.sendmail("a@example.com", [f"{user}@example.org"], CONTENT)


def seen(front: Front, user: str, client: str, protocol: str) -> None:
    """The client's address is in Received and in all events of the session; the balancer's is in none."""
    taken = front.one(user)
    assert body(taken) == body(CONTENT)
    literal = f"IPv6:{client}" if ":" in client else client
    assert f"([{literal}])" in received(taken)
    assert f" with {protocol} " in received(taken)
    session = front.session(user)
    for name in ("connect", "queued"):
        assert client in front.event(name, session=session)["client"]


@pytest.mark.parametrize("kind", KINDS)
class TestInFront:
    """Each way in which HAProxy tells who the client is."""

    def test_plain(self, front: Front, haproxy: dict[str, Balancer], kind: str) -> None:
        """Nothing but SMTP."""
        user = f"plain-{kind}"
        port = haproxy[f"starttls {kind}"].port
        send(smtplib.SMTP(HOST, port, "client.example.com", source_address=(CLIENT, 0)), user)
        seen(front, user, CLIENT, "ESMTP")

    def test_starttls(self, front: Front, haproxy: dict[str, Balancer], kind: str, context: ssl.SSLContext) -> None:
        """TLS goes through HAProxy and ends with us."""
        user = f"starttls-{kind}"
        smtp = smtplib.SMTP(HOST, haproxy[f"starttls {kind}"].port, "client.example.com", source_address=(CLIENT, 0))
        smtp.starttls(context=context)
        send(smtp, user)
        seen(front, user, CLIENT, "ESMTPS")

    def test_implicit(self, front: Front, haproxy: dict[str, Balancer], kind: str, context: ssl.SSLContext) -> None:
        """The header comes in the clear, the handshake behind it."""
        user = f"implicit-{kind}"
        port = haproxy[f"implicit {kind}"].port
        smtp = smtplib.SMTP_SSL(HOST, port, "client.example.com", source_address=(CLIENT, 0), context=context)
        send(smtp, user)
        seen(front, user, CLIENT, "ESMTPS")

    def test_tls_that_ends_before_us(
        self, front: Front, haproxy: dict[str, Balancer], kind: str, context: ssl.SSLContext
    ) -> None:
        """HAProxy holds the handshake, and tells about it in ways that we may pass over; to us it is SMTP."""
        user = f"ended-{kind}"
        port = haproxy[f"ended {kind}"].port
        smtp = smtplib.SMTP_SSL(HOST, port, "client.example.com", source_address=(CLIENT, 0), context=context)
        send(smtp, user)
        seen(front, user, CLIENT, "ESMTP")

    @pytest.mark.skipif(not has_ipv6(), reason="there is no IPv6 here")
    def test_ipv6(self, front: Front, haproxy: dict[str, Balancer], kind: str) -> None:
        """A client of IPv6, a balancer that comes by IPv4."""
        user = f"six-{kind}"
        send(smtplib.SMTP("::1", haproxy[f"six {kind}"].port, "client.example.com"), user)
        seen(front, user, "::1", "ESMTP")

    def test_lmtp(self, front: Front, haproxy: dict[str, Balancer], kind: str) -> None:
        """The header has nothing to do with what is spoken behind it."""
        user = f"lmtp-{kind}"
        port = haproxy[f"lmtp {kind}"].port
        send(smtplib.LMTP(HOST, port, "client.example.com", source_address=(CLIENT, 0)), user)
        seen(front, user, CLIENT, "LMTP")

    def test_connections_are_counted_by_client(self, haproxy: dict[str, Balancer], kind: str) -> None:
        """And not by balancer: two clients have two connections each, the third of one is turned away."""
        port = haproxy[f"limited {kind}"].port
        with contextlib.ExitStack() as stack:
            for client in (CLIENT, OTHER):
                for _ in range(2):
                    stack.enter_context(smtplib.SMTP(HOST, port, source_address=(client, 0)))
            with pytest.raises(smtplib.SMTPConnectError, match="client-connections"):
                smtplib.SMTP(HOST, port, source_address=(CLIENT, 0))

    def test_a_balancer_that_is_not_listed(self, front: Front, haproxy: dict[str, Balancer], kind: str) -> None:
        """Its header is a command that nobody knows; it is the client itself."""
        listener = f"{HOST}:{front.ports['unlisted']}"
        before = len(front.events("connect", listener=listener))
        with socket.create_connection((HOST, haproxy[f"unlisted {kind}"].port), 10, source_address=(CLIENT, 0)) as sock:
            replies = sock.makefile("rb")
            assert replies.readline().startswith(b"220 ")
            assert replies.readline()[:3] in (b"500", b"502")
        front.until(lambda: len(front.events("connect", listener=listener)) > before, "the connection in the log")
        assert not any(CLIENT in event["client"] for event in front.events("connect", listener=listener))


@pytest.mark.parametrize("kind", KINDS[:2])
@pytest.mark.parametrize("lines", ["option smtpchk EHLO balancer.example.com", ""], ids=["smtpchk", "connect"])
def test_health_checks(front: Front, kind: str, lines: str) -> None:
    """HAProxy's own connections carry a header, too, that names nobody (LOCAL, UNKNOWN): the server is up."""
    balancer = Balancer(front.ports["checked"], f"{kind} check inter 100ms rise 2 fall 2", lines=lines)
    with HAProxy(need("haproxy"), {"checked": balancer}) as running:
        front.until(lambda: running.status("checked")[1] in ("L7OK", "L4OK"), "a health check that was well")
        assert running.status("checked")[0] == "UP"
        user = f"checked-{kind}-{len(lines)}"
        send(smtplib.SMTP(HOST, balancer.port, "client.example.com", source_address=(CLIENT, 0)), user)
    seen(front, user, CLIENT, "ESMTP")
