"""The corpus, a few seconds of fuzzing with fixed seeds, and (marked interop) a minute with new ones."""

import random
import sys

import pytest

from tests.fuzz.case import HANDSHAKE, Case, parse
from tests.fuzz.generate import Generator
from tests.fuzz.harness import check, look
from tests.fuzz.model import Model, Wrong
from tests.fuzz.run import cases, corpus, main
from tests.fuzz.shrink import shrink

CORPUS = corpus()
SEED = 5321
CASES = 300


@pytest.mark.parametrize("case", [pytest.param(case, id=name) for name, case in CORPUS.items()])
def test_corpus(case: Case) -> None:
    check(case, random.Random(SEED))


@pytest.mark.parametrize("block", range(4))
def test_fixed_seeds(block: int) -> None:
    """The same cases every time; together they do most of what the corpus does."""
    seen: set[str] = set()
    taken = 0
    for seed in range(SEED + block * CASES, SEED + (block + 1) * CASES):
        outcome = check(Generator(seed).case(), random.Random(seed))
        seen |= outcome.seen
        taken += len(outcome.accepted)
    assert taken > CASES // 10
    assert seen >= {"data-354", "message-250", "bdat-250", "message-550-bare-newline", "starttls-220", "message-353"}


@pytest.mark.interop
def test_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["tests.fuzz.run", "--seconds", "60"])
    assert main() == 0


def test_corpus_is_rich() -> None:
    seen = set().union(*(look(case).seen for case in CORPUS.values()))
    assert len(seen) > 100


@pytest.mark.parametrize("seed", range(20))
def test_a_case_is_the_same_from_its_file(seed: int) -> None:
    case = Generator(seed).case()
    read = parse(case.text().encode())
    assert (read.settings, read.steps, read.busy) == (case.settings, case.steps, case.busy)


def test_cases_depend_on_their_seed_alone() -> None:
    first, second = cases(7, list(CORPUS.values())), cases(7, list(CORPUS.values()))
    assert [next(first) for _ in range(20)] == [next(second) for _ in range(20)]


# The model would be worth nothing if it agreed with everything.

TALK = (
    b"EHLO client.example.com\r\n",
    b"MAIL FROM:<joe@example.com>\r\n",
    b"RCPT TO:<jane@example.org>\r\n",
    b"DATA\r\n",
    b"x\r\n.\r\n",
)
SAID = (b"220 x\r\n", b"250-x\r\n250 HELP\r\n", b"250 x\r\n", b"250 x\r\n", b"354 x\r\n", b"250 x\r\n")


def model(steps: tuple[bytes | None, ...], said: tuple[bytes, ...], **settings: object) -> Model:
    """A model that has gone through a conversation."""
    made = Model(Case({"tls": "none", **settings}, steps), steps, b"".join(said), closed=False)
    made.check()
    return made


def test_model_agrees() -> None:
    assert [message.content for message in model(TALK, SAID).expected] == [b"x\r\n"]


@pytest.mark.parametrize(
    "said",
    [
        pytest.param(SAID[:-1], id="no answer to the message"),
        pytest.param((*SAID, b"250 x\r\n"), id="an answer to nothing"),
        pytest.param((*SAID[:-1], b"353 x\r\n", b"250 x\r\n", b"250 x\r\n"), id="PRDR unasked"),
        pytest.param((*SAID[:2], b"250 x\r\n", b"550 x\r\n", *SAID[4:]), id="354 without a recipient"),
        pytest.param((*SAID[:-1], b"250 x\n"), id="half a reply"),
        pytest.param((*SAID[:1], b"421 x\r\n", *SAID[2:]), id="goes on behind 421"),
    ],
)
def test_model_disagrees(said: tuple[bytes, ...]) -> None:
    with pytest.raises(Wrong):
        model(TALK, said)


def test_model_disagrees_about_line_ends() -> None:
    talk = (*TALK[:4], b"x\n\r\n.\r\n")
    with pytest.raises(Wrong, match="bare line ends"):
        model(talk, SAID)
    assert model(talk, SAID, bare_newlines="keep").expected[0].content == b"x\n\r\n"
    assert model(talk, SAID, bare_newlines="normalise").expected[0].content == b"x\r\n\r\n"


def test_shrinking() -> None:
    case = Case({"tls": "none", "limits": {"errors": 3}}, (b"NOOP\r\n", HANDSHAKE, b"xxyBADzz", b"QUIT\r\n"), (1,))
    small = shrink(case, lambda candidate: b"BAD" in b"".join(step or b"" for step in candidate.steps))
    assert small == Case({"limits": {}}, (b"BAD",))
