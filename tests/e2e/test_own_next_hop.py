"""One mta as the next hop of another's transports: small content goes unasked, and what is refused is refused."""

from collections.abc import Iterator

import pytest

from tests.support.deliveries import FakeMessage, mail
from tests.support.front import Front, body
from tests.support.relaying import Kind, Relaying
from tests.support.server import HOST

HEADER = b"From: a@example.net\r\nSubject: x\r\n\r\n"
COMMANDS = b"RSET\r\nMAIL FROM:<x@example.net>\r\nRCPT TO:<joe@example.org>\r\nBDAT 4 LAST\r\nHa\r\n"
KINDS: list[Kind] = ["smtp", "lmtp"]


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    """A server for both protocols; messages of more than 100 KB are too large."""
    listeners = {"smtp": {}, "lmtp": {"protocol": "lmtp"}}
    limits = {"limits": {"message_bytes": 100_000}}
    with Front(tmp_path_factory.mktemp("hop"), listeners, limits) as front:
        yield front


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [1, 60_000, 70_000])
def test_what_is_for_nobody_is_discarded(front: Front, kind: Kind, size: int) -> None:
    """All on one connection, as far as the next hop's log can tell; content is never taken for commands."""
    user = f"{kind}{size}"
    content = HEADER + COMMANDS + b"x" * size + b"\r\n"
    relaying = Relaying()
    relaying.messages = {
        1: FakeMessage(mail("joe@elsewhere.example"), content),
        2: FakeMessage(mail("joe@elsewhere.example", f"{user}@example.org"), content),
        3: FakeMessage(mail(f"{user}@example.org"), content, b"x" * (100_001 - len(content))),
    }
    relaying.use(f"{HOST}:{front.ports[kind]}", kind=kind, concurrency=1)
    outcomes = relaying.deliver((1, (0,)), (2, (0, 1)), (3, (0,)), (2, (1,)))
    relaying.close()
    found = [[(result.status, result.code) for result in outcome.results] for outcome in outcomes]
    assert found == [[(5, "5.7.1")], [(5, "5.7.1"), (2, "2.0.0")], [(5, "5.3.4")], []]
    contents = front.collect(user, 2)
    assert [body(content) for content in contents] == [content[len(HEADER) :]] * 2
    assert not (front.mail / "example.org" / "joe").exists()
    assert front.session(user)
    assert len({event["session"] for event in front.events("delivered", to=f"{user}@example.org")}) == 1
