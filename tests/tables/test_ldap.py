"""Searches through ldap3, with servers that say what they are told to; a real one is in tests/interop/test_slapd.py."""

from collections.abc import Callable, Sequence
from pathlib import Path
from time import monotonic

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ldap3.operation.search import parse_filter

from mta.errors import TableDown
from mta.tables.ldap import ANSWER_BYTES, LdapServer, Search, Where, escaped, filled
from mta.tables.threaded import ThreadedTable
from tests.support.tableserver import TableServer

BIND, SEARCH, EXTENDED = 0x60, 0x63, 0x77  # tags of requests (RFC 4511 section 4)
BOUND, ENTRY, DONE, REFERENCE, EXTENDED_DONE = 0x61, 0x64, 0x65, 0x73, 0x78  # and of what answers them
SUCCESS, REFERRAL, INVALID_CREDENTIALS, UNAVAILABLE = 0, 10, 49, 52

# The wire ------------------------------------------------------------------------------------------------------------


def tlv(tag: int, *contents: bytes) -> bytes:
    """A value in BER: tag, length, content."""
    content = b"".join(contents)
    if len(content) < 128:
        return bytes((tag, len(content))) + content
    return bytes((tag, 0x84)) + len(content).to_bytes(4, "big") + content


def parts(data: bytes) -> tuple[bytes, int]:
    """The message id of a request, as it was encoded, and the tag of what is asked."""
    start = 2 + (data[1] & 0x7F if data[1] & 0x80 else 0)
    end = start + 2 + data[start + 1]
    return data[start:end], data[end]


def message(request: bytes, *operations: bytes) -> bytes:
    """Answers to a request."""
    return b"".join(tlv(0x30, parts(request)[0], operation) for operation in operations)


def result(tag: int, code: int, words: str = "") -> bytes:
    return tlv(tag, tlv(0x0A, bytes((code,))), tlv(0x04), tlv(0x04, words.encode()))


def entry(**attributes: Sequence[bytes]) -> bytes:
    listed = [
        tlv(0x30, tlv(0x04, name.encode()), tlv(0x31, *(tlv(0x04, value) for value in values)))
        for name, values in attributes.items()
    ]
    return tlv(ENTRY, tlv(0x04, b"cn=joe"), tlv(0x30, *listed))


def answers(*operations: bytes) -> Callable[[bytes], bytes]:
    return lambda data: message(data, *operations)


FOUND = answers(entry(mail=[b"a"]), result(DONE, SUCCESS))


def table_of(
    server: TableServer, *, template: str = "(mail={key})", timeout_s: float = 10.0, starttls: bool = False, **who: str
) -> ThreadedTable:
    where = Where(f"ldap://{server.host}", starttls=starttls, ca="", **{"bind_dn": "", "password_file": "", **who})
    asked = LdapServer(where, Search("dc=example,dc=org", "sub", template, "mail"), timeout_s)
    return ThreadedTable("dir", asked.connect, timeout_s, 2, clock=monotonic)


def down(table: ThreadedTable) -> str:
    with pytest.raises(TableDown) as caught:
        table.get(b"joe@example.org")
    return caught.value.reason


# Filters -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("template", "key", "words"),
    [
        ("(mail={key})", b"joe@example.org", "(mail=joe@example.org)"),
        ("(mail={key})", b"*", r"(mail=\2a)"),
        ("(mail={key})", b")(uid=*", r"(mail=\29\28uid=\2a)"),
        ("(mail={key})", b"\\ \0\xff", r"(mail=\5c\20\00\ff)"),
        ("(mail={key})", "ü{local}".encode(), r"(mail=\c3\bc\7blocal\7d)"),
        ("(&(uid={local})(dc={domain}))", b"a@b@c", "(&(uid=a@b)(dc=c))"),
        ("(uid={local})", b"a", "(uid=a)"),
        ("(dc={domain})", b"@c", "(dc=c)"),
        ("(dc={domain})", b"a", None),
        ("(dc={domain})", b"a@", None),
    ],
)
def test_filters(template: str, key: bytes, words: str | None) -> None:
    assert filled(template, key) == words


