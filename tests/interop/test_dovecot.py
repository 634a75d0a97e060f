"""Delivery to Dovecot over LMTP: a private Dovecot with its own configuration, on a unix socket and on loopback."""

import os
import pwd
from collections.abc import Iterator

import pytest

from tests.support.deliveries import FakeMessage, mail
from tests.support.dovecot import Dovecot, missing
from tests.support.relaying import Relaying
from tests.support.server import HOST

pytestmark = [pytest.mark.interop, pytest.mark.skipif(bool(missing()), reason=missing())]

SETTINGS = """\
mail_location = maildir:{folder}/mail/%n
first_valid_uid = 1
first_valid_gid = 1
lmtp_save_to_detail_mailbox = no
service lmtp {{
  unix_listener {folder}/lmtp {{
    mode = 0666
  }}
  inet_listener lmtp {{
    address = {host}
    port = {port}
  }}
}}
passdb {{
  driver = passwd-file
  args = username_format=%u {folder}/users
}}
userdb {{
  driver = passwd-file
  args = username_format=%u {folder}/users
}}
"""
CONTENT = b"From: a@example.net\r\nSubject: x\r\n\r\n.dot\r\n..\r\n.\r\nGr\xc3\xbc\xc3\x9fe\r\n"


class Mailboxes(Dovecot):
    """A Dovecot with the users joe and jim of example.org, and locked, whose mail cannot be written."""

    def __init__(self) -> None:
        super().__init__()
        folder = self.folder
        self.unix = f"unix:{folder}/lmtp"
        nobody = pwd.getpwnam("nobody")
        mail_folder = folder / "mail"
        mail_folder.mkdir()
        os.chown(mail_folder, nobody.pw_uid, nobody.pw_gid)
        (mail_folder / "locked").write_text("in the way of a folder")
        owner = f"{nobody.pw_uid}:{nobody.pw_gid}"
        users = [f"{name}@example.org:{{PLAIN}}x:{owner}::{mail_folder}/{name}::" for name in ("joe", "jim", "locked")]
        (folder / "users").write_text("\n".join(users) + "\n")
        self.start(SETTINGS.format(folder=folder, host=HOST, port=self.port))

    def mail(self, user: str) -> list[bytes]:
        """The messages in a user's maildir."""
        return [path.read_bytes() for path in (self.folder / "mail" / user / "new").glob("*")]


@pytest.fixture
def dovecot() -> Iterator[Mailboxes]:
    """A Dovecot of one test."""
    made = Mailboxes()
    yield made
    made.close()


@pytest.fixture
def relaying() -> Iterator[Relaying]:
    """A transport and its messages."""
    made = Relaying()
    made.messages = {
        1: FakeMessage(mail("joe@example.org", "nobody@example.org", "jim@example.org"), CONTENT),
        2: FakeMessage(mail("joe@example.org", "locked@example.org", sender=""), CONTENT),
    }
    yield made
    made.close()


@pytest.mark.parametrize("over", ["unix", "tcp"])
def test_each_recipient_has_an_outcome(dovecot: Mailboxes, relaying: Relaying, over: str) -> None:
    """Two get it byte for byte, the third does not exist."""
    relaying.use(dovecot.unix if over == "unix" else f"{HOST}:{dovecot.port}", kind="lmtp")
    (outcome,) = relaying.deliver((1, (0, 1, 2)))
    assert [(result.status, result.code) for result in outcome.results] == [(2, "2.0.0"), (5, "5.1.1"), (2, "2.0.0")]
    for user in ("joe", "jim"):
        (content,) = dovecot.mail(user)
        assert content.startswith(b"Return-Path: <a@example.net>\n")
        assert content.endswith(CONTENT.replace(b"\r\n", b"\n"))


def test_a_mailbox_that_cannot_be_written_defers_only_its_owner(dovecot: Mailboxes, relaying: Relaying) -> None:
    """Dovecot says so in the reply of that recipient, behind the content."""
    relaying.use(dovecot.unix, kind="lmtp")
    (outcome,) = relaying.deliver((2, (0, 1)))
    assert [result.status for result in outcome.results] == [2, 4]
    assert len(dovecot.mail("joe")) == 1


def test_many_messages_over_few_connections(dovecot: Mailboxes, relaying: Relaying) -> None:
    """Connections are used again; nothing is lost and nothing doubled."""
    relaying.use(dovecot.unix, kind="lmtp", concurrency=3)
    outcomes = relaying.deliver(*[(1, (0, 2))] * 60)
    assert [outcome.results for outcome in outcomes] == [()] * 60
    assert len(dovecot.mail("joe")) == len(dovecot.mail("jim")) == 60


@pytest.mark.parametrize("size", [1, 60_000, 70_000], ids=["one byte", "unasked", "asked"])
def test_it_discards_what_is_for_nobody(dovecot: Mailboxes, relaying: Relaying, size: int) -> None:
    """Content that goes along with recipients it does not know; none of it is taken for commands, and mail goes on."""
    commands = b"RSET\r\nMAIL FROM:<x@example.net>\r\nRCPT TO:<joe@example.org>\r\nDATA\r\nHa\r\n.\r\n"
    content = b"Subject: x\r\n\r\n" + commands + b"x" * size + b"\r\n"
    relaying.messages[3] = FakeMessage(mail("nobody@example.org", "jim@example.org"), content)
    relaying.use(dovecot.unix, kind="lmtp", concurrency=1)
    outcomes = relaying.deliver((3, (0,)), (3, (0, 1)), (3, (0,)), (3, (1,)))
    found = [[(result.status, result.code) for result in outcome.results] for outcome in outcomes]
    assert found == [[(5, "5.1.1")], [(5, "5.1.1"), (2, "2.0.0")], [(5, "5.1.1")], []]
    contents = dovecot.mail("jim")
    assert [one.partition(b"\n\n")[2] == content.replace(b"\r\n", b"\n").partition(b"\n\n")[2] for one in contents] == [
        True
    ] * 2
    assert dovecot.mail("joe") == []
