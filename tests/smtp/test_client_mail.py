"""A mail's commands, by what a next hop offers; what rules a mail out."""

import msgspec
import pytest

from mta.smtp.client_mail import FAILED, Mail, commands, ruled_out

ALL = (b"PIPELINING", b"SIZE", b"8BITMIME", b"SMTPUTF8", b"DSN", b"CHUNKING", b"BINARYMIME")
NOTIFIED = Mail(
    b"a@example.net",
    (b"joe@example.org", b"jim@example.org", b"jan@example.org"),
    7,
    ret="HDRS",
    envid=b"id 1+1=2",
    notify=("SUCCESS,DELAY", "", "NEVER"),
    orcpt=(b"rfc822;old+joe@example.org", b"x400;/C=NO/S=jim", b""),
)


def lines(mail: Mail, *keywords: bytes) -> list[bytes]:
    return [line.removesuffix(b"\r\n") for _, line in commands(mail, dict.fromkeys(keywords, b""))]


def test_dsn_is_passed_on_as_it_came() -> None:
    assert lines(NOTIFIED, b"DSN") == [
        b"MAIL FROM:<a@example.net> RET=HDRS ENVID=id+201+2B1+3D2",
        b"RCPT TO:<joe@example.org> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;old+2Bjoe@example.org",
        b"RCPT TO:<jim@example.org> ORCPT=x400;/C+3DNO/S+3Djim",
        b"RCPT TO:<jan@example.org> NOTIFY=NEVER",
        b"DATA",
    ]


def test_nothing_of_it_without_dsn() -> None:
    without = tuple(keyword for keyword in ALL if keyword != b"DSN")
    assert not [line for line in lines(NOTIFIED, *without) if b"NOTIFY" in line or b"ORCPT" in line]
    assert lines(NOTIFIED) == [
        b"MAIL FROM:<a@example.net>",
        *(b"RCPT TO:<%b>" % recipient for recipient in NOTIFIED.recipients),
        b"DATA",
    ]


def test_nothing_of_it_where_nothing_was_asked_for() -> None:
    assert lines(Mail(b"", (b"joe@example.org",), 7), b"DSN") == [
        b"MAIL FROM:<>",
        b"RCPT TO:<joe@example.org>",
        b"DATA",
    ]


@pytest.mark.parametrize(("smtputf8", "orcpt"), [(True, "ü".encode()), (False, b"\\x{FC}")])
def test_an_original_recipient_beyond_ascii(smtputf8: bool, orcpt: bytes) -> None:
    mail = Mail(b"a", (b"b",), 7, smtputf8=smtputf8, notify=("",), orcpt=("utf-8;ü@example.org".encode(),))
    assert lines(mail, b"DSN", b"SMTPUTF8")[1] == b"RCPT TO:<b> ORCPT=utf-8;" + orcpt + b"@example.org"


@pytest.mark.parametrize(
    ("mail", "keywords", "first", "last"),
    [
        (Mail(b"a", (b"b",), 7), ALL, b"MAIL FROM:<a> SIZE=7", b"BDAT 7 LAST"),
        (Mail(b"a", (b"b",), 0), (b"CHUNKING",), b"MAIL FROM:<a>", b"BDAT 0 LAST"),
        (Mail(b"a", (b"b",), 7, eight_bit=True), ALL, b"MAIL FROM:<a> SIZE=7 BODY=8BITMIME", b"BDAT 7 LAST"),
        (Mail(b"a", (b"b",), 7, eight_bit=True), (b"SIZE",), b"MAIL FROM:<a> SIZE=7", b"DATA"),
        (
            Mail(b"a", (b"b",), 7, eight_bit=True, binary=True, bare_newlines=True),
            (b"CHUNKING", b"BINARYMIME", b"8BITMIME"),
            b"MAIL FROM:<a> BODY=BINARYMIME",
            b"BDAT 7 LAST",
        ),
        (Mail(b"a", (b"b",), 7, bare_newlines=True), ALL, b"MAIL FROM:<a>", b"DATA"),
    ],
)
def test_how_the_content_goes(mail: Mail, keywords: tuple[bytes, ...], first: bytes, last: bytes) -> None:
    found = lines(mail, *keywords)
    assert (found[0], found[-1]) == (first, last)


@pytest.mark.parametrize("keywords", [(), (b"CHUNKING",), (b"BINARYMIME",), (b"8BITMIME", b"SIZE", b"CHUNKING")])
def test_binary_content_needs_both_extensions(keywords: tuple[bytes, ...]) -> None:
    verdict = ruled_out(Mail(b"a", (b"b",), 7, binary=True), dict.fromkeys(keywords, b""))
    assert verdict is not None
    assert (verdict.status, verdict.code) == (FAILED, "5.6.3")
    assert ruled_out(Mail(b"a", (b"b",), 7), dict.fromkeys(keywords, b"")) is None
    assert ruled_out(Mail(b"a", (b"b",), 7, binary=True), dict.fromkeys(ALL, b"")) is None


def test_hand_over_is_told_to_who_knows_it_alone() -> None:
    mail = Mail(b"", (b"joe@example.org",), 7, arrived_wall=1700000000.25, queue_id="8000000000142")
    assert lines(mail, b"X-MTA-XFER")[0] == b"MAIL FROM:<> XARRIVED=1700000000.250 XQUEUEID=8000000000142"
    assert lines(mail, *ALL)[0] == b"MAIL FROM:<> SIZE=7"
    assert lines(Mail(b"", (b"joe@example.org",), 7), b"X-MTA-XFER")[0] == b"MAIL FROM:<>"
    decided = msgspec.structs.replace(NOTIFIED, arrived_wall=1.0, queue_id="1", via=("", "store2", "store3"))
    assert lines(decided, b"X-MTA-XFER")[1:-1] == [
        b"RCPT TO:<joe@example.org>",
        b"RCPT TO:<jim@example.org> XVIA=store2",
        b"RCPT TO:<jan@example.org> XVIA=store3",
    ]
    assert lines(decided, b"X-MTA-XFER", b"DSN")[3] == b"RCPT TO:<jan@example.org> NOTIFY=NEVER XVIA=store3"
    assert lines(decided, *ALL)[3] == b"RCPT TO:<jan@example.org> NOTIFY=NEVER"
