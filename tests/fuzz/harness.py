"""Runs a case and holds it against what must always be true.

Of every conversation, however mad the client:

1.  One reply a command, and as many as the protocol says to a message; none to anything else (`tests.fuzz.model`).
2.  One message is one message: what is taken is, byte for byte, what the client sent as the content of a message whose
    end was answered with 250, with the recipients that were accepted for it; nothing more, nothing twice.
3.  Content is never a command. Content that the generator makes is full of commands for a canary; it is nobody's
    recipient unless the client really gave it as one.
4.  The same bytes in other pieces are answered the same, and the same messages are taken (where the listener does not
    mind early talkers, whose fault is a matter of pieces).
5.  Replies are whole lines of at most 512 bytes out of what we can say: nothing of what the peer sent is in them.
    Enhanced codes stand where they belong and are of their reply's class (RFC 2034 section 4).
6.  Memory is bounded by the listener's limits: a half line, the recipients, the content of one message, the answers to
    what came in one piece.
7.  No exception, whatever comes.
8.  What went through TLS is treated as what came in the clear, and a broken TLS record ends the connection.

`check` raises `Wrong` for all but 7.
"""

import random
import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from functools import cache

from mta.smtp import limits, replies
from mta.smtp.replies import Reply
from tests.fuzz.case import HANDSHAKE, Case
from tests.fuzz.model import Model, Wrong, replies_in
from tests.fuzz.tls import BrokenTls, TlsPipe
from tests.support import memory
from tests.support.memory import Accepted, MemoryConnection

CANARY = b"canary"
EXTENDED_REPLY_BYTES = 1000  # the answer to EHLO, the longest there is


class Outcome:
    """A conversation as it went."""

    def __init__(self, connection: MemoryConnection) -> None:
        self.output = connection.output
        self.accepted: list[Accepted] = connection.accepted
        self.closed = connection.closed
        self.seen: set[str] = set()  # what happened, as `Model.seen`


@cache
def _constants() -> frozenset[bytes]:
    return frozenset(reply.wire for reply in vars(replies).values() if isinstance(reply, Reply))


_VARIABLE = re.compile(
    rb"220 mx\.example\.org (?:ESMTP|LMTP)\r\n|250 mx\.example\.org\r\n"
    rb"|250 2\.0\.0 OK queued as MEMORY\r\n|250 2\.0\.0 \d{1,19} bytes received\r\n"
    rb"|250-mx\.example\.org\r\n(?:250-[A-Z0-9_ =]+\r\n)+250 HELP\r\n"
)


def run(case: Case, steps: Sequence[bytes | None], *, over_tls: random.Random | None = None) -> Outcome:
    """Hold the conversation; `over_tls` has what follows a handshake really go through TLS, in random pieces."""
    door = memory.door(case.settings)
    connection = MemoryConnection(door, waits_for_greeting=False, busy=case.busy)
    hasty = "greeting" in door.terms.refuse_early and not door.is_tls and bool(steps and steps[0])
    if not hasty:
        connection.receive(b"")
    pipe: TlsPipe | None = None
    for step in steps:
        if connection.closed:
            break
        if step is HANDSHAKE:
            if not connection.in_handshake:
                continue
            if over_tls is not None:
                pipe = TlsPipe(over_tls)
                pipe.shake_hands()
            said = connection.shake_hands()
            _through(pipe, said)
        elif pipe is None:
            _receive(connection, step)
        else:
            for piece in pipe.to_server(step):
                if not connection.closed:
                    _through(pipe, _receive(connection, piece))
    return Outcome(connection)


def _through(pipe: TlsPipe | None, said: bytes) -> None:
    if pipe is not None and said and pipe.to_client(said) != said:
        raise Wrong("TLS has changed a reply")


def _receive(connection: MemoryConnection, data: bytes) -> bytes:
    said = connection.receive(data)
    session = connection.session
    bounds = connection.door.terms.bounds
    if connection.closed:
        return said
    if session._splitter.pending > bounds.command_bytes:
        raise Wrong(f"{session._splitter.pending} bytes of a command are kept")
    recipients = 0 if session.transaction is None else len(session.transaction.recipients)
    if recipients > bounds.recipients:
        raise Wrong(f"{recipients} recipients")
    if connection.content_bytes > 2 * bounds.message_bytes:
        raise Wrong("content over the limit is kept")
    answers = data.count(b"\n") + data.upper().count(b"BDAT") + 3
    if len(said) > answers * max(EXTENDED_REPLY_BYTES, bounds.recipients * 80):
        raise Wrong(f"{len(said)} bytes in answer to {len(data)}")
    if session.has_output and connection.output and not connection.in_handshake:
        raise Wrong("replies are kept back")
    return said


