"""Python's SMTP libraries send to us: smtplib, and aiosmtplib with many connections at once."""

import asyncio
import email
import email.policy
import smtplib
import ssl
from collections.abc import Iterator
from email.message import EmailMessage

import aiosmtplib
import pytest

from tests.support.front import Front, body, received
from tests.support.issued import Issued
from tests.support.server import HOST

pytestmark = pytest.mark.interop

CONTENT = b"Subject: x\r\n\r\n.\r\n..dot\r\n"
SENDER = "a@example.com"


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory, issued: Issued) -> Iterator[Front]:
    """A server with a listener of each kind."""
    listeners = {
        "plain": {"tls": "none"},
        "starttls": {},
        "implicit": {"tls": "implicit"},
        "lmtp": {"protocol": "lmtp"},
    }
    with Front(tmp_path_factory.mktemp("libraries"), listeners, {"tls": issued.tls}) as front:
        yield front


@pytest.fixture(scope="module")
def context(issued: Issued) -> ssl.SSLContext:
    """A client's, that verifies who issued our certificate; it connects by address, which is in none."""
    context = ssl.create_default_context(cafile=issued.ca)
    context.check_hostname = False
    return context


def utf8_message() -> EmailMessage:
    """A message that needs SMTPUTF8 (RFC 6531)."""
    message = EmailMessage(policy=email.policy.SMTPUTF8)
    message["From"] = "grüße@example.com"
    message["To"] = "jürgen@example.org"
    message["Subject"] = "Übergrößenträger"
    message.set_content("Blöße\n", cte="8bit")
    return message


def test_smtplib(front: Front) -> None:
    """200 messages, one after the other."""
    with smtplib.SMTP(HOST, front.ports["plain"]) as smtp:
        for number in range(200):
            smtp.sendmail(SENDER, ["many@example.org"], f"Subject: {number}\r\n\r\n{number}\r\n".encode())
    assert {body(content) for content in front.collect("many", 200)} == {b"%d\r\n" % number for number in range(200)}


def test_smtplib_starttls(front: Front, context: ssl.SSLContext) -> None:
    """Before and behind it: what was said in the clear is forgotten (RFC 3207 section 4.2)."""
    with smtplib.SMTP(HOST, front.ports["starttls"]) as smtp:
        smtp.ehlo()
        assert smtp.has_extn("starttls")
        smtp.mail("forgotten@example.com")
        smtp.rset()
        smtp.starttls(context=context)
        assert smtp.mail("too-early@example.com")[0] == 503  # EHLO is to be said again
        smtp.ehlo()
        assert not smtp.has_extn("starttls")
        smtp.sendmail(SENDER, ["secured@example.org"], CONTENT)
    assert " with ESMTPS " in received(front.one("secured"))


def test_smtplib_implicit_tls(front: Front, context: ssl.SSLContext) -> None:
    """SMTP_SSL; a connection is used for several messages."""
    with smtplib.SMTP_SSL(HOST, front.ports["implicit"], context=context) as smtp:
        for _ in range(20):
            smtp.sendmail(SENDER, ["implicit@example.org"], CONTENT)
    contents = front.collect("implicit", 20)
    assert len(contents) == 20
    assert all(" with ESMTPS " in received(content) and body(content) == body(CONTENT) for content in contents)


@pytest.mark.parametrize("tls", [False, True], ids=["clear", "tls"])
def test_smtplib_smtputf8(front: Front, context: ssl.SSLContext, tls: bool) -> None:
    """Addresses and a header in UTF-8; the protocol's name says so (RFC 6531 section 4.3)."""
    message = utf8_message()
    message.replace_header("To", f"jürgen-{tls:d}@example.org")
    with smtplib.SMTP(HOST, front.ports["starttls"]) as smtp:
        if tls:
            smtp.starttls(context=context)
        smtp.send_message(message)
    front.wait_empty()
    (file,) = [file for file in front.delivered() if f"%c3%bcrgen-{tls:d}" in str(file)]
    taken = email.message_from_bytes(file.read_bytes(), policy=email.policy.SMTPUTF8)
    assert taken["Subject"] == "Übergrößenträger"
    assert f" with {'UTF8SMTPS' if tls else 'UTF8SMTP'} " in received(file.read_bytes())


