"""Telling senders: who hears of what, and that nothing is lost when notifications cannot be written."""

import email
from collections.abc import Iterator
from email.message import Message
from pathlib import Path

import pytest
from flufl.bounce import all_failures
from queuetools import START_WALL, Bench, Sender, bench, deferred, delivered, down, failed

from mta import envelope as envelopes
from mta import ipc
from mta.config import Bounces
from mta.envelope import Dsn, Envelope
from mta.errors import SpoolError
from mta.qmgr import bounce
from mta.spool import queueid
from mta.spool.reader import MessageReader

ME = b"me@store.example"  # there is a route to
BODY = b"Message-ID: <1@store.example>\r\nSubject: hello\r\n\r\nHello.\r\n"
TELL = Bounces()
TELL_POSTMASTER = Bounces(double="postmaster")
POSTMASTER = b"postmaster@store.example"


@pytest.fixture
def sender(tmp_path: Path) -> Iterator[Sender]:
    it = Sender(tmp_path)
    yield it
    it.close()


class Inbox:
    """What the delivery worker got for `store`, read from the spool as it would; everything for `relay` fails."""

    def __init__(self, queue: Bench) -> None:
        self.queue = queue
        self.messages: list[tuple[Envelope, bytes]] = []

    def work(self, how: object = failed, **others: object) -> list[Message]:
        """Turns until nothing moves; returns the notifications that came. `others`: outcomes by local part."""

        def answer(job: ipc.Job) -> ipc.Outcome:
            if job.transport == "relay":
                return how(job)
            reader = MessageReader(self.queue.root)
            record, body = reader.message(job.location)
            envelope = envelopes.decode(record.envelope)
            reader.close()
            local = envelope.recipients[job.recipients[0]].partition(b"@")[0].decode()
            if local in others:
                return others[local](job)
            self.messages.append((envelope, envelope.trace + b"".join(body if not isinstance(body, bytes) else [body])))
            return delivered(job)

        before = len(self.messages)
        for _ in range(4):
            self.queue.work(answer)
        return [email.message_from_bytes(data) for _, data in self.messages[before:]]


def recipients(message: Message) -> list[Message]:
    return [block for block in message.get_payload(1).get_payload() if block["Final-Recipient"]]


def test_failure_comes_back(tmp_path: Path, sender: Sender) -> None:
    with bench(tmp_path, bounces=TELL) as queue:
        location = sender.send(b"joe@relay.example", sender=ME, body=BODY, trace=b"Received: from x\r\n")
        sender.commit()
        inbox = Inbox(queue)
        (message,) = inbox.work()
        ((envelope, data),) = inbox.messages
        assert envelope == Envelope(b"", (ME,), envelope.received_wall, protocol="")
        assert message["To"] == "<me@store.example>"
        assert message["References"] == "<1@store.example>"
        assert message.get_payload(1).get_payload(0)["X-mta-Queue-ID"] == queueid.text(location)
        assert b"\r\n\r\nReceived: from x\r\n" + BODY + b"\r\n--" in data
        assert all_failures(message) == (set(), {b"joe@relay.example"})
        assert queue.counts() == (0, 0, 0, 0)
        assert queue.stats()["bounces"] == {"sent": 1, "dropped": 0}
        assert queue.core.journal.rows(0, 9) == []
        sender.close()
        queue.wait(10)
        queue.work()
        assert len(queue.segments()) == 1  # our own