def look(case: Case) -> Outcome:
    """Run a case as it is; raises `Wrong` where it is not as it must be."""
    whole = run(case, case.steps)
    _check_replies(whole.output)
    model = Model(case, case.steps, whole.output, closed=whole.closed)
    model.check()
    whole.seen = model.seen
    taken = [message.content for message in whole.accepted]
    if taken != [message.content for message in model.expected]:
        raise Wrong(f"taken: {taken}, sent: {[message.content for message in model.expected]}")
    for message, sent in zip(whole.accepted, model.expected, strict=True):
        _check_recipients([address.lower() for address in message.recipients], sent.recipients)
        is_named = any(CANARY in argument.lower() for argument in sent.recipients)
        is_meant = case.is_mutated or model.has_blind_content
        if any(CANARY in address.lower() for address in message.recipients) != is_named or (is_named and not is_meant):
            raise Wrong(f"content was executed: {message.recipients}")
    return whole


def _check_recipients(taken: list[bytes], arguments: Sequence[bytes]) -> None:
    """Raises `Wrong` where anybody who was named is not in the envelope, or nobody named is, or anybody is twice."""
    named = [argument.lower().replace(b"<postmaster>", b"<postmaster@example.org>") for argument in arguments]
    is_for = [{address for address in taken if re.search(b"[<:](%b|%b)>" % _spellings(address), one)} for one in named]
    if not all(is_for) or set().union(*is_for) != set(taken) or len(set(taken)) < len(taken):
        raise Wrong(f"recipients {taken}, sent {arguments}")


def _spellings(address: bytes) -> tuple[bytes, bytes]:
    """Patterns of an address with its domain in A-labels, as it is kept, and in U-labels, as it may have been sent."""
    local, _, domain = address.rpartition(b"@")
    with suppress(UnicodeError):
        domain = domain.decode("idna").encode()
    return re.escape(address), re.escape(local + b"@" + domain)


def check(case: Case, rng: random.Random) -> Outcome:
    """Run a case as it is, in other pieces and over TLS; raises `Wrong` where it is not as it must be."""
    whole = look(case)
    if case.settings.get("refuse_early") == [] and not _has_hasty_tls(case):
        for steps in _other_pieces(case, rng):
            _check_same(whole, run(case, steps), steps)
        if HANDSHAKE in case.steps:
            _check_same(whole, run(case, case.steps, over_tls=rng), "over TLS")
            _check_broken_tls(rng)
    return whole


def _has_hasty_tls(case: Case) -> bool:
    """Whether anything follows STARTTLS but a handshake: then it is a matter of pieces what becomes of it."""
    return any(
        step is not HANDSHAKE and b"STARTTLS" in step.upper().removesuffix(b"STARTTLS\r\n")
        for step in _merged(case.steps)
    )


def _check_same(one: Outcome, other: Outcome, how: object) -> None:
    if one.output != other.output:
        raise Wrong(f"answered otherwise: {one.output!r}, but {other.output!r} {how}")
    if one.accepted != other.accepted or one.closed != other.closed:
        raise Wrong(f"taken otherwise: {one.accepted}, but {other.accepted} {how}")


def _check_replies(output: bytes) -> None:
    for reply in replies_in(output):
        if reply not in _constants() and not _VARIABLE.fullmatch(reply):
            raise Wrong(f"we never say {reply!r}")
        for line in reply.splitlines(keepends=True):
            if len(line) > limits.REPLY_LINE_BYTES:
                raise Wrong(f"a line of {len(line)} bytes")
        code = reply[:1]
        if reply.startswith((b"220 mx", b"250 mx", b"250-", b"35")):
            continue
        if not re.match(rb"\d{3} %b\.\d{1,3}\.\d{1,3} " % code, reply):
            raise Wrong(f"no enhanced code in {reply!r}")


def _other_pieces(case: Case, rng: random.Random) -> Iterable[list[bytes | None]]:
    yield list(_cut(_merged(case.steps), lambda: 1))
    yield list(_merged(case.steps))
    for longest in (3, 40):
        yield list(_cut(_merged(case.steps), lambda most=longest: rng.randint(1, most)))


def _merged(steps: Sequence[bytes | None]) -> Iterable[bytes | None]:
    data = b""
    for step in steps:
        if step is HANDSHAKE:
            if data:
                yield data
            data = b""
            yield HANDSHAKE
        else:
            data += step
    if data:
        yield data


def _cut(steps: Iterable[bytes | None], length: object) -> Iterable[bytes | None]:
    for step in steps:
        if step is HANDSHAKE:
            yield HANDSHAKE
            continue
        at = 0
        while at < len(step):
            size = length()  # type: ignore[operator]
            yield step[at : at + size]
            at += size


def _check_broken_tls(rng: random.Random) -> None:
    pipe = TlsPipe(rng)
    try:
        pipe.break_something()
    except BrokenTls:
        return
    raise Wrong("a broken record was taken")
