"""Arguments of commands, and what their exit codes mean."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mta.deliver.command import PLACEHOLDERS, Command, first_line, verdict

VALUES = {
    "sender": b"a@example.net",
    "recipient": b"joe@example.org",
    "local": b"joe",
    "domain": b"example.org",
    "queue_id": b"85723fd300000",
    "size": b"1234",
}


def argv(*template: str, **values: bytes) -> list[bytes]:
    return Command(["/bin/x", *template]).argv([{**VALUES, **values}])[1:]


def fault(*template: str, **values: bytes) -> str:
    return Command(["/bin/x", *template]).fault({**VALUES, **values})


def test_every_placeholder() -> None:
    assert argv(*(f"<{{{name}}}>" for name in PLACEHOLDERS)) == [b"<%b>" % VALUES[name] for name in PLACEHOLDERS]


def test_several_in_one_argument_and_none() -> None:
    assert argv("-f{sender}", "{local}+{domain}", "plain", "{other}") == [
        b"-fa@example.net",
        b"joe+example.org",
        b"plain",
        b"{other}",
    ]


@pytest.mark.parametrize("value", [b"a b", b"'; rm -rf /", b"$(x)", b"*", b"\xff\xfe", b"a\nb", b"", b"{sender}"])
def test_a_value_stays_one_argument_and_is_not_looked_into(value: bytes) -> None:
    assert argv("{local}", "x") == [b"joe", b"x"]
    assert argv("{local}", "x", local=value) == [value, b"x"]


@given(st.lists(st.sampled_from(["{local}", "-f{sender}", "x{domain}", "{sender}{local}", "--", "-x", "y"])), st.data())
def test_no_value_becomes_an_option(templates: list[str], data: st.DataObject) -> None:
    """Whatever the addresses: an argument that begins with - was meant to, or stands behind --."""
    values = {name: data.draw(st.sampled_from([b"-v", b"--", b"", b"v", b"{local}"])) for name in VALUES}
    command = Command(["/bin/x", *templates])
    if command.fault(values):
        return
    before: list[str] = []
    for template, argument in zip(templates, command.argv([values])[1:], strict=True):
        assert not argument.startswith(b"-") or template.startswith("-") or "--" in before
        before.append(template)


@pytest.mark.parametrize(
    ("template", "values", "expected"),
    [
        (["{local}"], {"local": b"-x"}, "5.1.3 an address with a - at its start is not given to a command"),
        (["{sender}"], {"sender": b"-x@example.net"}, "5.1.7 an address with a - at its start"),
        (["{sender}-x"], {"sender": b""}, "5.1.7 an address with a - at its start"),
        (["-f", "{sender}"], {"sender": b"-x"}, "5.1.7 "),
        (["x{local}"], {"local": b"a\0b"}, "5.1.3 an address with a NUL in it"),
        (["--", "{local}"], {"local": b"-x"}, ""),
        (["-f{sender}"], {"sender": b"-x"}, ""),
        (["{recipient}"], {"local": b"-x"}, ""),
        (["{sender}"], {"sender": b""}, ""),
    ],
)
def test_values_that_are_refused(template: list[str], values: dict[str, bytes], expected: str) -> None:
    found = fault(*template, **values)
    assert found.startswith(expected)
    assert bool(found) == bool(expected)


def test_for_several_recipients_their_arguments_are_repeated() -> None:
    command = Command(["/bin/x", "-f{sender}", "{recipient}", "to={local}", "end"])
    others = [VALUES, {**VALUES, "recipient": b"jim@example.org", "local": b"jim"}]
    assert command.argv(others) == [
        b"/bin/x",
        b"-fa@example.net",
        b"joe@example.org",
        b"jim@example.org",
        b"to=joe",
        b"to=jim",
        b"end",
    ]


@pytest.mark.parametrize(
    ("exit_code", "output", "expected"),
    [
        (0, b"", (2, "2.0.0", "")),
        (0, b"stored in INBOX\nmore", (2, "2.0.0", "stored in INBOX")),
        (64, b"", (5, "5.3.0", "command failed, command line usage error")),
        (65, b"", (5, "5.6.0", "command failed, data format error")),
        (67, b"\n no such user\r\n", (5, "5.1.1", "command failed, user unknown: no such user")),
        (69, b"", (5, "5.3.0", "command failed, service unavailable")),
        (71, b"", (4, "4.3.0", "command failed, system resource problem")),
        (73, b"", (5, "5.2.0", "command failed, cannot create user output file")),
        (74, b"", (4, "4.3.0", "command failed, input/output error")),
        (75, b"later", (4, "4.3.0", "command failed, temporary failure: later")),
        (77, b"", (5, "5.7.0", "command failed, permission denied")),
        (78, b"", (5, "5.3.5", "command failed, local configuration error")),
        (1, b"oops", (5, "5.3.0", "command failed, exit code 1: oops")),
        (127, b"", (5, "5.3.0", "command failed, exit code 127")),
        (1, b"4.2.2 mailbox full", (4, "4.2.2", "command failed, exit code 1: 4.2.2 mailbox full")),
        (75, b"5.7.1 no", (5, "5.7.1", "command failed, temporary failure: 5.7.1 no")),
        (1, b"2.0.0 fine", (5, "5.3.0", "command failed, exit code 1: 2.0.0 fine")),
        (1, b"4.2.2x", (5, "5.3.0", "command failed, exit code 1: 4.2.2x")),
    ],
)
def test_exit_codes(exit_code: int, output: bytes, expected: tuple[int, str, str]) -> None:
    assert verdict(exit_code, output) == expected


@given(st.binary(max_size=2000))
def test_text_is_one_short_printable_line(output: bytes) -> None:
    line = first_line(output)
    assert line.isascii()
    assert line.isprintable()
    assert len(line) <= 400
