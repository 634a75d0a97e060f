"""Lines of keys and values."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mta.tables.text import FAULTS, LINE_BYTES, BadTable, TextTable


def faults(text: bytes) -> list[tuple[int, str]]:
    with pytest.raises(BadTable) as caught:
        TextTable(text.split(b"\n"))
    return caught.value.faults


def test_lines() -> None:
    table = TextTable(
        (
            b"# a comment\n\n \t\n"
            b"Joe@Example.org  a value, with blanks \t\njane@example.org\n"
            b'"a b"@example.org\tquoted\n'
            b'"a\\" b"@example.org x\n'
            b"#joe@example.org no\nx # no comment"
        ).split(b"\n")
    )
    assert len(table) == 5
    assert table.get(b"joe@example.org") == b"a value, with blanks"
    assert table.get(b"JOE@EXAMPLE.ORG") == b"a value, with blanks"
    assert table.get(b"jane@example.org") == b""
    assert table.get(b'"a b"@example.org') == b"quoted"
    assert table.get(b'"a\\" b"@example.org') == b"x"
    assert table.get(b"x") == b"# no comment"
    assert table.get(b"joe") is None
    assert table.get(b"") is None


def test_names_in_unicode() -> None:
    table = TextTable(["jörg@bücher.example x".encode()])
    assert table.get("jörg@xn--bcher-kva.example".encode()) == b"x"


def test_faults() -> None:
    assert faults(b'a x\n b\n\nA y\n"c d\n' + b"x" * (LINE_BYTES + 1)) == [
        (2, "begins with a blank; an entry begins at the start of its line, and ends with it"),
        (4, "'a' is there twice"),
        (5, "has a quote that does not end"),
        (6, f"is longer than {LINE_BYTES} bytes"),
    ]
    assert faults(b"a\n\xffA\n\xffA") == [(3, r"'\\xffA' is there twice")]


def test_few_faults_are_told() -> None:
    found = faults(b" x\n" * 1000)
    assert len(found) == FAULTS + 1
    assert found[-1][1] == "too many faults; the rest was not read"


KEYS = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1).filter(lambda key: key[0] not in '#"')
VALUES = st.text(st.characters(min_codepoint=32, max_codepoint=126)).map(str.strip)


@given(st.dictionaries(KEYS.map(str.lower), VALUES, max_size=20), st.sampled_from([" ", "\t", " \t  "]))
def test_what_is_written_is_found(values: dict[str, str], blanks: str) -> None:
    table = TextTable([f"{key}{blanks}{value}".encode() for key, value in values.items()])
    assert len(table) == len(values)
    for key, value in values.items():
        assert table.get(key.encode()) == value.encode()


@given(st.binary(max_size=200))
def test_any_bytes(data: bytes) -> None:
    lines = data.split(b"\n")
    try:
        table = TextTable(lines)
        found = []
    except BadTable as error:
        table, found = TextTable([]), error.faults
    assert len(table) <= len(lines)
    for line, words in found:
        assert 1 <= line <= len(lines)
        assert words.isprintable()
