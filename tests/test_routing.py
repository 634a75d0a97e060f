"""Routes: order, patterns, letters' case, recipients without a domain, and the bound of what is kept."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mta import routing
from mta.config import Config, Domains, Listen, Route, Transport
from mta.routing import Router, parse_pattern, parse_sender

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
    assert len(router._plain._domains) <= 10


BY_SENDER = [
    Route(["*@example.org"], "bounces", senders=["<>"]),
    Route(["*@example.org"], "partner", senders=["*@Partner.example", "ann@bücher.example"], listeners=["in:25"]),
    Route(["vip@example.org"], "vip", senders=["*"]),
    Route(["*@example.org"], "inside", listeners=["in:25", "in:26"]),
    Route(["*@example.org"], "store"),
]


@pytest.mark.parametrize(
    ("recipient", "sender", "listener", "transport"),
    [
        (b"joe@example.org", b"", "in:25", "bounces"),
        (b"joe@example.org", b"", "", "bounces"),
        (b"joe@example.org", b"Bob@PARTNER.example", "in:25", "partner"),
        (b"joe@example.org", b"bob@partner.example", "out:25", "store"),
        (b"joe@example.org", b"bob@sub.partner.example", "in:25", "inside"),
        (b"joe@example.org", "Ann@bücher.example".encode(), "in:25", "partner"),
        (b"joe@example.org", b"ann@xn--bcher-kva.example", "in:25", "partner"),
        (b"joe@example.org", "bob@bücher.example".encode(), "in:26", "inside"),
        (b"joe@example.org", b"\xff@\xff", "in:26", "inside"),
        (b"vip@example.org", b"x@y.example", "in:25", "vip"),
        (b"vip@example.org", b"", "in:25", "bounces"),
        (b"joe@example.org", b"x@y.example", "other:25", "store"),
        (b"joe@example.org", b"partner.example", "in:25", "inside"),
        (b"joe@example.net", b"", "in:25", None),
    ],
)
def test_senders_and_listeners(recipient: bytes, sender: bytes, listener: str, transport: str | None) -> None:
    router = Router(BY_SENDER)
    for _ in range(2):
        assert router.transport(recipient, sender, listener) == transport
        router.transport(recipient, b"other@example.com", "in:26")


def test_kept_combinations_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(routing, "VIEWS_KEPT", 4)
    router = Router([*(Route(["*"], str(n), senders=[f"*@{n}.example"]) for n in range(20)), Route(["*"], "rest")])
    for number in range(25):
        expected = str(number) if number < 20 else "rest"
        assert router.transport(b"ann@example.org", b"x@%d.example" % number) == expected
    assert len(router._views) <= 4


@pytest.mark.parametrize(("text", "is_null"), [("<>", True), ("*", False), ("a@b.example", False)])
def test_patterns_of_senders(text: str, is_null: bool) -> None:
    assert (parse_sender(text) is None) == is_null


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


_senders = st.one_of(st.just("<>"), _patterns)
_listeners = st.sampled_from(["l1", "l2", "l3"])
_routes = st.lists(st.tuples(_patterns, st.lists(_senders, max_size=2), st.lists(_listeners, max_size=2)))
_asked = st.tuples(
    st.builds("{}@{}".format, _locals, _names), st.builds("{}@{}".format, _locals, _names) | st.just(""), _listeners
)


@given(_routes, st.lists(_asked))
def test_conditions_equal_a_walk_through_the_rules(
    routes: list[tuple[str, list[str], list[str]]], asked: list[tuple[str, str, str]]
) -> None:
    def matches(pattern: str, address: str) -> bool:
        local, _, domain = address.lower().rpartition("@")
        return pattern.lower() in ("*", f"*@{domain}", f"{local}@{domain}" if address else "<>")

    def walk(recipient: str, sender: str, listener: str) -> str | None:
        for number, (pattern, senders, listeners) in enumerate(routes):
            if senders and not any(matches(each, sender) for each in senders):
                continue
            if matches(pattern, recipient) and (not listeners or listener in listeners):
                return str(number)
        return None

    router = Router([Route([one], str(n), senders, listeners) for n, (one, senders, listeners) in enumerate(routes)])
    assert [router.transport(r.encode(), s.encode(), listener) for r, s, listener in asked] == [
        walk(*one) for one in asked
    ]


def test_domains_in_unicode() -> None:
    """The server knows domains in A-labels, a configuration may have them in Unicode."""
    router = Router([Route(["*@BÜCHER.example"], "store")])
    assert router.transport(b"ann@xn--bcher-kva.example") == "store"


def test_no_domain() -> None:
    with pytest.raises(ValueError, match="malformed domain"):
        parse_pattern("*@example..org")
