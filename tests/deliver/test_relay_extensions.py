"""SMTP and LMTP transports against a next hop that offers extensions, or does not: what is passed on, and how."""

from collections.abc import Callable, Iterator

import msgspec
import pytest

from mta.envelope import Dsn, Envelope
from mta.errors import SpoolCorrupt
from mta.smtp import limits
from tests.support.deliveries import FakeMessage, mail
from tests.support.nexthop import EXTENSIONS, Hop
from tests.support.relaying import BODY, Kind, Relaying
from tests.support.smuggling import FALSE_ENDS, SMUGGLED, Lenient
from tests.support.stricthop import EVERYTHING, Strict

BINARY = b"Subject: x\r\n\r\n\0\n.\n\r.\r\r\n.\r\nQUIT\r\n\xff"
DSN = Dsn(
    "FULL", b"id 1", ("NEVER", "", "SUCCESS,FAILURE"), (b"rfc822;a+b@example.org", b"", "utf-8;ü@example.org".encode())
)
KINDS: list[Kind] = ["smtp", "lmtp"]


@pytest.fixture
def relaying() -> Iterator[Relaying]:
    made = Relaying()
    yield made
    made.close()


def play(relaying: Relaying, kind: Kind, *without: str) -> Strict:
    """A strict next hop that offers everything but that."""
    extensions = tuple(text for text in EVERYTHING if text not in without)
    server = Strict(lmtp=kind == "lmtp", extensions=extensions)
    relaying.play(server, kind=kind)
    return server


def changed(envelope: Envelope, **fields: object) -> Envelope:
    """The envelope with other fields."""
    return msgspec.structs.replace(envelope, **fields)


def verbs(server: Strict) -> list[bytes]:
    """The commands of a next hop that carry content."""
    return [line for line in server.commands if line.startswith((b"DATA", b"BDAT"))]


@pytest.mark.parametrize("kind", KINDS)
def test_dsn_goes_to_a_next_hop_that_offers_it(relaying: Relaying, kind: Kind) -> None:
    """Each recipient keeps what was asked for it, also where a job is for some of them."""
    server = play(relaying, kind)
    envelope = changed(mail("a@example.org", "b@example.org", "c@example.org"), dsn=DSN)
    relaying.messages[1] = FakeMessage(envelope, BODY)
    assert relaying.one(recipients=(2, 0)) == []
    assert relaying.one(recipients=(1,)) == []
    assert server.problems == []
    assert [(sender, recipients) for sender, recipients, _ in server.received] == [
        (
            b"MAIL FROM:<a@example.net> SIZE=27 RET=FULL ENVID=id+201",
            [
                b"RCPT TO:<c@example.org> NOTIFY=SUCCESS,FAILURE ORCPT=utf-8;\\x{FC}@example.org",
                b"RCPT TO:<a@example.org> NOTIFY=NEVER ORCPT=rfc822;a+2Bb@example.org",
            ],
        ),
        (b"MAIL FROM:<a@example.net> SIZE=27 RET=FULL ENVID=id+201", [b"RCPT TO:<b@example.org>"]),
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_dsn_goes_to_no_other(relaying: Relaying, kind: Kind) -> None:
    server = play(relaying, kind, "DSN")
    relaying.messages[1] = FakeMessage(changed(mail("a@example.org", "b", "c"), dsn=DSN), BODY)
    assert relaying.one() == []
    assert server.problems == []
    assert server.received == [(b"MAIL FROM:<a@example.net> SIZE=27", [b"RCPT TO:<a@example.org>"], BODY)]


@pytest.mark.parametrize(
    ("kind", "without", "onward"),
    [("smtp", (), "passed"), ("smtp", ("DSN",), "relayed"), ("lmtp", (), "passed"), ("lmtp", ("DSN",), "")],
)
def test_who_is_to_tell_of_success(relaying: Relaying, kind: Kind, without: tuple[str, ...], onward: str) -> None:
    """The next hop where it has DSN; we do where mail leaves the part of the way that has it, or was delivered."""
    play(relaying, kind, *without)
    relaying.messages[1] = FakeMessage(changed(mail("a@example.org", "b", "c"), dsn=DSN), BODY)
    one, two = relaying.deliver((1, (0,)), (1, (1, 2)))
    assert one.onward == two.onward == onward
    assert (one.results, two.results) == ((), ())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [1, 7, 1000])
