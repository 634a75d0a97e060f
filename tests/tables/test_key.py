"""The keys that stand for a recipient."""

import pytest

from mta.tables.key import folded, recipient_keys, split


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        (b"Joe@Example.ORG", b"joe@example.org"),
        (b"@EXAMPLE.org", b"@example.org"),
        (b"JOE", b"joe"),
        (b"", b""),
        ("Jörg@Bücher.Example".encode(), "jörg@xn--bcher-kva.example".encode()),
        ("@bücher.example".encode(), b"@xn--bcher-kva.example"),
        ("ÄÖÜ".encode(), "äöü".encode()),
        ("Joe@b..ücher".encode(), "joe@b..ücher".encode()),  # no domain, so nothing but lower case
        (b"\xff\xfeA", b"\xff\xfeA"),
    ],
)
def test_folded(key: bytes, expected: bytes) -> None:
    assert folded(key) == expected
    assert folded(expected) == expected


@pytest.mark.parametrize(
    ("local", "extension", "expected"),
    [
        (b"Joe", b"", [b"joe@example.org", b"@example.org"]),
        (b"joe+tag", b"", [b"joe+tag@example.org", b"@example.org"]),
        (b"Joe+Tag+x", b"+", [b"joe+tag+x@example.org", b"joe@example.org", b"@example.org"]),
        (b"joe-tag", b"+", [b"joe-tag@example.org", b"@example.org"]),
        (b"+joe", b"+", [b"+joe@example.org", b"@example.org"]),
        (b"joe+", b"+", [b"joe+@example.org", b"joe@example.org", b"@example.org"]),
        (b'"joe+ x"', b"+", [b'"joe+ x"@example.org', b"@example.org"]),
        ("JÖRG+x".encode(), b"+", ["jörg+x@example.org".encode(), "jörg@example.org".encode(), b"@example.org"]),
    ],
)
def test_recipients(local: bytes, extension: bytes, expected: list[bytes]) -> None:
    assert list(recipient_keys(local, b"example.org", extension)) == expected


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        (b"joe@example.org", (b"joe", b"example.org")),
        (b"a@b@c", (b"a@b", b"c")),
        (b"@c", (b"", b"c")),
        (b"a@", (b"a", b"")),
        (b"a", (b"a", b"")),
        (b"", (b"", b"")),
    ],
)
def test_split(key: bytes, expected: tuple[bytes, bytes]) -> None:
    assert split(key) == expected
