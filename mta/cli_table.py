"""Items of the queue as a table for people. Apart from mta.cli_queue, since `rich` takes its time to load."""

from collections.abc import Iterable

from rich.console import Console
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
