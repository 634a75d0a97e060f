"""Servers as the settings and /etc/resolv.conf name them."""

import msgspec
import pytest

from mta.dns.settings import PORT, Dns, Server, parse_resolv_conf, parse_server, servers_of


@pytest.mark.parametrize(
    ("text", "server", "shown"),
    [
        ("192.0.2.1", Server("192.0.2.1", PORT), "192.0.2.1"),
        ("192.0.2.1:53", Server("192.0.2.1", PORT), "192.0.2.1"),
        ("192.0.2.1:5353", Server("192.0.2.1", 5353), "192.0.2.1:5353"),
        ("::1", Server("::1", PORT), "[::1]"),
        ("2001:DB8:0::1", Server("2001:db8::1", PORT), "[2001:db8::1]"),
        ("[::1]", Server("::1", PORT), "[::1]"),
        ("[::1]:5353", Server("::1", 5353), "[::1]:5353"),
        ("fe80::1%eth0", Server("fe80::1%eth0", PORT), "[fe80::1%eth0]"),
        ("[fe80::1%eth0]:5353", Server("fe80::1%eth0", 5353), "[fe80::1%eth0]:5353"),
    ],
)
def test_servers(text: str, server: Server, shown: str) -> None:
    assert parse_server(text) == server
    assert str(server) == shown
    assert parse_server(shown) == server


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":",
        ":53",
        "localhost",
        "resolver.example:53",
        "192.0.2",
        "192.0.2.1.",
        "192.0.2.1:",
        "192.0.2.1:0",
        "192.0.2.1:65536",
        "192.0.2.1:-1",
        "192.0.2.1:+53",
        "192.0.2.1:٥٣",
        "192.0.2.1/32",
        "[192.0.2.1]:53",
        "[::1",
        "::1]",
        "[]:53",
        "[::1]53",
        "[::1]::53",
        " ::1",
    ],
)
def test_no_servers(text: str) -> None:
    with pytest.raises(ValueError, match="an IP address"):
        parse_server(text)


def test_resolv_conf() -> None:
    text = """\
# nameserver 192.0.2.9
; nameserver 192.0.2.9
domain example.org
search example.org example.net
nameserver 192.0.2.1
  nameserver\t2001:db8::1  # the other one
nameserver
nameserver resolver.example
nameserver 192.0.2.1
options edns0 trust-ad
nameserver fe80::1%eth0
nameserver 192.0.2.4
"""
    hosts = ["192.0.2.1", "2001:db8::1", "fe80::1%eth0"]
    assert parse_resolv_conf(text) == [Server(host, PORT) for host in hosts]


@pytest.mark.parametrize("text", ["", "\n\n", "search example.org\n", "nameserver\0 x\n", "nameserverx 192.0.2.1\n"])
def test_without_servers_it_is_this_machine(text: str) -> None:
    assert parse_resolv_conf(text) == [Server("127.0.0.1", PORT)]


def test_the_settings_come_first() -> None:
    file = "nameserver 192.0.2.1\n"
    assert servers_of(Dns(), file) == [Server("192.0.2.1", PORT)]
    assert servers_of(Dns(servers=["::1", "192.0.2.7:99", "[::1]:53"]), file) == [
        Server("::1", PORT),
        Server("192.0.2.7", 99),
    ]
    with pytest.raises(ValueError, match="an IP address"):
        servers_of(Dns(servers=["resolver.example"]), file)


@pytest.mark.parametrize("settings", [{"timeout_s": 0}, {"cache_entries": -1}, {"trust_ad": 1}, {"nameservers": []}])
def test_settings_are_checked(settings: dict[str, object]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(settings, Dns)
