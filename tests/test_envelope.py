"""Envelopes as the spool stores them: what is written is what is read, also by a newer version."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mta import envelope as envelopes
from mta.envelope import Dsn, Envelope

# As they were written before there were `dsn`, `binary`, `bare_newlines` and `require_tls`.
OLD = (
    b"\x9b\xc4\ra@example.net\x92\xc4\x0fjoe@example.org\xc4\x0fjim@example.org\xcbA\xd6Z\x0b\xc0\x00\x00\x00"
    b"\xa9192.0.2.1\xc4\x0emx.example.net\xa6ESMTPS\xa2s1\xc3\xc2M\xc4\rReceived: x\r\n"
)
OLD_AND_SHORT = (
    b"\x9b\xc4\x00\x91\xc4\x03joe\xcb\x00\x00\x00\x00\x00\x00\x00\x00\xa0\xc4\x00\xa5ESMTP\xa0\xc2\xc2\x00\xc4\x00"
)
FULL = Envelope(
    b"a@example.net",
    (b"joe@example.org", "jürgen@example.org".encode()),
    received_wall=1.5e9,
    client="2001:db8::1",
    helo=b"\xff\x00",
    protocol="UTF8SMTPS",
    session="s1",
    eight_bit=True,
    smtputf8=True,
    queue_id=1 << 63,
    trace=b"Received: x\r\n",
    dsn=Dsn("HDRS", b"id 1", ("NEVER", "SUCCESS,DELAY"), (b"rfc822;joe@example.com", "utf-8;ü@example.com".encode())),
    binary=True,
    bare_newlines=True,
    require_tls=True,
    listener="127.0.0.1:25",
    via=("", "archive"),
)
ADDRESSES = st.binary(max_size=30)


def test_what_an_older_version_wrote() -> None:
    assert envelopes.decode(OLD) == Envelope(
        b"a@example.net",
        (b"joe@example.org", b"jim@example.org"),
        1.5e9,
        "192.0.2.1",
        b"mx.example.net",
        "ESMTPS",
        "s1",
        eight_bit=True,
        queue_id=77,
        trace=b"Received: x\r\n",
    )
    short = envelopes.decode(OLD_AND_SHORT)
    assert short == Envelope(b"", (b"joe",), 0.0)
    assert (short.dsn, short.binary, short.bare_newlines, short.require_tls) == (None, False, False, False)


def test_every_field_comes_back() -> None:
    default = Envelope(b"", (), 0.0)
    assert [name for name in FULL.__struct_fields__ if getattr(FULL, name) == getattr(default, name)] == []
    assert envelopes.decode(envelopes.encode(FULL)) == FULL


@given(
    recipients=st.lists(ADDRESSES, max_size=4),
    notify=st.sampled_from(["", "NEVER", "SUCCESS,FAILURE"]),
    orcpt=ADDRESSES,
    flags=st.tuples(st.booleans(), st.booleans(), st.booleans()),
)
def test_any_envelope_comes_back(
    recipients: list[bytes], notify: str, orcpt: bytes, flags: tuple[bool, bool, bool]
) -> None:
    count = len(recipients)
    dsn = Dsn("", orcpt, (notify,) * count, (orcpt,) * count)
    binary, bare_newlines, require_tls = flags
    made = Envelope(
        b"", tuple(recipients), 1.0, dsn=dsn, binary=binary, bare_newlines=bare_newlines, require_tls=require_tls
    )
    assert envelopes.decode(envelopes.encode(made)) == made


def test_a_field_of_a_newer_version_is_passed_over() -> None:
    fields = msgspec.msgpack.decode(envelopes.encode(FULL))
    assert envelopes.decode(msgspec.msgpack.encode([*fields, "news"])) == FULL


@pytest.mark.parametrize("data", [b"", OLD[:-1], b"\x9b", b"\x90", b"\xc0", OLD[1:], OLD_AND_SHORT + b"x"])
def test_what_is_no_envelope(data: bytes) -> None:
    with pytest.raises(ValueError, match="not an envelope"):
        envelopes.decode(data)
