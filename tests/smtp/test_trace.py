"""The Received field: what stands in it, its lines, and what cannot get into it."""

import contextlib
import re
from email import policy
from email.parser import BytesParser
from email.utils import parsedate_to_datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mta.smtp import limits, trace
from mta.smtp.address import AddressError, parse_path
from mta.tls_facts import TlsFacts

FINGERPRINT = "0123456789abcdef" * 4
TLS = TlsFacts("TLSv1.3", "TLS_AES_256_GCM_SHA384", 256, "mx.example.org", FINGERPRINT, client_verified=True)


def received(**changes: Any) -> bytes:
    """The field of a plain message, with changes."""
    plain: dict[str, Any] = {
        "helo": b"mail.sender.example",
        "client": b"192.0.2.1",
        "hostname": b"mx.example.org",
        "protocol": b"ESMTP",
        "queue_id": b"0A1B2C3D4E5F",
        "recipient": b"joe@example.org",
        "when": trace.date(1_700_000_000),
    }
    return trace.received(**(plain | changes))


def lines(field: bytes) -> list[bytes]:
    """The lines of a field, which must be one: all but the first begin with a blank, and all end in CR LF."""
    found = field.split(b"\r\n")
    assert found.pop() == b""
    assert found[0].startswith(b"Received: ")
    for line in found:
        assert not set(line) & set(b"\r\n\0")
        assert len(line) <= 998
    for line in found[1:]:
        assert line[:1] in (b" ", b"\t")
        assert line.strip()
    return found


def test_plain() -> None:
    assert received() == (
        b"Received: from mail.sender.example ([192.0.2.1])\r\n"
        b"\tby mx.example.org with ESMTP id 0A1B2C3D4E5F\r\n"
        b"\tfor <joe@example.org>;\r\n"
        b"\tTue, 14 Nov 2023 22:13:20 +0000\r\n"
    )


def test_several_recipients_are_not_named() -> None:
    assert received(recipient=b"") == (
        b"Received: from mail.sender.example ([192.0.2.1])\r\n"
        b"\tby mx.example.org with ESMTP id 0A1B2C3D4E5F;\r\n"
        b"\tTue, 14 Nov 2023 22:13:20 +0000\r\n"
    )


def test_tls() -> None:
    field = received(protocol=b"ESMTPS", tls=TlsFacts("TLSv1.3", "TLS_AES_256_GCM_SHA384", 256).comment)
    assert lines(field)[1] == b"\t(using TLSv1.3 with cipher TLS_AES_256_GCM_SHA384 (256/256 bits))"
    assert lines(field)[2] == b"\tby mx.example.org with ESMTPS id 0A1B2C3D4E5F"


def test_client_certificate() -> None:
    found = lines(received(tls=TLS.comment))
    assert found[1].startswith(b"\t(using TLSv1.3 ")
    certificate = b" ".join(line.strip() for line in found[2:-3])
    assert certificate.startswith(b"(")
    assert certificate.endswith(b" verified)")
    assert FINGERPRINT.encode() in certificate


def test_name_of_the_client() -> None:
    found = lines(received(client_name=b"host.sender.example"))
    assert found[:2] == [b"Received: from mail.sender.example", b"\t(host.sender.example [192.0.2.1])"]


@pytest.mark.parametrize(
    ("helo", "expected"),
    [
        (b"[192.0.2.1]", b"[192.0.2.1]"),
        (b"[IPv6:2001:db8::1]", b"[IPv6:2001:db8::1]"),
        (b"under_score", b"under_score"),
        (b"x (forged [192.0.2.9])", b"x??forged?[192.0.2.9]?"),
        (b"x\r\nSubject:y", b"x??Subject:y"),
        (b'<"\\;,@>\0', b"????????"),
        ("é".encode(), b"??"),
        (b"", b"unknown"),
    ],
)
def test_what_helo_may_say(helo: bytes, expected: bytes) -> None:
    assert lines(received(helo=helo))[0].split(b" ")[2] == expected


