"""Values of aliases."""

import pytest

from mta.smtp.address import AddressError
from mta.tables.targets import fault, words


def test_words() -> None:
    assert list(words(b' a@x , "b, c"@y,\n"\\""@z ')) == [b"a@x", b'"b, c"@y', b'"\\""@z']
    with pytest.raises(AddressError):
        list(words(b'a@x "b'))


@pytest.mark.parametrize("value", [b"a@x.example", b"@y.example", "jörg@x.example, b@bücher.example".encode()])
def test_right(value: bytes) -> None:
    assert fault(value) is None


@pytest.mark.parametrize("value", [b"", b"joe", b"@", b"a@x.example @b..c", b"\xff@x.example"])
def test_wrong(value: bytes) -> None:
    assert "is no list of addresses: " in (fault(value) or "")
