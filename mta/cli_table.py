"""Tables and progress bars for people. Apart from the commands, since `rich` takes its time to load."""

from collections.abc import Iterable

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text


def show(items: Iterable[dict[str, str]]) -> None:
    """Print a table on standard output, a column for each key of the first item."""
    rows = list(items)
    if not rows:
        return
    table = Table(box=None, pad_edge=False)
    for key in rows[0]:
        table.add_column(key, overflow="fold")
    for row in rows:
        table.add_row(*(Text(row.get(key, "")) for key in rows[0]))
    Console(highlight=False).print(table)


class Bar:
    """A progress bar on standard error, gone when the work is done."""

    def __init__(self, words: str) -> None:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self._progress = Progress(*columns, console=Console(stderr=True), transient=True)
        self._progress.start()
        self._task = self._progress.add_task(words, total=None)

    def update(self, seen: int, total: int) -> None:
        """So many of so many are done."""
        self._progress.update(self._task, completed=seen, total=total)

    def close(self) -> None:
        """Take it away."""
        self._progress.stop()
