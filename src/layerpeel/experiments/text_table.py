"""A table as plain text, for what an experiment says on the screen and keeps in its record."""

import io
from collections.abc import Iterable, Sequence

from rich import box
from rich.console import Console
from rich.table import Table

__all__ = ["text_table"]


def text_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]], *, caption: str = "") -> str:
    """``rows`` under ``columns``, numbers to the right: as wide as it needs to be."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if number else "left", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    console = Console(file=io.StringIO(), width=400, color_system=None)
    with console.capture() as capture:
        console.print(table)
    lines = [line.rstrip() for line in capture.get().splitlines()]
    return "\n".join([title, *filter(None, [*lines, caption])])
