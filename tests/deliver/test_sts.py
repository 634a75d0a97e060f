"""MTA-STS: which policy counts when, what is kept on disk, and how policies are fetched."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import gevent
import pytest
from gevent.event import Event

from mta.deliver import sts_fetch
from mta.deliver.sts import AGAIN_S, FRESH_S, READ_S, Sts
from mta.deliver.sts_fetch import FETCH_ERROR, INVALID, WEBPKI_INVALID, Fetched, Fetcher
from mta.deliver.sts_policy import MAX_AGE_S, POLICY_BYTES, Mode, Policy, parse
from mta.deliver.sts_store import Kept, Store, StoreError
from mta.dns.answer import Status
from mta.dns.message import Type
from mta.errors import ConfigError
from tests.support.certificates import Authority
from tests.support.policyhost import PolicyHost, policy, reply
from tests.support.resolver import FakeResolver
from tests.support.tlshop import context

ORG = b"example.org"
RECORD = "_mta-sts.example.org"
WEEK_S = 604800
FIRST = Policy(Mode.ENFORCE, WEEK_S, ("mx1.example.org",))
SECOND = Policy(Mode.TESTING, WEEK_S, ("mx2.example.org",))
FAILED = Fetched(None, FETCH_ERROR, "timed out")


class FakeFetcher:
    """Has policies to give; waits for `gate` where there is one."""

    def __init__(self) -> None:
        self.next = Fetched(FIRST)
        self.count = 0
        self.gate: Event | None = None

    def fetch(self, domain: bytes) -> Fetched:
        assert domain == ORG
        self.count += 1
        if self.gate is not None:
            self.gate.wait(10)
        return self.next


class World:
    """A domain, its DNS, its server, our clock, and workers with a disk in common."""

    def __init__(self, folder: Path) -> None:
        self.now = 1e9
        self.resolver = FakeResolver()
        self.fetcher = FakeFetcher()
        self.folder = folder / "sts"
        self.publish("1")

    def publish(self, name: str) -> None:
        self.resolver.zone[RECORD, Type.TXT] = [f"v=STSv1; id={name};".encode()]

    def worker(self, **more: int) -> Sts:
        store = Store(self.folder)
        return Sts(self.resolver, self.fetcher, store, lambda: self.now, **more)  # type: ignore[arg-type]


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


# ---------------------------------------------------------------------------------------------------------------------
# Which one counts


def test_a_domain_without_a_record_has_no_policy(world: World) -> None:
    del world.resolver.zone[RECORD, Type.TXT]
    assert world.worker().policy(ORG) is None
    assert world.fetcher.count == 0
    assert not world.folder.exists()


def test_a_policy_is_fetched_once(world: World) -> None:
    worker = world.worker()
    assert [worker.policy(ORG) for _ in range(3)] == [FIRST] * 3
    assert world.fetcher.count == 1


def test_another_id_brings_the_new_one_at_once(world: World) -> None:
    worker = world.worker()
    assert worker.policy(ORG) == FIRST
    world.fetcher.next = Fetched(SECOND)
    assert worker.policy(ORG) == FIRST
    world.publish("2")
    assert worker.policy(ORG) == SECOND
    assert world.fetcher.count == 2


def test_a_policy_of_mode_none_is_none(world: World) -> None:
    world.fetcher.next = Fetched(Policy(Mode.NONE, WEEK_S, ()))
    worker = world.worker()
    assert [worker.policy(ORG), worker.policy(ORG)] == [None, None]
    assert world.fetcher.count == 1


@pytest.mark.parametrize("trouble", [Status.FAILED, Status.NXDOMAIN, Status.NODATA, [b"v=STSv1; id=!"]])
def test_a_record_that_is_gone_takes_nothing_away(world: World, trouble: object) -> None:
    """An attacker could have made it so. Until the policy expires."""
    worker = world.worker()
    assert worker.policy(ORG) == FIRST
    world.resolver.zone[RECORD, Type.TXT] = trouble
    world.now += WEEK_S - 1
    assert [worker.policy(ORG), world.worker().policy(ORG)] == [FIRST, FIRST]
    world.now += 1
    assert [worker.policy(ORG), world.worker().policy(ORG)] == [None, None]


def test_a_server_that_is_gone_takes_nothing_away(world: World) -> None:
    """Not even after a restart, with another id. It is tried again after a while."""
    assert world.worker().policy(ORG) == FIRST
    world.fetcher.next = FAILED
    world.publish("2")
    worker = world.worker()
    assert [worker.policy(ORG) for _ in range(3)] == [FIRST] * 3
    assert world.fetcher.count == 2
    world.fetcher.next = Fetched(SECOND)
    world.now += AGAIN_S - 1
    assert worker.policy(ORG) == FIRST
    world.now += 1
    assert worker.policy(ORG) == SECOND


def test_without_one_that_is_kept_a_failure_means_no_policy(world: World) -> None:
    world.fetcher.next = FAILED
    worker = world.worker()
    assert [worker.policy(ORG), worker.policy(ORG)] == [None, None]
    assert world.fetcher.count == 1
    world.now += AGAIN_S
    world.fetcher.next = Fetched(FIRST)
    assert worker.policy(ORG) == FIRST


def test_it_is_fetched_again_before_it_expires(world: World) -> None:
    """Nobody waits for that."""
    worker = world.worker()
    assert worker.policy(ORG) == FIRST
    world.now += FRESH_S
    assert worker.policy(ORG) == FIRST
    assert world.fetcher.count == 1
    world.now += 1
    world.fetcher.gate = Event()
    world.fetcher.next = Fetched(SECOND)
    assert [worker.policy(ORG), worker.policy(ORG)] == [FIRST, FIRST]
    (flight,) = worker._flights.values()
    world.fetcher.gate.set()
    flight.join()
    assert worker.policy(ORG) == SECOND
    assert world.fetcher.count == 2


def test_one_with_a_short_life_is_fetched_again_in_its_middle(world: World) -> None:
    world.fetcher.next = Fetched(Policy(Mode.ENFORCE, 100, FIRST.patterns))
    worker = world.worker()
    assert worker.policy(ORG) is not None
    world.now += 51
    assert worker.policy(ORG) is not None
    (flight,) = worker._flights.values()
    flight.join()
    assert world.fetcher.count == 2


def test_one_that_ends_at_once_counts_for_the_mail_that_brought_it(world: World) -> None:
    world.fetcher.next = Fetched(Policy(Mode.ENFORCE, 0, FIRST.patterns))
    worker = world.worker()
    assert worker.policy(ORG) is not None
    assert worker.policy(ORG) is not None
    assert world.fetcher.count == 2


def test_those_who_ask_meanwhile_wait_for_the_same_fetch(world: World) -> None:
    world.fetcher.gate = Event()
    worker = world.worker()
    asking = [gevent.spawn(worker.policy, ORG) for _ in range(5)]
    gevent.sleep(0)
    world.fetcher.gate.set()
    assert [one.get() for one in asking] == [FIRST] * 5
    assert world.fetcher.count == 1


def test_a_fault_of_ours_is_no_lack_of_a_policy(world: World) -> None:
    """Who asked must hear of it, and not deliver in plain text."""
    world.fetcher.next = None  # type: ignore[assignment]
    with pytest.raises(AttributeError):
        world.worker().policy(ORG)


# ---------------------------------------------------------------------------------------------------------------------
# On disk


def test_what_one_worker_fetched_the_others_have(world: World) -> None:
    first, second = world.worker(), world.worker()
    assert [first.policy(ORG), second.policy(ORG)] == [FIRST, FIRST]
    world.fetcher.next = Fetched(SECOND)
    world.publish("2")
    assert [first.policy(ORG), second.policy(ORG)] == [SECOND, SECOND]
    assert world.fetcher.count == 2


def test_a_worker_that_knew_of_none_sees_what_another_has_fetched(world: World) -> None:
    """Even when the record is gone by then."""
    record = world.resolver.zone.pop((RECORD, Type.TXT))
    first, second = world.worker(), world.worker()
    assert first.policy(ORG) is None
    world.resolver.zone[RECORD, Type.TXT] = record
    assert second.policy(ORG) == FIRST
    del world.resolver.zone[RECORD, Type.TXT]
    world.now += READ_S
    assert first.policy(ORG) == FIRST


def test_memory_is_bounded_and_the_disk_knows_the_rest(world: World) -> None:
    worker = world.worker(domains=1)
    assert worker.policy(ORG) == FIRST
    assert worker.policy(b"example.net") is None
    assert len(worker._known) == 1
    assert worker.policy(ORG) == FIRST
    assert world.fetcher.count == 1


def test_what_is_kept_is_bounded(tmp_path: Path) -> None:
    """Those go first that expire first, and those that have."""
    store = Store(tmp_path / "sts", kept=3)
    for age in (50, 40, 30, 20, 10):
        store.put(b"a%d.example" % age, Kept("1", 0.0, Policy(Mode.ENFORCE, age, ("a",))))
    kept = {age for age in (50, 40, 30, 20, 10) if store.get(b"a%d.example" % age)}
    assert kept == {50, 40, 30}
    store.put(b"new.example", Kept("1", 45.0, FIRST))
    assert [store.get(name) is not None for name in (b"a50.example", b"a40.example", b"new.example")] == [
        *(True, False, True),
    ]


@pytest.mark.parametrize("content", [b"no database", b"SQLite format 3\0" + b"\xff" * 4096])
def test_a_damaged_database_is_put_aside(world: World, content: bytes) -> None:
    world.folder.mkdir()
    (world.folder / "policies.db").write_bytes(content)
    with pytest.raises(StoreError, match="put aside"):
        Store(world.folder).get(ORG)
    assert (world.folder / "policies.db.damaged").read_bytes() == content
    assert world.worker().policy(ORG) == FIRST
    assert Store(world.folder).get(ORG) == Kept("1", world.now, FIRST)


def test_a_disk_that_fails_costs_no_policy(world: World) -> None:
    world.folder.write_text("in the way")
    worker = world.worker()
    assert [worker.policy(ORG), worker.policy(ORG)] == [FIRST, FIRST]
    assert world.fetcher.count == 1


def test_what_cannot_be_read_back_is_fetched_anew(world: World) -> None:
    assert world.worker().policy(ORG) == FIRST
    with sqlite3.connect(world.folder / "policies.db") as database:
        database.execute("UPDATE policy SET policy = x'00'")
    database.close()
    assert world.worker().policy(ORG) == FIRST
    assert world.fetcher.count == 2


def test_a_clock_that_was_wrong_keeps_nothing_for_ever(world: World) -> None:
    world.now += 10 * MAX_AGE_S
    assert world.worker().policy(ORG) == FIRST
    world.now -= 10 * MAX_AGE_S
    world.fetcher.next = Fetched(SECOND)
    assert world.worker().policy(ORG) == SECOND


# ---------------------------------------------------------------------------------------------------------------------
# Over HTTPS


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def server(authority: Authority) -> Iterator[PolicyHost]:
    made = PolicyHost(context(authority.server("mta-sts.example.org")))
    yield made
    made.close()


def fetched(server: PolicyHost, authority: Authority, *addresses: str, timeout_s: float = 10) -> Fetched:
    zone = {("mta-sts.example.org", Type.A): list(addresses or ("127.0.0.1",))}
    made = sts_fetch.make_context(str(authority.ca))
    resolver = FakeResolver(zone)  # type: ignore[arg-type]
    return Fetcher(resolver, made, port=server.port, timeout_s=timeout_s).fetch(ORG)  # type: ignore[arg-type]


def test_a_policy_is_fetched(server: PolicyHost, authority: Authority) -> None:
    server.answer = reply(policy("mx1.example.org"), kind="Text/Plain; charset=utf-8")
    assert fetched(server, authority) == Fetched(FIRST)
    (request,) = server.requests
    assert request.startswith(b"GET /.well-known/mta-sts.txt HTTP/1.1\r\nHost: mta-sts.example.org\r\n")


def test_the_next_address_is_tried(server: PolicyHost, authority: Authority) -> None:
    server.answer = reply(policy("mx1.example.org"))
    assert fetched(server, authority, "127.0.0.3", "127.0.0.1") == Fetched(FIRST)


def test_pieces_of_unknown_length(server: PolicyHost, authority: Authority) -> None:
    body = policy("mx1.example.org")
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"
    server.answer = head + b"Transfer-Encoding: chunked\r\n\r\n" + b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
    assert fetched(server, authority).policy == parse(body)
    server.answer = head + b"\r\n" + body
    assert fetched(server, authority).policy == parse(body)


@pytest.mark.parametrize(
    ("answer", "result", "text"),
    [
        (reply(b"", status="301 Moved"), FETCH_ERROR, "status 301"),
        (reply(policy("a.example"), status="404 Not Found"), FETCH_ERROR, "status 404"),
        (reply(policy("a.example"), status="206 Partial Content"), FETCH_ERROR, "status 206"),
        (reply(policy("a.example"), kind="text/html"), INVALID, "not text/plain, but text/html"),
        (reply(policy("a.example"), kind="\x1b[2J"), INVALID, r"not text/plain, but \x1b[2j"),
        (reply(b"<html>"), INVALID, "line 1 is no field"),
        (reply(policy("a.example") + b"\n" * POLICY_BYTES), INVALID, "longer than"),
        (reply(policy("a.example"), length=1000), FETCH_ERROR, "cut off"),
        (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 50_000, FETCH_ERROR, "no reply of HTTP"),
        (b"SSH-2.0-x\r\n\r\n", FETCH_ERROR, "no reply of HTTP"),
        (b"", FETCH_ERROR, "the connection was closed"),
    ],
)
def test_what_is_no_policy(server: PolicyHost, authority: Authority, answer: bytes, result: str, text: str) -> None:
    server.answer = answer
    found = fetched(server, authority)
    assert (found.policy, found.result) == (None, result)
    assert text in found.text
    assert found.text.isprintable()


def test_a_server_that_says_nothing(server: PolicyHost, authority: Authority) -> None:
    server.answer = None
    assert fetched(server, authority, timeout_s=0.2) == Fetched(None, FETCH_ERROR, "timed out")


def test_a_server_that_is_not_there(server: PolicyHost, authority: Authority) -> None:
    server.close()
    found = fetched(server, authority)
    assert (found.result, found.text) == (FETCH_ERROR, "cannot connect: Connection refused")


@pytest.mark.parametrize("kind", ["name", "parent", "expired", "authority"])
def test_a_certificate_that_is_not_right(authority: Authority, tmp_path: Path, kind: str) -> None:
    """Nothing is asked of such a server."""
    pair = {
        "name": lambda: authority.server("www.example.org"),
        "parent": lambda: authority.server("example.org", "*.mta-sts.example.org"),
        "expired": lambda: authority.expired("mta-sts.example.org"),
        "authority": lambda: Authority(tmp_path / "other").server("mta-sts.example.org"),
    }[kind]()
    server = PolicyHost(context(pair))
    try:
        server.answer = reply(policy("a.example"))
        found = fetched(server, authority)
        assert (found.policy, found.result) == (None, WEBPKI_INVALID)
        assert found.text.startswith("certificate_verify_failed: ")
        assert server.requests == []
    finally:
        server.close()


@pytest.mark.parametrize("status", [Status.FAILED, Status.NXDOMAIN])
def test_a_server_without_an_address(authority: Authority, status: Status) -> None:
    resolver = FakeResolver({("mta-sts.example.org", rtype): status for rtype in (Type.A, Type.AAAA)})
    found = Fetcher(resolver, sts_fetch.make_context(str(authority.ca))).fetch(ORG)  # type: ignore[arg-type]
    assert found.result == FETCH_ERROR
    assert "mta-sts.example.org" in found.text


def test_authorities_that_cannot_be_read() -> None:
    with pytest.raises(ConfigError, match="tls_ca /nowhere: No such file"):
        sts_fetch.make_context("/nowhere")
