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
