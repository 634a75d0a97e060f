"""What an administrator is told that is wrong with tables, aliases and routes: each thing once in a while."""

from collections.abc import Callable

REPORT_S = 60.0
"""The same is told of the same once in so many seconds: clients choose how often it is met."""

REPORTS_KEPT = 1000
"""What was told is remembered of so many for that, at most; with more, some is told again."""


class Complaints:
    """Tells an administrator what is wrong. One for a worker."""

    def __init__(self, report: Callable[..., None], clock: Callable[[], float]) -> None:
        """`report` is `mta.log.problem`; `clock` gives monotonic seconds."""
        self._report = report
        self._clock = clock
        self._told_at: dict[tuple[str, str | bytes], float] = {}

    def tell(self, words: str, about: str | bytes, **fields: object) -> None:
        """Report `words` with `fields`, unless these words were told of `about` a moment ago."""
        now = self._clock()
        if now - self._told_at.get((words, about), float("-inf")) < REPORT_S:
            return
        if len(self._told_at) >= REPORTS_KEPT:
            self._told_at.clear()
        self._told_at[words, about] = now
        self._report(words, **fields)
