"""The access of a listener, as it is made from the configuration."""

from mta.config import Config, Domains, Listen
from mta.config_access import Access
from mta.dns.stub import Resolver
from mta.policy.verdict import ACCEPT
from mta.server.access import AccessBook


def no_resolver() -> Resolver:
    raise AssertionError("the DNS is asked")


def test_our_own_domains_are_not_looked_up() -> None:
    """Whichever way they are written: a network of its own may not see them in its DNS."""
    listen = Listen("127.0.0.1:25", access=Access(sender_unknown="refuse", sender_null_mx="refuse"))
    local = ["Example.ORG", "bücher.example"]
    config = Config("mx.example.org", "spool", [listen], Domains(local), {}, [])
    access = AccessBook(config, no_resolver, report=lambda *_, **__: None, clock=float).access(listen)
    for sender in (b"joe@example.org", b"joe@xn--bcher-kva.example", "joe@bücher.example".encode()):
        visit = access.begin(client=b"192.0.2.1", helo=b"client.example", sender=sender)
        assert visit.recipient(b"ann", b"example.org") is ACCEPT