@given(st.binary(max_size=60) | st.text(alphabet="*()\\\0&|!= {}a", max_size=20).map(str.encode))
def test_any_key_is_one_value(key: bytes) -> None:
    """Whatever it is, the filter stays what it was, and the value sent is the key (RFC 4515 section 3)."""
    words = filled("(&(objectClass=person)(mail={key}))", key)
    assert words is not None
    root = parse_filter(words, None, False, False, None, False)
    (both,) = root.elements
    first, second = both.elements
    assert not first.elements
    assert not second.elements
    assert second.tag == parse_filter("(mail=x)", None, False, False, None, False).elements[0].tag
    assert second.assertion["attr"] == "mail"
    assert unescaped(second.assertion["value"]) == key
    assert unescaped(escaped(key).encode()) == key


def unescaped(text: bytes) -> bytes:
    r"""The bytes that `\xx` stand for, as a server reads them."""
    plain = bytearray()
    first, *rest = text.split(b"\\")
    plain += first
    for piece in rest:
        plain.append(int(piece[:2], 16))
        plain += piece[2:]
    return bytes(plain)


def test_the_key_on_the_wire() -> None:
    with TableServer(answers(result(DONE, SUCCESS))) as server:
        table = table_of(server)
        assert table.get(b"*)(\0 \xff ") is None
        assert tlv(0xA3, tlv(0x04, b"mail"), tlv(0x04, b"*)(\0 \xff ")) in server.asked[0]


# Answers -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("piece_bytes", [0, 1])
@pytest.mark.parametrize(
    ("operations", "value"),
    [
        ([], None),
        ([entry(mail=[b"a"])], b"a"),
        ([entry(mail=[b"a", b"", "ü, b".encode()])], "a,ü, b".encode()),
        ([entry(mail=[b"a"]), entry(mail=[b"b"])], b"a,b"),
        ([entry(mail=[b"\xff"])], b"\xff"),
        ([entry(mail=[b""])], b""),
        ([entry(mail=[])], None),
        ([entry()], None),
        ([tlv(REFERENCE, tlv(0x04, b"ldap://other.example/"))], None),
        ([entry(mail=[b"a"]), tlv(REFERENCE, tlv(0x04, b"ldap://other.example/"))], b"a"),
    ],
)
def test_values(operations: list[bytes], value: bytes | None, piece_bytes: int) -> None:
    with TableServer(answers(*operations, result(DONE, SUCCESS)), piece_bytes=piece_bytes) as server:
        table = table_of(server)
        for _ in range(2):
            assert table.get(b"joe@example.org") == value
        assert server.connections == 1


def test_a_key_without_a_domain_is_not_asked() -> None:
    with TableServer(FOUND) as server:
        assert table_of(server, template="(dc={domain})").get(b"joe") is None
        assert server.asked == []


@pytest.mark.parametrize(
    ("code", "words", "reason"),
    [
        (UNAVAILABLE, "back in an\nhour", "dir: unavailable back in an hour"),
        (REFERRAL, "", "dir: referral"),
        (3, "", "dir: timeLimitExceeded"),
        (4, "", "dir: sizeLimitExceeded"),
        (32, "", "dir: noSuchObject"),
    ],
)
def test_results_that_tell_nothing(code: int, words: str, reason: str) -> None:
    with TableServer(answers(entry(mail=[b"a"]), result(DONE, code, words))) as server:
        assert down(table_of(server)) == reason


@pytest.mark.parametrize(
    "said",
    [
        b"220 mail.example.org ESMTP\r\n",
        b"\0" * 20,
        b"\xff" * 20,
        tlv(0x30),
        tlv(0x30, b"\x02\x01\x00"),
        tlv(0x30, tlv(0x02, b"\x63"), result(DONE, SUCCESS)),
    ],
)
def test_what_is_no_answer(said: bytes) -> None:
    with TableServer(lambda _data: said) as server:
        assert down(table_of(server, timeout_s=0.3))