def test_those_that_failed_are_told_of_at_once_and_once(tmp_path: Path, sender: Sender) -> None:
    def partly(job: ipc.Job) -> ipc.Outcome:
        results = [ipc.Result(i, (2, 5, 4)[i], ("2.0.0", "5.1.1", "4.2.2")[i], "said") for i in job.recipients]
        return ipc.Outcome(job.number, tuple(results))

    with bench(tmp_path, bounces=TELL) as queue:
        sender.send(b"a@relay.example", b"b@relay.example", b"c@relay.example", sender=ME, body=BODY)
        sender.commit()
        inbox = Inbox(queue)
        (message,) = inbox.work(partly)
        assert all_failures(message) == (set(), {b"b@relay.example"})
        assert queue.counts() == (1, 0, 1, 0)
        queue.wait(400)
        (message,) = inbox.work(failed)
        assert all_failures(message) == (set(), {b"c@relay.example"})
        assert queue.counts() == (0, 0, 0, 0)


def test_expired_is_a_failure(tmp_path: Path, sender: Sender) -> None:
    with bench(tmp_path, bounces=TELL, lifetime_s=1000.0) as queue:
        sender.send(b"joe@relay.example", sender=ME, body=BODY)
        sender.commit()
        inbox = Inbox(queue)
        assert inbox.work(deferred) == []
        queue.wait(1001)
        (message,) = inbox.work(deferred)
        (joe,) = recipients(message)
        assert (joe["Action"], joe["Status"]) == ("failed", "5.4.7")
        assert "4.2.2 mailbox full" in joe["Diagnostic-Code"].replace("\r\n", "")


@pytest.mark.parametrize("notify", ["NEVER", "SUCCESS", "SUCCESS,DELAY"])
def test_notify_without_failure(tmp_path: Path, sender: Sender, notify: str) -> None:
    with bench(tmp_path, bounces=TELL) as queue:
        dsn = Dsn("", b"", (notify, "FAILURE"), (b"", b"rfc822;old@b.example"))
        sender.send(b"a@relay.example", b"b@relay.example", sender=ME, body=BODY, dsn=dsn)
        sender.send(b"c@relay.example", sender=ME, body=BODY, dsn=Dsn("", b"", (notify,), (b"",)))
        sender.commit()
        (message,) = Inbox(queue).work()
        (told,) = recipients(message)
        assert told["Final-Recipient"] == "rfc822; b@relay.example"
        assert told["Original-Recipient"] == "rfc822; old@b.example"
        assert queue.counts() == (0, 0, 0, 0)
        assert queue.stats()["bounces"] == {"sent": 1, "dropped": 0}


@pytest.mark.parametrize(
    ("facts", "size", "kind"),
    [
        ({}, 60_000, "message/rfc822"),
        ({"dsn": Dsn("FULL", b"my id", ("",), (b"",))}, 60_000, "message/rfc822"),
        ({"dsn": Dsn("HDRS", b"my id", ("",), (b"",))}, 100, "text/rfc822-headers"),
        ({}, 70_000, "text/rfc822-headers"),
        ({"dsn": Dsn("FULL", b"my id", ("",), (b"",))}, 70_000, "text/rfc822-headers"),
        ({"binary": True}, 100, "text/rfc822-headers"),
        ({"bare_newlines": True}, 100, "text/rfc822-headers"),
    ],
)
@pytest.mark.parametrize("large", [False, True])
def test_what_goes_back(
    tmp_path: Path, sender: Sender, facts: dict[str, object], size: int, kind: str, large: bool
) -> None:
    with bench(tmp_path, bounces=TELL) as queue:
        sender.send(b"joe@relay.example", sender=ME, body=BODY + b"x" * size, large=large, **facts)
        sender.commit()
        (message,) = Inbox(queue).work()
        original = message.get_payload(2)
        assert original.get_content_type() == kind
        assert ("x" * size in str(original)) == (kind == "message/rfc822")
        about = message.get_payload(1).get_payload(0)
        assert about["Original-Envelope-Id"] == ("my id" if "dsn" in facts else None)
        assert list((tmp_path / "bodies").iterdir()) == []


