"""Rows as a terminal table, as markdown for the README, and as JSON."""

import json
from collections.abc import Sequence

from rich.table import Table

from benchmarks.row import Row

__all__ = ["as_json", "as_markdown", "as_table"]

HEAD = ("group", "what", "layerpeel", "beside it", "measured", "target", "met")


def as_table(rows: Sequence[Row]) -> Table:
    """A rich table, one line a row."""
    table = Table(*HEAD, show_lines=True)
    for row in rows:
        table.add_row(*_cells(row), style="red" if row.met is False else None)
    return table


def as_markdown(rows: Sequence[Row], machine: dict[str, object]) -> str:
    """The same table in markdown, its machine below it, then the notes."""
    lines = ["| " + " | ".join(HEAD) + " |", "|" + "---|" * len(HEAD)]
    lines += ["| " + " | ".join(cell.replace("|", "\\|") for cell in _cells(row)) + " |" for row in rows]
    lines += ["", "Machine: " + ", ".join(f"{name} {value}" for name, value in machine.items()) + ".", ""]
    lines += [f"- {row.group}, {row.what}: {row.note}" for row in rows if row.note]
    return "\n".join(lines) + "\n"


def as_json(rows: Sequence[Row], machine: dict[str, object]) -> str:
    """Everything that was measured, as JSON."""
    return json.dumps({"machine": machine, "rows": [_record(row) for row in rows]}, indent=1) + "\n"


def _cells(row: Row) -> tuple[str, ...]:
    target = "" if row.target is None else str(row.target)
    met = {None: "", True: "yes", False: "NO"}[row.met]
    return (row.group, row.what, row.ours, row.peer, row.measured, target, row.failure or met)


def _record(row: Row) -> dict[str, object]:
    record = {name: getattr(row, name) for name in ("group", "what", "ours", "peer", "value", "unit", "met")}
    target = None if row.target is None else str(row.target)
    return {**record, "target": target, "note": row.note, "failure": row.failure, **row.raw}
