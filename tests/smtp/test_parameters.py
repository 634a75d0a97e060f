"""The parameters of MAIL and RCPT."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mta.smtp import parameters, replies, xfer
from mta.smtp.parameters import MailParameters, ParameterError, RcptParameters, parse_mail, parse_rcpt

MAIL = frozenset((b"SIZE", b"BODY", b"SMTPUTF8", b"RET", b"ENVID", b"REQUIRETLS", b"PRDR"))
RCPT = frozenset((b"NOTIFY", b"ORCPT"))


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", MailParameters()),
        (b"SIZE=0", MailParameters(size=0)),
        (b"SIZE=1000", MailParameters(size=1000)),
        (b"size=" + b"9" * 20, MailParameters(size=10**20 - 1)),
        (b"BODY=7BIT", MailParameters()),
        (b"body=8bitMIME", MailParameters(eight_bit=True)),
        (b"BODY=BinaryMIME", MailParameters(eight_bit=True, binary=True)),
        (b"SMTPUTF8", MailParameters(smtputf8=True)),
        (b"SIZE=10 BODY=8BITMIME smtputf8", MailParameters(10, eight_bit=True, smtputf8=True)),
        (b"SIZE=10\t  SMTPUTF8", MailParameters(10, smtputf8=True)),
        (b"RET=FULL", MailParameters(ret="FULL")),
        (b"Ret=hdrs", MailParameters(ret="HDRS")),
        (b"envID=e+3Dmc2", MailParameters(envid=b"e=mc2")),
        (b"ENVID=two+20words", MailParameters(envid=b"two words")),
        (b"ENVID=" + b"A" * 100, MailParameters(envid=b"A" * 100)),
        (b"REQUIRETLS", MailParameters(require_tls=True)),
        (b"prdr", MailParameters(prdr=True)),
        (
            b"RET=HDRS ENVID=QQ SIZE=1 BODY=BINARYMIME SMTPUTF8 REQUIRETLS PRDR",
            MailParameters(1, True, True, True, "HDRS", b"QQ", True, True),
        ),
    ],
)
def test_mail(data: bytes, expected: MailParameters) -> None:
    assert parse_mail(data, MAIL) == expected


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
        (b"BODY=RABBIT", VALUE),
        (b"BODY=7BIT BODY=7BIT", VALUE),
        (b"BODY=7BIT BODY=BINARYMIME", VALUE),
        (b"SMTPUTF8=YES", VALUE),
        (b"SMTPUTF8 SMTPUTF8", VALUE),
        (b"=1", VALUE),
        (b"SIZE==1", VALUE),
        (b"SI_ZE=1", VALUE),
        (b"-SIZE=1", VALUE),
        (b"SIZE=\x01", VALUE),
        (b"SIZE=1\x0bSMTPUTF8", VALUE),
        (b"SIZE=1\rSMTPUTF8", VALUE),
        (b"SMTPUTF8\x00", VALUE),
        (b"RET", VALUE),
        (b"RET=", VALUE),
        (b"RET=ALL", VALUE),
        (b"RET=FULL,HDRS", VALUE),
        (b"RET=FULL RET=FULL", VALUE),
        (b"ENVID", VALUE),
        (b"ENVID=", VALUE),
        (b"ENVID=a=b", VALUE),
        (b"ENVID=a+3", VALUE),
        (b"ENVID=a+3d", VALUE),
        (b"ENVID=a+0D+0Ab", VALUE),
        (b"ENVID=+00", VALUE),
        ("ENVID=é".encode(), VALUE),
        (b"ENVID=" + b"A" * 101, VALUE),
        (b"REQUIRETLS=YES", VALUE),
        (b"REQUIRETLS REQUIRETLS", VALUE),
        (b"PRDR=1", VALUE),
        (b"RABBIT", UNKNOWN),
        (b"RABBIT=1", UNKNOWN),
        (b"SIZE=1 RABBIT", UNKNOWN),
        (b"AUTH=<>", UNKNOWN),
        (b"NOTIFY=NEVER", UNKNOWN),
        (b"BY=100;N", UNKNOWN),
    ],
)
def test_mail_refused(data: bytes, reply: replies.Reply) -> None:
    with pytest.raises(ParameterError) as caught:
        parse_mail(data, MAIL)
    assert caught.value.reply is reply
    assert str(caught.value)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", RcptParameters()),
        (b"NOTIFY=NEVER", RcptParameters("NEVER")),
        (b"notify=never", RcptParameters("NEVER")),
        (b"NOTIFY=SUCCESS", RcptParameters("SUCCESS")),
        (b"Notify=delay,Failure,SUCCESS", RcptParameters("DELAY,FAILURE,SUCCESS")),
        (b"ORCPT=rfc822;joe@example.com", RcptParameters(orcpt=b"rfc822;joe@example.com")),
        (b"ORcpt=Rfc822;e+3Dmc2@example.com Notify=Never", RcptParameters("NEVER", b"rfc822;e=mc2@example.com")),
        (b"ORCPT=x400;/C+3Dde/", RcptParameters(orcpt=b"x400;/C=de/")),
        (b"ORCPT=utf-8;\\x{E9}@example.com", RcptParameters(orcpt="utf-8;é@example.com".encode())),
        (b"ORCPT=rfc822;" + b"a" * 493, RcptParameters(orcpt=b"rfc822;" + b"a" * 493)),
    ],
)
@pytest.mark.parametrize("smtputf8", [False, True])
def test_rcpt(data: bytes, expected: RcptParameters, smtputf8: bool) -> None:
    assert parse_rcpt(data, RCPT, smtputf8=smtputf8) == expected


def test_address_in_utf_8_needs_smtputf8() -> None:
    data = "ORCPT=utf-8;é@example.com".encode()
    assert parse_rcpt(data, RCPT, smtputf8=True) == RcptParameters(orcpt="utf-8;é@example.com".encode())
    with pytest.raises(ParameterError) as caught:
        parse_rcpt(data, RCPT, smtputf8=False)
    assert caught.value.reply is VALUE


@pytest.mark.parametrize(
    ("data", "reply"),
    [
        (b"NOTIFY", VALUE),
        (b"NOTIFY=", VALUE),
        (b"NOTIFY=,", VALUE),
        (b"NOTIFY=SUCCESS,", VALUE),
        (b"NOTIFY=ALWAYS", VALUE),
        (b"NOTIFY=NEVER,NEVER", VALUE),
        (b"NOTIFY=NEVER,SUCCESS", VALUE),
        (b"NOTIFY=DELAY,NEVER", VALUE),
        (b"NOTIFY=SUCCESS,success", VALUE),
        (b"NOTIFY=SUCCESS NOTIFY=DELAY", VALUE),
        (b"ORCPT", VALUE),
        (b"ORCPT=", VALUE),
        (b"ORCPT=joe@example.com", VALUE),
        (b"ORCPT=;joe@example.com", VALUE),
        (b"ORCPT=rfc822;", VALUE),
        (b"ORCPT=rfc822;a=b", VALUE),
        (b"ORCPT=rfc822;a+0D+0Ab", VALUE),
        ("ORCPT=rfc822;é@example.com".encode(), VALUE),
        (b"ORCPT=utf-8;a+3Db", VALUE),
        (b"ORCPT=utf-8;\\x{0A}", VALUE),
        (b"ORCPT=utf-8;\xff", VALUE),
        (b"ORCPT=rfc822;" + b"a" * 494, VALUE),
        (b"ORCPT=rfc822;a ORCPT=rfc822;a", VALUE),
        (b"SIZE=1", UNKNOWN),
        (b"RRVS=2014-04-03T23:01:00Z", UNKNOWN),
    ],
)
def test_rcpt_refused(data: bytes, reply: replies.Reply) -> None:
    with pytest.raises(ParameterError) as caught:
        parse_rcpt(data, RCPT, smtputf8=True)
    assert caught.value.reply is reply
    assert str(caught.value)


@pytest.mark.parametrize(
    "data",
    [b"SIZE=1", b"BODY=7BIT", b"SMTPUTF8", b"RET=FULL", b"ENVID=1", b"REQUIRETLS", b"PRDR", b"SIZE=rabbit", b"PRDR=1"],
)
def test_mail_parameter_that_is_not_offered(data: bytes) -> None:
    keyword = data.partition(b"=")[0]
    with pytest.raises(ParameterError) as caught:
        parse_mail(data, MAIL - {keyword})
    assert caught.value.reply is UNKNOWN


@pytest.mark.parametrize("data", [b"NOTIFY=NEVER", b"ORCPT=rfc822;joe@example.com"])
def test_rcpt_parameter_that_is_not_offered(data: bytes) -> None:
    with pytest.raises(ParameterError) as caught:
        parse_rcpt(data, frozenset(), smtputf8=False)
    assert caught.value.reply is UNKNOWN


def test_what_is_offered_but_has_no_row() -> None:
    with pytest.raises(ParameterError) as caught:
        parse_mail(b"AUTH=<>", MAIL | {b"AUTH"})
    assert caught.value.reply is UNKNOWN


def test_all_rows_are_tested() -> None:
    assert parameters.MAIL.keys() == MAIL | xfer.MAIL_PARAMETERS  # these in test_xfer.py
    assert parameters.RCPT.keys() == parameters.RCPT_SMTPUTF8.keys() == RCPT | xfer.RCPT_PARAMETERS


WORDS = st.sampled_from(
    [b"SIZE", b"BODY", b"RET", b"ENVID", b"NOTIFY", b"ORCPT", b"=", b";", b",", b" ", b"utf-8;", b"rfc822;", b"\\x{"]
)


@given(st.lists(WORDS | st.binary(max_size=10), max_size=12).map(b"".join), st.booleans())
def test_nothing_else_is_raised(data: bytes, smtputf8: bool) -> None:
    with contextlib.suppress(ParameterError):
        parse_mail(data, MAIL)
    with contextlib.suppress(ParameterError):
        parse_rcpt(data, RCPT, smtputf8=smtputf8)


@given(st.binary(max_size=60), st.booleans())
def test_no_line_end_comes_through(value: bytes, smtputf8: bool) -> None:
    with contextlib.suppress(ParameterError):
        taken = parse_rcpt(b"ORCPT=rfc822;" + value, RCPT, smtputf8=smtputf8)
        assert not set(taken.orcpt) & set(b"\r\n\0\x7f")
    with contextlib.suppress(ParameterError):
        assert not set(parse_mail(b"ENVID=" + value, MAIL).envid) & set(b"\r\n\0\x7f")