def test_original_that_is_gone_is_told_of_without_it(tmp_path: Path, sender: Sender) -> None:
    with bench(tmp_path, bounces=TELL) as queue:
        sender.send(b"joe@relay.example", sender=ME, body=BODY, large=True)
        sender.commit()
        (body,) = (tmp_path / "bodies").iterdir()
        body.unlink()
        (message,) = Inbox(queue).work()
        assert all_failures(message) == (set(), {b"joe@relay.example"})
        assert len(message.get_payload()) == 2


def test_smtputf8(tmp_path: Path, sender: Sender) -> None:
    with bench(tmp_path, bounces=TELL) as queue:
        me = "ä@store.example".encode()
        sender.send("jürgen@relay.example".encode(), sender=me, body=BODY, smtputf8=True)
        sender.commit()
        inbox = Inbox(queue)
        (message,) = inbox.work()
        ((envelope, data),) = inbox.messages
        assert envelope.smtputf8
        assert envelope.eight_bit
        assert envelope.recipients == (me,)
        assert message.get_payload(1).get_content_type() == "message/global-delivery-status"
        assert "utf-8; jürgen@relay.example".encode() in data


def test_required_tls_goes_on(tmp_path: Path, sender: Sender) -> None:
    with bench(tmp_path, bounces=TELL) as queue:
        sender.send(b"joe@relay.example", sender=ME, body=BODY, require_tls=True)
        sender.commit()
        inbox = Inbox(queue)
        (message,) = inbox.work()
        assert inbox.messages[0][0].require_tls
        assert message.get_payload(2).get_content_type() == "text/rfc822-headers"


def test_nobody_is_told_of_a_bounce(tmp_path: Path, sender: Sender) -> None:
    with bench(tmp_path, bounces=TELL) as queue:
        sender.send(b"joe@relay.example", sender=b"", body=BODY)
        sender.commit()
        assert Inbox(queue).work() == []
        assert queue.counts() == (0, 0, 0, 0)
        assert queue.stats()["bounces"] == {"sent": 0, "dropped": 1}


def test_what_no_route_can_tell_of_is_kept(tmp_path: Path, sender: Sender) -> None:
    with bench(tmp_path, bounces=TELL) as queue:
        sender.send(b"joe@relay.example", sender=b"me@elsewhere.example", body=BODY)
        sender.commit()
        assert Inbox(queue).work() == []
        stats = queue.stats()
        assert (stats["queued"], stats["failed"]) == (0, 1)
        assert stats["bounces"] == {"sent": 0, "dropped": 0}
    with bench(tmp_path, bounces=TELL) as queue:  # and over a restart
        assert queue.stats()["failed"] == 1


@pytest.mark.parametrize("who", [b"", b"me@elsewhere.example"])
def test_double_bounces_go_to_the_postmaster_and_no_further(tmp_path: Path, sender: Sender, who: bytes) -> None:
    with bench(tmp_path, bounces=TELL_POSTMASTER) as queue:
        sender.send(b"joe@relay.example", sender=who, body=BODY)
        sender.commit()
        inbox = Inbox(queue)
        (message,) = inbox.work()
        assert inbox.messages[0][0].recipients == (POSTMASTER,)
        assert all_failures(message) == (set(), {b"joe@relay.example"})
        sender.send(b"joe@relay.example", sender=who, body=BODY)
        sender.commit()
        assert inbox.work(postmaster=failed) == []
        assert queue.counts() == (0, 0, 0, 0)
        assert queue.stats()["bounces"] == {"sent": 2, "dropped": 1}


def test_bounce_that_fails_makes_no_bounce(tmp_path: Path, sender: Sender) -> None:
    with bench(tmp_path, bounces=TELL) as queue:
        sender.send(b"joe@relay.example", sender=ME, body=BODY)
        sender.commit()
        assert Inbox(queue).work(me=failed) == []
        assert queue.counts() == (0, 0, 0, 0)
        assert queue.stats()["bounces"] == {"sent": 1, "dropped": 1}


