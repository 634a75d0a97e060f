"""The session: one reply a command, the table of states, and the end of data."""

import random
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mta.smtp.state import LMTP, SMTP, State
from tests.support import memory
from tests.support.memory import MemoryConnection

REPLY = re.compile(rb"(?:(\d{3})-[ -~]*\r\n(?:\1-[ -~]*\r\n)*\1 [ -~]*\r\n|(\d{3}) [ -~]*\r\n)")
PLENTY = 1_000_000


def connect(
    *, message_bytes: int = 4096, errors: int = PLENTY, bare_newlines: str = "refuse", protocol: str = "smtp"
) -> MemoryConnection:
    """A connection that has been greeted; by default it puts up with any number of errors, and with early talkers."""
    limits = {"message_bytes": message_bytes, "errors": errors, "soft_errors": errors, "junk_commands": PLENTY}
    listen = {"bare_newlines": bare_newlines, "protocol": protocol, "tls": "none", "refuse_early": []}
    connection = MemoryConnection(memory.door({**listen, "limits": limits}))
    connection.output = b""
    return connection


def codes(output: bytes) -> list[int]:
    """The codes of the replies in some output, which has to consist of whole replies."""
    found, position = [], 0
    while position < len(output):
        match = REPLY.match(output, position)
        assert match is not None, f"no reply: {output[position : position + 80]!r}"
        found.append(int(match[1] or match[2]))
        position = match.end()
    return found


# The table of states ------------------------------------------------------------------------------------------------

WAY_TO = {
    State.CONNECTED: b"",
    State.READY: b"EHLO client.example.com\r\n",
    State.MAIL: b"EHLO client.example.com\r\nMAIL FROM:<joe@example.com>\r\n",
    State.RCPT: b"EHLO client.example.com\r\nMAIL FROM:<joe@example.com>\r\nRCPT TO:<jane@example.org>\r\n",
    State.BDAT: (
        b"EHLO client.example.com\r\nMAIL FROM:<joe@example.com>\r\nRCPT TO:<jane@example.org>\r\nBDAT 3\r\na\r\n"
    ),
}
LINES = {
    b"EHLO": b"EHLO client.example.com",
    b"HELO": b"HELO client.example.com",
    b"MAIL": b"MAIL FROM:<jim@example.com>",
    b"RCPT": b"RCPT TO:<jack@example.org>",
    b"VRFY": b"VRFY jane",
    b"BDAT": b"BDAT 0",
    b"XCLIENT": b"XCLIENT ADDR=192.0.2.9",
    b"XFORWARD": b"XFORWARD ADDR=192.0.2.9",
    b"LHLO": b"LHLO client.example.com",
}
C, R, M, T, B, D, X = State.CONNECTED, State.READY, State.MAIL, State.RCPT, State.BDAT, State.DATA, State.CLOSED
# What RFC 5321 section 4.1.4 and section 4.3.2 want, for BDAT RFC 3030 section 2: for each command, the code and the
# next state in C, R, M, T and B.
EXPECTED = {
    b"EHLO": [(250, R), (250, R), (250, R), (250, R), (250, R)],
    b"HELO": [(250, R), (250, R), (250, R), (250, R), (250, R)],
    b"MAIL": [(503, C), (250, M), (503, M), (503, T), (503, B)],
    b"RCPT": [(503, C), (503, R), (250, T), (250, T), (503, B)],
    b"DATA": [(503, C), (503, R), (503, M), (354, D), (503, B)],
    b"BDAT": [(503, C), (503, R), (503, M), (250, B), (250, B)],
    b"RSET": [(250, C), (250, R), (250, R), (250, R), (250, R)],
    b"NOOP": [(250, C), (250, R), (250, M), (250, T), (250, B)],
    b"HELP": [(214, C), (214, R), (214, M), (214, T), (214, B)],
    b"VRFY": [(252, C), (252, R), (252, M), (252, T), (252, B)],
    b"QUIT": [(221, X), (221, X), (221, X), (221, X), (221, X)],
    b"EXPN": [(502, C), (502, R), (502, M), (502, T), (502, B)],
    b"STARTTLS": [(503, C), (502, R), (503, M), (503, T), (503, B)],
    b"XCLIENT": [(550, C), (550, R), (503, M), (503, T), (503, B)],
    b"XFORWARD": [(550, C), (550, R), (503, M), (503, T), (503, B)],
    b"LHLO": [(500, C), (500, R), (500, M), (500, T), (500, B)],
    b"GET": [(502, X), (502, X), (502, X), (502, X), (502, X)],
    b"XYZZY": [(500, C), (500, R), (500, M), (500, T), (500, B)],
    b"": [(500, C), (500, R), (500, M), (500, T), (500, B)],
}
# The same for LMTP, where it differs (RFC 2033 section 4.1).
EXPECTED_LMTP = {
    **EXPECTED,
    b"EHLO": [(503, C), (503, R), (503, M), (503, T), (503, B)],
    b"HELO": [(503, C), (503, R), (503, M), (503, T), (503, B)],
    b"LHLO": [(250, R), (250, R), (250, R), (250, R), (250, R)],
}
STEPS = [
    pytest.param(protocol, verb, state, code, after, id=f"{protocol}-{state.name}-{verb.decode() or 'empty'}")
    for protocol, table in (("smtp", EXPECTED), ("lmtp", EXPECTED_LMTP))
    for verb, row in table.items()
    for state, (code, after) in zip(WAY_TO, row, strict=True)
]


