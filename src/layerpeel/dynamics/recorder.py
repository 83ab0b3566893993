"""Recorder: gathers what is observed at the recorded steps of a run, and which seeds are still finite."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Bool, Int

from layerpeel.collapse.assembly import BeyondFloat64
from layerpeel.dynamics.observation import observe
from layerpeel.problem import Problem, State

__all__ = ["Recorder"]


class Row(NamedTuple):
    """One record: the step, field -> one number a seed, and the states if they are kept."""

    step: int
    fields: dict[str, np.ndarray]
    state: State | None


class Recorder:
    """Rows of observations at increasing steps, for states with a seed axis.

    Invariant: a seed that has left the finite numbers, or at a record those whose collapse can be measured, stays out:
    its rows are nan from then on and ``last`` keeps its last recorded state, so that the record does not depend on when
    the divergence was noticed. ``also`` adds fields to what is observed of every state.
    """

    def __init__(
        self,
        problem: Problem,
        start: State,
        *,
        keep_states: bool,
        also: Callable[[State], dict[str, Any]] = lambda states: {},
    ) -> None:
        self.problem = problem
        self.also = also
        self.last = start
        self.alive = np.ones(len(start.W), dtype=bool)
        self.keep_states = keep_states
        self.rows: list[Row] = []

    @property
    def steps(self) -> list[int]:
        """The recorded steps."""
        return [row.step for row in self.rows]

    @property
    def last_step(self) -> int:
        """The last recorded step, -1 before the first."""
        return self.rows[-1].step if self.rows else -1

    def bury(self, finite: Bool[np.ndarray, "seed"]) -> None:
        """Take note of the seeds that are no longer finite."""
        self.alive &= finite

    def add(self, step: int, states: State) -> None:
        """Observe the living seeds of ``states`` at ``step``; there is no row if none can be measured.

        Raises:
            BeyondFloat64: for a start that cannot be measured.
        """
        try:
            self._add(step, states)
        except BeyondFloat64:
            if not self.rows:
                raise
            self.bury(self._measurable(states))
            if self.alive.any():
                self._add(step, states)

    def _add(self, step: int, states: State) -> None:
        living = np.flatnonzero(self.alive)
        members = jax.tree.map(lambda x: np.asarray(x)[living], states)
        observed = observe(self.problem, members) | self.also(members)
        self.last = jax.tree.map(lambda old, new: _replace(old, new, living), self.last, members)
        blank = np.full(len(self.alive), np.nan)
        fields = {name: _replace(blank, values, living) for name, values in observed.items()}
        self.rows.append(Row(step, fields, self.last if self.keep_states else None))

    def _measurable(self, states: State) -> Bool[np.ndarray, "seed"]:
        """Which of the living seeds can be observed, asked one by one."""
        found = np.zeros(len(self.alive), dtype=bool)
        for i in np.flatnonzero(self.alive):
            with suppress(BeyondFloat64):
                observe(self.problem, jax.tree.map(lambda x, i=i: np.asarray(x)[[i]], states))
                found[i] = True
        return found

    def fields(self) -> dict[str, np.ndarray]:
        """Field -> array (seed, record)."""
        return {name: np.stack([row.fields[name] for row in self.rows], axis=1) for name in self.rows[0].fields}

    def kept_states(self) -> State | None:
        """The states of all records, stacked in front, if they were kept."""
        return jax.tree.map(lambda *x: np.stack(x), *[row.state for row in self.rows]) if self.keep_states else None

    def dump(self) -> dict[str, np.ndarray]:
        """Everything gathered, as named arrays."""
        arrays: dict[str, Any] = {"step": np.asarray(self.steps, dtype=np.int64), "alive": self.alive}
        arrays |= {f"last/{i}": x for i, x in enumerate(jax.tree.leaves(self.last))}
        if self.rows:
            arrays |= {f"field/{name}": values for name, values in self.fields().items()}
        if self.rows and self.keep_states:
            arrays |= {f"states/{i}": x for i, x in enumerate(jax.tree.leaves(self.kept_states()))}
        return arrays

    def load(self, arrays: dict[str, np.ndarray]) -> None:
        """The inverse of :meth:`dump`."""
        tree = jax.tree.structure(self.last)
        steps = arrays["step"].tolist()
        self.alive = arrays["alive"]
        self.last = tree.unflatten(_numbered(arrays, "last"))
        fields = {k.removeprefix("field/"): v for k, v in arrays.items() if k.startswith("field/")}
        kept = _numbered(arrays, "states")
        self.rows = [
            Row(
                step,
                {name: values[:, i] for name, values in fields.items()},
                tree.unflatten([x[i] for x in kept]) if self.keep_states else None,
            )
            for i, step in enumerate(steps)
        ]


def _replace(old: np.ndarray, new: Any, index: Int[np.ndarray, "k"]) -> np.ndarray:
    """``old`` with its rows ``index`` from ``new``, which has just those."""
    merged = np.array(old)
    merged[index] = new
    return merged


def _numbered(arrays: dict[str, np.ndarray], prefix: str) -> list[np.ndarray]:
    found = {int(k.partition("/")[2]): v for k, v in arrays.items() if k.startswith(f"{prefix}/")}
    return [found[i] for i in sorted(found)]
