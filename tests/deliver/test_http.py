"""The http transport against real servers: what is posted, what becomes of every answer, and of none."""

import hashlib
import hmac
import json
import re
import socket
import ssl
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from email import message_from_bytes
from pathlib import Path

import msgspec
import pytest
from gevent.event import Event

from mta.config import Transport
from mta.deliver import http
from mta.deliver.http import Destination, Http, Poster
from mta.deliver.http_request import message_requests, retry_after_s, verdict
from mta.deliver.threads import Ended
from mta.envelope import Envelope
from mta.errors import ConfigError, SpoolCorrupt
from mta.ipc import Outcome, Result
from tests.support.certificates import Authority
from tests.support.deliveries import FakeMessage, FakeMessages, Outcomes, mail
from tests.support.httphop import HttpHop, Post, Script, answer, context

BODY = b"Received: from x\r\nSubject: x\r\n\r\nhello\r\n.dot\r\nbare\nlf \x00\xff\r\n"
LARGE = b"Subject: large\r\n\r\n" + b"0123456789abcdef\r\n" * 100_000
LONG_S = 30.0


def poster(url: str, messages: FakeMessages, **settings: object) -> Poster:
    made = Transport("http", url=url, **{"timeout_s": LONG_S, **settings})  # type: ignore[arg-type]
    return Poster(Destination(made), messages)


def one(url: str, *chunks: bytes, envelope: Envelope | None = None, **settings: object) -> Ended:
    """How a message fares, for two recipients or those of the envelope."""
    envelope = envelope or mail("joe@example.org", '"jim x"@b.org')
    messages = FakeMessages({1: FakeMessage(envelope, *(chunks or (BODY,)))})
    under_test = poster(url, messages, **settings)
    (ended,) = under_test.deliver([Outcomes().work(1, range(len(envelope.recipients)))])
    under_test.stop()
    return ended


def fates(ended: Ended) -> list[tuple[int, int, str, str]]:
    return [(result.recipient, result.status, result.code, result.text) for result in ended.results]


def fate(ended: Ended) -> tuple[int, str, str]:
    """What is the same for both recipients."""
    (first, second) = fates(ended)
    assert first[1:] == second[1:]
    return first[1:]


def always(said: bytes) -> Script:
    return lambda post: said


# ---------------------------------------------------------------------------------------------------------------------
# What is posted


def test_message_is_the_body_and_the_envelope_in_headers() -> None:
    with HttpHop(always(answer("202 Accepted", b"queued as 7\nmore"))) as hop:
        ended = one(hop.url("/in?x=%20y"))
    assert fates(ended) == [(n, 2, "2.0.0", "202 Accepted: queued as 7") for n in (0, 1)]
    (post,) = hop.posts
    assert post.line == "POST /in?x=%20y HTTP/1.1"
    assert post.body == BODY
    assert post.headers == {
        "host": f"127.0.0.1:{hop.port}",
        "user-agent": "mta",
        "content-length": str(len(BODY)),
        "content-type": "message/rfc822",
        "x-mta-queue-id": post.headers["x-mta-queue-id"],
        "x-mta-sender": '"a@example.net"',
        "x-mta-recipients": '["joe@example.org", "\\"jim x\\"@b.org"]',
    }
    assert re.fullmatch("[0-9a-f]+", post.headers["x-mta-queue-id"])


def test_form() -> None:
    envelope = msgspec.structs.replace(
        mail("joe@example.org", "käthe@example.org", sender=""), helo=b"h\xff", client="192.0.2.1:7"
    )
    with HttpHop(always(answer())) as hop:
        one(hop.url(), BODY[:10], BODY[10:], envelope=envelope, format="multipart")
    (post,) = hop.posts
    parsed = message_from_bytes(b"Content-Type: " + post.headers["content-type"].encode() + b"\r\n\r\n" + post.body)
    described, content = parsed.get_payload()
    assert described.get_param("name", header="content-disposition") == "envelope"
    assert json.loads(described.get_payload()) == {
        "queue_id": content.get_param("filename", header="content-disposition").removesuffix(".eml"),
        "sender": "",
        "recipients": ["joe@example.org", "käthe@example.org"],
        "received": 1e9,
        "client": "192.0.2.1:7",
        "helo": "h\\xff",
        "protocol": "ESMTP",
        "smtputf8": False,
    }
    assert content.get_param("name", header="content-disposition") == "message"
    boundary = post.headers["content-type"].partition("boundary=")[2].encode()
    last = post.body.split(b"--" + boundary)[2]
    assert last.partition(b"\r\n\r\n")[2] == BODY + b"\r\n"  # byte for byte


