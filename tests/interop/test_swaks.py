"""swaks sends to us, by every door we have; what it prints and what lies in the maildir are as they should be."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.front import Front, body, parsed, received
from tests.support.issued import Issued
from tests.support.server import HOST
from tests.support.swaks import replies, swaks

pytestmark = pytest.mark.interop

LOOPBACK = ["127.0.0.0/8"]
ELSEWHERE = ["192.0.2.0/24"]
PROXY = {
    1: ("--proxy-version", "1", "--proxy-family", "TCP4"),
    2: ("--proxy-version", "2", "--proxy-family", "AF_INET"),
}
SIX = {
    1: ("--proxy-version", "1", "--proxy-family", "TCP6"),
    2: ("--proxy-version", "2", "--proxy-family", "AF_INET6"),
}


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory, issued: Issued) -> Iterator[Front]:
    """A server with a listener of each kind."""
    listeners = {
        "plain": {"tls": "none"},
        "starttls": {},
        "required": {"tls": "required"},
        "implicit": {"tls": "implicit"},
        "lmtp": {"protocol": "lmtp"},
        "proxied": {"proxy_protocol": LOOPBACK},
        "proxied implicit": {"proxy_protocol": LOOPBACK, "tls": "implicit"},
        "unproxied": {"proxy_protocol": ELSEWHERE, "refuse_early": []},
        "xclient": {"xclient": LOOPBACK},
    }
    with Front(tmp_path_factory.mktemp("swaks"), listeners, {"tls": issued.tls}) as front:
        yield front


def proxy(family: tuple[str, ...], source: str, destination: str) -> list[str]:
    """The options with which swaks stands for a load balancer."""
    given = ("--proxy-source", source, "--proxy-source-port", "4711")
    return [*family, *given, "--proxy-dest", destination, "--proxy-dest-port", "25"]


def test_plain(front: Front) -> None:
    """A plain message with a body that has a line of one dot."""
    told = swaks(
        front.ports["plain"], "--to", "plain@example.org", "--body", "first\n.\n..last\n", "--header", "X-T: 1"
    )
    assert "queued as" in told
    content = front.one("plain")
    assert parsed(content)["X-T"] == "1"
    assert body(content).startswith(b"first\r\n.\r\n..last\r\n")
    assert " with ESMTP " in received(content)


def test_pipelining(front: Front) -> None:
    """The envelope in one go, several recipients."""
    told = swaks(front.ports["plain"], "--pipeline", "--to", "pipe1@example.org,pipe2@example.org")
    envelope = told.index(" -> MAIL"), told.index(" -> RCPT"), told.index(" -> DATA"), told.index("<-  250 2.1.0")
    assert list(envelope) == sorted(envelope)
    assert front.one("pipe1")
    assert front.one("pipe2")


def test_attachment(front: Front, tmp_path: Path) -> None:
    """A binary attachment of 2 MB arrives as it was, through TLS as well."""
    attached = tmp_path / "octets.bin"
    attached.write_bytes(bytes(range(256)) * 8_192)
    for door, options in {"plain": [], "starttls": ["--tls"]}.items():
        swaks(front.ports[door], "--to", f"attach-{door}@example.org", "--attach", f"@{attached}", *options)
        parts = parsed(front.one(f"attach-{door}")).walk()
        assert attached.read_bytes() in [part.get_payload(decode=True) for part in parts if not part.is_multipart()]


def test_many_recipients(front: Front) -> None:
    """300 recipients, each with a reply and a file."""
    users = [f"many{number}" for number in range(300)]
    told = swaks(front.ports["plain"], "--pipeline", "--to", ",".join(f"{user}@example.org" for user in users))
    assert sum(line.startswith("250 2.1.5") for line in replies(told)) == 300
    assert all(front.one(user) for user in users[::100])
    assert len(list((front.mail / "example.org").glob("many*/new/*"))) == 300


def test_a_refused_recipient_does_not_hinder_the_other(front: Front) -> None:
    """Its refusal has a reason; the transaction goes on."""
    told = swaks(front.ports["plain"], "--to", "taken@example.org,refused@example.net")
    assert any(line.startswith("550 5.7.1") and line.endswith("[relay]") for line in replies(told))
    assert front.one("taken")


@pytest.mark.parametrize(
    ("door", "options"),
    [
        ("starttls", ["--tls"]),
        ("required", ["--tls"]),
        ("implicit", ["--tls-on-connect"]),
        ("starttls", ["--tls", "--pipeline"]),
    ],
    ids=["starttls", "required", "implicit", "pipelined"],
)
@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_tls(front: Front, issued: Issued, door: str, options: list[str], version: str) -> None:
    """The certificate is verified; version and cipher stand in the transcript, in Received and in the log alike."""
    user = f"{door}{len(options)}-{version}"
    told = swaks(
        front.ports[door],
        *("--to", f"{user}@example.org", "--tls-protocol", f"tlsv{version}".replace(".", "_")),
        *("--tls-verify", "--tls-ca-path", issued.ca, "--tls-sni", "mx.example.org"),
        *options,
    )
    (started,) = [line for line in told.splitlines() if "TLS started with cipher" in line]
    told_version, cipher, bits = started.rpartition(" ")[2].split(":")
    assert told_version == f"TLSv{version}"
    trace = received(front.one(user))
    assert " with ESMTPS " in trace
    assert f"using TLSv{version} with cipher {cipher} ({bits}/{bits} bits)" in trace
    assert front.event("tls", session=front.session(user), version=f"TLSv{version}", cipher=cipher)


def test_starttls_is_offered_until_it_is_active(front: Front) -> None:
    """And REQUIRETLS only then (RFC 8689 section 2); a listener without TLS offers neither."""
    told = swaks(front.ports["starttls"], "--tls", "--to", "offered@example.org")
    clear, _, secured = told.partition("TLS started")
    assert any(line.endswith("STARTTLS") for line in replies(clear))
    assert not any("REQUIRETLS" in line for line in replies(clear))
    assert not any(line[4:] == "STARTTLS" for line in replies(secured))
    assert any("REQUIRETLS" in line for line in replies(secured))
    swaks(front.ports["plain"], "--tls", "--to", "offered@example.org", code=29)  # "no TLS" in swaks's words


def test_tls_may_be_demanded(front: Front) -> None:
    """Without it, MAIL gets 530, and nothing is taken (RFC 3207 section 4)."""
    told = swaks(front.ports["required"], "--to", "insecure@example.org", code=23)
    assert any(line.startswith("530 5.7.0") and line.endswith("[tls-required]") for line in replies(told))


def test_a_client_certificate_is_recorded(front: Front, issued: Issued) -> None:
    """Asked for and not demanded; verified against our authority, and told in Received."""
    certificate = ("--tls-cert", str(issued.client.certificate), "--tls-key", str(issued.client.key))
    swaks(front.ports["starttls"], "--tls", *certificate, "--to", "certified@example.org")
    assert f"(client certificate SHA-256 {issued.fingerprint} verified)" in received(front.one("certified"))


@pytest.mark.parametrize("options", [[], ["--tls"], ["--pipeline"]], ids=lambda options: "".join(options) or "clear")
def test_lmtp(front: Front, options: list[str]) -> None:
    """A reply for each recipient that was taken, and none for the one that was not (RFC 2033 section 4.2)."""
    users = [f"lmtp{number}{''.join(options)}" for number in range(3)]
    told = swaks(
        *(front.ports["lmtp"], "--protocol", "LMTP", *options),
        *("--to", f"{users[0]}@example.org,stranger@example.net,{users[1]}@example.org,{users[2]}@example.org"),
    )
    said = replies(told)
    assert sum(line.startswith("250 2.1.5") for line in said) == 3
    assert sum(line.startswith("550 5.7.1") for line in said) == 1
    assert sum("queued as" in line for line in said) == 3
    for user in users:
        assert f" with {'LMTPS' if '--tls' in options else 'LMTP'} " in received(front.one(user))


def test_lmtp_is_not_smtp(front: Front) -> None:
    """EHLO is refused where LMTP is spoken, and LHLO where SMTP is (RFC 2033 section 4.1)."""
    told = swaks(front.ports["lmtp"], "--to", "x@example.org", code=22)
    assert all(not line.startswith("250") for line in replies(told))
    told = swaks(front.ports["plain"], "--protocol", "LMTP", "--to", "x@example.org", code=22)
    assert all(not line.startswith("250") for line in replies(told))


def test_prdr(front: Front) -> None:
    """353, a reply for each recipient, and one for all."""
    told = swaks(front.ports["plain"], "--prdr", "--to", "prdr1@example.org,prdr2@example.org")
    said = replies(told)
    behind = said[[line.startswith("353") for line in said].index(True) :]
    assert [line[:3] for line in behind] == ["353", "250", "250", "250", "221"]
    assert front.one("prdr1")
    assert front.one("prdr2")


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("tls", ["", "--tls", "--tls-on-connect"])
def test_proxy(front: Front, version: int, tls: str) -> None:
    """The client that the header names is the client, in Received and in the log, whatever is spoken behind it."""
    user = f"proxy{version}{tls}"
    door = "proxied implicit" if tls == "--tls-on-connect" else "proxied"
    options = proxy(PROXY[version], "192.0.2.77", "192.0.2.25")
    told = swaks(front.ports[door], "--to", f"{user}@example.org", *options, *([tls] if tls else []))
    assert "queued as" in told
    assert received(front.one(user)).startswith("from swaks.example.com ([192.0.2.77])")
    assert "192.0.2.77" in front.event("queued", session=front.session(user))["client"]


@pytest.mark.parametrize("version", [1, 2])
def test_proxy_of_ipv6(front: Front, version: int) -> None:
    """Addresses of the other family than the connection's."""
    user = f"six{version}"
    swaks(front.ports["proxied"], "--to", f"{user}@example.org", *proxy(SIX[version], "2001:db8::7", "2001:db8::25"))
    assert "([IPv6:2001:db8::7])" in received(front.one(user))