def test_a_domain_in_u_labels_and_in_a_labels_is_one(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Which of them is configured does not matter, either."""
    with Front(tmp_path_factory.mktemp("idn"), {"plain": {}}, {"domains": {"local": ["bücher.example"]}}) as front:
        with smtplib.SMTP(HOST, front.ports["plain"]) as smtp:
            smtp.sendmail(SENDER, ["a@xn--bcher-kva.example"], CONTENT)
            options = ["SMTPUTF8"]
            smtp.sendmail(SENDER, ["a@bücher.example"], CONTENT, mail_options=options)
            smtp.sendmail(SENDER, ["a@BÜCHER.example"], CONTENT, mail_options=options)
        front.wait_empty()
        files = front.delivered()
        assert len(files) == 3
        assert len({file.parent for file in files}) == 1


def test_smtplib_8bitmime(front: Front) -> None:
    """Octets over 127 in the content, with and without it being said (RFC 6152)."""
    content = b"Subject: x\r\n\r\n" + bytes(range(128, 256)) + b"\r\n"
    with smtplib.SMTP(HOST, front.ports["plain"]) as smtp:
        smtp.sendmail(SENDER, ["eight@example.org"], content, mail_options=["BODY=8BITMIME"])
        smtp.sendmail(SENDER, ["eight@example.org"], content)
    assert [body(taken) for taken in front.collect("eight", 2)] == [body(content)] * 2


def test_smtplib_lmtp(front: Front) -> None:
    """smtplib reads one reply behind DATA, so it is given one recipient; and then three, their replies read by hand."""
    with smtplib.LMTP(HOST, front.ports["lmtp"], "client.example.com") as lmtp:
        lmtp.sendmail(SENDER, ["lmtp@example.org"], CONTENT)
        lmtp.mail(SENDER)
        codes = [
            lmtp.rcpt(f"{user}@example.{domain}")[0] for user, domain in (("l1", "org"), ("l2", "net"), ("l3", "org"))
        ]
        assert codes == [250, 550, 250]
        assert lmtp.docmd("DATA")[0] == 354
        lmtp.send(b"Subject: x\r\n\r\n..\r\n..dot\r\n.\r\n")
        assert [lmtp.getreply()[0] for _ in range(2)] == [250, 250]
        assert lmtp.noop()[0] == 250
    for user in ("lmtp", "l1", "l3"):
        assert " with LMTP " in received(front.one(user))


def test_smtplib_asks_for_notifications(front: Front) -> None:
    """What RFC 3461 adds to MAIL and RCPT is taken."""
    with smtplib.SMTP(HOST, front.ports["plain"]) as smtp:
        smtp.ehlo()
        assert smtp.has_extn("dsn")
        asked = ["NOTIFY=SUCCESS,DELAY", "ORCPT=rfc822;Joe+2BX@example.com"]
        smtp.sendmail(
            SENDER, ["dsn@example.org"], CONTENT, mail_options=["RET=HDRS", "ENVID=QQ+3D1"], rcpt_options=asked
        )
        smtp.mail(SENDER)
        assert smtp.rcpt("dsn@example.org", ["NOTIFY=NEVER,SUCCESS"])[0] == 501
    assert front.one("dsn")


class TestAiosmtplib:
    """Many connections from one process."""

    COUNT = 30

    def send(self, front: Front, door: str, user: str, **options: object) -> None:
        """`COUNT` connections at once, each with a message for two recipients."""

        async def one(number: int) -> None:
            client = aiosmtplib.SMTP(hostname=HOST, port=front.ports[door], timeout=30, **options)  # type: ignore[arg-type]
            async with client:
                content = b"Subject: x\r\n\r\n.\r\n..%d\r\n" % number
                refused, _ = await client.sendmail(SENDER, [f"{user}1@example.org", f"{user}2@example.org"], content)
                assert not refused

        async def every() -> None:
            await asyncio.gather(*(one(number) for number in range(self.COUNT)))

        asyncio.run(every())

    @pytest.mark.parametrize(
        ("door", "options"),
        [
            ("plain", {}),
            ("starttls", {"start_tls": True}),
            ("implicit", {"use_tls": True}),
        ],
    )
    def test_many_at_once(self, front: Front, context: ssl.SSLContext, door: str, options: dict[str, object]) -> None:
        """Each message arrives once, whole, and for both."""
        secured = {**options, "tls_context": context} if options else {"start_tls": False}
        self.send(front, door, f"aio-{door}", **secured)
        expected = {b".\r\n..%d\r\n" % number for number in range(self.COUNT)}
        for user in (f"aio-{door}1", f"aio-{door}2"):
            contents = front.collect(user, self.COUNT)
            assert len(contents) == self.COUNT
            assert {body(content) for content in contents} == expected
            assert all(f" with {'ESMTPS' if options else 'ESMTP'} " in received(content) for content in contents)

    def test_smtputf8(self, front: Front) -> None:
        """aiosmtplib looks for SMTPUTF8 itself."""
        message = utf8_message()
        message.replace_header("To", "jürgen-aio@example.org")
        asyncio.run(aiosmtplib.send(message, hostname=HOST, port=front.ports["plain"], start_tls=False))
        front.wait_empty()
        (file,) = [file for file in front.delivered() if "rgen-aio" in str(file)]
        assert " with UTF8SMTP " in received(file.read_bytes())
