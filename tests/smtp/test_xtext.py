"""xtext and the encodings of addresses of type utf-8."""

import contextlib
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mta.smtp import xtext

PRINTABLE = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=80).map(str.encode)
ADDRESS = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=80).map(str.encode)


@pytest.mark.parametrize(
    ("plain", "coded"),
    [
        (b"", b""),
        (b"QQ314159", b"QQ314159"),
        (b"e=mc2", b"e+3Dmc2"),
        (b"a+b", b"a+2Bb"),
        (b"two words", b"two+20words"),
        (b'"two words"@example.com', b'"two+20words"@example.com'),
        (b"back\\slash~!", b"back\\slash~!"),
    ],
)
def test_xtext(plain: bytes, coded: bytes) -> None:
    assert xtext.encode(plain) == coded
    assert xtext.decode(coded, 100) == plain


def test_encode_takes_any_byte() -> None:
    assert xtext.encode(b"\x00\r\n\x7f\xff") == b"+00+0D+0A+7F+FF"


@pytest.mark.parametrize(
    "data",
    [
        b"a b",
        b"a=b",
        b"a+",
        b"a+2",
        b"a+2b",  # upper case digits, says RFC 3461 section 4
        b"+GG",
        b"+-1",
        b"+ 1",
        b"++2B",
        b"+0D+0A",
        b"+00",
        b"+09",
        b"+7F",
        b"+C3+A9",
        b"\x7f",
        b"a\r\n",
        "é".encode(),
    ],
)
def test_no_xtext(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        xtext.decode(data, 100)


def test_limit_is_of_the_encoded_form() -> None:
    assert xtext.decode(b"+41" * 33 + b"A", 100) == b"A" * 34
    with pytest.raises(ValueError, match="too long"):
        xtext.decode(b"+41" * 33 + b"AB", 100)


@given(PRINTABLE)
def test_xtext_comes_back(plain: bytes) -> None:
    assert xtext.decode(xtext.encode(plain), 1000) == plain


@given(st.binary(max_size=80))
def test_xtext_of_anything_is_a_parameter_value(data: bytes) -> None:
    assert re.fullmatch(rb"[!-<>-~]*", xtext.encode(data))


@given(st.text("+=AF09af ~\r\n\0", max_size=30).map(str.encode))
def test_what_decodes_is_printable(data: bytes) -> None:
    with contextlib.suppress(ValueError):
        assert re.fullmatch(rb"[ -~]*", xtext.decode(data, 100))


@pytest.mark.parametrize(
    ("address", "seven_bit", "eight_bit"),
    [
        ("joe@example.com", r"joe@example.com", "joe@example.com"),
        ("e=mc2@ドメイン.jp", r"e\x{3D}mc2@\x{30C9}\x{30E1}\x{30A4}\x{30F3}.jp", r"e\x{3D}mc2@ドメイン.jp"),
        ("a+b\\ c", r"a\x{2B}b\x{5C}\x{20}c", r"a\x{2B}b\x{5C}\x{20}c"),
        ("é", r"\x{E9}", "é"),
        ("Ž\ud7ff\ue000", r"\x{17D}\x{D7FF}\x{E000}", "Ž\ud7ff\ue000"),
        ("💩\U0010ffff", r"\x{1F4A9}\x{10FFFF}", "💩\U0010ffff"),
    ],
)
def test_address(address: str, seven_bit: str, eight_bit: str) -> None:
    plain = address.encode()
    assert xtext.encode_address(plain, smtputf8=False) == seven_bit.encode()
    assert xtext.encode_address(plain, smtputf8=True) == eight_bit.encode()
    for smtputf8 in (False, True):
        assert xtext.decode_address(seven_bit.encode(), 500, smtputf8=smtputf8) == plain
    assert xtext.decode_address(eight_bit.encode(), 500, smtputf8=True) == plain


def test_digits_may_be_small() -> None:
    assert xtext.decode_address(rb"\x{30c9}", 500, smtputf8=False) == "ド".encode()


@pytest.mark.parametrize(
    "data",
    [
        rb"",
        rb"a b",
        rb"a=b",
        rb"a+b",
        rb"a+3Db",  # no xtext within: + is no QCHAR
        rb"a\b",
        rb"\x",
        rb"\x{",
        rb"\x{}",
        rb"\x{3D",
        rb"\X{3D}",
        rb"\x3D}",
        rb"\x{ 3D}",
        rb"\x{41}",  # stands for itself
        rb"\x{0}",
        rb"\x{00}",
        rb"\x{0A}",
        rb"\x{0D}",
        rb"\x{09}",
        rb"\x{7F}",
        rb"\x{85}",
        rb"\x{003D}",
        rb"\x{D800}",
        rb"\x{DFFF}",
        rb"\x{110000}",
        rb"\x{00110000}",
        rb"\x{FFFFFFFF}",
        b"a\x00b",
        b"a\r\nb",
        b"a\x7f",
        b"\xff",
        b"\xc3",
        b"\xc0\xaf",
        b"\xed\xa0\x80",
        b"\xc2\x85",
    ],
)
@pytest.mark.parametrize("smtputf8", [False, True])
def test_no_address(data: bytes, smtputf8: bool) -> None:
    with pytest.raises(ValueError, match=r"."):
        xtext.decode_address(data, 500, smtputf8=smtputf8)


def test_characters_themselves_need_smtputf8() -> None:
    assert xtext.decode_address("é".encode(), 500, smtputf8=True) == "é".encode()
    with pytest.raises(ValueError, match="not ASCII"):
        xtext.decode_address("é".encode(), 500, smtputf8=False)


@pytest.mark.parametrize("data", [b"", b"a\nb", b"a\x7f", "\x80".encode(), b"\xff"])
def test_what_has_no_form(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        xtext.encode_address(data, smtputf8=True)


@given(ADDRESS, st.booleans())
def test_address_comes_back(plain: bytes, smtputf8: bool) -> None:
    coded = xtext.encode_address(plain, smtputf8=smtputf8)
    assert smtputf8 or coded.isascii()
    assert re.fullmatch(rb"[!-*,-<>-~\x80-\xff]+", coded)
    assert xtext.decode_address(coded, 5000, smtputf8=smtputf8) == plain


@pytest.mark.parametrize(
    ("value", "recipient"),
    [
        (b"rfc822;joe@example.com", b"rfc822;joe@example.com"),
        (b"RFC822;e+3Dmc2@example.com", b"rfc822;e=mc2@example.com"),
        (b"x400;/C+3Dde/", b"x400;/C=de/"),
        (b"Utf-8;e\\x{3D}mc2@\\x{E9}.example", "utf-8;e=mc2@é.example".encode()),
        (b"rfc822;a;b", b"rfc822;a;b"),
        (b"rfc822;\\x{E9}", b"rfc822;\\x{E9}"),
    ],
)
def test_original_recipient(value: bytes, recipient: bytes) -> None:
    assert xtext.decode_original_recipient(value, smtputf8=False) == recipient
    again = xtext.encode_original_recipient(recipient, smtputf8=False)
    assert again.lower() == value.lower()


@pytest.mark.parametrize(
    "value", [b"", b"x400", b";joe", b"rfc822;", b"x 400;joe", b"a(b;joe", b"rfc822;a=b", b"utf-8;", b"utf-8;a+3Db"]
)
def test_no_original_recipient(value: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        xtext.decode_original_recipient(value, smtputf8=True)


def test_original_recipient_that_does_not_fit() -> None:
    long = b"utf-8;" + "é".encode() * 247
    assert len(long) == 500
    assert xtext.decode_original_recipient(long, smtputf8=True) == long
    assert xtext.encode_original_recipient(long, smtputf8=True) == long
    assert xtext.encode_original_recipient(long, smtputf8=False) == b""
    with pytest.raises(ValueError, match="too long"):
        xtext.decode_original_recipient(long + b"a", smtputf8=True)


@given(st.sampled_from([b"rfc822;", b"utf-8;"]), st.binary(max_size=40), st.booleans())
def test_what_came_can_go(kind: bytes, coded: bytes, smtputf8: bool) -> None:
    """Every recipient that is taken can be sent on in the same way, in no more bytes."""
    with contextlib.suppress(ValueError):
        value = kind + coded
        recipient = xtext.decode_original_recipient(value, smtputf8=smtputf8)
        again = xtext.encode_original_recipient(recipient, smtputf8=smtputf8)
        assert 0 < len(again) <= len(value)
        assert xtext.decode_original_recipient(again, smtputf8=smtputf8) == recipient
