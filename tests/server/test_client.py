"""Who a client is."""

import pytest

from mta.server.client import identify


@pytest.mark.parametrize(
    ("peer", "text", "literal"),
    [
        (("192.0.2.7", 25), "192.0.2.7:25", b"192.0.2.7"),
        (("2001:db8::1", 25, 0, 0), "[2001:db8::1]:25", b"IPv6:2001:db8::1"),
        (("::ffff:192.0.2.7", 25, 0, 0), "192.0.2.7:25", b"192.0.2.7"),
    ],
)
def test_identify(peer, text, literal):
    client = identify(peer, "id")
    assert (client.text, client.literal, client.session_id) == (text, literal, "id")
