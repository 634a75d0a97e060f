"""The parameters of MAIL and RCPT."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mta.smtp import replies
from mta.smtp.parameters import MailParameters, ParameterError, parse_mail, parse_rcpt


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", MailParameters()),
        (b"SIZE=0", MailParameters(size=0)),
        (b"SIZE=1000", MailParameters(size=1000)),
        (b"size=" + b"9" * 20, MailParameters(size=10**20 - 1)),
        (b"BODY=7BIT", MailParameters()),
        (b"body=8bitMIME", MailParameters(eight_bit=True)),
        (b"SMTPUTF8", MailParameters(smtputf8=True)),
        (b"SIZE=10 BODY=8BITMIME smtputf8", MailParameters(10, eight_bit=True, smtputf8=True)),
        (b"SIZE=10\t  SMTPUTF8", MailParameters(10, smtputf8=True)),
    ],
)
def test_mail(data: bytes, expected: MailParameters) -> None:
    assert parse_mail(data) == expected


VALUE, UNKNOWN = replies.R501_PARAMETER_VALUE, replies.R555_PARAMETER_UNKNOWN


@pytest.mark.parametrize(
    ("data", "reply"),
    [
        (b"SIZE", VALUE),
        (b"SIZE=", VALUE),
        (b"SIZE=-1", VALUE),
        (b"SIZE=1e3", VALUE),
        (b"SIZE=1_000", VALUE),
        (b"SIZE=" + b"9" * 21, VALUE),
        ("SIZE=\uff11".encode(), VALUE),
        (b"SIZE=1 SIZE=1", VALUE),
        (b"SIZE=1 size=2", VALUE),
        (b"BODY", VALUE),
        (b"BODY=BINARYMIME", VALUE),
        (b"BODY=RABBIT", VALUE),
        (b"BODY=7BIT BODY=7BIT", VALUE),
        (b"SMTPUTF8=YES", VALUE),
        (b"SMTPUTF8 SMTPUTF8", VALUE),
        (b"=1", VALUE),
        (b"SIZE==1", VALUE),
        (b"SI_ZE=1", VALUE),
        (b"-SIZE=1", VALUE),
        (b"SIZE=\x01", VALUE),
        (b"RABBIT", UNKNOWN),
        (b"RABBIT=1", UNKNOWN),
        (b"SIZE=1 RABBIT", UNKNOWN),
        (b"AUTH=<>", UNKNOWN),
    ],
)
def test_mail_refused(data: bytes, reply: replies.Reply) -> None:
    with pytest.raises(ParameterError) as caught:
        parse_mail(data)
    assert caught.value.reply is reply
    assert str(caught.value)


def test_rcpt_knows_none_yet() -> None:
    parse_rcpt(b"")
    with pytest.raises(ParameterError) as caught:
        parse_rcpt(b"NOTIFY=NEVER")
    assert caught.value.reply is UNKNOWN


@given(st.binary(max_size=60))
def test_nothing_else_is_raised(data: bytes) -> None:
    with contextlib.suppress(ParameterError):
        parse_mail(data)