@pytest.mark.parametrize("format_", ["message", "multipart"])
@pytest.mark.parametrize("body", [BODY, LARGE, b""])
def test_signature(tmp_path: Path, format_: str, body: bytes) -> None:
    (tmp_path / "key").write_text("secret\n")
    with HttpHop(always(answer())) as hop:
        one(hop.url(), body[:99], body[99:], format=format_, key_file=str(tmp_path / "key"))
    (post,) = hop.posts
    page = (Path(__file__).resolve().parents[2] / "docs/transports.md").read_text()
    published = textwrap.dedent(re.search(r"    import hashlib.*?(?=\n\n[^ ])", page, re.DOTALL)[0])  # type: ignore[index]
    exec(published, found := {})  # what the page tells others to do
    is_from_mta = found["is_from_mta"]
    assert is_from_mta(post.headers, post.body, b"secret")
    assert not is_from_mta(post.headers, post.body + b"x", b"secret")
    assert not is_from_mta(post.headers, post.body, b"other")
    stamp = post.headers["x-mta-timestamp"]
    assert abs(int(stamp) - time.time()) < 600
    signed = [stamp]
    if format_ == "message":
        signed += [post.headers[f"x-mta-{name}"] for name in ("queue-id", "sender", "recipients")]
    text = "".join(f"{value}\n" for value in signed).encode() + post.body
    assert post.headers["x-mta-signature"] == "sha256=" + hmac.new(b"secret", text, hashlib.sha256).hexdigest()


def test_large_message_is_whole() -> None:
    with HttpHop(always(answer())) as hop:
        ended = one(hop.url(), *(LARGE[n : n + 70_001] for n in range(0, len(LARGE), 70_001)))
    assert fate(ended) == (2, "2.0.0", "200 OK")
    assert hop.posts[0].body == LARGE


def test_nothing_of_a_sender_makes_a_header() -> None:
    envelope = Envelope(b'"a\r\nX: y"@example.net', ('"\r\n\r\nü"@example.org'.encode(), b"\xff@b.org"), 1e9)
    with HttpHop(always(answer())) as hop:
        assert fate(one(hop.url(), envelope=envelope))[0] == 2
    (post,) = hop.posts
    assert "x" not in post.headers
    assert post.body == BODY
    assert json.loads(post.headers["x-mta-recipients"]) == ['"\r\n\r\nü"@example.org', "\\xff@b.org"]


def test_many_recipients_take_several_requests() -> None:
    """Most servers bound the length of a header; each request has an answer of its own."""
    names = [f"{'x' * 60}{n}@{'y' * 60}.example" for n in range(64)]

    def script(post: Post) -> bytes:
        return answer("404 Not Found" if len(hop.posts) == 2 else "200 OK")

    with HttpHop(script) as hop:
        ended = one(hop.url(), envelope=mail(*names))
    named = [json.loads(post.headers["x-mta-recipients"]) for post in hop.posts]
    assert [name for names_of_one in named for name in names_of_one] == names
    assert len(named) > 2
    assert max(len(post.headers["x-mta-recipients"]) for post in hop.posts) <= 4096
    assert {post.connection for post in hop.posts} == {1}
    assert [result.recipient for result in ended.results] == list(range(64))
    assert [result.status for result in ended.results] == [5 if names[n] in named[1] else 2 for n in range(64)]


def test_a_single_recipient_always_fits() -> None:
    ((group, _),) = message_requests("1", mail("x" * 5000 + "@example.org"), [0])
    assert group == [0]


# ---------------------------------------------------------------------------------------------------------------------
# What answers mean


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (200, (2, "2.0.0")),
        (204, (2, "2.0.0")),
        (299, (2, "2.0.0")),
        (101, (4, "4.3.0")),
        (301, (4, "4.3.5")),
        (307, (4, "4.3.5")),
        (400, (5, "5.3.0")),
        (404, (5, "5.3.0")),
        (408, (4, "4.4.2")),
        (413, (5, "5.3.4")),
        (425, (4, "4.3.0")),
        (429, (4, "4.3.2")),
        (499, (5, "5.3.0")),
        (500, (4, "4.3.0")),
        (503, (4, "4.3.2")),
        (599, (4, "4.3.0")),
        (999, (4, "4.3.0")),
    ],
)
def test_status(status: int, expected: tuple[int, str]) -> None:
    assert verdict(status, "x", b"")[:2] == expected
    if status != 101:
        with HttpHop(always(answer(f"{status} x" if status != 204 else "204 x"))) as hop:
            assert fate(one(hop.url()))[:2] == expected


