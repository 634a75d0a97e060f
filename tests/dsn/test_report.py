"""Notifications, read back by the parser of the standard library and by a program that processes bounces."""

import email
import email.policy
import re
from email.message import Message
from functools import cache

import pytest
from flufl.bounce import all_failures
from hypothesis import given
from hypothesis import strategies as st

from mta.dsn import report, returned, templates
from mta.dsn.report import Action, Frame, Kind, Original, Recipient, Report
from mta.dsn.returned import Returned

NOW_WALL = 1_800_000_000.0
TOKEN = "5f0c2a9b7d1e4c36"
MESSAGE = b"Received: from x\r\nMessage-ID: <1@sender.example>\r\nSubject: hello\r\n\r\nHello,\r\nthere.\r\n"
FAILED = Recipient(b"joe@example.org", Action.FAILED, "5.1.1", "550 5.1.1 no such user (in reply to RCPT)")


@cache
def words() -> dict[str, templates.Template]:
    return templates.built_in()


def write(*recipients: Recipient, content: Returned | None = None, **changes: object) -> Report:
    """A notification; `changes` are fields of `Frame` and `Original`."""
    frame = {
        "kind": Kind.FAILURE,
        "to": b"me@sender.example",
        "hostname": "mx.example",
        "domain": "example.org",
        "now_wall": NOW_WALL,
        "token": TOKEN,
    }
    original = {"sender": b"me@sender.example", "queue_id": "85723fd300000", "arrival_wall": NOW_WALL - 100}
    for name, value in changes.items():
        (frame if name in Frame.__struct_fields__ else original)[name] = value
    content = returned.whole([MESSAGE]) if content is None else content
    return report.write(Frame(**frame), Original(**original), recipients or (FAILED,), content, words())


def parse(made: Report) -> Message:
    """The report as a message without defects, all of lines."""
    assert re.search(rb"\r(?!\n)|(?<!\r)\n|\0", made.content) is None
    message = email.message_from_bytes(made.content)
    assert message.get_content_type() == "multipart/report"
    assert message.get_param("report-type") == "delivery-status"
    for part in message.walk():
        assert not part.defects, part.defects
    return message


def blocks(message: Message) -> list[Message]:
    """The per-message block and those of the recipients."""
    part = message.get_payload(1)
    assert part.get_content_type() == "message/delivery-status"
    return [block for block in part.get_payload() if block.keys()]


def test_failure() -> None:
    made = write(
        FAILED, Recipient(b"ann@example.org", Action.FAILED, "5.2.2", "552 full", b"rfc822;a@old.example", "hop:24")
    )
    assert not made.eight_bit
    assert not made.smtputf8
    message = parse(made)
    assert message["From"] == "Mail Delivery System <MAILER-DAEMON@mx.example>"
    assert message["To"] == "<me@sender.example>"
    assert message["Subject"] == "Undelivered mail returned to sender"
    assert message["Date"] == "Fri, 15 Jan 2027 08:00:00 +0000"
    assert message["Auto-Submitted"] == "auto-replied"
    assert message["References"] == "<1@sender.example>"
    assert message["Message-ID"] == f"<{TOKEN}@mx.example>"
    text, _, original = message.get_payload()
    assert text.get_content_type() == "text/plain"
    for part in (
        "<joe@example.org>:",
        "no such user",
        "<ann@example.org>:",
        "host hop:24 said: 552 full",
        "postmaster@example.org",
    ):
        assert part in text.get_payload()
    assert "{" not in text.get_payload()
    about, joe, ann = blocks(message)
    assert about.items() == [
        ("Reporting-MTA", "dns; mx.example"),
        ("X-mta-Queue-ID", "85723fd300000"),
        ("Arrival-Date", "Fri, 15 Jan 2027 07:58:20 +0000"),
    ]
    assert [(name, re.sub(r"\r\n", "", value)) for name, value in joe.items()] == [
        ("Final-Recipient", "rfc822; joe@example.org"),
        ("Action", "failed"),
        ("Status", "5.1.1"),
        ("Diagnostic-Code", "X-mta; 550 5.1.1 no such user (in reply to RCPT)"),
    ]
    assert ann["Original-Recipient"] == "rfc822; a@old.example"
    assert ann["Remote-MTA"] == "dns; hop:24"
    assert ann["Diagnostic-Code"] == "smtp; 552 full"
    assert original.get_content_type() == "message/rfc822"
    assert original.get_payload(0)["Subject"] == "hello"
    assert b"\r\n\r\n" + MESSAGE + b"\r\n--" in made.content
    assert all_failures(message) == (set(), {b"joe@example.org", b"a@old.example"})


