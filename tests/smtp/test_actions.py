"""What an access table's values mean, and that nothing of theirs breaks a reply."""

import re
from typing import get_args

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mta.smtp import replies
from mta.smtp.actions import TEXT_BYTES, BadAction, Decision, Stage, parse_action
from mta.smtp.limits import REPLY_LINE_BYTES
from mta.smtp.replies import Reply

STAGES: tuple[Stage, ...] = get_args(Stage)


def wire(value: bytes) -> bytes:
    """What a client is told by a table about clients."""
    action = parse_action(value, "client")
    assert isinstance(action, Reply)
    return action.wire


@pytest.mark.parametrize("value", [b"OK", b"ok", b" Ok\t"])
def test_ok(value: bytes) -> None:
    assert parse_action(value, "client") is Decision.OK


@pytest.mark.parametrize("value", [b"DUNNO", b"dunno", b"dUnno "])
def test_dunno(value: bytes) -> None:
    assert parse_action(value, "client") is Decision.DUNNO


@pytest.mark.parametrize("stage", STAGES)
def test_without_words_of_its_own(stage: Stage) -> None:
    denied, put_off = parse_action(b"REJECT", stage), parse_action(b"defer", stage)
    assert denied is getattr(replies, f"R550_{stage.upper()}_ACCESS")
    assert put_off is getattr(replies, f"R450_{stage.upper()}_ACCESS")
    assert parse_action(b"550", stage) is denied
    assert parse_action(b"450 ", stage) is put_off


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (b"REJECT no", b"550 5.7.1 no [client-access]\r\n"),
        (b"reject\tgo  away", b"550 5.7.1 go  away [client-access]\r\n"),
        (b"DEFER later", b"450 4.7.1 later [client-access]\r\n"),
        (b"554 5.7.9 go away", b"554 5.7.9 go away [client-access]\r\n"),
        (b"451  4.7.0   later", b"451 4.7.0 later [client-access]\r\n"),
        (b"554 go away", b"554 5.7.1 go away [client-access]\r\n"),
        (b"REJECT 5.7.25 no name", b"550 5.7.25 no name [client-access]\r\n"),
        (b"553 5.1.8", b"553 5.1.8 Your address may not send mail here [client-access]\r\n"),
        (b"452", b"452 4.7.1 Your address is put off, try again later [client-access]\r\n"),
        (b"550 5.7", b"550 5.7.1 5.7 [client-access]\r\n"),
        (b"550 5.7.1x", b"550 5.7.1 5.7.1x [client-access]\r\n"),
        (b"421 4.7.0 enough", b"421 4.7.0 enough [client-access]\r\n"),
    ],
)
def test_words(value: bytes, said: bytes) -> None:
    assert wire(value) == said


@pytest.mark.parametrize(
    "value",
    [
        *(b"", b"  ", b"PERMIT", b"REJECTED", b"HOLD", b"FILTER smtp:x", b"DISCARD", b"OK then", b"DUNNO ever"),
        *(
            b"250",
            b"250 fine",
            b"350 go",
            b"560 x",
            b"55 x",
            b"5500 x",
            b"1234567",
            b"550-5.7.1 x",
            b"-550",
            b"reject: x",
        ),
        *(b"550 4.7.1 x", b"450 5.7.1 x", b"DEFER 5.7.1 x", b"REJECT 4.7.1 x"),
        *(b"REJECT a\r\n250 ok", b"REJECT \x00", b"REJECT \x7f", "REJECT nö".encode(), b"REJECT \x1b[2J", b"OK\n"),
        b"REJECT " + b"x" * (TEXT_BYTES + 1),
    ],
)
def test_what_is_no_action(value: bytes) -> None:
    with pytest.raises(BadAction) as caught:
        parse_action(value, "client")
    assert str(caught.value).isprintable()


def test_the_longest_text() -> None:
    assert len(wire(b"554 5.111.111 " + b"x" * TEXT_BYTES)) <= REPLY_LINE_BYTES


VALUES = st.one_of(
    st.binary(max_size=600),
    st.builds(
        b" ".join,
        st.lists(
            st.sampled_from(
                [b"OK", b"reject", b"DEFER", b"dunno", b"550", b"450", b"5.7.1", b"4.7.1", b"x", b"", b"\r\n"]
            ),
            max_size=5,
        ),
    ),
    st.from_regex(rb"[45][0-9]{2} [45]\.[0-9]{1,4}\.[0-9]{1,4}.{0,500}"),
)


@given(VALUES, st.sampled_from(STAGES))
@example(b"550 5.7.1 " + b"x" * 500, "recipient")
def test_a_reply_is_a_reply(value: bytes, stage: Stage) -> None:
    """One line (RFC 5321 section 4.2), printable, with two codes that agree, a text, and the reason of its stage."""
    try:
        action = parse_action(value, stage)
    except BadAction:
        return
    if isinstance(action, Decision):
        assert value.strip().upper() == action.name.encode()
        return
    match = re.fullmatch(rb"([45][0-5][0-9]) ([45])\.\d{1,3}\.\d{1,3} [!-~][ -~]* \[([a-z]+)-access\]\r\n", action.wire)
    assert match is not None
    assert int(match[1]) == action.code
    assert match[1][:1] == match[2]
    assert match[3].decode() == stage == action.reason.removesuffix("-access")
    assert len(action.wire) <= REPLY_LINE_BYTES
