"""Routes in a configuration: conditions, and what is said of those that cannot hold."""

import pytest

from mta.config import Config
from mta.config_load import parse
from mta.errors import ConfigError

HEAD = """\
hostname = "mx.example.org"
spool = "spool"
[[listen]]
address = "127.0.0.1:2525"
[[listen]]
address = "[::1]:25"
[domains]
local = ["example.org"]
[transport.x]
kind = "discard"
"""
REST = '[[route]]\nrecipients = ["*"]\ntransport = "x"\n'
ROUTE = '[[route]]\nrecipients = ["*"]\ntransport = "x"\n'
FIRST = HEAD.count("\n") + 4  # line of what follows in the first route


def read(lines: str, rest: str = REST) -> Config:
    return parse(f"{HEAD}{ROUTE}{lines}\n{rest}", "/etc/mta/mta.toml")


def faults(lines: str, rest: str = REST) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        read(lines, rest)
    told = []
    for problem in caught.value.problems:
        _, line, text = problem.split(":", 2)
        told.append(f"{int(line) - FIRST + 1}:{text}")
    return told


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ('senders = ["nobody"]', '1: route[0].senders[0]: "nobody" given; "*", "<>", "*@example.org" or'),
        ('senders = [\n"*", "a@-"]', '2: route[0].senders[1]: "a@-" given'),
        ('senders = "<>"', '1: route[0].senders: "<>" given; a list, of a text each is allowed'),
        ("senders = [7]", "1: route[0].senders[0]: 7 given; a text is allowed"),
        (
            'listeners = ["127.0.0.1:25"]',
            '1: route[0].listeners[0]: there is no [[listen]] with address "127.0.0.1:25"; known: 127.0.0.1:2525, ',
        ),
        ('listeners = ["smtp"]', '1: route[0].listeners[0]: there is no [[listen]] with address "smtp"'),
        ('listener = ["127.0.0.1:25"]', "1: route[0].listener: unknown key; did you mean 'listeners'?"),
    ],
)
def test_faults(lines: str, expected: str) -> None:
    (fault,) = faults(lines)
    assert fault.startswith(expected)


@pytest.mark.parametrize("lines", ['senders = ["*@example.com"]', 'listeners = ["[::1]:25"]'])
def test_other_mail_would_have_nowhere_to_go(lines: str) -> None:
    (fault,) = faults(lines, rest="")
    assert 'no route takes mail for "example.org"' in fault


def test_everybody_is_no_condition() -> None:
    assert read('senders = ["<>", "*"]', rest="").route[0].senders == ["<>", "*"]


def test_form_that_the_program_uses() -> None:
    route = read('senders = ["a@bücher.example", "<>"]\nlisteners = ["[::1]:25"]').route[0]
    assert route.senders == ["a@xn--bcher-kva.example", "<>"]
    assert route.listeners == ["[::1]:25"]