def test_delay() -> None:
    delayed = Recipient(b"joe@example.org", Action.DELAYED, "4.4.1", "connection refused")
    header = returned.header([MESSAGE])
    message = parse(write(delayed, kind=Kind.DELAY, retry_until_wall=NOW_WALL + 86400, envid=b"my id", content=header))
    about, joe = blocks(message)
    assert about["Original-Envelope-Id"] == "my id"
    assert joe["Action"] == "delayed"
    assert joe["Will-Retry-Until"] == "Sat, 16 Jan 2027 08:00:00 +0000"
    assert message.get_payload(2).get_content_type() == "text/rfc822-headers"
    assert message.get_payload(2).get_payload().rstrip() == MESSAGE.partition(b"\r\n\r\n")[0].decode()
    assert all_failures(message) == ({b"joe@example.org"}, set())


def test_success_has_no_failures() -> None:
    delivered = Recipient(b"joe@example.org", Action.DELIVERED, "2.0.0", "stored")
    relayed = Recipient(b"ann@example.org", Action.RELAYED, "2.0.0", "250 ok", remote="hop")
    message = parse(write(delivered, relayed, kind=Kind.SUCCESS, content=returned.header([MESSAGE])))
    _, joe, ann = blocks(message)
    assert (joe["Action"], joe["Status"], ann["Action"]) == ("delivered", "2.0.0", "relayed")
    assert all_failures(message) == (set(), set())


def test_double_bounce_names_the_sender() -> None:
    message = parse(write(kind=Kind.DOUBLE, to=b"postmaster@example.org", sender=b"gone@nowhere.example"))
    assert "Sender: <gone@nowhere.example>" in message.get_payload(0).get_payload()


def test_without_an_original() -> None:
    message = parse(write(content=returned.NOTHING))
    assert len(message.get_payload()) == 2
    assert "References" not in message
    assert all_failures(message) == (set(), {b"joe@example.org"})


def test_status_of_another_class_is_not_told() -> None:
    _, joe = blocks(parse(write(Recipient(b"joe@example.org", Action.FAILED, "4.4.1", "expired"))))
    assert joe["Status"] == "5.0.0"


def test_eight_bit_content_stays_as_it_is() -> None:
    content = b"Subject: caf\xe9\r\n\r\ncaf\xc3\xa9 \xff\r\n"
    made = write(content=returned.whole([content]))
    assert made.eight_bit
    assert not made.smtputf8
    message = parse(made)
    assert message["Content-Transfer-Encoding"] == "8bit"
    assert message.get_payload(2)["Content-Transfer-Encoding"] == "8bit"
    assert message.get_payload(2).get_content_type() == "message/rfc822"
    assert content in made.content


def test_smtputf8() -> None:
    address = "jürgen@bücher.example".encode()
    failed = Recipient(address, Action.FAILED, "5.1.1", "no such user", b"utf-8;" + address)
    content = returned.whole(["Subject: Grüße\r\n\r\nhello\r\n".encode()])
    made = write(failed, to="häns@sender.example".encode(), smtputf8=True, content=content)
    assert made.smtputf8
    assert made.eight_bit
    message = parse(made)
    assert "To: <häns@sender.example>\r\n".encode() in made.content
    types = [part.get_content_type() for part in message.get_payload()]
    assert types == ["text/plain", "message/global-delivery-status", "message/global"]
    assert "Final-Recipient: utf-8; jürgen@bücher.example\r\n".encode() in made.content
    assert "Original-Recipient: utf-8; jürgen@bücher.example\r\n".encode() in made.content
    header = write(failed, smtputf8=True, content=returned.header(["Subject: Grüße\r\n\r\n".encode()]))
    assert parse(header).get_payload(2).get_content_type() == "message/global-headers"


def test_smtputf8_that_nothing_needs() -> None:
    made = write(smtputf8=True)
    assert not made.smtputf8
    assert all_failures(parse(made)) == (set(), {b"joe@example.org"})


def test_address_of_unicode_in_a_report_of_ascii() -> None:
    failed = Recipient("jürgen@example.org".encode(), Action.FAILED, "5.1.1", "no such user")
    made = write(failed)
    assert not made.smtputf8
    _, joe = blocks(parse(made))
    assert joe["Final-Recipient"] == r"utf-8; j\x{FC}rgen@example.org"


def test_boundary_is_in_no_part() -> None:
    hostile = b"Subject: x\r\n\r\n" + b"".join(b"--%b=%d--\r\n" % (TOKEN.encode(), number) for number in range(5))
    made = write(content=returned.whole([hostile]))
    assert parse(made).get_boundary() == f"{TOKEN}=5"
    assert len(parse(made).get_payload()) == 3
    assert hostile in made.content