def test_delay_is_told_once(tmp_path: Path, sender: Sender) -> None:
    with bench(tmp_path, bounces=TELL, delay_warning_s=1000.0) as queue:
        inbox = Inbox(queue)
        for notify in ("", "FAILURE", "DELAY"):
            dsn = Dsn("", b"", (notify,), (b"",)) if notify else None
            sender.send(b"joe-%b@relay.example" % notify.lower().encode(), sender=ME, body=BODY, dsn=dsn)
        sender.send(b"null@relay.example", sender=b"", body=BODY)
        sender.commit()
        told = []
        for _ in range(6):
            told += inbox.work(down)
            queue.wait(500)
        assert {recipients(message)[0]["Final-Recipient"] for message in told} == {
            "rfc822; joe-@relay.example",
            "rfc822; joe-delay@relay.example",
        }
        assert len(told) == 2
        (joe,) = recipients(told[0])
        assert (joe["Action"], joe["Status"]) == ("delayed", "4.4.1")
        assert joe["Will-Retry-Until"] == "Wed, 20 Jan 2027 08:00:00 +0000"
        assert all_failures(told[0])[1] == set()
        assert told[0].get_payload(2).get_content_type() == "text/rfc822-headers"
        assert queue.counts() == (4, 0, 4, 0)
    with bench(tmp_path, queue.clock, bounces=TELL, delay_warning_s=1000.0) as queue:
        queue.wait(4000)
        assert Inbox(queue).work(down) == []
        assert queue.counts() == (4, 0, 4, 0)


def test_no_delay_is_told_of_without_the_setting(tmp_path: Path, sender: Sender) -> None:
    with bench(tmp_path, bounces=TELL) as queue:
        sender.send(b"joe@relay.example", sender=ME, body=BODY)
        sender.commit()
        inbox = Inbox(queue)
        for _ in range(5):
            assert inbox.work(deferred) == []
            queue.wait(5000)


SUCCESS = Dsn("FULL", b"", ("SUCCESS", "", "SUCCESS,FAILURE"), (b"", b"", b""))


@pytest.mark.parametrize(("onward", "action"), [("", "delivered"), ("relayed", "relayed")])
@pytest.mark.parametrize("late", [False, True])
def test_success_is_told_where_asked(tmp_path: Path, sender: Sender, onward: str, action: str, late: bool) -> None:
    def go(job: ipc.Job) -> ipc.Outcome:
        return ipc.Outcome(job.number, remote="hop.example" if onward else "", onward=onward)

    with bench(tmp_path, bounces=TELL) as queue:
        sender.send(b"a@relay.example", b"b@relay.example", b"c@relay.example", sender=ME, body=BODY, dsn=SUCCESS)
        sender.send(b"d@relay.example", sender=ME, body=BODY, dsn=Dsn("FULL", b"", ("FAILURE",), (b"",)))
        sender.commit()
        inbox = Inbox(queue)
        if late:
            assert inbox.work(deferred) == []
            queue.wait(400)
        (message,) = inbox.work(go)
        told = recipients(message)
        assert [one["Final-Recipient"] for one in told] == ["rfc822; a@relay.example", "rfc822; c@relay.example"]
        assert {(one["Action"], one["Status"], one["Remote-MTA"]) for one in told} == {
            (action, "2.0.0", "dns; hop.example" if onward else None)
        }
        assert message.get_payload(2).get_content_type() == "text/rfc822-headers"
        assert all_failures(message) == (set(), set())
        assert queue.counts() == (0, 0, 0, 0)
        assert queue.core.journal.rows(0, 9) == []


def test_next_hop_that_tells_of_success_itself(tmp_path: Path, sender: Sender) -> None:
    with bench(tmp_path, bounces=TELL) as queue:
        sender.send(b"a@relay.example", b"b@relay.example", b"c@relay.example", sender=ME, body=BODY, dsn=SUCCESS)
        sender.commit()
        assert Inbox(queue).work(lambda job: ipc.Outcome(job.number, remote="hop", onward="passed")) == []
        assert queue.counts() == (0, 0, 0, 0)