def test_binary_content_goes_as_it_is(relaying: Relaying, kind: Kind, size: int) -> None:
    """By BDAT; what it contains means nothing, and the next mail on the connection is in its place."""
    server = play(relaying, kind)
    envelope = changed(mail("joe@example.org"), binary=True, bare_newlines=True, eight_bit=True)
    relaying.messages[2] = FakeMessage(envelope, *[BINARY[at : at + size] for at in range(0, len(BINARY), size)])
    assert relaying.one(2) == []
    assert relaying.one() == []
    assert server.problems == []
    assert [content for _, _, content in server.received] == [BINARY, BODY]
    assert server.received[0][0].endswith(b" BODY=BINARYMIME")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("missing", ["BINARYMIME", "CHUNKING"])
def test_binary_content_fails_where_it_cannot_go(relaying: Relaying, kind: Kind, missing: str) -> None:
    server = play(relaying, kind, missing)
    relaying.messages[2] = FakeMessage(changed(mail("joe@example.org", "jim@example.org"), binary=True), BINARY)
    assert relaying.one(2, (0, 1)) == [(5, "5.6.3")] * 2
    assert relaying.one() == []  # by the same connection
    assert [line.split(b" ")[0] for line in server.commands[1:4]] == [
        *(b"MAIL", b"RCPT"),
        b"DATA" if missing == "CHUNKING" else b"BDAT",
    ]


@pytest.mark.parametrize("extensions", [EVERYTHING, ("CHUNKING",)], ids=["pipelining", "plain"])
@pytest.mark.parametrize("pieces", [(BODY,), (BODY[:15], BODY[15:]), (b"", BODY, b""), ()], ids=len)
def test_text_goes_by_bdat_too(relaying: Relaying, extensions: tuple[str, ...], pieces: tuple[bytes, ...]) -> None:
    server = Strict(extensions=extensions)
    relaying.play(server)
    relaying.messages[1] = FakeMessage(mail("joe@example.org"), *pieces)
    assert relaying.one() == []
    assert server.problems == []
    assert [content for _, _, content in server.received] == [BODY if pieces else b""]
    assert verbs(server) == [b"BDAT %d LAST" % (len(BODY) if pieces else 0)]


def test_a_large_message_by_bdat(relaying: Relaying) -> None:
    server = play(relaying, "smtp")
    body = b"0123456789\r\n.\r\n" * 300_000
    relaying.messages[1] = FakeMessage(
        mail("joe@example.org"), *[body[at : at + 9999] for at in range(0, len(body), 9999)]
    )
    assert relaying.one() == []
    assert [content == body for _, _, content in server.received] == [True]


@pytest.mark.parametrize(
    ("replies", "expected"),
    [
        ({"RCPT TO:<jim@example.org>": "550 5.1.1 who"}, [(2, "2.0.0"), (5, "5.1.1")]),
        ({"RCPT": "450 4.2.1 busy"}, [(4, "4.2.1"), (4, "4.2.1")]),
        ({"MAIL": "550 5.7.1 no"}, [(5, "5.7.1"), (5, "5.7.1")]),
        ({"END": "554 5.6.0 spam"}, [(5, "5.6.0"), (5, "5.6.0")]),
        ({"END": "421 4.3.2 bye"}, [(4, "4.3.2"), (4, "4.3.2")]),
    ],
)
def test_refusals(relaying: Relaying, replies: dict[str, str], expected: list[tuple[int, str]]) -> None:
    server = Strict(replies)
    relaying.play(server)
    relaying.messages[1] = FakeMessage(mail("joe@example.org", "jim@example.org"), BODY)
    assert relaying.one(recipients=(0, 1)) == expected
    server.replies.clear()
    assert relaying.one(recipients=(0, 1)) == []
    assert server.problems == []