def test_redirects_are_not_followed() -> None:
    with HttpHop(always(answer("302 Found", b"", "Location: /other"))) as hop:
        assert fate(one(hop.url())) == (4, "4.3.5", "redirects are not followed: 302 Found")
    assert len(hop.posts) == 1


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("120", 120.0),
        (" 0 ", 0.0),
        ("9" * 400, 31_536_000.0),
        ("-5", 0.0),
        ("soon", 0.0),
        ("", 0.0),
        ("\u0663", 0.0),
        ("Mon, 04 May 2026 08:16:00 GMT", 60.0),
        ("Mon, 04 May 2026 08:14:00 GMT", 0.0),
        ("Mon, 04 May 99999 08:14:00 GMT", 0.0),
    ],
)
def test_retry_after(value: str, expected: float) -> None:
    assert retry_after_s(value, 1777882500.0) == expected


@pytest.mark.parametrize(
    ("status", "expected"), [("429 Slow Down", 77.0), ("503 x", 77.0), ("200 OK", 0.0), ("404 x", 0.0)]
)
def test_wait_that_was_asked_for(status: str, expected: float) -> None:
    with HttpHop(always(answer(status, b"", "Retry-After: 77"))) as hop:
        assert one(hop.url()).retry_after_s == expected


def test_wait_reaches_the_outcome() -> None:
    ended = Event()
    outcomes = Outcomes(ended.set)
    with HttpHop(always(answer("503 x", b"", "Retry-After: 77"))) as hop:
        transport = Http([poster(hop.url(), FakeMessages({1: FakeMessage(mail("joe@example.org"), BODY)}))], "x")
        transport.take([outcomes.work(1)])
        assert ended.wait(LONG_S)
        transport.close()
    assert outcomes.ended == {1: Outcome(1, (Result(0, 4, "4.3.2", "503 x"),), retry_after_s=77.0)}


# ---------------------------------------------------------------------------------------------------------------------
# Servers that misbehave

HOSTILE = {
    "nothing": (b"", "the connection was closed"),
    "garbage": (b"220 hello\r\n\r\n", "no reply of HTTP: BadStatusLine"),
    "binary": (bytes(range(256)) * 1000, "no reply of HTTP: "),
    "half a status line": (b"HTTP/1.1 2", ""),
    "no number": (b"HTTP/1.1 abc OK\r\n\r\n", "no reply of HTTP: BadStatusLine"),
    "too many headers": (b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 10_000, "no reply of HTTP: "),
    "a long header": (b"HTTP/1.1 200 OK\r\na: " + b"x" * 1_000_000, "no reply of HTTP: "),
    "a long status line": (b"HTTP/1.1 200 " + b"x" * 1_000_000, "no reply of HTTP: "),
    "no end of interim replies": (b"HTTP/1.1 100 Continue\r\n\r\n" * 100_000, "no reply of HTTP: "),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_is_no_reply_defers(name: str) -> None:
    said, begins = HOSTILE[name]

    def script(post: Post) -> bytes:
        return said + b"\r\nConnection: close\r\n" if said else b""

    with HttpHop(always(said) if not said else script) as hop:
        status, code, text = fate(one(hop.url()))
    assert (status, code) == (4, "4.4.2")
    assert text.startswith(begins)
    assert text.isascii()
    assert text.isprintable()
    assert len(text) <= 400


@pytest.mark.parametrize(
    "said",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nhalf",  # then the connection is closed
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n0\r\n\r\n",
        b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nhalf",
        b"HTTP/1.0 200 OK\r\n\r\nhalf",
    ],
)
def test_reply_counts_from_its_head_on(said: bytes) -> None:
    closing = said.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
    with HttpHop(always(closing)) as hop:
        assert fate(one(hop.url()))[0] == 2


def test_text_of_a_reply_is_one_printable_line() -> None:
    with HttpHop(always(answer("500 \x1b[31mno\xff", b"\x1b[0m\x00 " + b"y" * 100_000))) as hop:
        text = fate(one(hop.url()))[2]
    assert text.startswith("500 \\x1b[31mno\\xff: \\x1b[0m\\x00 yyy")
    assert len(text) < 900


