"""Tables behind HTTP: servers that answer, servers that do not, and servers that lie about it."""

import ssl
from collections.abc import Callable
from pathlib import Path

import gevent
import h11
import pytest
from gevent.ssl import SSLContext
from hypothesis import given
from hypothesis import strategies as st

from mta.errors import TableDown
from mta.tables.answer import VALUE_BYTES
from mta.tables.exchange import BadReply
from mta.tables.http import HEAD_BYTES, REPLY_BYTES, HttpTable, ReplyReader
from tests.support.certificates import Authority, Pair
from tests.support.tableserver import RESET, Answer, TableServer, feed_in_pieces

Make = Callable[..., HttpTable]


def reply(status: str = "200 OK", body: bytes = b"", *headers: str) -> bytes:
    """A reply with a Content-Length."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode("latin-1") + body


VALUES = {
    b"GET /users/joe%40example.org?v=1 HTTP/1.1": reply("200 OK", b"a value\r\nand more\n"),
    b"GET /users/jane%40example.org?v=1 HTTP/1.1": reply(),
    b"GET /users/jim%40example.org?v=1 HTTP/1.1": reply("204 No Content").replace(b"Content-Length: 0\r\n", b""),
}


def known(data: bytes) -> bytes:
    return VALUES.get(data.partition(b"\r\n")[0], reply("404 Not Found", b"<html>\n<p>There is none\n"))


def table_of(server: TableServer, *, timeout_s: float = 10.0, connections: int = 2, **files: str) -> HttpTable:
    return HttpTable(f"http://{server.host}/users/{{key}}?v=1", timeout_s, connections, **files)


def down(table: HttpTable, key: bytes = b"joe@example.org") -> str:
    with pytest.raises(TableDown) as caught:
        table.get(key)
    return caught.value.reason


# ---------------------------------------------------------------------------------------------------------------------
# Questions


@pytest.mark.parametrize("piece_bytes", [0, 1])
def test_values(piece_bytes: int) -> None:
    with TableServer(known, piece_bytes=piece_bytes) as server:
        table = table_of(server)
        for _ in range(2):
            assert table.get(b"joe@example.org") == b"a value"
            assert table.get(b"jane@example.org") == b""
            assert table.get(b"jim@example.org") is None
            assert table.get(b"jack@example.org") is None
        assert server.connections == 1
        assert server.asked[0] == (
            b"GET /users/joe%%40example.org?v=1 HTTP/1.1\r\nHost: %b\r\nUser-Agent: mta\r\n"
            b"Accept-Encoding: identity\r\n\r\n" % server.host.encode()
        )


@pytest.mark.parametrize(
    ("key", "target"),
    [
        (b"a/../b?c#d@example.org", b"a%2F..%2Fb%3Fc%23d%40example.org"),
        (b"a b\r\nX: y@example.org", b"a%20b%0D%0AX%3A%20y%40example.org"),
        ("jö@bücher.example".encode(), b"j%C3%B6%40b%C3%BCcher.example"),
        (b"\xff\0{key}%41", b"%FF%00%7Bkey%7D%2541"),
    ],
)
def test_keys_stay_in_their_place(key: bytes, target: bytes) -> None:
    with TableServer(known) as server:
        assert table_of(server).get(key) is None
        assert server.asked[0].startswith(b"GET /users/" + target + b"?v=1 HTTP/1.1\r\nHost: ")


@pytest.mark.parametrize("key", [b".", b".."])
def test_keys_that_lead_elsewhere_are_not_there(key: bytes) -> None:
    with TableServer(known) as server:
        assert table_of(server).get(key) is None
        assert server.asked == []


@given(st.binary(max_size=300))
def test_any_key_is_one_word_of_the_request_line(key: bytes) -> None:
    request = HttpTable("http://127.0.0.1:9/x/{key}", 1.0, 1)._request(key)
    assert all(0x21 <= byte <= 0x7E and byte not in b"/?#" for byte in request.target.removeprefix(b"/x/"))


def test_a_token(tmp_path: Path) -> None:
    file = tmp_path / "token"
    with TableServer(known) as server:
        table = table_of(server, key_file=str(file))
        assert down(table) == f"{file}: No such file or directory"
        file.write_text("s3cret.-_~+/==\n")
        assert table.get(b"joe@example.org") == b"a value"
        assert b"\r\nAuthorization: Bearer s3cret.-_~+/==\r\n" in server.asked[0]
        file.write_text("another\n")  # as it is renewed
        assert table.get(b"joe@example.org") == b"a value"
        assert b"\r\nAuthorization: Bearer another\r\n" in server.asked[1]
        for bad in ("two words\n", "tab\there", "ümlaut\n", "a\x01b\n"):
            file.write_text(bad)
            assert down(table) == f"{file}: has no token in its first line"
        file.write_text("\n")
        assert "first line" in down(table)
        assert len(server.asked) == 2


def test_no_more_connections_than_allowed() -> None:
    with TableServer(known) as server:
        table = table_of(server)
        asking = [gevent.spawn(table.get, b"joe@example.org") for _ in range(10)]
        gevent.joinall(asking, timeout=20)
        assert [one.value for one in asking] == [b"a value"] * 10
        assert server.connections == 2


def test_connections_that_the_server_ends() -> None:
    with TableServer(lambda data: known(data).replace(b"\r\n", b"\r\nConnection: close\r\n", 1)) as server:
        table = table_of(server)
        for _ in range(3):
            assert table.get(b"joe@example.org") == b"a value"
        assert server.connections == 3
    with TableServer(known) as server:
        table = table_of(server)
        for _ in range(3):
            assert table.get(b"joe@example.org") == b"a value"
            server.hang_up()
        assert server.connections == 3


def test_what_is_said_unasked_is_no_answer() -> None:
    with TableServer(known) as server:
        table = table_of(server)
        assert table.get(b"joe@example.org") == b"a value"
        server.blurt(reply("404 Not Found"))
        assert table.get(b"joe@example.org") == b"a value"
        assert server.connections == 2


# ---------------------------------------------------------------------------------------------------------------------
# Replies


@pytest.mark.parametrize(
    ("said", "value"),
    [
        (reply("200 OK", b"x"), b"x"),
        (reply("200 OK", b"x\n"), b"x"),
        (reply("200 OK", b"\nx\n"), b""),
        (reply("200 OK", b"x" * VALUE_BYTES), b"x" * VALUE_BYTES),
        (reply("200 OK", b"\xff\0"), b"\xff\0"),
        (b"HTTP/1.1 200\r\ncontent-length:1\r\n\r\nx", b"x"),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\nx", b"x"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;a=b\r\nx\r\n2\r\nyz\r\n0\r\nT: t\r\n\r\n", b"xyz"),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + reply("200 OK", b"x"), b"x"),
        (reply("404 Not Found", b"x" * 100_000), None),
    ],
)
@pytest.mark.parametrize("piece_bytes", [0, 977])
def test_good_replies(said: bytes, value: bytes | None, piece_bytes: int) -> None:
    with TableServer(lambda _data: said, piece_bytes=piece_bytes) as server:
        assert table_of(server).get(b"joe@example.org") == value


HEAD = b"HTTP/1.1 200 OK\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (reply("500 Oops"), "500 Oops"),
        (reply("403 Forbidden", b"no"), "403 Forbidden"),
        (reply("301 Moved", b"", "Location: http://127.0.0.1/users/joe"), "301 Moved"),
        (reply("206 Partial Content", b"x"), "206 Partial Content"),
        (reply("410 Gone"), "410 Gone"),
        (reply("500 " + "x" * 5000), "500 " + "x" * 200),
        (HEAD + b"\r\nx", "does not say how long it is"),
        (b"HTTP/1.0 200 OK\r\n\r\nx", "does not say how long it is"),
        (b"HTTP/1.0 404 Not Found\r\n\r\n", "does not say how long it is"),
        (HEAD + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nxy", "no reply of HTTP"),
        (HEAD + b"Content-Length: 1, 2\r\n\r\nxy", "no reply of HTTP"),
        (HEAD + b"Content-Length: -1\r\n\r\nxy", "no reply of HTTP"),
        (HEAD + b"Content-Length: 99999999999999999999999\r\n\r\nxy", "no reply of HTTP"),
        (HEAD + b"Content-Length: 1\r\n\r\nxy", "more than one reply"),
        (reply("404 Not Found") * 2, "more than one reply"),
        (reply("200 OK", b"x", "Content-Encoding: gzip"), "a compressed reply"),
        (HEAD + b"Transfer-Encoding: gzip\r\n\r\n", "no reply of HTTP"),
        (CHUNKED + b"g\r\n", "no reply of HTTP"),
        (CHUNKED + b"1\r\nxy\r\n", "no reply of HTTP"),
        (CHUNKED + b"fffffffffffffffffffff\r\n", "no reply of HTTP"),
        (reply("200 OK", b"x" * (VALUE_BYTES + 1)), f"a value of more than {VALUE_BYTES} bytes"),
        (CHUNKED + b"ffff\r\n" + b"x" * 65535 + b"\r\n2\r\nxx\r\n", f"a value of more than {VALUE_BYTES} bytes"),
        (reply("404 Not Found", b"x" * REPLY_BYTES), f"a reply of more than {REPLY_BYTES} bytes"),
        (b"HTTP/1.1 100 Continue\r\n\r\n" * 20_000, f"a reply of more than {REPLY_BYTES} bytes"),
        (HEAD + b"X: " + b"x" * 2 * HEAD_BYTES, "no reply of HTTP"),
        (HEAD + b"X: x\r\n" * HEAD_BYTES, "no reply of HTTP"),
        (CHUNKED + b"1;" + b"x" * 2 * HEAD_BYTES, "no reply of HTTP"),
        (HEAD + b"X: a\r\n b\r\n\0: x\r\n\r\n", "no reply of HTTP"),
        (b"HTTP/2 200 OK\r\n\r\n", "no reply of HTTP"),
        (b"HTTP/1.1 99 x\r\n\r\n", "no reply of HTTP"),
        (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n", "no reply of HTTP"),
        (b"220 mx.example.org ESMTP\r\n\r\n", "no reply of HTTP"),
        (b"\x16\x03\x01\x00\x00\r\n\r\n", "no reply of HTTP"),
        (HEAD + b"Content-Length: 5\r\n\r\nab", "no answer within"),
        (CHUNKED + b"5\r\nab", "no answer within"),
        (HEAD, "no answer within"),
        (b"", "no answer within"),
        (None, "closed before the reply was whole"),
        (RESET, "Connection reset by peer"),
    ],
)
def test_misbehaviour(said: bytes | None, reason: str) -> None:
    timeout_s = 0.05 if reason.startswith("no answer") else 10.0
    with TableServer(lambda _data: said) as server:
        told = down(table_of(server, timeout_s=timeout_s))
        assert reason in told
        assert len(told) < 300
        server.answer = known
        assert table_of(server).get(b"joe@example.org") == b"a value"


@pytest.mark.parametrize("said", [HEAD + b"Content-Length: 5\r\n\r\nab", CHUNKED + b"2\r\nab\r\n", HEAD])
def test_half_a_reply(said: bytes) -> None:
    """What ends with the connection is not whole."""

    def answer_and_close() -> Answer:
        def answer(_data: bytes) -> bytes:
            gevent.spawn(server.hang_up)
            return said

        return answer

    with TableServer(lambda _data: b"") as server:
        server.answer = answer_and_close()
        assert "closed before the reply was whole" in down(table_of(server))


def test_a_server_that_drips() -> None:
    """The time is that of the whole reply; each piece that comes buys nothing."""
    with TableServer(lambda _data: HEAD + b"X: " + b"x" * HEAD_BYTES, piece_bytes=1) as server:
        assert "no answer within" in down(table_of(server, timeout_s=0.05))


def test_nobody_there() -> None:
    with TableServer(known) as server:
        table = table_of(server)
    assert down(table).endswith("Connection refused")


@given(st.binary(max_size=200), st.lists(st.integers(1, 20), max_size=20), st.booleans())
def test_bodies_in_any_pieces(body: bytes, cuts: list[int], is_chunked: bool) -> None:
    wire = reply("200 OK", body)
    if is_chunked:
        chunk = b"%x\r\n%b\r\n" % (len(body), body) if body else b""
        wire = CHUNKED + chunk + b"0\r\n\r\n"
    reader = new_reader()
    feed_in_pieces(reader, wire, cuts)
    assert (reader.status, bytes(reader.body), reader.is_last) == (200, body, False)


@given(st.binary(max_size=80), st.sampled_from([b"", HEAD, CHUNKED, HEAD + b"Content-Length: 3\r\n"]))
def test_any_bytes(data: bytes, before: bytes) -> None:
    reader = new_reader()
    try:
        is_whole = reader.feed(before + data)
    except BadReply:
        return
    assert not is_whole or 200 <= reader.status <= 999


def new_reader() -> ReplyReader:
    return ReplyReader(h11.Request(method="GET", target="/", headers=[("Host", "x")]))


# ---------------------------------------------------------------------------------------------------------------------
# TLS


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


def context(pair: Pair) -> SSLContext:
    made = SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(pair.certificate, pair.key)
    return made


def tls_table(server: TableServer, authorities: str, name: str = "127.0.0.1") -> HttpTable:
    port = server.host.rpartition(":")[2]
    return HttpTable(f"https://{name}:{port}/users/{{key}}?v=1", 10.0, 1, tls_ca=authorities)


def test_tls(authority: Authority) -> None:
    with TableServer(known, tls=context(authority.server("127.0.0.1"))) as server:
        table = tls_table(server, str(authority.ca))
        for _ in range(3):
            assert table.get(b"joe@example.org") == b"a value"
            assert table.get(b"jack@example.org") is None
        assert server.connections == 1
        server.hang_up()
        assert table.get(b"joe@example.org") == b"a value"
        assert server.connections == 2


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("name", "IP address mismatch"),
        ("expired", "certificate has expired"),
        ("authority", "unable to get local issuer certificate"),
    ],
)
def test_servers_that_are_not_who_they_should_be(authority: Authority, tmp_path: Path, kind: str, reason: str) -> None:
    pair = {
        "name": lambda: authority.server("users.example.org"),
        "expired": lambda: authority.expired("127.0.0.1"),
        "authority": lambda: Authority(tmp_path / "other", "Another").server("127.0.0.1"),
    }[kind]()
    with TableServer(known, tls=context(pair)) as server:
        told = down(tls_table(server, str(authority.ca)))
        assert "TLS: certificate_verify_failed: " in told
        assert reason in told
        assert server.asked == []


def test_a_server_without_tls(authority: Authority) -> None:
    with TableServer(lambda _data: reply()) as server:
        assert "TLS: " in down(tls_table(server, str(authority.ca)))


def test_the_system_has_authorities(authority: Authority) -> None:
    with TableServer(known, tls=context(authority.server("127.0.0.1"))) as server:
        assert "certificate_verify_failed" in down(tls_table(server, ""))


@pytest.mark.parametrize("content", [None, "no certificate"])
def test_authorities_that_cannot_be_read(tmp_path: Path, content: str | None) -> None:
    file = tmp_path / "ca.pem"
    if content:
        file.write_text(content)
    table = HttpTable("https://127.0.0.1:9/{key}", 1.0, 1, tls_ca=str(file))
    assert down(table).startswith(f"{file}: ")
