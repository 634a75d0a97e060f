"""The forms under which clients, names and addresses may be listed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mta.tables.access_keys import PARENTS, address_keys, client_keys, helo_keys, keys_of


@pytest.mark.parametrize(
    ("host", "keys"),
    [
        (b"192.0.2.1", b"192.0.2.1 192.0.2 192.0 192"),
        (b"::ffff:192.0.2.1", b"192.0.2.1 192.0.2 192.0 192"),
        (b"2001:DB8:0:0:0:0:0:1", b"2001:db8::1 2001:db8 2001"),
        (
            b"2001:db8:1:2:3:4:5:6",
            b"2001:db8:1:2:3:4:5:6 2001:db8:1:2:3:4:5 2001:db8:1:2:3:4 2001:db8:1:2:3 "
            b"2001:db8:1:2 2001:db8:1 2001:db8 2001",
        ),
        (b"fe80::1%eth0", b"fe80::1 fe80"),
        (b"::1", b"::1"),
        (b"unix", b"unix"),
    ],
)
def test_clients(host: bytes, keys: bytes) -> None:
    assert list(client_keys(host)) == keys.split()


@pytest.mark.parametrize(
    ("name", "keys"),
    [
        (b"MX.Example.org", b"mx.example.org example.org org"),
        (b"mx.example.org.", b"mx.example.org example.org org"),
        (b"localhost", b"localhost"),
        (b"[192.0.2.1]", b"[192.0.2.1]"),
        (b"a..b", b"a..b b"),
    ],
)
def test_names(name: bytes, keys: bytes) -> None:
    assert list(helo_keys(name)) == keys.split()


@pytest.mark.parametrize(
    ("address", "keys"),
    [
        (b"", b"<>"),
        (b"postmaster", b"postmaster"),
        (b"Joe@Mail.Example.org", b"joe@mail.example.org mail.example.org example.org org joe@"),
        (b"joe+tag@example.org", b"joe+tag@example.org joe@example.org example.org org joe+tag@ joe@"),
        (b"+tag@example.org", b"+tag@example.org example.org org +tag@"),
        (b'"a+b"@example.org', b'"a+b"@example.org example.org org "a+b"@'),
        (b"joe@[192.0.2.1]", b"joe@[192.0.2.1] [192.0.2.1] joe@"),
        ("jö@bücher.example".encode(), "jö@xn--bcher-kva.example xn--bcher-kva.example example jö@".encode()),
    ],
)
def test_addresses(address: bytes, keys: bytes) -> None:
    assert list(address_keys(address, b"+")) == keys.split()


def test_without_extensions() -> None:
    assert list(address_keys(b"joe+tag@example.org", b"")) == [
        b"joe+tag@example.org",
        b"example.org",
        b"org",
        b"joe+tag@",
    ]


@pytest.mark.parametrize("kind", ["regexp", "cidr"])
@pytest.mark.parametrize("stage", ["client", "helo", "sender", "recipient"])
def test_patterns_and_networks_are_asked_once(kind: str, stage: str) -> None:
    about = b"192.0.2.1" if stage == "client" else b"joe@mail.example.org"
    assert list(keys_of(stage, kind, b"+")(about)) == [about]
    assert len(list(keys_of(stage, "file", b"+")(about))) > 1


@given(st.lists(st.sampled_from([b"a", b"b", b""]), min_size=1, max_size=130))
def test_a_long_name_costs_no_more(labels: list[bytes]) -> None:
    """However many labels a stranger puts into a name; the largest domains are always asked for."""
    name = b"x." + b".".join(labels)
    keys = list(helo_keys(name))
    assert len(keys) <= PARENTS + 1
    tail = name.removesuffix(b".").split(b".")
    assert not any(key.startswith(b".") for key in keys)
    if len(tail) > 1 and tail[-1]:
        assert keys[-1] == tail[-1]
