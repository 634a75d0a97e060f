"""Addresses to post to, and which of them are this machine's own."""

import pytest

from mta.endpoint import Url, is_loopback, parse_url


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("https://api.example.org/mail", Url(True, "api.example.org", 443, "api.example.org", "/mail")),
        ("http://127.0.0.1:8080/a?b=c&d", Url(False, "127.0.0.1", 8080, "127.0.0.1:8080", "/a?b=c&d")),
        ("http://h", Url(False, "h", 80, "h", "/")),
        ("https://[::1]/x", Url(True, "::1", 443, "[::1]", "/x")),
        ("https://[::1]:8443/x", Url(True, "::1", 8443, "[::1]:8443", "/x")),
    ],
)
def test_good_ones(text: str, expected: Url) -> None:
    assert parse_url(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "api.example.org",
        "ftp://h/",
        "HTTP://h/",
        "https://",
        "https:///x",
        "https://u:p@h/",
        "https://h/#f",
        "https://h/a b",
        "https://h/\r\nX: y",
        "https://h/\u00e9",
        "https://h:0/",
        "https://h:99999/",
        "https://::1/",
        "https://[::1/",
        "https://1.2.3/",
        "https://h?x",
    ],
)
def test_bad_ones(text: str) -> None:
    with pytest.raises(ValueError, match="an address like"):
        parse_url(text)


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("192.0.2.1", False),
        ("0.0.0.0", False),
        ("2001:db8::1", False),
        ("localhost", False),  # which is what the resolver says it is
        ("127.0.0.1.example.org", False),
    ],
)
def test_addresses_of_this_machine(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected
