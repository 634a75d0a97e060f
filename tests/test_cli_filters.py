"""Ages, sizes and filters as they are written on a command line."""

import click
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from mta.cli_filters import chosen, filter_options, parse_age, parse_size

UNITS = {"w": 604800, "d": 86400, "h": 3600, "m": 60, "s": 1}


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("0", 0), ("90", 90), ("90s", 90), ("5m", 300), ("3H", 10800), ("2d", 172800), ("1d12h", 129600)],
)
def test_ages(text: str, seconds: int) -> None:
    assert parse_age(text) == seconds


@pytest.mark.parametrize("text", ["", "h", "3x", "-1h", "1.5h", "1h30", "1 h", "9" * 30, "٣h"])
def test_what_is_no_age(text: str) -> None:
    with pytest.raises(ValueError, match=r"age|large"):
        parse_age(text)


@given(st.dictionaries(st.sampled_from(sorted(UNITS)), st.integers(0, 10**9), min_size=1))
def test_ages_add_up(parts: dict[str, int]) -> None:
    assert parse_age("".join(f"{number}{unit}" for unit, number in parts.items())) == sum(
        number * UNITS[unit] for unit, number in parts.items()
    )


@given(st.integers(0, 2**31), st.sampled_from(["", "k", "M", "g"]))
def test_sizes(number: int, unit: str) -> None:
    assert parse_size(f"{number}{unit}") == number * 1024 ** ["", "k", "M", "g"].index(unit)


@pytest.mark.parametrize("text", ["", "k", "5kb", "-1", "1.5M", "0x10", "9" * 30])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(ValueError, match=r"size|large"):
        parse_size(text)


def given_filters(*words: str) -> dict[str, object] | str:
    """What a command with filters makes of its words; the complaint where they are wrong."""
    found: list[dict[str, object]] = []

    @click.command()
    @filter_options
    def command(**filters: object) -> None:
        found.append(chosen(filters))

    result = CliRunner().invoke(command, words)
    return found[0] if found else result.output


def test_options() -> None:
    assert given_filters() == {}
    assert given_filters("--older", "2h", "--younger", "1d", "--larger", "10k", "--smaller", "1G") == {
        "older_s": 7200,
        "younger_s": 86400,
        "larger_bytes": 10240,
        "smaller_bytes": 1 << 30,
    }
    assert given_filters("--sender", "<>", "--sender", "a@b", "--state", "held", "--older", "0") == {
        "sender": ["<>", "a@b"],
        "state": "held",
        "older_s": 0,
    }
    assert given_filters("--reason", "4.2", "--transport", "next", "--recipient", "*@b") == {
        "reason": ["4.2"],
        "transport": ["next"],
        "recipient": ["*@b"],
    }


def test_domains_are_meant_in_both_forms() -> None:
    assert given_filters("--domain", "Bücher.example") == {"domain": ["Bücher.example", "xn--bcher-kva.example"]}
    assert given_filters("--domain", "*.Example") == {"domain": ["*.Example"]}
    assert "--domain" in given_filters("--domain", "ü..example")


@pytest.mark.parametrize("words", [("--older", "soon"), ("--larger", "huge"), ("--state", "odd"), ("--sender",)])
def test_wrong_options(words: tuple[str, ...]) -> None:
    assert "Error" in given_filters(*words)
