"""XCLIENT and XFORWARD, by the grammar of Postfix."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mta.smtp import xtext
from mta.smtp.xclient import XCLIENT_ATTRIBUTES, XFORWARD_ATTRIBUTES, XclientError, parse_xclient, parse_xforward


@pytest.mark.parametrize(
    ("argument", "expected"),
    [
        # The examples of the documents.
        (b"NAME=spike.porcupine.org ADDR=168.100.189.2", {"NAME": "spike.porcupine.org", "ADDR": "168.100.189.2"}),
        (b"HELO=spike.porcupine.org PROTO=ESMTP", {"HELO": "spike.porcupine.org", "PROTO": "ESMTP"}),
        # What nginx sends.
        (b"ADDR=192.0.2.1 LOGIN=joe NAME=[UNAVAILABLE]", {"ADDR": "192.0.2.1", "LOGIN": "joe", "NAME": None}),
        (b"name=a.example  addr=192.0.2.1", {"NAME": "a.example", "ADDR": "192.0.2.1"}),
        (b" \tNAME=a.example\tPORT=25 ", {"NAME": "a.example", "PORT": "25"}),
        (b"NAME=a_b.example", {"NAME": "a_b.example"}),
        (b"NAME=[TEMPUNAVAIL] REVERSE_NAME=[tempunavail]", {"NAME": None, "REVERSE_NAME": None}),
        (b"ADDR=[Unavailable] PORT=[UNAVAILABLE]", {"ADDR": None, "PORT": None}),
        (b"ADDR=+5BUNAVAILABLE+5D", {"ADDR": None}),
        (b"ADDR=IPV6:2001:DB8:0::1", {"ADDR": "2001:db8::1"}),
        (b"ADDR=ipv6:2001:db8::1 DESTADDR=IPv6:::1", {"ADDR": "2001:db8::1", "DESTADDR": "::1"}),
        (b"ADDR=2001:db8::1", {"ADDR": "2001:db8::1"}),
        (b"ADDR=IPV6:::ffff:192.0.2.1", {"ADDR": "192.0.2.1"}),
        (b"PORT=0 DESTPORT=65535", {"PORT": "0", "DESTPORT": "65535"}),
        (b"PORT=00025", {"PORT": "25"}),
        (b"PROTO=smtp", {"PROTO": "SMTP"}),
        (b"PROTO=Lmtp", {"PROTO": "LMTP"}),
        (b"HELO=[192.0.2.1]", {"HELO": "[192.0.2.1]"}),
        (b"HELO=[IPv6:2001:db8::1]", {"HELO": "[IPv6:2001:db8::1]"}),
        (b"HELO=a+2Bb+3Dc", {"HELO": "a+b=c"}),
        (b"HELO=" + b"a" * 255, {"HELO": "a" * 255}),
        (b"HELO=" + b"+41" * 255, {"HELO": "A" * 255}),
        (b"LOGIN=joe+20blow@example.org", {"LOGIN": "joe blow@example.org"}),
    ],
)
def test_xclient(argument: bytes, expected: dict[str, str | None]) -> None:
    assert parse_xclient(argument) == expected


@pytest.mark.parametrize(
    ("argument", "expected"),
    [
        (
            b"NAME=spike.porcupine.org ADDR=168.100.189.2 PROTO=ESMTP",
            {"NAME": "spike.porcupine.org", "ADDR": "168.100.189.2", "PROTO": "ESMTP"},
        ),
        (b"HELO=spike.porcupine.org IDENT=3CF6B2AAE8", {"HELO": "spike.porcupine.org", "IDENT": "3CF6B2AAE8"}),
        (b"SOURCE=remote PORT=4711", {"SOURCE": "REMOTE", "PORT": "4711"}),
        (b"SOURCE=LOCAL ADDR=[UNAVAILABLE]", {"SOURCE": "LOCAL", "ADDR": None}),
        (b"ADDR=IPV6:2001:DB8::1", {"ADDR": "2001:db8::1"}),
        (b"ADDR=uucp!host NAME=(unknown)", {"ADDR": "uucp!host", "NAME": "(unknown)"}),
        (b"PROTO=" + b"X" * 64, {"PROTO": "X" * 64}),
    ],
)
def test_xforward(argument: bytes, expected: dict[str, str | None]) -> None:
    assert parse_xforward(argument) == expected


BAD_IN_BOTH = [
    b"",
    b"  ",
    b"NAME",
    b"NAME=",
    b"=a",
    b"NAME a.example",
    b"NAME = a.example",
    b"RABBIT=1",
    b"NAME=a NAME=a",
    b"NAME=a name=b",
    b"ADDR=192.0.2.1 ADDR=[UNAVAILABLE]",
    b"NAME=a=b",
    b"NAME=a+0D+0AMAIL",
    b"NAME=a+0A",
    b"NAME=a+00b",
    b"NAME=a+20b",
    b"NAME=a+7Fb",
    b"NAME=a+",
    b"NAME=a\rb",
    b"NAME=a\nb",
    b"NAME=a\0b",
    b"NAME=a\x0bHELO=b",
    b"N\xc3\x84ME=a",
    "NAME=é".encode(),
    b"NAME=+C3+A9",
    b"NAME=" + b"a" * 256,
    b"HELO=" + b"a" * 256,
    b"HELO=a+20b",
    b"PORT=",
    b"PORT=-1",
    b"PORT=+2B1",
    b"PORT=65536",
    b"PORT=000025",
    b"PORT=25x",
    b"PORT=0x19",
]


@pytest.mark.parametrize(
    "argument",
    [
        *BAD_IN_BOTH,
        b"IDENT=1",
        b"SOURCE=LOCAL",
        b"ADDR=example.org",
        b"ADDR=[192.0.2.1]",
        b"ADDR=192.0.2.256",
        b"ADDR=192.0.2",
        b"ADDR=192.0.2.01",
        b"ADDR=192.0.2.1:25",
        b"ADDR=192.0.2.1/32",
        b"ADDR=IPV6:",
        b"ADDR=IPV6:192.0.2.1",
        b"ADDR=IPV6:IPV6:::1",
        b"ADDR=IPV6:fe80::1%eth0",
        b"ADDR=IPV4:192.0.2.1",
        b"DESTADDR=here",
        b"DESTPORT=smtp",
        b"NAME=-a",
        b"NAME=a.",
        b"NAME=<script>",
        b"NAME=[192.0.2.1]",
        b"NAME=[UNAVAILABLE",
        b"PROTO=ESMTPS",
        b"PROTO=HTTP",
        b"LOGIN=a+0Db",
    ],
)
def test_no_xclient(argument: bytes) -> None:
    with pytest.raises(XclientError, match=r"."):
        parse_xclient(argument)


@pytest.mark.parametrize(
    "argument",
    [*BAD_IN_BOTH, b"LOGIN=joe", b"DESTADDR=192.0.2.1", b"SOURCE=ELSEWHERE", b"PROTO=" + b"X" * 65, b"ADDR=a+20b"],
)
def test_no_xforward(argument: bytes) -> None:
    with pytest.raises(XclientError, match=r"."):
        parse_xforward(argument)


def test_what_is_offered() -> None:
    """The names of the documents, so that a client finds what it looks for."""
    documented = "NAME ADDR PORT PROTO HELO LOGIN DESTADDR DESTPORT REVERSE_NAME"
    assert sorted(XCLIENT_ATTRIBUTES) == sorted(documented.split())
    assert sorted(XFORWARD_ATTRIBUTES) == sorted(["NAME", "ADDR", "PORT", "PROTO", "HELO", "IDENT", "SOURCE"])


WORDS = st.sampled_from(
    [b"NAME", b"ADDR", b"HELO", b"LOGIN", b"IDENT", b"PORT", b"=", b" ", b"[UNAVAILABLE]", b"IPV6:", b"::1", b"+0D"]
)


@given(st.lists(WORDS | st.binary(max_size=6), max_size=12).map(b"".join))
def test_nothing_hostile_comes_through(argument: bytes) -> None:
    for parse in (parse_xclient, parse_xforward):
        with contextlib.suppress(XclientError):
            for value in parse(argument).values():
                assert value is None or (value and value.isascii() and value.isprintable() and len(value) <= 255)


@given(
    st.dictionaries(
        st.sampled_from(["NAME", "HELO", "IDENT"]),
        st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=60).filter(
            lambda text: text.upper() not in ("[UNAVAILABLE]", "[TEMPUNAVAIL]")
        ),
        min_size=1,
    )
)
def test_values_come_back(attributes: dict[str, str]) -> None:
    argument = b" ".join(b"%b=%b" % (name.encode(), xtext.encode(text.encode())) for name, text in attributes.items())
    assert parse_xforward(argument) == attributes