def test_success_and_failure_in_one_round(tmp_path: Path, sender: Sender) -> None:
    def mixed(job: ipc.Job) -> ipc.Outcome:
        says = {0: (2, "2.0.0", "250 ok"), 1: (4, "4.2.2", "452 full"), 2: (5, "5.1.1", "550 unknown")}
        return ipc.Outcome(job.number, tuple(ipc.Result(index, *says[index]) for index in job.recipients), remote="hop")

    with bench(tmp_path, bounces=TELL) as queue:
        sender.send(b"a@relay.example", b"b@relay.example", b"c@relay.example", sender=ME, body=BODY, dsn=SUCCESS)
        sender.commit()
        inbox = Inbox(queue)
        told = {message["Subject"].split()[0]: recipients(message) for message in inbox.work(mixed)}
        assert {subject: [one["Diagnostic-Code"] for one in ones] for subject, ones in told.items()} == {
            "Undelivered": ["smtp; 550 unknown"],
            "Successful": ["smtp; 250 ok"],
        }
        assert queue.counts() == (1, 0, 1, 0)
        queue.wait(400)
        (job,) = queue.fetch_due()
        assert job.recipients == (1,)
        queue.answer([job])
        assert inbox.work() == []
        assert queue.counts() == (0, 0, 0, 0)


def test_success_is_told_of_a_message_that_was_held(tmp_path: Path, sender: Sender) -> None:
    with bench(tmp_path, bounces=TELL) as queue:
        location = sender.send(b"a@relay.example", sender=ME, body=BODY, dsn=Dsn("", b"", ("SUCCESS",), (b"",)))
        sender.commit()
        queue.ask("hold", ids=[queueid.text(location)])
        queue.ask("release", ids=[queueid.text(location)])
        (message,) = Inbox(queue).work(delivered)
        assert recipients(message)[0]["Action"] == "delivered"


class BrokenWriter:
    """A shard on a disk that is full."""

    def append(self, *_: object, **__: object) -> int:
        raise SpoolError("no space left")

    def commit(self) -> None:
        raise SpoolError("no space left")


def test_shard_that_cannot_be_written_keeps_the_originals(
    tmp_path: Path, sender: Sender, monkeypatch: pytest.MonkeyPatch
) -> None:
    with bench(tmp_path, bounces=TELL) as queue:
        for number in range(3):
            sender.send(b"%d@relay.example" % number, sender=ME, body=BODY)
        sender.commit()
        with monkeypatch.context() as patch:
            patch.setattr(queue.core._own, "writer", BrokenWriter)
            inbox = Inbox(queue)
            assert inbox.work() == []
            assert queue.counts() == (3, 0, 3, 0)
            assert [item["state"] for item in queue.ask("list")] == ["waiting"] * 3
    with bench(tmp_path, queue.clock, bounces=TELL) as queue:  # as after a crash
        assert len(Inbox(queue).work()) == 3
        assert queue.counts() == (0, 0, 0, 0)


def test_many_at_once_are_told_in_portions(tmp_path: Path, sender: Sender, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounce, "AT_ONCE", 7)
    with bench(tmp_path, bounces=TELL) as queue:
        for number in range(50):
            sender.send(b"%d@relay.example" % number, sender=ME, body=BODY)
        sender.commit()
        inbox = Inbox(queue)
        for _ in range(4):
            inbox.work()
        assert len({all_failures(email.message_from_bytes(data))[1].pop() for _, data in inbox.messages}) == 50
        assert len(inbox.messages) == 50
        assert queue.counts() == (0, 0, 0, 0)


def test_without_send_the_message_is_kept(tmp_path: Path, sender: Sender) -> None:
    with bench(tmp_path, bounces=Bounces(send=False)) as queue:
        sender.send(b"joe@relay.example", sender=ME, body=BODY)
        sender.commit()
        assert Inbox(queue).work() == []
        assert queue.counts() == (0, 0, 0, 1)


