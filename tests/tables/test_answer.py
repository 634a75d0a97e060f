"""Several values as one, and words of failures."""

import pytest

from mta.errors import TableDown
from mta.tables.answer import SHOWN_CHARACTERS, VALUE_BYTES, VALUES, checked, joined, without_secret


@pytest.mark.parametrize(
    ("values", "value"),
    [
        ([], None),
        ([b""], b""),
        ([b"", b""], b""),
        ([b"a"], b"a"),
        ([b"a", b"", b"b, c"], b"a,b, c"),
        ([b"x"] * VALUES, b",".join([b"x"] * VALUES)),
        ([b"x" * VALUE_BYTES], b"x" * VALUE_BYTES),
    ],
)
def test_joined(values: list[bytes], value: bytes | None) -> None:
    assert joined(values) == value


@pytest.mark.parametrize(
    ("values", "reason"),
    [([b""] * (VALUES + 1), "more than 1000 values"), ([b"x" * (VALUE_BYTES - 1), b"x"], "more than 65536 bytes")],
)
def test_too_much(values: list[bytes], reason: str) -> None:
    with pytest.raises(TableDown, match=reason):
        joined(values)


def test_a_value_of_its_own() -> None:
    assert checked(b"x" * VALUE_BYTES) == b"x" * VALUE_BYTES
    with pytest.raises(TableDown, match="a value of more than 65536 bytes") as caught:
        checked(b"x" * (VALUE_BYTES + 1))
    assert caught.value.of_key


def test_words() -> None:
    assert without_secret(ValueError("a  b\n\tsecret c"), "secret") == "a b *** c"
    assert without_secret("a b", "") == "a b"
    assert without_secret("x" * 1000, "y") == "x" * SHOWN_CHARACTERS