def test_a_refusal_of_some_by_lmtp(relaying: Relaying) -> None:
    server = Strict({"END RCPT TO:<jim@example.org>": "452 4.2.2 over quota"}, lmtp=True)
    relaying.play(server, kind="lmtp")
    relaying.messages[1] = FakeMessage(mail("joe@example.org", "jim@example.org", "jan@example.org"), BODY)
    assert relaying.one(recipients=(0, 1, 2)) == [(2, "2.0.0"), (4, "4.2.2"), (2, "2.0.0")]
    assert relaying.one(recipients=(1,)) == [(4, "4.2.2")]


@pytest.mark.parametrize("pieces", [(BODY, BODY), (BODY, BODY, b"")], ids=["pieces", "an empty one at the end"])
@pytest.mark.parametrize("unasked", [0, limits.UNASKED_BYTES])
def test_a_damaged_message_is_never_finished(
    relaying: Relaying, monkeypatch: pytest.MonkeyPatch, pieces: tuple[bytes, ...], unasked: int
) -> None:
    monkeypatch.setattr(limits, "UNASKED_BYTES", unasked)
    server = play(relaying, "smtp")
    damage = SpoolCorrupt("bodies/1.body", 0, "checksum")
    relaying.messages[2] = FakeMessage(mail("joe@example.org"), *pieces, damage=damage)
    assert relaying.one(2) == [(5, "5.3.0")]
    assert relaying.one() == []
    if not unasked:  # otherwise the end of the connection may overtake it
        assert server.cut_off == [BODY]
    assert [content for _, _, content in server.received] == [BODY]


@pytest.mark.parametrize("announced", [len(BODY) - 1, len(BODY) + 1])
@pytest.mark.parametrize("unasked", [0, limits.UNASKED_BYTES])
def test_content_of_another_size_than_announced(
    relaying: Relaying, monkeypatch: pytest.MonkeyPatch, announced: int, unasked: int
) -> None:
    """A fault of ours, but a byte too much would be a command to the server."""
    monkeypatch.setattr(limits, "UNASKED_BYTES", unasked)
    server = play(relaying, "smtp")
    message = FakeMessage(mail("joe@example.org"), BODY[:9], BODY[9:])
    message.size_bytes = announced
    relaying.messages[2] = message
    assert relaying.one(2) == [(4, "4.3.0")]
    assert relaying.one() == []
    assert all(len(piece) <= announced for piece in server.cut_off)
    if not unasked:  # otherwise the end of the connection may overtake it
        assert len(server.cut_off) == 1
        assert [line.split(b" ")[0] for line in server.commands[:4]] == [b"EHLO", b"MAIL", b"RCPT", b"BDAT"]
    assert [content for _, _, content in server.received] == [BODY]


def test_a_server_that_refuses_a_chunk_at_once(relaying: Relaying) -> None:
    def script(hop: Hop) -> None:
        hop.say("220 ok")
        hop.hear()
        hop.say("250-ok", "250-PIPELINING", "250 CHUNKING")
        hop.hear(), hop.hear()
        hop.say("250 ok", "250 ok")
        hop.hear()
        hop.say("552 5.3.4 far too much")
        while hop.socket.recv(1 << 20):
            pass

    relaying.play(script)
    relaying.messages[1] = FakeMessage(mail("joe@example.org"), *[b"x" * 1_000_000] * 40)
    assert relaying.one() == [(5, "5.3.4")]


@pytest.mark.parametrize("then", [Hop.close, Hop.reset, Hop.linger])
def test_a_server_that_goes_while_it_has_the_chunk(relaying: Relaying, then: Callable[[Hop], None]) -> None:
    def script(hop: Hop) -> None:
        hop.say("220 ok")
        hop.hear()
        hop.say("250-ok", "250-PIPELINING", "250 CHUNKING")
        hop.hear(), hop.hear()
        hop.say("250 ok", "250 ok")
        assert hop.hear() == b"BDAT %d LAST" % len(BODY)
        assert hop.hear_bytes(len(BODY)) == BODY
        then(hop)

    relaying.play(script, timeout_s=0.2)
    (outcome,) = relaying.deliver()
    assert [(result.status, result.code) for result in outcome.results] == [(4, "4.4.2")]
    assert not outcome.destination_down