@settings(max_examples=60, deadline=None)
@given(st.binary(min_size=1, max_size=40))
def test_any_bytes(content: bytes) -> None:
    """Inside of a message for this request."""
    with TableServer(lambda data: tlv(0x30, parts(data)[0], content)) as server:
        try:
            value = table_of(server, timeout_s=0.05).get(b"joe@example.org")
        except TableDown:
            return
        assert value is None


def test_silence() -> None:
    with TableServer(lambda _data: b"") as server:
        assert down(table_of(server, timeout_s=0.05)) == "dir: no answer within 0.05 s"


def test_a_connection_that_ends_in_an_answer() -> None:
    with TableServer(lambda data: None) as server:
        assert down(table_of(server)) == "dir: session terminated by server"


def test_too_much() -> None:
    """However it comes: as one message, or as many."""
    long = entry(mail=[b"x" * 70_000])
    with TableServer(answers(*[long] * (ANSWER_BYTES // 70_000 + 1), result(DONE, SUCCESS))) as server:
        assert down(table_of(server)) == f"dir: more than {ANSWER_BYTES} bytes in answer to one search"
        server.answer = answers(entry(mail=[b"x"] * 1001), result(DONE, SUCCESS))
        assert down(table_of(server)) == "dir: more than 1000 values"
        server.answer = answers(long, result(DONE, SUCCESS))
        assert down(table_of(server)) == "dir: a value of more than 65536 bytes"


def test_a_server_that_hung_up_is_called_again() -> None:
    with TableServer(FOUND) as server:
        table = table_of(server)
        assert table.get(b"joe") == b"a"
        server.hang_up()
        assert table.get(b"joe") == b"a"
        assert server.connections == 2


def test_nobody_listens() -> None:
    with TableServer(FOUND) as server:
        table = table_of(server)
    assert "refused" in down(table)


# Who asks ------------------------------------------------------------------------------------------------------------


def bound(code: int, words: str = "") -> Callable[[bytes], bytes]:
    """Answers of a server that says this to who binds."""
    return lambda data: message(data, result(BOUND, code, words)) if parts(data)[1] == BIND else FOUND(data)


@pytest.fixture
def password(tmp_path: Path) -> str:
    (tmp_path / "password").write_text("geheim\n")
    return str(tmp_path / "password")


def test_a_bind(password: str) -> None:
    with TableServer(bound(SUCCESS)) as server:
        assert table_of(server, bind_dn="cn=mta", password_file=password).get(b"joe") == b"a"
        asked, searched = server.asked
        assert tlv(BIND, b"\x02\x01\x03", tlv(0x04, b"cn=mta"), tlv(0x80, b"geheim")) in asked
        assert parts(searched)[1] == SEARCH


def test_a_bind_that_is_refused(password: str) -> None:
    with TableServer(bound(INVALID_CREDENTIALS, "geheim is wrong")) as server:
        reason = down(table_of(server, bind_dn="cn=mta", password_file=password))
        assert reason == "dir: bind as cn=mta: invalidCredentials *** is wrong"


def test_no_password() -> None:
    with TableServer(FOUND) as server:
        assert down(table_of(server, bind_dn="cn=mta", password_file="/absent")) == (
            "dir: /absent: No such file or directory"
        )
        assert server.connections == 0


def test_no_tls_no_password(password: str) -> None:
    """A server that refuses StartTLS, or agrees and then talks on, learns nothing."""
    refused = answers(result(EXTENDED_DONE, UNAVAILABLE))
    agreed = answers(result(EXTENDED_DONE, SUCCESS))
    for answer, reason in ((refused, "unavailable"), (agreed, "TLS: ")):
        with TableServer(answer) as server:
            table = table_of(server, bind_dn="cn=mta", password_file=password, starttls=True)
            assert reason in down(table)
            assert parts(server.asked[0])[1] == EXTENDED
            assert not any(b"geheim" in data for data in server.asked)
