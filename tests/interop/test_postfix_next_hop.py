"""Postfix as a next hop, without our own server in front: what it makes of the extensions we use towards it."""

from collections.abc import Iterator

import msgspec
import pytest

from mta.envelope import Dsn
from tests.support.deliveries import FakeMessage, mail
from tests.support.postfix import Postfix, missing
from tests.support.relaying import Relaying
from tests.support.server import HOST, free_port, wait_until
from tests.support.smuggling import FALSE_ENDS, SMUGGLED

pytestmark = [pytest.mark.interop, pytest.mark.skipif(bool(missing()), reason=missing())]

SETTINGS = {
    "virtual_mailbox_domains": "example.org, example.net",
    "virtual_mailbox_maps": "static:all/",
    "virtual_transport": "virtual",
}
HEADER = b"From: a@example.net\r\nSubject: x\r\n"


@pytest.fixture(scope="module")
def postfix() -> Iterator[Postfix]:
    """A Postfix that stores what it gets in one mailbox."""
    with Postfix(free_port(), SETTINGS) as postfix:
        yield postfix


@pytest.fixture
def relaying(postfix: Postfix) -> Iterator[Relaying]:
    """A transport to it."""
    for path in (postfix.mail / "all" / "new").glob("*"):
        path.unlink()
    made = Relaying()
    made.use(f"{HOST}:{postfix.port}")
    yield made
    made.close()


def stored(postfix: Postfix, count: int) -> list[bytes]:
    """The contents of the mailbox, once there are so many."""
    folder = postfix.mail / "all" / "new"
    wait_until(lambda: len(list(folder.glob("*"))) >= count, f"{count} files")
    return [path.read_bytes() for path in folder.glob("*")]


def test_notifications_are_its_task_then(postfix: Postfix, relaying: Relaying) -> None:
    """It tells the sender of success, and knows what the sender knows: its identifier, and the first recipient."""
    dsn = Dsn("HDRS", b"id 1+1=2", ("SUCCESS", "NEVER"), (b"rfc822;old+joe@example.com", b""))
    envelope = msgspec.structs.replace(mail("joe@example.org", "jim@example.org"), dsn=dsn)
    relaying.messages[1] = FakeMessage(envelope, HEADER + b"\r\nhello\r\n")
    assert relaying.one(recipients=(0, 1)) == []
    (notification,) = [content for content in stored(postfix, 3) if b"multipart/report" in content]
    assert b"\nOriginal-Envelope-Id: id 1+1=2\n" in notification
    assert b"\nOriginal-Recipient: rfc822;old+joe@example.com\n" in notification
    assert b"Final-Recipient: rfc822; jim" not in notification


def test_chunks_arrive_as_they_are(postfix: Postfix, relaying: Relaying) -> None:
    """Dots, the end of DATA among them, and content in pieces."""
    content = HEADER + b"\r\n.\r\n..dots\r\n.\r\nMAIL FROM:<x@example.net>\r\n" + b"line\r\n" * 9999
    pieces = [content[at : at + 5000] for at in range(0, len(content), 5000)]
    relaying.messages[1] = FakeMessage(mail("joe@example.org"), *pieces)
    assert relaying.one() == []
    (found,) = stored(postfix, 1)
    assert found.endswith(content.partition(b"\r\n\r\n")[2].replace(b"\r\n", b"\n"))
    assert found.count(b"line\n") == 9999


def test_it_finds_one_message_in_each(postfix: Postfix, relaying: Relaying) -> None:
    envelope = msgspec.structs.replace(mail("joe@example.org"), bare_newlines=True)
    for number, false_end in enumerate(FALSE_ENDS):
        relaying.messages[number] = FakeMessage(envelope, HEADER + b"\r\ntext" + false_end + SMUGGLED + false_end)
        assert relaying.one(number) == []
    assert [content.count(b"smuggled") for content in stored(postfix, len(FALSE_ENDS))] == [1] * len(FALSE_ENDS)


def test_binary_content_is_not_for_it(postfix: Postfix, relaying: Relaying) -> None:
    """It has CHUNKING without BINARYMIME."""
    envelope = msgspec.structs.replace(mail("joe@example.org"), binary=True)
    relaying.messages[1] = FakeMessage(envelope, HEADER + b"\r\n\0\n")
    assert relaying.one() == [(5, "5.6.3")]


@pytest.mark.parametrize("size", [1, 60_000, 70_000, 300_000], ids=["one byte", "unasked", "asked", "large"])
def test_it_discards_what_is_for_nobody(postfix: Postfix, relaying: Relaying, size: int) -> None:
    """Content that goes along with recipients that are refused; none of it is taken for commands, and mail goes on."""
    commands = b"RSET\r\nMAIL FROM:<x@example.net>\r\nRCPT TO:<joe@example.org>\r\nDATA\r\nHa\r\n.\r\n"
    content = HEADER + b"\r\n" + commands + b"x" * size + b"\r\n"
    relaying.messages = {
        1: FakeMessage(mail("joe@elsewhere.example"), content),
        2: FakeMessage(mail("joe@elsewhere.example", "jim@example.org"), content),
        3: FakeMessage(mail("jane@example.org"), HEADER + b"\r\nthe last\r\n"),
    }
    relaying.use(f"{HOST}:{postfix.port}", concurrency=1)
    outcomes = relaying.deliver((1, (0,)), (2, (0, 1)), (3, (0,)), (1, (0,)), (3, (0,)))
    found = [[(result.status, result.code) for result in outcome.results] for outcome in outcomes]
    refused = (4, "4.7.1")
    assert found == [[refused], [refused, (2, "2.0.0")], [], [refused], []]
    contents = stored(postfix, 3)
    assert sorted(b"the last" in content for content in contents) == [False, True, True]
    assert all(b"To: <joe" not in content for content in contents)
