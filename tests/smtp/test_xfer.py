"""The parameters that go with a queue that is handed over."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mta.smtp import parameters, xfer
from mta.smtp.parameters import ParameterError
from mta.spool import queueid

NOW = 1_800_000_000.0
KNOWN = frozenset((b"SIZE",)) | xfer.MAIL_PARAMETERS


@given(st.integers(1, 253402300799000).map(lambda number: number / 1000), st.integers(1, (1 << 63) - 1))
def test_there_and_back(arrived_wall: float, location: int) -> None:
    line = xfer.mail_parameters(arrived_wall, queueid.text(location))
    found = parameters.parse_mail(b" SIZE=7" + line, KNOWN)
    assert (found.arrived_wall, found.handed_id) == (arrived_wall, queueid.text(location))


@given(st.one_of(st.binary(max_size=30), st.from_regex(rb"[0-9a-f.]{1,20}\n?")))
def test_any_bytes(value: bytes) -> None:
    """Nothing comes through that could not stand in a log line, or that is no time."""
    with suppress(ValueError):
        assert 0 < xfer.parse_arrived(value) < 1e12
    with suppress(ValueError):
        assert set(xfer.parse_queue_id(value)) <= set("0123456789abcdef")


@pytest.mark.parametrize(
    "words",
    [
        b"XARRIVED=1",
        b"XQUEUEID=1",
        b"XARRIVED XQUEUEID=1",
        b"XARRIVED=1 XQUEUEID",
        b"XARRIVED=0.000 XQUEUEID=1",
        b"XARRIVED=1.2345 XQUEUEID=1",
        b"XARRIVED=nan XQUEUEID=1",
        b"XARRIVED=1e9 XQUEUEID=1",
        b"XARRIVED=1234567890123 XQUEUEID=1",
        b"XARRIVED=1 XQUEUEID=01",
        b"XARRIVED=1 XQUEUEID=A",
        b"XARRIVED=1 XQUEUEID=12345678901234567",
        b"XARRIVED=1 XARRIVED=1 XQUEUEID=1",
    ],
)
def test_bad_parameters(words: bytes) -> None:
    with pytest.raises(ParameterError) as caught:
        parameters.parse_mail(b" " + words, KNOWN)
    assert caught.value.reply.code == 501


@pytest.mark.parametrize("words", [b"XVIA", b"XVIA=", b"XVIA=a/b", b"XVIA=&a", b"XVIA=(drain)", b"XVIA=" + b"a" * 65])
def test_bad_transports(words: bytes) -> None:
    with pytest.raises(ParameterError) as caught:
        parameters.parse_rcpt(words, xfer.RCPT_PARAMETERS, smtputf8=False)
    assert caught.value.reply.code == 501


def test_transport_there_and_back() -> None:
    for via in ("store", "A-1_b", "x" * 64):
        line = xfer.rcpt_parameters(via)
        assert parameters.parse_rcpt(line, xfer.RCPT_PARAMETERS, smtputf8=False).via == via
    assert xfer.rcpt_parameters("") == b""


def test_parameters_that_are_not_offered() -> None:
    with pytest.raises(ParameterError) as caught:
        parameters.parse_mail(b" XARRIVED=1 XQUEUEID=1", frozenset((b"SIZE",)))
    assert caught.value.reply.code == 555


@pytest.mark.parametrize(
    ("arrived_wall", "kept_wall"),
    [(NOW - 50.0, NOW - 50.0), (NOW - 500.0, NOW - 100.0), (NOW + 1.0, NOW), (1.0, NOW - 100.0), (NOW, NOW)],
)
def test_ages_are_bounded(arrived_wall: float, kept_wall: float) -> None:
    assert xfer.kept_arrival(arrived_wall, NOW, 100.0) == kept_wall
