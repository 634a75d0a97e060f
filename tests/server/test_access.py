"""The access of a listener, as it is made from the configuration."""

from mta.config import Config, Domains, Listen
from mta.config_access import Access
from mta.dns.stub import Resolver
from mta.policy.verdict import ACCEPT
from mta.server.access import AccessBook
from mta.server.complaints import Complaints
from mta.server.directory import Directory
from mta.tables.book import Book
from mta.tables.settings import Table
from mta.tables.socketmap import netstring
from tests.support.tableserver import TableServer


def no_resolver() -> Resolver:
    raise AssertionError("the DNS is asked")


def ignore(words: str, **fields: object) -> None:
    """Nobody reads it."""


def test_our_own_domains_are_not_looked_up() -> None:
    """Whichever way they are written: a network of its own may not see them in its DNS."""
    listen = Listen("127.0.0.1:25", access=Access(sender_unknown="refuse", sender_null_mx="refuse"))
    local = ["Example.ORG", "bücher.example"]
    config = Config("mx.example.org", "spool", [listen], Domains(local), {}, [])
    access = AccessBook(config, Book({}, ignore), Complaints(ignore, float), no_resolver).access(listen)
    for sender in (b"joe@example.org", b"joe@xn--bcher-kva.example", "joe@bücher.example".encode()):
        visit = access.begin(client=b"192.0.2.1", helo=b"client.example", sender=sender)
        assert visit.recipient(b"ann", b"example.org") is ACCEPT


def test_a_table_of_recipients_that_gives_access_too_is_opened_once() -> None:
    """So that it has one cache, and nobody is asked twice."""
    with TableServer(lambda _data: netstring(b"OK REJECT")) as server:
        listen = Listen("127.0.0.1:25", access=Access(recipient="users"))
        users = Table("socketmap", host=server.host, map="users")
        domains = Domains(["example.org"], recipients="users")
        config = Config("mx.example.org", "spool", [listen], domains, {}, [], table={"users": users})
        book = Book(config.table, ignore)
        complaints = Complaints(ignore, float)
        known = Directory(config, book, complaints).recipients
        access = AccessBook(config, book, complaints, no_resolver).access(listen)
        assert known is not None
        assert known.check(b"joe", b"example.org") is ACCEPT
        visit = access.begin(client=b"192.0.2.1", helo=b"client.example", sender=b"")
        assert visit.recipient(b"joe", b"example.org").reply is not None
        assert len(server.asked) == 1
