"""Journal: the record of a training that goes on, whole on disk after every row.

Invariant: steps increase. A row is never lost to the disk: one that cannot be written (no space, no permission) is
kept in memory, with a warning, and goes out with the next one.
"""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from layerpeel.records.folder import Tenant, claim, command, held_record
from layerpeel.records.provenance import provenance
from layerpeel.records.store import Record, write_record
from layerpeel.sampling import dataset, log_times

if TYPE_CHECKING:
    import xarray

__all__ = ["Journal", "Row", "plain"]

TRAINING = Tenant("record", "resume=True", same=("model", "head", "unit", "preset"), alone=False)
"""A training may keep other files beside its record, and may go on with another learning rate, or for longer."""


@dataclass(frozen=True)
class Row:
    """The values at one step, field -> number."""

    step: int
    fields: Mapping[str, float]


class Journal:
    """Rows and the folder that holds them, if any.

    Args:
        folder: where the record is kept; None keeps it in memory.
        config: what is known of the run, in any types.
        title: for figures.
        unit: of the steps: "epoch", "step".
    """

    def __init__(self, folder: Path | None, *, config: Mapping[str, Any], title: str, unit: str) -> None:
        self.folder = folder
        self.config = plain(config)
        self.title = title
        self.unit = unit
        self.rows: list[Row] = []
        self.summary: dict[str, Any] = {}
        """Of the record that was resumed."""
        self.started = datetime.now(UTC).isoformat(timespec="seconds")

    @property
    def last_step(self) -> int:
        """-1 before the first row."""
        return self.rows[-1].step if self.rows else -1

    def open(self, *, resume: bool) -> None:
        """Take the folder, or with ``resume`` the rows in it.

        Raises:
            ValueError: for a folder that holds a record, with ``resume`` that of another run, or that cannot be
                written.
        """
        if self.folder is None:
            return
        try:
            claim(self.folder, self.config, resume=resume, tenant=TRAINING)
        except OSError as error:
            raise ValueError(f"need a folder that can be written, got {self.folder}: {error.strerror}") from error
        record = held_record(self.folder)
        if record is not None:
            self._read(record)

    def add(self, row: Row) -> None:
        """Append a row; ``keep`` writes it."""
        self.rows.append(row)

    def amend(self, fields: Mapping[str, float]) -> None:
        """More fields of the last row.

        Raises:
            ValueError: before the first row.
        """
        if not self.rows:
            raise ValueError("need a measurement to amend, got none yet")
        last = self.rows[-1]
        self.rows[-1] = Row(last.step, {**last.fields, **fields})

    def restore(self, rows: list[Row]) -> None:
        """Other rows in place of these."""
        self.rows = rows

    def drop_from(self, step: int) -> None:
        """Forget the rows at ``step`` and later, which a resumed training makes anew."""
        self.rows = [row for row in self.rows if row.step < step]

    def keep(self, summary: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
        """Write the record; a disk that does not take it gives a warning."""
        if self.folder is None or not self.rows:
            return
        begun = {"command": command(), "started": self.started}
        record = Record(self.config, {**begun, **summary, **provenance()}, self.metrics(), dict(arrays))
        try:
            write_record(self.folder, record)
        except OSError as error:
            warnings.warn(
                f"the record in {self.folder} could not be written ({error.strerror}): its {len(self.rows)} rows are "
                "in memory, and the next measurement tries again",
                stacklevel=2,
            )

    def metrics(self) -> "xarray.Dataset":
        """The rows as a dataset, dims (seed, record); nan where a row has no such field.

        Raises:
            ValueError: before the first row.
        """
        if not self.rows:
            raise ValueError("need a measurement first, got none yet")
        names = dict.fromkeys(name for row in self.rows for name in row.fields)
        fields = {
            name: np.array([[row.fields.get(name, float("nan")) for row in self.rows]], dtype=np.float64)
            for name in names
        }
        steps = [row.step for row in self.rows]
        return dataset(fields, log_times(steps, 1.0), steps=steps, attrs={"title": self.title, "time": self.unit})

    def _read(self, record: Record) -> None:
        values = {str(name): field.values[0].tolist() for name, field in record.metrics.items()}
        steps = record.metrics["step"].values.tolist()
        self.rows = [Row(step, {name: column[i] for name, column in values.items()}) for i, step in enumerate(steps)]
        self.summary = record.summary
        self.started = str(record.summary.get("started", self.started))


def plain(value: Any) -> Any:
    """``value`` in types that TOML has: what it has none for as a string, entries that are None left out."""
    if isinstance(value, Mapping):
        return {str(name): plain(entry) for name, entry in value.items() if entry is not None}
    if isinstance(value, list | tuple | set | frozenset | range):
        return [plain(entry) for entry in value if entry is not None]
    if isinstance(value, np.generic):
        return value.item()
    return value if isinstance(value, str | bool | int | float) else str(value)
