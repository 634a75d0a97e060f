"""Exim as a next hop: it offers PIPELINING and CHUNKING, so small content goes unasked."""

from collections.abc import Iterator

import pytest

from tests.support.deliveries import FakeMessage, mail
from tests.support.exim import EximServer, missing
from tests.support.relaying import Relaying
from tests.support.server import HOST

pytestmark = [pytest.mark.interop, pytest.mark.skipif(bool(missing()), reason=missing())]

HEADER = b"From: a@example.net\r\nSubject: x\r\n\r\n"
COMMANDS = b"RSET\r\nMAIL FROM:<x@example.net>\r\nRCPT TO:<joe@example.org>\r\nDATA\r\nHa\r\n.\r\n"


@pytest.fixture
def exim() -> Iterator[EximServer]:
    with EximServer() as made:
        yield made


@pytest.fixture
def relaying(exim: EximServer) -> Iterator[Relaying]:
    """A transport to it."""
    made = Relaying()
    made.use(f"{HOST}:{exim.port}", concurrency=1)
    yield made
    made.close()


def body(stored: bytes) -> bytes:
    """Of a file in its maildir, with the line ends that were sent."""
    return stored.partition(b"\n\n")[2].replace(b"\n", b"\r\n")


@pytest.mark.parametrize("size", [1, 60_000, 70_000, 300_000], ids=["one byte", "unasked", "asked", "large"])
def test_content_arrives_and_what_is_for_nobody_does_not(exim: EximServer, relaying: Relaying, size: int) -> None:
    """Dots and commands are content, of mail that is taken and of mail that is not."""
    content = HEADER + b".\r\n..\r\n" + COMMANDS + b"x\r\n" * (size // 3) + b".\r\n"
    messages = {
        1: FakeMessage(mail("joe@elsewhere.example"), content),
        2: FakeMessage(mail("joe@elsewhere.example", "jim@example.org"), content),
        3: FakeMessage(mail("jane@example.org"), *[content[at : at + 9999] for at in range(0, len(content), 9999)]),
    }
    relaying.messages.update(messages)
    outcomes = relaying.deliver((1, (0,)), (2, (0, 1)), (3, (0,)), (1, (0,)), (3, (0,)))
    found = [[(result.status, result.code) for result in outcome.results] for outcome in outcomes]
    refused = (5, "5.0.0")
    assert found == [[refused], [refused, (2, "2.0.0")], [], [refused], []]
    assert [body(stored) == content[len(HEADER) :] for stored in exim.mail(3)] == [True] * 3