# --- what is not relayed as it came


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("extensions", [EVERYTHING, EXTENSIONS])
def test_bare_line_ends_are_normalised(relaying: Relaying, kind: Kind, extensions: tuple[str, ...]) -> None:
    """By DATA, and with no SIZE, as that is known only afterwards."""
    server = Strict(lmtp=kind == "lmtp", extensions=extensions)
    relaying.play(server, kind=kind)
    content = b"Subject: x\n\nfour\r\nbare\rCR\n.\nand a NUL\0\r"
    relaying.messages[1] = FakeMessage(changed(mail("joe@example.org"), bare_newlines=True), content[:29], content[29:])
    assert relaying.one() == []
    assert server.problems == []
    assert server.received == [
        (
            b"MAIL FROM:<a@example.net>",
            [b"RCPT TO:<joe@example.org>"],
            b"Subject: x\r\n\r\nfour\r\nbare CR\r\n.\r\nand a NUL  \r\n",
        )
    ]


@pytest.mark.parametrize("false_end", FALSE_ENDS)
@pytest.mark.parametrize("kind", KINDS)
def test_nobody_finds_a_second_message(relaying: Relaying, kind: Kind, false_end: bytes) -> None:
    """In every split, whatever a server takes for the end of a message; it would find one if nothing was done."""
    content = false_end + b"text" + false_end + SMUGGLED + false_end
    envelope = changed(mail("joe@example.org"), bare_newlines=True)
    relaying.messages = {at: FakeMessage(envelope, content[:at], content[at:]) for at in range(len(content))}
    server = Lenient("PIPELINING")
    relaying.play(server, kind=kind, concurrency=1)
    outcomes = relaying.deliver(*[(location, (0,)) for location in relaying.messages])
    assert [outcome.results for outcome in outcomes] == [()] * len(relaying.messages)
    assert len(server.messages) == len(relaying.messages)
    assert all(message.count(b"smuggled") == 1 for message in server.messages)


def test_the_server_to_be_feared_finds_two_messages_where_nothing_is_done(relaying: Relaying) -> None:
    relaying.messages[1] = FakeMessage(mail("joe@example.org"), b"text\n.\n" + SMUGGLED + b"\n.\nQUIT\r\n")
    server = Lenient()
    relaying.play(server)
    relaying.one()
    assert [b"smuggled" in message for message in server.messages] == [False, True]


def test_a_message_that_requires_tls_is_not_relayed(relaying: Relaying) -> None:
    """Not even a connection is made; LMTP is final delivery."""
    envelope = changed(mail("joe@example.org"), require_tls=True)
    relaying.messages[1] = FakeMessage(envelope, BODY)
    hop = relaying.play(Strict())
    assert relaying.one() == [(5, "5.7.30")]
    assert hop.connections == 0
    play(relaying, "lmtp")
    assert relaying.one() == []


def test_a_header_beyond_ascii_behind_the_trace_fields(relaying: Relaying) -> None:
    """Of a large message the first piece is not the whole header."""
    envelope = mail("joe@example.org", smtputf8=True)
    relaying.messages = {
        1: FakeMessage(envelope, b"Received: x\r\n", "Subject: ü\r\n\r\nx\r\n".encode()),
        2: FakeMessage(envelope, b"Received: x\r\n", "\r\nü\r\n".encode()),
        3: FakeMessage(envelope, b"Received: x\r\nTo: y\r\n\r", "\nü\r\n".encode()),
        4: FakeMessage(envelope, b"Received: x\r\n", b"To: y", "\r\nX: ü".encode()),
    }
    play(relaying, "smtp", "SMTPUTF8")
    assert [relaying.one(location) for location in (1, 2, 3, 4)] == [[(5, "5.6.7")], [], [], [(5, "5.6.7")]]