@pytest.mark.parametrize(("protocol", "verb", "state", "code", "after"), STEPS)
def test_every_command_in_every_state(protocol: str, verb: bytes, state: State, code: int, after: State) -> None:
    connection = connect(protocol=protocol)
    connection.receive(WAY_TO[state].replace(b"EHLO", b"LHLO" if protocol == "lmtp" else b"EHLO"))
    session = connection.session
    assert session.state is state
    transaction = session.transaction
    said = connection.receive(LINES.get(verb, verb) + b"\r\n")
    assert codes(said) == [code]
    assert session.state is after
    if code >= 500 and after is not X:
        assert session.transaction is transaction, "a refused command changes nothing"
    if after in (C, R, X):
        assert session.transaction is None
    if after is not D and after is not X:
        assert codes(connection.receive(b"NOOP\r\n")) == [250]


def test_the_table_has_no_command_that_is_not_walked() -> None:
    tables = [table for rules in (SMTP, LMTP) for table in (rules.transitions, rules.out_of_order)]
    named = {verb for table in tables for row in table.values() for verb in row}
    assert named <= EXPECTED.keys()


# Replies --------------------------------------------------------------------------------------------------------------

WORDS = st.sampled_from(
    [b"MAIL", b"FROM:", b"TO:", b"<", b">", b"@", b"RCPT", b" ", b"\t", b"a", b'"', b"\xff", b"\x00", b"="]
)
OTHERS = [b"RSET", b"NOOP", b"HELP", b"XYZZY", b"EXPN x", b"MAIL FROM:<>", b"RCPT TO:<a@b>"]
COMMANDS = st.one_of(
    st.sampled_from([*LINES.values(), *OTHERS]),
    st.lists(WORDS, max_size=8).map(b"".join),
    st.binary(max_size=30).map(lambda data: b"RCPT " + data),
).map(lambda line: line.replace(b"\r", b"").replace(b"\n", b""))
CONTENT = st.binary(max_size=30).map(lambda data: b"x" + data.replace(b"\n", b"") + b"\r\n.\r\n")


def split(data: bytes, cuts: list[int]) -> list[bytes]:
    """`data` in pieces, cut at the given places (taken modulo its length)."""
    places = sorted({cut % (len(data) + 1) for cut in cuts})
    return [data[start:end] for start, end in zip([0, *places], [*places, len(data)], strict=True)]


CUTS = st.lists(st.integers(0, 10_000), max_size=12)


