"""Networks as keys."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mta.tables.cidr import CidrTable
from mta.tables.text import BadTable


def test_the_first_network_counts() -> None:
    table = CidrTable(
        [
            b"192.0.2.1 host",
            b"192.0.2.0/24 net",
            b"192.0.0.0/16 wide",
            b"192.0.2.7 never",
            b"2001:db8::/32\tsix",
            b"::ffff:198.51.100.0/120 mapped",
        ]
    )
    assert len(table) == 6
    assert table.get(b"192.0.2.1") == b"host"
    assert table.get(b"::ffff:192.0.2.1") == b"host"
    assert table.get(b"192.0.2.7") == b"net"
    assert table.get(b"192.0.3.7") == b"wide"
    assert table.get(b"2001:DB8::1") == b"six"
    assert table.get(b"2001:db8::1%eth0") == b"six"
    assert table.get(b"198.51.100.9") == b"mapped"
    assert table.get(b"10.0.0.1") is None


@pytest.mark.parametrize("key", [b"", b"joe", b"192.0.2", b"192.0.2.0/24", b"\xff", b"192.0.2.1 "])
def test_what_is_no_address(key: bytes) -> None:
    assert CidrTable([b"0.0.0.0/0 x", b"::/0 y"]).get(key) is None


def test_faults() -> None:
    with pytest.raises(BadTable) as caught:
        CidrTable([b"192.0.2.0/24 x", b"", b"192.0.2.1/24 x", b"joe x", b"\xff"])
    (one, first), (two, second), (three, _) = caught.value.faults
    assert (one, two, three) == (3, 4, 5)
    assert first.startswith("'192.0.2.1/24' has bits behind its prefix; ")
    assert second.startswith("'joe' is no network; ")


NETWORKS = st.one_of(
    st.tuples(st.integers(0, 7), st.integers(0, 32)).map(
        lambda pair: ipaddress.ip_network((0xC0000200 + pair[0], pair[1]), strict=False)
    ),
    st.tuples(st.integers(0, 7), st.integers(0, 95)).map(
        lambda pair: ipaddress.ip_network(((0x20010DB8 << 96) + pair[0], pair[1]), strict=False)
    ),
)
ADDRESSES = st.one_of(
    st.integers(0, 9).map(lambda number: ipaddress.IPv4Address(0xC0000200 + number)),
    st.integers(0, 9).map(lambda number: ipaddress.IPv6Address((0x20010DB8 << 96) + number)),
    st.ip_addresses(),
)


@given(st.lists(NETWORKS, max_size=8), ADDRESSES)
def test_as_ipaddress_has_it(
    networks: list[ipaddress.IPv4Network | ipaddress.IPv6Network],
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> None:
    table = CidrTable([f"{network} {number}".encode() for number, network in enumerate(networks)])
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    one = mapped or address
    expected = next((str(number).encode() for number, network in enumerate(networks) if one in network), None)
    assert table.get(str(address).encode()) == expected
