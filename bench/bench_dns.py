"""Look-ups without the network: `python -m pytest bench/bench_dns.py --benchmark-only`.

`python -m bench.bench_dns` is a shorter way. Both print at the end how many look-ups a second each part could serve by
itself, and the ratios to dnspython, of least times within the run.
"""

import sys
from collections.abc import Callable, Iterator
from time import monotonic

import dns.flags
import dns.message
import dns.rrset
import pytest

from bench.timing import Benchmark, gathered, in_turn, run
from mta.dns import name
from mta.dns.answer import Answer, Status, conclude
from mta.dns.cache import Cache
from mta.dns.message import Query, Type, parse
from mta.dns.settings import Dns
from mta.dns.stub import Resolver

TEXT = b"mail-out-17.customers.example.org"
NAME = name.to_wire(TEXT)
SOA = "example.org. 900 IN SOA ns.example.org. admin.example.org. 1 7200 900 1209600 600"


def answer(rtype: Type, *records: str, rcode: int = 0, authority: str = "") -> tuple[Query, bytes]:
    """A query, and the response with these records (type and data) as a resolver sends it."""
    query = Query(4711, NAME, rtype, True)
    response = dns.message.make_response(dns.message.from_wire(query.wire(asks_authentic=True)), True)
    response.set_rcode(rcode)
    for record in records:
        response.answer.append(dns.rrset.from_text(TEXT.decode() + ".", 300, "IN", *record.split(" ", 1)))
    if authority:
        owner, ttl, rclass, rtype_text, data = authority.split(" ", 4)
        response.authority.append(dns.rrset.from_text(owner, int(ttl), rclass, rtype_text, data))
    return query, response.to_wire()


MX = answer(Type.MX, *(f"MX {at}0 mx{at}.mail.example.org." for at in range(1, 6)))
ADDRESS = answer(Type.A, "CNAME www.example.net.", "A 192.0.2.1")
NOTHING = answer(Type.A, rcode=3, authority=SOA)
TLSA = answer(Type.TLSA, "TLSA 3 1 1 " + "ab" * 32, "TLSA 2 1 1 " + "cd" * 32)


def read(asked: tuple[Query, bytes]) -> object:
    """What a response means, as the resolver finds it."""
    query, wire = asked
    return conclude(parse(wire, query), query.name, Type(query.rtype))


def ask() -> bytes:
    """A name as a caller has it, to a query."""
    return Query(4711, name.to_wire(TEXT), Type.MX, True).wire(asks_authentic=True)


def ask_dnspython() -> bytes:
    """The same with dnspython."""
    query = dns.message.make_query(TEXT.decode(), "MX", use_edns=0, payload=1232, flags=dns.flags.RD | dns.flags.AD)
    return query.to_wire()


ENTRIES = 10_000
ANSWER: Answer[object] = Answer(Status.OK, ("192.0.2.1",), False, 300, TEXT)
FULL = Cache(ENTRIES)
KEYS = [(name.to_wire(b"n%d.example.org" % number), 1) for number in range(2 * ENTRIES)]
for _key in KEYS[:ENTRIES]:
    FULL.put(_key, ANSWER, 0.0)
TURN = iter(range(sys.maxsize))

RESOLVER = Resolver(Dns(servers=["127.0.0.1:9"]), monotonic)
RESOLVER._cache.put((NAME, int(Type.A)), ANSWER, monotonic() + 1e6)  # kept for longer than this runs


# Name -> what is timed. The group of a name is what is before its colon.
CASES: dict[str, Callable[[], object]] = {
    "query: made": ask,
    "query: made, dnspython": ask_dnspython,
    "5 MX: read": lambda: read(MX),
    "5 MX: read, dnspython": lambda: dns.message.from_wire(MX[1]),
    "alias and A: read": lambda: read(ADDRESS),
    "alias and A: read, dnspython": lambda: dns.message.from_wire(ADDRESS[1]),
    "NXDOMAIN: read": lambda: read(NOTHING),
    "NXDOMAIN: read, dnspython": lambda: dns.message.from_wire(NOTHING[1]),
    "2 TLSA: read": lambda: read(TLSA),
    "2 TLSA: read, dnspython": lambda: dns.message.from_wire(TLSA[1]),
    "cache: found": lambda: FULL.get(KEYS[-1], 1.0) or FULL.put(KEYS[-1], ANSWER, 0.0),
    "cache: put into a full one": lambda: FULL.put(KEYS[next(TURN) % (2 * ENTRIES)], ANSWER, 0.0),
    "resolver: look-up from the cache": lambda: RESOLVER.lookup(TEXT, Type.A),
}


def figures(least_s: dict[str, float]) -> Iterator[str]:
    """Each case a second, and the ratios to dnspython, as lines of text."""
    for title, seconds in least_s.items():
        line = f"{title:40s} {1 / seconds:12,.0f} a second"
        other_s = least_s.get(f"{title}, dnspython")
        yield line if other_s is None else f"{line} {other_s / seconds:8.1f} times dnspython"


@pytest.fixture(scope="module")
def least_s(request: pytest.FixtureRequest) -> Iterator[dict[str, float]]:
    """The least time of each case that has run, in seconds."""
    with gathered(request, figures) as found:
        yield found


@pytest.mark.parametrize("title", CASES)
def test_speed(benchmark: Benchmark, least_s: dict[str, float], title: str) -> None:
    """One case."""
    run(benchmark, least_s, title, CASES[title])


def main() -> None:
    """Time all cases in turn, five times over, and print the figures."""
    least_s = in_turn(CASES, 5)
    print(*figures(least_s), sep="\n")


if __name__ == "__main__":
    sys.exit(main())
