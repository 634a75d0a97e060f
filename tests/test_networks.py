"""Lists of networks against the standard library's idea of them, and the keys that clients are counted under."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mta.networks import CACHED, Networks, network_of, parse_network

V4 = st.ip_addresses(v=4)
V6 = st.ip_addresses(v=6).filter(lambda address: address.ipv4_mapped is None)


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("192.0.2.1", "192.0.2.1/32"),
        ("192.0.2.0/24", "192.0.2.0/24"),
        ("0.0.0.0/0", "0.0.0.0/0"),
        ("::1", "::1/128"),
        ("2001:DB8::/32", "2001:db8::/32"),
        ("::/0", "::/0"),
        ("::ffff:192.0.2.1", "192.0.2.1/32"),
        ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
        ("::ffff:0:0/96", "0.0.0.0/0"),
        ("::fffe:0:0/95", "::fffe:0:0/95"),  # reaches beyond the mapped ones
    ],
)
def test_what_is_read(text: str, meaning: str) -> None:
    assert str(parse_network(text)) == meaning


@pytest.mark.parametrize(
    "text",
    [
        *("", "/", "x", "localhost", "192.0.2", "192.0.2.1/", "192.0.2.1/33", "192.0.2.1/-1", "192.0.2.0/+24"),
        *("10.0.0.0/255.0.0.0", "10.0.0.0/0.255.255.255", "010.0.0.1", "::1/129", "[::1]", "[::1]/128"),
        *("fe80::1%eth0", "192.0.2.1/2 4", " 192.0.2.1", "192.0.2.1\n", "192.0.2.1/٣٢", "1.2.3.4:25", "1.2.3.4/8/8"),
        *("1.2.3.4/99999999999999999999",),
    ],
)
def test_what_is_not(text: str) -> None:
    with pytest.raises(ValueError, match=r"^is no network; an address or a network, as in"):
        parse_network(text)


@pytest.mark.parametrize(
    ("text", "meant"),
    [("192.0.2.1/24", "192.0.2.0/24"), ("2001:db8::1/32", "2001:db8::/32"), ("1.0.0.0/0", "0.0.0.0/0")],
)
def test_bits_behind_the_prefix(text: str, meant: str) -> None:
    with pytest.raises(
        ValueError, match=f'^has bits behind its prefix; "{meant}" or "{text.partition("/")[0]}" is all'
    ):
        parse_network(text)


@given(
    st.lists(st.one_of(st.tuples(V4, st.integers(0, 32)), st.tuples(V6, st.integers(0, 128))), max_size=5), st.data()
)
def test_as_the_standard_library_says(pairs: list[tuple[ipaddress.IPv4Address, int]], data: st.DataObject) -> None:
    networks = [ipaddress.ip_network(pair, strict=False) for pair in pairs]
    listed = Networks(map(str, networks))
    inside = [st.ip_addresses(network=network) for network in networks]
    for address in data.draw(st.lists(st.one_of(V4, V6, *inside), max_size=5)):
        mapped = getattr(address, "ipv4_mapped", None) or address
        expected = any(mapped in network for network in networks)
        assert (str(address) in listed) is expected
        assert (str(address) in listed) is expected  # from the cache
        if address.version == 4:
            assert (f"::ffff:{address}" in listed) is expected


def test_what_is_no_address_is_in_no_network() -> None:
    everything = Networks(["0.0.0.0/0", "::/0"])
    assert "192.0.2.1" in everything
    assert "fe80::1%eth0" in everything
    for host in ("", "unix", "localhost", "192.0.2", "1.2.3.4\0", "::g"):
        assert host not in everything
    assert "192.0.2.1" not in Networks(["::/0"])
    assert "::1" not in Networks(["0.0.0.0/0"])
    assert "127.0.0.1" not in Networks([])


def test_the_cache_is_bounded_and_answers_stay_right() -> None:
    networks = Networks(["10.0.0.0/8"])
    for number in range(CACHED + 100):
        host = f"{10 + number % 2}.0.{number >> 8}.{number & 255}"
        assert (host in networks) is (number % 2 == 0)
    assert len(networks._cache) <= CACHED


@given(V4, st.integers(8, 32), st.integers(16, 128))
def test_network_of_ipv4(address: ipaddress.IPv4Address, prefix: int, other: int) -> None:
    network = ipaddress.ip_network((address, prefix), strict=False)
    key = bytes([prefix]) + network.network_address.packed
    assert network_of(str(address), prefix, other) == key
    assert network_of(f"::ffff:{address}", prefix, other) == key


@given(V6, st.integers(8, 32), st.integers(16, 128))
def test_network_of_ipv6(address: ipaddress.IPv6Address, other: int, prefix: int) -> None:
    network = ipaddress.ip_network((address, prefix), strict=False)
    assert network_of(str(address), other, prefix) == bytes([prefix]) + network.network_address.packed
    assert network_of(f"{address}%eth0", other, prefix) == bytes([prefix]) + network.network_address.packed


def test_network_of_nothing() -> None:
    with pytest.raises(ValueError, match="no IP address"):
        network_of("example.org", 32, 64)