@pytest.mark.parametrize(
    ("extended", "lmtp", "smtputf8", "tls", "expected"),
    [
        (False, False, False, False, "SMTP"),
        (False, False, False, True, "SMTP"),
        (True, False, False, False, "ESMTP"),
        (True, False, False, True, "ESMTPS"),
        (True, False, True, False, "UTF8SMTP"),
        (True, False, True, True, "UTF8SMTPS"),
        (True, True, False, False, "LMTP"),
        (True, True, False, True, "LMTPS"),
        (True, True, True, False, "UTF8LMTP"),
        (True, True, True, True, "UTF8LMTPS"),
    ],
)
def test_protocol(extended: bool, lmtp: bool, smtputf8: bool, tls: bool, expected: str) -> None:
    assert trace.protocol(extended=extended, lmtp=lmtp, smtputf8=smtputf8, tls=tls) == expected


@given(st.integers(0, 2**32))
def test_date(wall: int) -> None:
    assert parsedate_to_datetime(trace.date(wall).decode()).timestamp() == wall


NAMES = st.text("abcdefghij.-", min_size=1, max_size=255).map(str.encode)
HOSTS = st.text("abcdefghij.-", min_size=1, max_size=253).map(str.encode)
CLIENTS = st.ip_addresses(v=4).map(str) | st.ip_addresses(v=6).map("IPv6:{}".format)
PROTOCOLS = st.sampled_from([b"SMTP", b"ESMTPS", b"UTF8SMTPS", b"UTF8LMTPS"])


@given(NAMES, CLIENTS.map(str.encode), HOSTS, PROTOCOLS, st.sampled_from([b"", TLS.comment]), st.just(b"") | NAMES)
def test_lines_are_short_where_names_are(
    helo: bytes, client: bytes, hostname: bytes, protocol: bytes, tls: bytes, name: bytes
) -> None:
    """A line is longer than it should be only where it cannot be folded: a name alone, or a name and its address."""
    field = received(helo=helo, client=client, hostname=hostname, protocol=protocol, client_name=name, tls=tls)
    for line in lines(field.replace(tls, b"(tls)") if tls else field):
        if len(line) > trace.LINE_CHARACTERS:
            pieces = line.removeprefix(b"Received: ").split()
            assert pieces[0] in (b"from", b"by") or (name and pieces == [b"(" + name, b"[%b])" % client])
            assert len(pieces) == 2


@given(st.binary(max_size=255), st.binary(max_size=255), st.binary(max_size=200).map(b"TO:<".__add__), st.booleans())
def test_nothing_can_be_forged(helo: bytes, name: bytes, argument: bytes, smtputf8: bool) -> None:
    """One field, of the same words, whatever the client says and whatever address is taken."""
    recipient = b""
    with contextlib.suppress(AddressError):
        recipient = parse_path(argument + b"@a.example>", b"TO", smtputf8=smtputf8)[0].wire
    field = received(helo=helo, client_name=name, recipient=recipient)
    assert lines(field)
    unfolded = field.replace(b"\r\n\t", b" ")
    named = rb"\(%b \[192\.0\.2\.1\]\)" % rb"[\w.:\[\]?-]+" if name else rb"\(\[192\.0\.2\.1\]\)"
    target = rb" for <" + re.escape(recipient) + rb">" if recipient else b""
    assert re.fullmatch(
        rb"Received: from [\w.:\[\]?-]+ %b by mx\.example\.org with ESMTP id 0A1B2C3D4E5F%b; [\w ,:+]+\r\n"
        % (named, target),
        unfolded,
    )


def test_the_longest_names() -> None:
    field = received(
        helo=b"h" * limits.HELO_BYTES,
        client=b"IPv6:" + b"ffff:" * 7 + b"ffff",
        client_name=b"n" * limits.DOMAIN_BYTES,
        hostname=b"m" * limits.DOMAIN_BYTES,
        recipient=b"r" * (limits.PATH_BYTES - 2),
        tls=TLS.comment,
    )
    assert max(map(len, lines(field))) < 998


def test_a_reader_of_mail_finds_one_field() -> None:
    message = BytesParser(policy=policy.default).parsebytes(received(tls=TLS.comment) + b"Subject: s\r\n\r\nbody\r\n")
    assert message.keys() == ["Received", "Subject"]
    assert not message.defects
