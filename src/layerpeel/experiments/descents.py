"""Descents as cases of a study: of the same steps and seeds, their records side by side along an axis of their own."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from layerpeel.experiments.cases import Answer, Numbers
from layerpeel.sampling import dataset, log_times

if TYPE_CHECKING:
    import xarray

    from layerpeel.dynamics import Trajectory

__all__ = ["answer", "last_states", "side_by_side"]


def answer(run: "Trajectory", also: Mapping[str, Float[np.ndarray, "seed record"]] | None = None) -> Answer:
    """The records of a run, its last state, and what was measured ``also``."""
    fields = {str(name): field.values for name, field in run.metrics.data_vars.items()} | dict(also or {})
    state = {part: getattr(run.state, part) for part in ("W", "H", "b")}
    return Answer(
        {"step": run.metrics["step"].values}
        | {f"field/{name}": values for name, values in fields.items()}
        | {f"last/{part}": values for part, values in state.items() if values is not None},
        run.outcome,
    )


def last_states(found: Mapping[str, Numbers]) -> dict[str, np.ndarray]:
    """Run/W, run/H and run/b of every run."""
    return {f"{run}/{part}": values for run, numbers in found.items() for part, values in _under("last/", numbers)}


def side_by_side(
    found: Mapping[str, Numbers], axis: str, seeds: list[int], attrs: Mapping[str, Any]
) -> "xarray.Dataset":
    """One dataset of the dimensions (``axis``, seed, record); where a run ended before the longest it is nan."""
    import xarray

    steps = max((numbers["step"] for numbers in found.values()), key=len)
    runs = [
        dataset(
            {name: _lengthened(values, len(steps)) for name, values in _under("field/", numbers)},
            log_times(steps, 1.0),
            steps=steps,
            attrs={"time": "steps", **attrs},
        )
        for numbers in found.values()
    ]
    both: xarray.Dataset = xarray.concat(runs, xarray.Variable(axis, list(found)))
    return both.assign_coords(seed=seeds)


def _under(prefix: str, numbers: Numbers) -> list[tuple[str, np.ndarray]]:
    return [(name.removeprefix(prefix), values) for name, values in numbers.items() if name.startswith(prefix)]


def _lengthened(values: Float[np.ndarray, "seed record"], records: int) -> Float[np.ndarray, "seed records"]:
    return np.pad(values, ((0, 0), (0, records - values.shape[1])), constant_values=np.nan)
