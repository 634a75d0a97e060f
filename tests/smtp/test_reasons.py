"""Every refusal has a word, every word is explained, and words stay."""

import re
from typing import get_args

import msgspec
import pytest

from mta.config import Config
from mta.replies_doc import page, refusals
from mta.smtp import limits, replies
from mta.smtp.reasons import REASONS
from mta.smtp.replies import Reply

# Words that have been told to the world. New ones are added here; none is taken away or gets another meaning.
PUBLISHED = {
    *("bare-newline", "bdat-size", "client-connections", "commands", "connections", "early-talker", "errors", "fault"),
    *("header-too-big", "junk-commands", "long-line", "loop", "memory", "messages", "no-user", "not-authorized"),
    *("not-implemented", "not-smtp", "order", "parameter", "recipient-syntax", "recipients", "relay", "sender-syntax"),
    *("session-timeout", "shutdown", "smtputf8", "storage", "syntax", "table-down", "timeout", "tls-required"),
    *("tls-unavailable", "too-big", "too-slow", "unknown-command"),
    *("alias", "alias-loop", "no-route", "sink-full"),
    *("bad-action", "client-access", "helo-access", "null-mx", "recipient-access", "sender-access", "sender-domain"),
}
CONSTANTS = [
    pytest.param(reply, id=name) for name, reply in vars(replies).items() if isinstance(reply, Reply) and name[0] == "R"
]


def test_words_stay() -> None:
    assert REASONS.keys() == PUBLISHED


def test_every_word_is_used() -> None:
    assert {reply.reason for reply in refusals()} == REASONS.keys()


@pytest.mark.parametrize("reply", CONSTANTS)
def test_refusals_and_nothing_else_have_a_word(reply: Reply) -> None:
    assert (reply.code >= 400) == (reply.reason in REASONS)
    assert reply.wire.endswith(b" [%b]\r\n" % reply.reason.encode()) == bool(reply.reason)


@pytest.mark.parametrize("reply", CONSTANTS)
def test_form(reply: Reply) -> None:
    """RFC 5321 section 4.2; an enhanced code of the reply's own class wherever one belongs (RFC 2034 section 4)."""
    assert len(reply.wire) <= limits.REPLY_LINE_BYTES
    match = re.fullmatch(rb"(\d{3}) (?:(\d)\.\d{1,3}\.\d{1,3} )?[ -~]+\r\n", reply.wire)
    assert match is not None
    assert int(match[1]) == reply.code
    assert match[2] == (None if reply.code // 100 == 3 else reply.wire[:1])


@pytest.mark.parametrize("word", sorted(REASONS))
def test_page_explains(word: str) -> None:
    section = page().partition(f"\n## {word}\n")[2].partition("\n## ")[0]
    for reply in refusals():
        assert (f"    {reply.text}\n" in section) == (reply.reason == word)
    assert REASONS[word].meaning in section
    assert REASONS[word].sender in section


@pytest.mark.parametrize("word", sorted(REASONS))
def test_settings_exist(word: str) -> None:
    for setting in REASONS[word].settings:
        assert setting in _settings(), setting


def _settings() -> set[str]:
    """Every key of the configuration, as `table.key`."""
    found = set()
    for field in msgspec.structs.fields(Config):
        found.add(field.name)
        for kind in (field.type, *get_args(field.type)):
            if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
                found |= {f"{field.name}.{key.name}" for key in msgspec.structs.fields(kind)}
    return found
