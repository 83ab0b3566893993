"""The report as a table for people: one line a metric, grouped NC1 to NC4."""

import io
import math
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

__all__ = ["Line", "render"]


@dataclass(frozen=True)
class Line:
    """A metric: its group, field and plain meaning, and its value at collapse (None: no fixed one)."""

    group: str
    field: str
    meaning: str
    at_collapse: float | None = 0.0


_GROUPS = {
    "NC1": "samples collapse to their class mean",
    "NC2": "means and classifier rows form a simplex ETF",
    "NC3": "classifier rows align with the class means",
    "NC4": "decisions: nearest class mean, margin",
}


def render(
    headline: str,
    lines: Sequence[Line],
    values: Mapping[str, float],
    floors: Mapping[str, float],
    remarks: Iterable[str],
) -> str:
    """Plain text, as wide as the terminal up to 110 columns. Fields that are nan are not printed."""
    table = Table(title=f"Neural collapse\n{headline}", title_justify="left", title_style="bold")
    table.add_column("measure", no_wrap=True)
    table.add_column("value", justify="right", no_wrap=True)
    table.add_column("at collapse", justify="right")
    table.add_column("what it is")
    for group, title in _GROUPS.items():
        shown = [line for line in lines if line.group == group and not math.isnan(values[line.field])]
        if shown:
            table.add_section()
            table.add_row(f"[bold]{group}[/bold]", "", "", f"[bold]{title}[/bold]")
        for line in shown:
            target = _target(line, floors.get(line.field, 0.0))
            table.add_row(f"  {line.field}", f"{values[line.field]:.4g}", target, line.meaning)
    text = io.StringIO()
    console = Console(file=text, width=min(shutil.get_terminal_size((110, 24)).columns, 110))
    console.print(table)
    for remark in remarks:
        console.print(f"· {remark}", highlight=False)
    return "\n".join(line.rstrip() for line in text.getvalue().splitlines())


def _target(line: Line, floor: float) -> str:
    if line.at_collapse is None:
        return ""
    return f"0 (floor {floor:.3g})" if floor > 0 else f"{line.at_collapse:g}"