@pytest.mark.parametrize("tells", [True, False])
@pytest.mark.parametrize("place", ["queued", "in flight", "waiting", "held"])
def test_bounced_by_order(tmp_path: Path, sender: Sender, place: str, tells: bool) -> None:
    with bench(tmp_path, bounces=Bounces(send=tells)) as queue:
        sender.send(b"joe@relay.example", sender=ME, body=BODY)
        sender.commit()
        jobs = queue.fetch() if place != "queued" else []
        if place in ("waiting", "held"):
            queue.answer(jobs, deferred)
            queue.core.commit(queue.clock.monotonic())
        if place == "held":
            queue.ask("hold", all=True)
        (done, *_) = reversed(queue.ask("bounce", all=True))
        assert done["count"] == 1
        if place == "in flight":
            queue.answer(jobs, deferred)
        (message,) = Inbox(queue).work(deferred)
        (joe,) = recipients(message)
        said = "" if place == "queued" else "; last: 4.2.2 mailbox full"
        assert joe["Diagnostic-Code"].replace("\r\n", "") == f"X-mta; returned by the administrator{said}"
        assert queue.counts() == (0, 0, 0, 0)


def test_expired_by_order(tmp_path: Path, sender: Sender) -> None:
    with bench(tmp_path, bounces=TELL) as queue:
        sender.send(b"joe@relay.example", sender=ME, body=BODY)
        sender.commit()
        (done, *_) = reversed(queue.ask("expire", all=True))
        assert done["count"] == 1
        (message,) = Inbox(queue).work()
        assert recipients(message)[0]["Status"] == "5.4.7"


def test_failed_messages_that_were_kept_are_bounced_by_order(tmp_path: Path, sender: Sender) -> None:
    with bench(tmp_path, bounces=Bounces(send=False)) as queue:
        location = sender.send(b"joe@relay.example", sender=ME, body=BODY)
        sender.commit()
        inbox = Inbox(queue)
        assert inbox.work(failed) == []
        (done, *_) = reversed(queue.ask("bounce", all=True))
        assert done["count"] == 0
        assert queue.counts() == (0, 0, 0, 1)
        queue.ask("bounce", ids=[queueid.text(location)])
        (message,) = inbox.work()
        assert recipients(message)[0]["Status"] == "5.1.1"
        assert queue.counts() == (0, 0, 0, 0)


def test_templates_of_ones_own(tmp_path: Path, sender: Sender) -> None:
    folder = tmp_path / "words"
    folder.mkdir()
    (folder / "failure.txt").write_text("Subject: Zurück\n\nLeider nicht: {recipients}\n")
    with bench(tmp_path, bounces=Bounces(templates=str(folder))) as queue:
        sender.send(b"joe@relay.example", sender=ME, body=BODY, wall=START_WALL)
        sender.commit()
        (message,) = Inbox(queue).work()
        assert message["Subject"] == "=?utf-8?q?Zur=C3=BCck?="
        assert "Leider nicht: <joe@relay.example>:" in message.get_payload(0).get_payload()


def test_a_delay_names_no_copy(tmp_path: Path, sender: Sender) -> None:
    """Nor where the message cannot be read any more, in which it stands that nobody is to be told of copies."""
    with bench(tmp_path, bounces=TELL, delay_warning_s=1000.0) as queue:
        sender.send(b"a@relay.example", b"b@relay.example", sender=ME, body=BODY, via=("", "&relay"))
        sender.commit()
        inbox = Inbox(queue)
        assert inbox.work(deferred) == []
        queue.wait(2000)
        (message,) = inbox.work(deferred)
        assert [str(one["Final-Recipient"]) for one in recipients(message)] == ["rfc822; a@relay.example"]