def test_a_broken_proxy_header_ends_the_connection(front: Front) -> None:
    """No guess is made who the client might be."""
    told = swaks(front.ports["proxied"], "--to", "x@example.org", "--proxy", "TCP4 nonsense", code=6)
    assert replies(told) == []
    assert front.event("disconnect", reason="bad PROXY header: malformed PROXY line")


def test_a_proxy_header_of_anybody_else_is_an_unknown_command(front: Front) -> None:
    """What a client says of itself is not believed."""
    address = f"{HOST}:{front.ports['unproxied']}"
    told = swaks(
        front.ports["unproxied"],
        *("--to", "unproxied@example.org", "--quit-after", "EHLO"),
        *proxy(PROXY[1], "192.0.2.77", "192.0.2.25"),
        code=None,
    )
    assert any(line.startswith("500 5.5.1") for line in replies(told))
    assert front.event("connect", listener=address)["client"].startswith(f"{HOST}:")


def test_xclient(front: Front) -> None:
    """A filter stands for the client: address, name and HELO are the client's, in Received and in the log."""
    told = swaks(
        front.ports["xclient"],
        *("--to", "xclient@example.org", "--xclient-addr", "192.0.2.78", "--xclient-name", "client.example.net"),
        *("--xclient-port", "4711", "--xclient-helo", "helo.example.net", "--xclient-proto", "ESMTP"),
    )
    assert sum(line.startswith("220 ") for line in replies(told)) == 2  # the session begins anew
    trace = received(front.one("xclient"))
    assert "[192.0.2.78]" in trace
    assert "192.0.2.78" in front.event("queued", session=front.session("xclient"))["client"]


@pytest.mark.parametrize("order", [[], ["--xclient-before-starttls"]], ids=lambda order: "".join(order) or "behind TLS")
def test_xclient_and_tls(front: Front, order: list[str]) -> None:
    """In either order; TLS stays."""
    user = f"xtls{len(order)}"
    swaks(front.ports["xclient"], "--tls", "--to", f"{user}@example.org", "--xclient-addr", "IPV6:2001:db8::78", *order)
    trace = received(front.one(user))
    assert "[IPv6:2001:db8::78]" in trace
    assert " with ESMTPS " in trace


def test_xclient_of_anybody_else(front: Front) -> None:
    """It is not offered, and refused when it is tried all the same."""
    swaks(front.ports["plain"], "--to", "x@example.org", "--xclient-addr", "192.0.2.78", code=33)
    told = swaks(front.ports["plain"], "--to", "x@example.org", "--xclient", "ADDR=192.0.2.78", code=33)
    assert any(line.startswith("550 5.7.0") for line in replies(told)) or "XCLIENT" not in told