def test_many_recipients_are_cut_in_the_text_only() -> None:
    failed = [Recipient(b"u%d@example.org" % number, Action.FAILED, "5.1.1", "no") for number in range(1000)]
    message = parse(write(*failed))
    assert "and 900 more recipients" in message.get_payload(0).get_payload()
    assert all_failures(message)[1] == {one.address for one in failed}


@pytest.mark.parametrize(
    ("address", "to"),
    [
        (b'"a b"@example.org', '<"a b"@example.org>'),
        (b"joe@[192.0.2.1]", "<joe@[192.0.2.1]>"),
        (b"postmaster", "<postmaster>"),
        (b"a>, <b@example.org", "undisclosed-recipients:;"),
        (b"a\r\nX-Evil: 1@example.org", "undisclosed-recipients:;"),
        (b"\xff@example.org", "undisclosed-recipients:;"),
    ],
)
def test_to(address: bytes, to: str) -> None:
    assert parse(write(to=address))["To"] == to


HOSTILE = st.binary(max_size=80) | st.text(max_size=300).map(lambda text: text.encode("utf-8", "surrogatepass"))
LINES = st.sampled_from([b"x\r\nX-Evil: 1\r\n\r\nbody", b"\nX-Evil: 1", b"\rX-Evil: 1", b"a" * 3000, b"\r\n--b--\r\n"])
VALUES = HOSTILE | LINES | st.tuples(HOSTILE, LINES, HOSTILE).map(b"".join)
TEXTS = VALUES.map(lambda value: value.decode("utf-8", "surrogateescape"))
TOP = {
    "From",
    "To",
    "Subject",
    "Date",
    "Message-ID",
    "MIME-Version",
    "Auto-Submitted",
    "References",
    "Content-Type",
} | {"Content-Transfer-Encoding"}
ABOUT = {"Reporting-MTA", "X-mta-Queue-ID", "Original-Envelope-Id", "Arrival-Date"}
EACH = {
    "Original-Recipient",
    "Final-Recipient",
    "Action",
    "Status",
    "Remote-MTA",
    "Diagnostic-Code",
    "Will-Retry-Until",
}
RECIPIENTS = st.builds(Recipient, VALUES, st.sampled_from(Action), TEXTS, TEXTS, VALUES, TEXTS)


@given(
    to=VALUES,
    sender=VALUES,
    envid=VALUES,
    recipients=st.lists(RECIPIENTS, min_size=1, max_size=3),
    content=st.lists(VALUES, max_size=4),
    smtputf8=st.booleans(),
    kind=st.sampled_from(Kind),
)
def test_nothing_gets_out_of_its_line(
    to: bytes,
    sender: bytes,
    envid: bytes,
    recipients: list[Recipient],
    content: list[bytes],
    smtputf8: bool,
    kind: Kind,
) -> None:
    made = write(*recipients, to=to, sender=sender, envid=envid, smtputf8=smtputf8, kind=kind, content=returned.NOTHING)
    message = parse(made)
    assert set(message.keys()) <= TOP
    assert len(message.keys()) == len(set(message.keys()))
    text, status = message.get_payload()
    assert set(text.keys()) == set(status.keys()) | (set(text.keys()) & {"Content-Transfer-Encoding"})
    lines = made.content.split(b"\r\n")
    assert max(map(len, lines)) <= 998
    assert not [line for line in lines if line.lower().startswith(b"x-evil")]
    if not made.smtputf8:
        about, *each = blocks(message)
        assert set(about.keys()) <= ABOUT
        assert len(each) == len(recipients)
        for block, recipient in zip(each, recipients, strict=True):
            assert set(block.keys()) <= EACH
            assert len(block.keys()) == len(set(block.keys()))
            assert block["Action"] == recipient.action.name.lower()
            assert block["Status"][0] == recipient.action.value[0]
    header = returned.header(content)
    message = parse(write(content=header))
    assert len(message.get_payload()) == (3 if header.data else 2)
    assert set(message.keys()) <= TOP
    assert all_failures(message)[1] == {b"joe@example.org"}


ADDRESSES = st.from_regex(rb"[a-z0-9]{1,9}([.+_-][a-z0-9]{1,9})?@[a-z]{1,9}\.example", fullmatch=True)


@given(failed=st.sets(ADDRESSES, min_size=1, max_size=20), delayed=st.sets(ADDRESSES, max_size=5))
def test_exactly_the_failed_addresses_are_found(failed: set[bytes], delayed: set[bytes]) -> None:
    recipients = [Recipient(address, Action.FAILED, "5.1.1", "unknown") for address in failed]
    recipients += [Recipient(address, Action.DELAYED, "4.4.1", "later") for address in delayed]
    assert all_failures(parse(write(*recipients))) == (delayed, failed)
