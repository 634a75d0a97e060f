"""How long a pattern can take in the worst case: the number of ways to match that `re` may have to try.

`re` backtracks: where a match fails it goes back to the last choice and tries the next way. The ways multiply: two
repeats behind each other try the square of the key's length, a repeat within a repeat (`(a+)+`) a power of it that no
machine comes to the end of. Whoever sends mail chooses the key, so a pattern must be harmless for all of them.

The estimate is an upper bound and looks at the pattern alone: each repeat counts with the lengths it can have, each
alternative as one way, a pattern that may begin anywhere with each place in the key. Possessive repeats (`a*+`) and
atomic groups (`(?>...)`) never try a second way, and count once.
"""

import importlib
from typing import Any

SUBJECT_BYTES = 320
"""Longest key that is matched: local part, @ and domain (RFC 5321 section 4.5.3.1), with some to spare."""

WAYS = 1_000_000
"""Most ways that a pattern may have: some 25 ms, at 4 to 35 ns a way."""

TABLE_WAYS = 4_000_000
"""Most ways that all patterns of a table may have: some 100 ms, for which a worker stands still. Enough for 10,000
patterns that are not anchored and have no repeats."""

# What `re` itself parses with. It has no public name, and no other parser agrees with it in everything.
_parser: Any = importlib.import_module("re._parser")
_constants: Any = importlib.import_module("re._constants")

_REPEATS = (_constants.MAX_REPEAT, _constants.MIN_REPEAT)
_STARTS = (_constants.AT_BEGINNING, _constants.AT_BEGINNING_STRING)


def ways(pattern: bytes) -> int:
    """The ways that a search for the pattern in a key may try, at most; more than `WAYS` is not told exactly.

    `pattern` is one that `re` compiles without flags but IGNORECASE.
    """
    items = list(_parser.parse(pattern))
    is_anchored = bool(items) and items[0][0] is _constants.AT and items[0][1] in _STARTS
    return min((1 if is_anchored else SUBJECT_BYTES) * _sequence(items), WAYS + 1)


def _sequence(items: Any) -> int:
    product = 1
    for operator, argument in items:
        product = min(product * _one(operator, argument), WAYS + 1)
    return product


def _one(operator: Any, argument: Any) -> int:
    if operator in _REPEATS:
        low, high, body = argument
        high = min(int(high), SUBJECT_BYTES)
        inside = _sequence(body)
        lengths = max(high - int(low), 0) + 1
        # Each round has its own choice among the ways inside.
        return lengths if inside == 1 else min(inside**high * lengths, WAYS + 1)
    if operator is _constants.BRANCH:
        return min(sum(_sequence(branch) for branch in argument[1]), WAYS + 1)
    if operator is _constants.SUBPATTERN:
        return _sequence(argument[3])
    if operator in (_constants.ASSERT, _constants.ASSERT_NOT):
        return _sequence(argument[1])
    if operator is _constants.GROUPREF_EXISTS:
        return max(_sequence(argument[1]), _sequence(argument[2] or ()))
    if operator is _constants.ATOMIC_GROUP:
        return _sequence(argument)
    if operator is _constants.POSSESSIVE_REPEAT:
        return min(max(_sequence(argument[2]), 1) * SUBJECT_BYTES, WAYS + 1) if _sequence(argument[2]) > 1 else 1
    return 1