@pytest.fixture
def silent() -> Iterator[tuple[str, Callable[[bytes], None]]]:
    """A server that takes connections and reads nothing; what it says can be put there before."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        taken: list[socket.socket] = []

        def say(data: bytes) -> None:
            accepted, _ = listener.accept()
            taken.append(accepted)
            accepted.sendall(data)

        yield f"http://127.0.0.1:{listener.getsockname()[1]}/", say
        for each in taken:
            each.close()


@pytest.mark.parametrize("body", [BODY, LARGE * 10])
def test_server_that_is_silent(silent: tuple[str, Callable[[bytes], None]], body: bytes) -> None:
    """The time for sending grows with the size; a large message is one of many chunks, so its end is not waited for."""
    url, _ = silent
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mta.deliver.http_connection.SLOWEST_BYTES_S", 1e9)
        ended = one(url, body, timeout_s=0.3)
    assert fate(ended) == (4, "4.4.2", "timed out")
    assert not ended.destination_down


def test_server_that_drips() -> None:
    """Each byte comes in time, the head of the reply does not."""
    stop = threading.Event()

    def drip(listener: socket.socket) -> None:
        accepted, _ = listener.accept()
        with accepted:
            try:
                accepted.sendall(b"HTTP/1.1 200 OK\r\n")
                while not stop.is_set():
                    accepted.sendall(b"x")
                    stop.wait(0.05)
            except OSError:
                return

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=drip, args=(listener,), daemon=True)
        thread.start()
        ended = one(f"http://127.0.0.1:{listener.getsockname()[1]}/", timeout_s=0.5)
        stop.set()
        thread.join(LONG_S)
    assert fate(ended) == (4, "4.4.2", "timed out")


def test_refusal_before_the_end_of_the_message_is_heard() -> None:
    """A server may say 413 and close while we still send."""

    def refuse(listener: socket.socket) -> None:
        accepted, _ = listener.accept()
        with accepted:
            accepted.recv(1000)
            accepted.sendall(answer("413 Too Large", b"", "Connection: close"))
            accepted.shutdown(socket.SHUT_WR)
            while accepted.recv(65536):
                if accepted.fileno() < 0:
                    break

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=refuse, args=(listener,), daemon=True)
        thread.start()
        ended = one(f"http://127.0.0.1:{listener.getsockname()[1]}/", *[LARGE[:100_000]] * 100)
        thread.join(LONG_S)
    assert fate(ended) == (5, "5.3.4", "413 Too Large")


def test_damaged_message_is_not_finished() -> None:
    messages = FakeMessages(
        {
            1: FakeMessage(mail("joe@example.org"), *[LARGE[:100_000]] * 10, damage=SpoolCorrupt("segment", 64, "x")),
            2: FakeMessage(mail("joe@example.org"), BODY, damage=SpoolCorrupt("segment", 64, "x")),
        }
    )
    with HttpHop(always(answer())) as hop:
        under_test = poster(hop.url(), messages)
        ended = under_test.deliver([Outcomes().work(n) for n in (1, 2, 3)])
        under_test.stop()
    assert [(one.results, one.error is None) for one in ended] == [([], False)] * 3
    assert hop.posts == []


# ---------------------------------------------------------------------------------------------------------------------
# Connections


def messages(count: int) -> FakeMessages:
    return FakeMessages({n: FakeMessage(mail("joe@example.org"), BODY) for n in range(1, count + 1)})


def test_connection_is_used_again() -> None:
    with HttpHop(always(answer("200 OK", b"fine"))) as hop:
        under_test = poster(hop.url(), messages(5))
        for n in range(1, 6):
            under_test.deliver([Outcomes().work(n)])
        under_test.stop()
    assert [post.connection for post in hop.posts] == [1] * 5


@pytest.mark.parametrize(
    "said",
    [
        answer("200 OK", b"x", "Connection: close"),
        answer("200 OK", b"x" * 200_000),
        answer() + answer("200 OK"),  # what nobody asked for would be taken for the next reply
    ],
)
def test_connection_is_not_used_again(said: bytes) -> None:
    with HttpHop(always(said)) as hop:
        under_test = poster(hop.url(), messages(2))
        assert [under_test.deliver([Outcomes().work(n)])[0].results[0].status for n in (1, 2)] == [2, 2]
        under_test.stop()
    assert [post.connection for post in hop.posts] == [1, 2]


def test_connection_that_was_closed_while_idle(until: Callable[[Callable[[], object]], None]) -> None:
    with HttpHop(always(answer())) as hop:
        under_test = poster(hop.url(), messages(2))
        under_test.deliver([Outcomes().work(1)])
        hop.close_connections()
        connection = under_test._idle
        assert connection is not None
        until(connection.is_stale)
        assert under_test.deliver([Outcomes().work(2)])[0].results[0].status == 2
        under_test.stop()
    assert [post.connection for post in hop.posts] == [1, 2]


def test_connection_that_is_closed_for_the_second_request() -> None:
    """The server takes it, and says nothing: one more try, on a fresh connection; not for one that was fresh."""

    def script(post: Post) -> bytes:
        return b"" if len(hop.posts) in (2, 4, 5) else answer()

    with HttpHop(script) as hop:
        under_test = poster(hop.url(), messages(3))
        got = [under_test.deliver([Outcomes().work(n)])[0].results[0] for n in (1, 2, 3)]
        under_test.stop()
    assert [result.status for result in got] == [2, 2, 4]
    assert got[2].text == "the connection was closed"
    assert [post.connection for post in hop.posts] == [1, 1, 2, 2, 3]


def test_idle_connection_is_closed_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "IDLE_S", 0.0)
    with HttpHop(always(answer())) as hop:
        under_test = poster(hop.url(), messages(1))
        under_test.deliver([Outcomes().work(1)])
        assert under_test._idle is not None
        under_test.tidy(LONG_S)
        assert under_test._idle is not None
        under_test.tidy(0.0)
        assert under_test._idle is None


def test_nobody_there(free_port: Callable[[], int]) -> None:
    ended = one(f"http://127.0.0.1:{free_port()}/")
    assert fate(ended) == (4, "4.4.1", "cannot connect: Connection refused")
    assert ended.destination_down


def test_no_such_host() -> None:
    ended = one("http://no-such-host.invalid/")
    assert fate(ended)[:2] == (4, "4.4.3")
    assert ended.destination_down


# ---------------------------------------------------------------------------------------------------------------------
# TLS


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


def test_tls(authority: Authority) -> None:
    with HttpHop(always(answer()), context(authority.server("127.0.0.1"))) as hop:
        under_test = poster(hop.url(scheme="https"), messages(3), tls_ca=str(authority.ca))
        assert [under_test.deliver([Outcomes().work(n)])[0].results[0].status for n in (1, 2, 3)] == [2, 2, 2]
        under_test.stop()
    assert [post.body for post in hop.posts] == [BODY] * 3
    assert hop.connections <= 2  # tickets that come late may make the first connection look used


def test_large_message_over_tls(authority: Authority) -> None:
    with HttpHop(always(answer()), context(authority.server("127.0.0.1"))) as hop:
        assert fate(one(hop.url(scheme="https"), LARGE, tls_ca=str(authority.ca)))[0] == 2
    assert hop.posts[0].body == LARGE


@pytest.mark.parametrize("fault", ["unknown", "name", "expired", "old", "plain"])
def test_server_that_is_not_trusted(authority: Authority, tmp_path: Path, fault: str) -> None:
    other = Authority(tmp_path) if fault == "unknown" else authority
    name = "other.example" if fault == "name" else "127.0.0.1"
    pair = other.expired(name) if fault == "expired" else other.server(name)
    tls = context(pair, ssl.TLSVersion.TLSv1_1) if fault == "old" else context(pair)
    with HttpHop(always(answer()), None if fault == "plain" else tls) as hop:
        ended = one(hop.url(scheme="https"), tls_ca=str(authority.ca), connect_timeout_s=1.0)
    assert hop.posts == []
    assert ended.destination_down
    status, code, text = fate(ended)
    assert status == 4
    if fault in ("unknown", "name", "expired"):
        assert code == "4.7.5"
        assert text.startswith("no TLS: certificate: ")


# ---------------------------------------------------------------------------------------------------------------------
# Files


@pytest.mark.parametrize(
    "key", [{"key_file": "absent"}, {"tls_ca": "absent"}, {"key_file": "empty"}, {"tls_ca": "empty"}]
)
def test_files_that_cannot_be_used(tmp_path: Path, key: dict[str, str]) -> None:
    (tmp_path / "empty").write_text("\n")
    settings = {name: str(tmp_path / value) for name, value in key.items()}
    with pytest.raises(ConfigError):
        Destination(Transport("http", url="https://127.0.0.1/", **settings))  # type: ignore[arg-type]
