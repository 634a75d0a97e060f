"""The record at `_smtp._tls`: where a domain wants its reports."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mta.tlsrpt.record import URIS, address, places

MAILTO = "mailto:tls@example.org"


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        ([b"v=TLSRPTv1; rua=mailto:tls@example.org"], (MAILTO,)),
        ([b"v=TLSRPTv1;rua=mailto:tls@example.org;"], (MAILTO,)),
        ([b"v=TLSRPTv1; rua=mailto:tls@example.org ; "], (MAILTO,)),
        ([b"v=TLSRPTv1; x=y; rua=mailto:tls@example.org; z=1"], (MAILTO,)),
        ([b"v=spf1 -all", b"v=TLSRPTv1; rua=mailto:tls@example.org"], (MAILTO,)),
        ([b"v=TLSRPTv1; rua=https://a.example/v1?x=y , mailto:tls@example.org"], ("https://a.example/v1?x=y", MAILTO)),
        ([b"v=TLSRPTv1; rua=mailto:tls@example.org,mailto:tls@example.org"], (MAILTO,)),
        ([b"v=TLSRPTv1; rua=" + b",".join(b"mailto:%d@a.example" % n for n in range(99))], URIS),
    ],
)
def test_a_record(texts: list[bytes], expected: tuple[str, ...] | int) -> None:
    found = places(texts)
    assert len(found) == expected if isinstance(expected, int) else found == expected


@pytest.mark.parametrize(
    "texts",
    [
        [],
        [b"v=TLSRPTv1"],
        [b"v=TLSRPTv1;"],
        [b"v=TLSRPTv2; rua=mailto:tls@example.org"],
        [b"v=tlsrptv1; rua=mailto:tls@example.org"],
        [b" v=TLSRPTv1; rua=mailto:tls@example.org"],
        [b"v=TLSRPTv1; rua=mailto:tls@example.org"] * 2,
        [b"v=TLSRPTv1; rua="],
        [b"v=TLSRPTv1; rua=http://a.example/"],
        [b"v=TLSRPTv1; rua=mailto:tls@example.org,"],
        [b"v=TLSRPTv1; rua=mailto:tls@example.org mailto:b@example.org"],
        [b"v=TLSRPTv1; rua=file:///etc/passwd"],
        [b"v=TLSRPTv1; rua=mailto:a@b.example; rua=mailto:c@b.example; x"],
        [b"v=TLSRPTv1; rua=mailto:a\r\n@b.example"],
        [b"v=TLSRPTv1; rua=mailto:\xc3\xa4@b.example"],
    ],
)
def test_no_record(texts: list[bytes]) -> None:
    assert places(texts) == ()


@given(st.lists(st.binary(max_size=60) | st.binary(max_size=60).map(lambda tail: b"v=TLSRPTv1; rua=" + tail)))
def test_any_texts_are_a_record_or_none(texts: list[bytes]) -> None:
    for uri in places(texts):
        assert uri.startswith(("mailto:", "https://"))
        assert uri.isascii()
        assert uri.isprintable()


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        (MAILTO, "tls@example.org"),
        ("mailto:a%2Bb@example.org?subject=x", "a+b@example.org"),
        ("https://a@example.org", None),
        ("mailto:", None),
        ("mailto:a", None),
        ("mailto:a@b@c", None),
        ("mailto:a%0D%0ABcc:b@example.org", None),
        ("mailto:a@example.org%2Cb@example.org", None),
        ("mailto:%FF@example.org", None),
        ("mailto:a@-example.org", None),
    ],
)
def test_the_address_of_a_uri(uri: str, expected: str | None) -> None:
    assert address(uri) == expected
