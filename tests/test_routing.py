"""Routes: order, patterns, letters' case, recipients without a domain, and the bound of what is kept."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mta import routing
from mta.config import Config, Domains, Listen, Route, Transport
from mta.routing import Router, parse_pattern

ROUTES = [
    Route(["vip@example.org"], "fast"),
    Route(["*@example.org", "*@example.net"], "store"),
    Route(["late@example.org"], "never"),
    Route(["abuse@example.com"], "desk"),
    Route(["*"], "rest"),
]


@pytest.mark.parametrize(
    ("recipient", "transport"),
    [
        (b"vip@example.org", "fast"),
        (b"ViP@EXAMPLE.org", "fast"),
        (b"ann@example.org", "store"),
        (b"late@example.org", "store"),
        (b"ann@Example.NET", "store"),
        (b"abuse@example.com", "desk"),
        (b"ann@example.com", "rest"),
        (b"ann@sub.example.org", "rest"),
        (b'"a@b"@example.org', "store"),
        (b"ann@[192.0.2.1]", "rest"),
        ("käthe@bücher.example".encode(), "rest"),
    ],
)
def test_first_match_wins(recipient: bytes, transport: str) -> None:
    router = Router(ROUTES)
    assert router.transport(recipient) == transport
    assert router.transport(recipient) == transport  # and so does the answer that was kept


def test_no_match() -> None:
    router = Router([Route(["*@example.org"], "store")])
    assert router.transport(b"ann@example.com") is None
    assert router.transport(b"postmaster") is None


def test_recipient_without_domain_is_at_home() -> None:
    config = Config(
        hostname="mx.example.org",
        spool="/spool",
        listen=[Listen("127.0.0.1:2525")],
        domains=Domains(["example.org", "example.net"]),
        transport={"store": Transport("discard")},
        route=[Route(["postmaster@example.org"], "desk"), Route(["*@example.org"], "store")],
    )
    router = routing.router(config)
    assert router.transport(b"Postmaster") == "desk"
    assert router.transport(b"example.org") == "store"  # a local part that looks like a domain


@pytest.mark.parametrize("text", ["", "example.org", "@example.org", "ann@", "a*@example.org", "*@*.org", "*@*", "**"])
def test_wrong_patterns_are_named(text: str) -> None:
    with pytest.raises(ValueError, match="no recipient pattern"):
        parse_pattern(text)


def test_kept_answers_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(routing, "DOMAINS_KEPT", 10)
    router = Router(ROUTES)
    for number in range(100):
        assert router.transport(b"ann@%d.example" % number) == "rest"
    assert len(router._domains) <= 10


_locals = st.sampled_from(["a", "b", "A", "c"])
_names = st.sampled_from(["x.org", "y.org", "X.org"])
_patterns = st.one_of(st.just("*"), st.builds("*@{}".format, _names), st.builds("{}@{}".format, _locals, _names))


@given(st.lists(st.tuples(_patterns, st.sampled_from("123"))), st.lists(st.builds("{}@{}".format, _locals, _names)))
def test_equals_a_walk_through_the_rules(rules: list[tuple[str, str]], recipients: list[str]) -> None:
    def walk(recipient: str) -> str | None:
        local, domain = recipient.lower().split("@")
        for pattern, transport in rules:
            if pattern.lower() in ("*", f"*@{domain}", f"{local}@{domain}"):
                return transport
        return None

    router = Router([Route([pattern], transport) for pattern, transport in rules])
    assert [router.transport(r.encode()) for r in recipients] == [walk(r) for r in recipients]


def test_domains_in_unicode() -> None:
    """The server knows domains in A-labels, a configuration may have them in Unicode."""
    router = Router([Route(["*@BÜCHER.example"], "store")])
    assert router.transport(b"ann@xn--bcher-kva.example") == "store"


def test_no_domain() -> None:
    with pytest.raises(ValueError, match="malformed domain"):
        parse_pattern("*@example..org")