@given(lines=st.lists(COMMANDS, max_size=12), content=CONTENT, cuts=CUTS)
def test_one_reply_a_command(lines: list[bytes], content: bytes, cuts: list[int]) -> None:
    """Each line gets one reply, the content another; and how the stream was cut makes no difference."""
    stream, expected = b"", 0
    guide = connect()
    for line in lines:
        piece = line + b"\r\n"
        assert len(codes(guide.receive(piece))) == 1, line
        expected += 1
        stream += piece
    for line in (b"RSET", LINES[b"EHLO"], LINES[b"MAIL"], LINES[b"RCPT"], b"DATA"):
        stream += line + b"\r\n"
    stream += content
    connection = connect()
    for piece in split(stream, cuts):
        connection.receive(piece)
    assert len(codes(connection.output)) == expected + 6
    whole = connect()
    whole.receive(stream)
    assert whole.output == connection.output
    assert whole.accepted == connection.accepted


# The end of data ------------------------------------------------------------------------------------------------------

ENDINGS = [b"\r", b"\n", b".", b"\r\n", b"\r\n.", b".\r\n", b"\n.\n", b"\r.\r", b"x", b"\0", b"QUIT\r\n"]
NEARLY_AN_END = st.lists(st.sampled_from(ENDINGS), max_size=14).map(b"".join)


def into_data(connection: MemoryConnection) -> None:
    """Bring a connection to where content is expected."""
    said = connection.receive(WAY_TO[State.RCPT] + b"DATA\r\n")
    assert codes(said)[-1] == 354
    connection.output = b""


def content_of(stream: bytes) -> tuple[bytes, bytes] | None:
    """The content in a stream and what follows its end; None without an end. As RFC 5321 section 4.5.2 says it."""
    raw, end, rest = (b"\r\n" + stream).partition(b"\r\n.\r\n")
    if not end:
        return None
    return (raw + b"\r\n").replace(b"\r\n.", b"\r\n")[2:], rest


@given(stream=NEARLY_AN_END, cuts=CUTS, message_bytes=st.sampled_from([1, 5, 4096]))
def test_only_the_real_end_ends(stream: bytes, cuts: list[int], message_bytes: int) -> None:
    connection = connect(message_bytes=message_bytes, bare_newlines="keep")
    into_data(connection)
    for piece in split(stream, cuts):
        connection.receive(piece)
    found = content_of(stream)
    if found is None:
        assert connection.output == b""
        assert connection.session.state is State.DATA
        found = content_of(stream + b"\r\n.\r\n")
        assert found is not None
        connection.receive(b"\r\n.\r\n")
    content, _ = found
    if len(content) > message_bytes:
        assert codes(connection.output)[0] == 552
        assert connection.accepted == []
    else:
        assert codes(connection.output)[0] == 250
        assert connection.accepted[0].content == content


# Garbage --------------------------------------------------------------------------------------------------------------


CLEAN = {214, 221, 250, 252, 354, 421, 452, 500, 501, 502, 503, 550, 552, 553, 555}


def garbage(rng: random.Random) -> bytes:
    """A stream that no client would send: random bytes, with pieces of the protocol among them."""
    pieces = [
        *WAY_TO.values(),
        b"DATA\r\n",
        b".\r\n",
        b"\r\n.\r\n",
        b"\n",
        b"\r",
        b"QUIT\r\n",
        b"RSET\r\n",
        b"MAIL FROM:<",
        b"BDAT 10\r\n",
        b"BDAT 3 LAST\r\n",
    ]
    stream = b""
    for _ in range(rng.randrange(1, 20)):
        if rng.random() < 0.5:
            stream += rng.choice(pieces)
        else:
            stream += rng.randbytes(rng.choice([1, 3, 30, 3000]))
    return stream


def test_a_thousand_random_streams() -> None:
    """All end in clean errors: whole replies, known codes, and a session that goes on or has said that it will not."""
    rng = random.Random(5321)
    ended = 0
    for _ in range(1000):
        connection = connect(errors=20)
        for piece in split(garbage(rng), [rng.randrange(100_000) for _ in range(rng.randrange(10))]):
            connection.receive(piece)
        if connection.closed:
            ended += 1
            assert codes(connection.output)[-1] in (221, 421, 501, 502)
            continue
        connection.receive(b"\r\n.\r\n" + b"\r\n" * 5)  # the end of data, or of a chunk
        if not connection.closed:
            connection.receive(b"RSET\r\n")
            assert codes(connection.output)[-1] in (250, 421)
        assert set(codes(connection.output)) <= CLEAN
    assert 0 < ended < 1000
